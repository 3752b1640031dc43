//! The guard's decision: a pure function over what was seen.

use std::fmt;

use uuid::Uuid;

use crate::db::environment::{Buckets, EnvironmentState, Identity};

/// The buckets that are configured.
pub type Binding = Buckets;

/// What the object bucket's marker says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Marker {
    /// It has not been read yet.
    #[default]
    Unread,
    /// There is none, or nothing that can be read as one.
    Absent,
    /// It names this environment.
    Names(Uuid),
}

/// May anything move?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, in this environment.
    Open(Uuid),
    /// An operator paused everything.
    Paused(String),
    /// Not everything has been looked at yet.
    Unknown(&'static str),
    /// The environment is not the one that was adopted.
    Refused(String),
    /// Another environment's event was in the queue.
    Foreign(String),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(environment) => write!(f, "environment {environment}"),
            Self::Paused(why) => write!(f, "paused: {why}"),
            Self::Unknown(why) => f.write_str(why),
            Self::Refused(why) | Self::Foreign(why) => f.write_str(why),
        }
    }
}

/// Decides over what the database says and what the object bucket's marker says.
pub fn verdict(binding: &Binding, database: Option<&EnvironmentState>, marker: Marker) -> Verdict {
    let refused = |why: &str| Verdict::Refused(why.to_owned());
    let Some(database) = database else { return Verdict::Unknown("the database has not been asked yet") };
    if !database.is_primary {
        return refused("the database is a replica: what is alive can only be asked of the primary");
    }
    let Some(environment) = &database.environment else {
        return refused("this database was never adopted: run `file-recycler adopt`");
    };
    let Some(adopted) = &environment.adopted else {
        return refused("this database was never adopted: run `file-recycler adopt`");
    };
    if adopted.identity != database.identity {
        return Verdict::Refused(format!(
            "this database is {}, but {} was adopted: is it a copy? If it is to work, run `file-recycler adopt`",
            shown(&database.identity),
            shown(&adopted.identity)
        ));
    }
    if adopted.buckets != *binding {
        return Verdict::Refused(format!(
            "the configured buckets are {} and {} on '{}', but {} and {} on '{}' were adopted: run `file-recycler adopt`",
            binding.object,
            binding.recycle,
            binding.service_url,
            adopted.buckets.object,
            adopted.buckets.recycle,
            adopted.buckets.service_url
        ));
    }
    match marker {
        Marker::Unread => Verdict::Unknown("the marker in the object bucket has not been read yet"),
        Marker::Absent => {
            refused("the marker .file-recycler/environment.json is gone from the object bucket")
        }
        Marker::Names(other) if other != environment.id => Verdict::Refused(format!(
            "the object bucket belongs to environment {other}, this database to {}",
            environment.id
        )),
        // A pause is told only where nothing worse is: it must not hide a refusal.
        Marker::Names(_) => match &environment.paused {
            Some(pause) => Verdict::Paused(format!("{} (by {} on {})", pause.why, pause.by, pause.from)),
            None => Verdict::Open(environment.id),
        },
    }
}

fn shown(identity: &Identity) -> String {
    format!("'{}' (system {}, oid {})", identity.name, identity.system_identifier, identity.oid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environment::{Adopted, Environment, Pause};
    use time::macros::datetime;

    fn identity() -> Identity {
        Identity { system_identifier: "7".into(), oid: 16_384, name: "crm".into() }
    }

    fn binding() -> Binding {
        Buckets { service_url: "http://s3/".into(), object: "objects".into(), recycle: "recycle".into() }
    }

    fn adopted() -> EnvironmentState {
        EnvironmentState {
            environment: Some(Environment {
                id: Uuid::from_u128(1),
                adopted: Some(Adopted {
                    identity: identity(),
                    buckets: binding(),
                    at: datetime!(2026-11-23 10:00 UTC),
                }),
                paused: None,
            }),
            identity: identity(),
            is_primary: true,
        }
    }

    fn with(change: impl FnOnce(&mut EnvironmentState)) -> EnvironmentState {
        let mut state = adopted();
        change(&mut state);
        state
    }

    #[test]
    fn only_the_adopted_database_with_the_adopted_buckets_may_move_files() {
        let id = Uuid::from_u128(1);
        let seen = Marker::Names(id);
        assert_eq!(verdict(&binding(), Some(&adopted()), seen), Verdict::Open(id));
        for (why, state) in [
            ("replica", with(|state| state.is_primary = false)),
            ("never adopted", with(|state| state.environment = None)),
            ("never adopted", with(|state| state.environment.as_mut().unwrap().adopted = None)),
            ("is it a copy?", with(|state| state.identity.system_identifier = "8".into())),
            ("is it a copy?", with(|state| state.identity.oid = 1)),
            ("is it a copy?", with(|state| state.identity.name = "crm_test".into())),
            (
                "belongs to environment",
                with(|state| state.environment.as_mut().unwrap().id = Uuid::from_u128(2)),
            ),
        ] {
            let verdict = verdict(&binding(), Some(&state), seen);
            assert!(matches!(&verdict, Verdict::Refused(text) if text.contains(why)), "{why}: {verdict:?}");
        }
        let other = Buckets { recycle: "other".into(), ..binding() };
        assert!(matches!(verdict(&other, Some(&adopted()), seen), Verdict::Refused(_)));
        for (database, marker) in
            [(None, seen), (Some(adopted()), Marker::Unread), (Some(adopted()), Marker::Absent)]
        {
            let verdict = verdict(&binding(), database.as_ref(), marker);
            assert!(matches!(verdict, Verdict::Refused(_) | Verdict::Unknown(_)), "{verdict:?}");
        }
    }

    #[test]
    fn a_pause_is_told_with_its_reason() {
        let pause = Pause {
            at: datetime!(2026-11-23 10:00 UTC),
            by: "ann".into(),
            from: "host".into(),
            why: "storage moves".into(),
        };
        let state = with(|state| state.environment.as_mut().unwrap().paused = Some(pause));
        let verdict = verdict(&binding(), Some(&state), Marker::Names(Uuid::from_u128(1)));
        assert_eq!(verdict, Verdict::Paused("storage moves (by ann on host)".into()));
    }
}
