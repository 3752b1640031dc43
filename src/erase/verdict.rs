//! May this be erased? A pure function over what was found.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::receipt::Ended;
use crate::failpoint;
use crate::outcome::Liveness;
use crate::storage::{Side, Stored};

/// What was found of a file under one key.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Does the database still name it?
    pub liveness: Liveness,
    /// Rows and links that name it.
    pub named_by: Vec<String>,
    /// There is no database that could be asked whether it is in use.
    pub nobody_knows: bool,
    /// A deletion of it waits in the outbox.
    pub in_outbox: bool,
    /// The server may take its key for another one.
    pub inexact_key: bool,
    /// What the object bucket has.
    pub object: Vec<Stored>,
    /// What the recycle bucket has.
    pub recycle: Vec<Stored>,
    /// Copies in parts that were begun and not finished.
    pub unfinished_copies: usize,
    /// Images of its row.
    pub images: u64,
    /// What became of earlier erasures of it.
    pub past: Past,
}

/// What became of earlier erasures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// There were none, or all were refused.
    None,
    /// One was cut off, or failed on the way: it has to be finished.
    CutOff,
    /// The last one came to its end.
    Erased,
}

/// Why a file is refused, and what to do.
pub fn refused(facts: &Facts, now: OffsetDateTime) -> Option<String> {
    let named = || match facts.named_by.as_slice() {
        [] => String::new(),
        rows => format!(" ({})", rows.join(", ")),
    };
    match facts.liveness {
        Liveness::Alive => {
            return Some(format!(
                "the file is in use: a row or a link names it{}. Delete it in the application first",
                named()
            ));
        }
        Liveness::Elsewhere => {
            return Some(format!(
                "the file is in use: its row is there, and says that its content is not in this storage{}. Delete it in \
                 the application first",
                named()
            ));
        }
        Liveness::Dead => {}
    }
    if facts.in_outbox {
        return Some(
            "its deletion waits in the outbox, and the object would move after it was erased. Wait until it has moved \
             (file-recycler status shows the outbox), then erase"
                .to_owned(),
        );
    }
    if facts.inexact_key {
        return Some("this server may take its key for another one, and another file would go".to_owned());
    }
    if facts.nobody_knows && facts.object.iter().any(|stored| stored.latest && stored.size.is_some()) {
        return Some(
            "its object is in the object bucket, and there is no database to ask whether it is in use. Have the \
             application delete it, so that its event moves the object, then erase"
                .to_owned(),
        );
    }
    protected(facts, now)
}

/// What keeps a version from being removed. Nothing here would override it.
fn protected(facts: &Facts, now: OffsetDateTime) -> Option<String> {
    if failpoint::removed("protection::erase_legal_hold") {
        return None;
    }
    let both = [(Side::Object, &facts.object), (Side::Recycle, &facts.recycle)];
    let mut all = both.iter().flat_map(|(side, stored)| stored.iter().map(move |one| (side, one)));
    all.find_map(|(side, stored)| {
        let what = stored
            .version
            .as_ref()
            .map_or_else(|| "the object".to_owned(), |version| format!("version {version}"));
        if stored.legal_hold {
            return Some(format!(
                "a legal hold is on {what} in the {side} bucket. Whoever put it there has to take it off first"
            ));
        }
        let until = stored.retained_until.filter(|until| *until > now)?;
        let until = until.format(&Rfc3339).unwrap_or_else(|_| until.to_string());
        Some(format!(
            "Object Lock keeps {what} in the {side} bucket until {until}. Erase it then; nothing here overrides that"
        ))
    })
}

/// What an erasure of this would be: `would_erase` where there is something to do.
pub fn to_do(facts: &Facts) -> Ended {
    match facts.past {
        _ if !is_nothing(facts) => Ended::WouldErase,
        Past::CutOff => Ended::WouldErase,
        Past::Erased => Ended::AlreadyErased,
        Past::None => Ended::NotFound,
    }
}

/// Is there nothing of the file?
fn is_nothing(facts: &Facts) -> bool {
    facts.object.is_empty() && facts.recycle.is_empty() && facts.unfinished_copies == 0 && facts.images == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const NOW: OffsetDateTime = datetime!(2026-11-28 10:00 UTC);

    fn stored() -> Stored {
        Stored {
            version: Some("v1".into()),
            latest: true,
            size: Some(5),
            last_modified: None,
            legal_hold: false,
            retained_until: None,
        }
    }

    fn facts() -> Facts {
        Facts {
            liveness: Liveness::Dead,
            named_by: Vec::new(),
            nobody_knows: false,
            in_outbox: false,
            inexact_key: false,
            object: Vec::new(),
            recycle: vec![stored()],
            unfinished_copies: 0,
            images: 0,
            past: Past::None,
        }
    }

    fn with(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = facts();
        change(&mut facts);
        facts
    }

    #[test]
    fn whatever_is_in_use_on_its_way_or_protected_is_refused() {
        let marker = Stored { size: None, ..stored() };
        let old = Stored { latest: false, ..stored() };
        for (said, facts) in [
            ("", facts()),
            (
                "names it (row in public.X)",
                with(|it| {
                    it.liveness = Liveness::Alive;
                    it.named_by = vec!["row in public.X".into()];
                }),
            ),
            ("content is not in this storage", with(|it| it.liveness = Liveness::Elsewhere)),
            ("waits in the outbox", with(|it| it.in_outbox = true)),
            ("another file would go", with(|it| it.inexact_key = true)),
            ("no database to ask", with(|it| (it.nobody_knows, it.object) = (true, vec![stored()]))),
            ("", with(|it| (it.nobody_knows, it.object) = (true, vec![marker.clone(), old.clone()]))),
            ("", with(|it| it.object = vec![stored()])),
            ("legal hold is on version v1 in the recycle bucket", with(|it| it.recycle[0].legal_hold = true)),
            (
                "legal hold is on version v1 in the object bucket",
                with(|it| {
                    it.object = vec![Stored { legal_hold: true, ..old.clone() }];
                }),
            ),
            (
                "until 2026-11-28T10:00:01Z",
                with(|it| {
                    it.recycle[0].retained_until = Some(datetime!(2026-11-28 10:00:01 UTC));
                }),
            ),
            ("", with(|it| it.recycle[0].retained_until = Some(NOW))),
        ] {
            let told = refused(&facts, NOW).unwrap_or_default();
            assert_eq!(told.is_empty(), said.is_empty(), "{facts:?}: {told}");
            assert!(told.contains(said), "{said}: {told}");
        }
    }

    #[test]
    fn what_is_left_to_do_is_told_from_what_was_never_there() {
        let nothing = || with(|it| it.recycle.clear());
        for (facts, expected) in [
            (facts(), Ended::WouldErase),
            (nothing(), Ended::NotFound),
            (Facts { images: 1, ..nothing() }, Ended::WouldErase),
            (Facts { unfinished_copies: 1, ..nothing() }, Ended::WouldErase),
            (Facts { past: Past::CutOff, ..nothing() }, Ended::WouldErase),
            (Facts { past: Past::Erased, ..nothing() }, Ended::AlreadyErased),
            (Facts { past: Past::Erased, ..facts() }, Ended::WouldErase),
        ] {
            assert_eq!(to_do(&facts), expected, "{facts:?}");
        }
    }
}
