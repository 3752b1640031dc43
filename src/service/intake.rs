//! The intake, where events may be handed over at all: there is somewhere to listen, and a token that allows it.

use super::Parts;
use crate::event::IdKind;
use crate::http::Events;
use crate::intake::Intake;

impl Parts {
    /// What takes events over HTTP; its [`Intake::run`] keeps the connection.
    pub(super) fn events(&self) -> Option<Events> {
        let token = self.config.http.listen.and(self.config.http.token.clone())?;
        let intake = Intake::new(
            self.broker.clone(),
            self.topology.clone(),
            IdKind::of(&self.config.crm.profile),
            self.guard.clone(),
            self.gate.clone(),
        );
        Some(Events { token, intake })
    }
}
