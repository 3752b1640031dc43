//! The guard's decision: a pure function over what was seen.

use std::fmt;

use uuid::Uuid;

use crate::db::environment::{Buckets, EnvironmentState, Identity, Purpose};
use crate::failpoint;

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

/// Do the marker's nonce and the database's agree?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Agreement {
    /// They have not been compared yet.
    #[default]
    Unread,
    /// They do.
    Agreed {
        /// How often the nonce had been advanced then.
        advances: i64,
    },
    /// They do not.
    Differs {
        /// How often it was advanced by the database's count.
        database: i64,
        /// By the marker's, or by what this process had seen before.
        marker: i64,
    },
}

/// May anything move?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes, in this environment.
    Open(Uuid),
    /// An operator paused everything.
    Paused(String),
    /// It was adopted to bring files back, and for nothing else.
    RestoreAlone,
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
            Self::RestoreAlone => f.write_str(
                "this database was adopted for restore alone: when its files are back, run `file-recycler adopt`",
            ),
            Self::Unknown(why) => f.write_str(why),
            Self::Refused(why) | Self::Foreign(why) => f.write_str(why),
        }
    }
}

/// Decides over what the database says and what the object bucket's marker says.
pub fn verdict(
    binding: &Binding,
    database: Option<&EnvironmentState>,
    marker: Marker,
    agreement: Agreement,
) -> Verdict {
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
    if adopted.identity != database.identity && !failpoint::removed("protection::environment_identity") {
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
        Marker::Names(_) => match (agreement, adopted.purpose, &environment.paused) {
            (Agreement::Unread, ..) => Verdict::Unknown("the nonce has not been compared yet"),
            (Agreement::Differs { database, marker }, ..) => Verdict::Refused(differs(database, marker)),
            (Agreement::Agreed { .. }, Purpose::Restore, _) => Verdict::RestoreAlone,
            // A pause is told only where nothing worse is: it must not hide a refusal.
            (Agreement::Agreed { .. }, Purpose::Work, Some(pause)) => {
                Verdict::Paused(format!("{} (by {} on {})", pause.why, pause.by, pause.from))
            }
            (Agreement::Agreed { .. }, Purpose::Work, None) => Verdict::Open(environment.id),
        },
    }
}

fn differs(database: i64, marker: i64) -> String {
    format!(
        "the database (nonce advanced {database} times) is not the one that wrote the object bucket's marker \
         ({marker} times): it was set back to a backup, or is a copy. After a restore run `file-recycler adopt --for \
         restore`, bring files back, then `file-recycler adopt`; a copy needs buckets of its own"
    )
}

fn shown(identity: &Identity) -> String {
    format!("'{}' (system {}, oid {})", identity.name, identity.system_identifier, identity.oid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environment::{Adopted, Environment, Pause};
    use crate::db::nonce::Nonce;
    use crate::guard::{Guard, Marked};
    use time::macros::datetime;

    const AGREED: Agreement = Agreement::Agreed { advances: 3 };

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
                    purpose: Purpose::Work,
                }),
                paused: None,
                nonce: Nonce::default(),
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
        assert_eq!(verdict(&binding(), Some(&adopted()), seen, AGREED), Verdict::Open(id));
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
            let verdict = verdict(&binding(), Some(&state), seen, AGREED);
            assert!(matches!(&verdict, Verdict::Refused(text) if text.contains(why)), "{why}: {verdict:?}");
        }
        let other = Buckets { recycle: "other".into(), ..binding() };
        assert!(matches!(verdict(&other, Some(&adopted()), seen, AGREED), Verdict::Refused(_)));
        for (database, marker) in
            [(None, seen), (Some(adopted()), Marker::Unread), (Some(adopted()), Marker::Absent)]
        {
            let verdict = verdict(&binding(), database.as_ref(), marker, AGREED);
            assert!(matches!(verdict, Verdict::Refused(_) | Verdict::Unknown(_)), "{verdict:?}");
        }
    }

    #[test]
    fn a_nonce_that_differs_refuses_also_what_is_paused_and_restore_alone_moves_nothing() {
        let seen = Marker::Names(Uuid::from_u128(1));
        let behind = Agreement::Differs { database: 3, marker: 7 };
        let refused = verdict(&binding(), Some(&adopted()), seen, behind);
        let told = "advanced 3 times) is not the one that wrote the object bucket's marker (7 times)";
        assert!(matches!(&refused, Verdict::Refused(text) if text.contains(told)), "{refused:?}");
        let unknown = verdict(&binding(), Some(&adopted()), seen, Agreement::Unread);
        assert!(matches!(unknown, Verdict::Unknown(_)), "{unknown:?}");
        let restore = with(|state| {
            let environment = state.environment.as_mut().unwrap();
            environment.adopted.as_mut().unwrap().purpose = Purpose::Restore;
        });
        let alone = verdict(&binding(), Some(&restore), seen, AGREED);
        assert_eq!(alone, Verdict::RestoreAlone);
        assert!(alone.to_string().contains("restore alone"), "{alone}");
    }

    #[test]
    fn an_answer_of_before_the_last_comparison_is_no_database_that_was_set_back() {
        let guard = Guard::new(binding());
        let at = |advances| with(|state| state.environment.as_mut().unwrap().nonce.advances = advances);
        let says = |advances| Some(Marked { environment: Uuid::from_u128(1), nonce: None, advances });
        guard.saw_both(says(5), at(5));
        let asked = guard.before_asking();
        guard.saw_both(says(6), at(6));
        guard.saw_database(asked, at(5));
        assert!(matches!(guard.verdict(), Verdict::Open(_)), "{}", guard.verdict());
        guard.saw_database(guard.before_asking(), at(5));
        assert!(matches!(guard.verdict(), Verdict::Refused(_)), "{}", guard.verdict());
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
        let verdict = verdict(&binding(), Some(&state), Marker::Names(Uuid::from_u128(1)), AGREED);
        assert_eq!(verdict, Verdict::Paused("storage moves (by ann on host)".into()));
    }
}
