//! One dead letter as people and scripts see it, and the choice among them.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::broker::Delivery;
use crate::event::{Deleted, Event, IdKind};
use crate::outcome::DeadReason;

/// A message of the dead-letter queue.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeadLetter {
    /// Its own id, or the one that it was given.
    pub id: String,
    /// Why it is dead.
    pub reason: Option<DeadReason>,
    /// What went wrong, in a sentence.
    pub error: Option<String>,
    /// Deliveries that tried.
    pub attempts: u32,
    /// When the first try failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub first_failure: Option<OffsetDateTime>,
    /// When the last try failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub last_failure: Option<OffsetDateTime>,
    /// The event's type.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The record's schema; of an event about files alone, the first file's.
    pub schema: Option<String>,
    /// The record's id.
    pub record_id: Option<String>,
    /// The ids of the undone files.
    pub files: Vec<String>,
    /// The schemas of record and files.
    #[serde(skip)]
    pub schemas: Vec<String>,
    /// Which worker gave up.
    pub worker: Option<String>,
}

impl DeadLetter {
    /// Reads a delivery; a body that is no event leaves its fields empty.
    pub fn read(delivery: &Delivery) -> Self {
        let history = &delivery.history;
        let event = Event::decode(&delivery.body, IdKind::Text).ok();
        let data = event.as_ref().map(|event| &event.data);
        let files = data.map(Deleted::files).unwrap_or_default();
        let (schema, record_id) = match data {
            Some(Deleted::Record { schema, record_id, .. }) => {
                (Some(schema.to_string()), Some(record_id.to_string()))
            }
            _ => (files.first().and_then(|file| file.schema.as_ref()).map(ToString::to_string), None),
        };
        let schemas = schema
            .iter()
            .cloned()
            .chain(files.iter().filter_map(|file| Some(file.schema.as_ref()?.to_string())));
        Self {
            schemas: schemas.collect(),
            id: delivery.id.clone().or_else(|| history.given_id.clone()).unwrap_or_default(),
            reason: history.reason,
            error: history.error.clone(),
            attempts: history.attempts,
            first_failure: history.first_failure,
            last_failure: history.last_failure,
            kind: kind_of(&delivery.body),
            schema,
            record_id,
            files: files.iter().map(|file| file.file_id.to_string()).collect(),
            worker: history.worker.clone(),
        }
    }
}

/// What tells one death of a message from its next, and from those of others.
pub(super) fn fingerprint(letter: &DeadLetter, delivery: &Delivery) -> Uuid {
    let last = letter.last_failure.map(OffsetDateTime::unix_timestamp_nanos);
    // A message that the broker moved here has no time of death; its last replay tells its deaths apart.
    let replay = delivery.history.replay;
    let head = format!("{}\n{:?}\n{last:?}\n{}\n{replay:?}\n", letter.id, letter.reason, letter.attempts);
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &[head.as_bytes(), &delivery.body].concat())
}

/// The event's type, also of one that is not known or otherwise wrong.
fn kind_of(body: &[u8]) -> Option<String> {
    const MAX_CHARS: usize = 100;
    let document: serde_json::Value = serde_json::from_slice(body).ok()?;
    Some(document.get("type")?.as_str()?.chars().take(MAX_CHARS).collect())
}

/// Which dead letters are meant; every condition that is set must hold.
#[derive(Clone, Debug)]
pub struct Selection {
    /// Their ids; empty: any.
    pub ids: Vec<String>,
    /// Why they are dead.
    pub reason: Option<DeadReason>,
    /// The schema of the record or of a file.
    pub schema: Option<String>,
    /// They failed last at this time or later.
    pub since: Option<OffsetDateTime>,
    /// At most so many.
    pub limit: usize,
}

impl Selection {
    /// Is this one meant?
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        (self.ids.is_empty() || self.ids.contains(&letter.id))
            && self.reason.is_none_or(|reason| letter.reason == Some(reason))
            && self.schema.as_ref().is_none_or(|schema| letter.schemas.contains(schema))
            && self.since.is_none_or(|since| letter.last_failure.is_some_and(|last| last >= since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    fn letter() -> DeadLetter {
        DeadLetter {
            id: "a".into(),
            reason: Some(DeadReason::Conflict),
            error: None,
            attempts: 1,
            first_failure: None,
            last_failure: Some(datetime!(2026-11-23 10:00 UTC)),
            kind: None,
            schema: Some("Contact".into()),
            record_id: None,
            files: vec![],
            schemas: vec!["Contact".into(), "ContactFile".into()],
            worker: None,
        }
    }

    #[test]
    fn every_condition_that_is_set_must_hold() {
        let all = Selection { ids: vec![], reason: None, schema: None, since: None, limit: usize::MAX };
        assert!(all.matches(&letter()));
        let matching = Selection {
            ids: vec!["b".into(), "a".into()],
            reason: Some(DeadReason::Conflict),
            schema: Some("Contact".into()),
            since: Some(datetime!(2026-11-23 10:00 UTC)),
            ..all.clone()
        };
        assert!(matching.matches(&letter()));
        assert!(Selection { schema: Some("ContactFile".into()), ..all.clone() }.matches(&letter()));
        for (what, selection) in [
            ("id", Selection { ids: vec!["b".into()], ..matching.clone() }),
            ("reason", Selection { reason: Some(DeadReason::Locked), ..matching.clone() }),
            ("schema", Selection { schema: Some("Account".into()), ..matching.clone() }),
            ("since", Selection { since: Some(datetime!(2026-11-23 10:01 UTC)), ..matching.clone() }),
        ] {
            assert!(!selection.matches(&letter()), "{what}");
        }
    }
}
