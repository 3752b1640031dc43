//! The database of the model: it tells the truth of the moment, where it answers at all.

use super::lies::Lie;
use super::turns::Fault;
use super::world::{Port, State};
use crate::file::{FileId, FileRef, Named};
use crate::outcome::{Advice, Dependency, Failure, Liveness};
use crate::recycle::{LedgerEntry, Registry};

impl Port {
    async fn question<T>(
        &self,
        what: &str,
        answer: impl FnOnce(&mut State) -> T + Send,
    ) -> Result<T, Failure> {
        let what = format!("{} {what}", self.process);
        let fault = self.turn(what.clone()).await;
        let mut state = self.state();
        let failure = |advice| Err(Failure::new(advice, "by the model"));
        let result = match fault {
            None => Ok(answer(&mut state)),
            // What was written stays written.
            Some(Fault::LostAfter) => {
                answer(&mut state);
                failure(Advice::Outage(Dependency::Database))
            }
            Some(Fault::LostBefore) => failure(Advice::Outage(Dependency::Database)),
            Some(Fault::SlowDown) => failure(Advice::Hold),
            Some(_) => failure(Advice::Retry),
        };
        state.happened(&format!("{what}: {fault:?}"));
        result
    }

    fn liveness(&self, state: &State, id: &FileId) -> Liveness {
        let file = state.files.iter().find(|file| file.id == *id).expect("an id of the world's");
        if state.lie == Some(Lie::ChecksOnce) && file.wrote.contains_key(&self.process) {
            return Liveness::Dead;
        }
        file.liveness
    }
}

impl Registry for Port {
    async fn check(&self, files: Vec<Named>) -> Result<Vec<Liveness>, Failure> {
        let what = format!("asks whether {} file(s) are alive", files.len());
        self.question(&what, |state| files.iter().map(|file| self.liveness(state, &file.id)).collect()).await
    }

    async fn note(&self, entries: Vec<LedgerEntry>) -> Result<Vec<Liveness>, Failure> {
        let notes: Vec<_> = entries.iter().map(|entry| (entry.key.as_str(), entry.outcome)).collect();
        let what = format!("notes {notes:?}");
        let note = |state: &mut State, entry: &LedgerEntry| {
            let at = state.at(&entry.key);
            let alive = state.files[at].liveness == Liveness::Alive;
            state.files[at].noted_alive.insert(self.process, alive);
            self.liveness(state, &entry.file.file_id)
        };
        self.question(&what, |state| entries.iter().map(|entry| note(state, entry)).collect()).await
    }

    async fn doubt_key(&self, _file: &FileRef) -> Result<(), Failure> {
        Ok(())
    }

    async fn confirm_environment(&self) -> Result<(), Failure> {
        self.question("asks whether this is still the environment", |_| ()).await
    }
}
