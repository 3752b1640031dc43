//! What one key is, by what is known of it: pure.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::db::inventory::Owner;
use crate::outcome::{UnknownWord, words};

words! {
    /// What a file, or an object that is none, is.
    Class {
        /// A row names it, and its object is there.
        Ok => "ok",
        /// A row names it; its object is in the recycle bucket only.
        Restorable => "restorable",
        /// A row names it, and it is in neither bucket.
        Lost => "lost",
        /// Its object is there, but the record that its row names is not.
        Dangling => "dangling",
        /// Its object is there, but its row names no record.
        Parentless => "parentless",
        /// An object without a row, older than the limit.
        Orphan => "orphan",
        /// An object without a row that is too young to say: it may be on its way.
        Young => "young",
        /// An object without a row that a link still names.
        Linked => "linked",
        /// An object whose row says that its content is elsewhere.
        LeftBehind => "left_behind",
        /// An object without a row whose deletion is captured, and waits for the relay or its grace period.
        Pending => "pending",
        /// Without a row, in the recycle bucket: as it has to be.
        Recycled => "recycled",
        /// An object whose key is none of a file's.
        Unknown => "unknown",
    }
}

impl Class {
    /// May it be one by the moment alone at which rows and objects were looked at? Then it is asked once more.
    pub fn is_doubtful(self) -> bool {
        match self {
            Self::Restorable
            | Self::Lost
            | Self::Dangling
            | Self::Parentless
            | Self::Orphan
            | Self::LeftBehind
            | Self::Unknown => true,
            Self::Ok | Self::Young | Self::Linked | Self::Pending | Self::Recycled => false,
        }
    }

    /// Has somebody to do something about it?
    pub fn is_bad(self) -> bool {
        matches!(self, Self::Restorable | Self::Lost | Self::Orphan)
    }
}

/// What the rows of a key say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rows {
    /// There is none.
    None,
    /// The content is elsewhere.
    Elsewhere,
    /// The content is in S3.
    InS3(Owner),
}

impl Rows {
    /// Of all rows of one key: in S3 if one says so, and somebody's if one says so.
    pub fn of(rows: impl IntoIterator<Item = (bool, Owner)>) -> Self {
        rows.into_iter().fold(Self::None, |all, (in_s3, owner)| match (all, in_s3) {
            (Self::InS3(_), false) | (Self::InS3(Owner::Fine), true) => all,
            (Self::InS3(Owner::Nobody | Owner::Gone) | Self::None | Self::Elsewhere, true) => {
                Self::InS3(owner)
            }
            (Self::None | Self::Elsewhere, false) => Self::Elsewhere,
        })
    }
}

/// What is known of one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
pub struct Facts {
    /// What its rows say.
    pub rows: Rows,
    /// A link names the file.
    pub linked: bool,
    /// Its deletion is in the outbox.
    pub captured: bool,
    /// It could be a file's key.
    pub possible: bool,
    /// When the object in the object bucket was written, as far as is known; nothing where there is none.
    pub object: Option<Option<OffsetDateTime>>,
    /// There is a copy in the recycle bucket.
    pub copy: bool,
}

/// What it is; nothing where there is nothing to be told. An object without a row is an orphan if it was written
/// before `orphan_before`.
pub fn classify(facts: &Facts, orphan_before: OffsetDateTime) -> Option<Class> {
    match (facts.rows, facts.object) {
        (Rows::InS3(Owner::Fine), Some(_)) => Some(Class::Ok),
        (Rows::InS3(Owner::Nobody), Some(_)) => Some(Class::Parentless),
        (Rows::InS3(Owner::Gone), Some(_)) => Some(Class::Dangling),
        (Rows::InS3(_), None) if facts.copy => Some(Class::Restorable),
        (Rows::InS3(_), None) => Some(Class::Lost),
        (Rows::Elsewhere, Some(_)) => Some(Class::LeftBehind),
        (Rows::Elsewhere, None) => None,
        (Rows::None, object) if !facts.possible => (object.is_some() || facts.copy).then_some(Class::Unknown),
        (Rows::None, Some(_)) if facts.linked => Some(Class::Linked),
        (Rows::None, Some(_)) if facts.captured => Some(Class::Pending),
        (Rows::None, Some(Some(written))) if written < orphan_before => Some(Class::Orphan),
        (Rows::None, Some(_)) => Some(Class::Young),
        (Rows::None, None) => facts.copy.then_some(Class::Recycled),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const LIMIT: OffsetDateTime = datetime!(2026-11-20 10:00 UTC);
    const OLD: Option<OffsetDateTime> = Some(datetime!(2026-11-20 09:59 UTC));
    const NEW: Option<OffsetDateTime> = Some(LIMIT);

    #[test]
    fn the_table() {
        use Class as C;
        use Owner::{Fine, Gone, Nobody};
        use Rows::{Elsewhere, InS3, None as NoRow};
        for (rows, object, copy, expected) in [
            (InS3(Fine), Some(OLD), false, Some(C::Ok)),
            (InS3(Fine), Some(None), true, Some(C::Ok)),
            (InS3(Nobody), Some(OLD), false, Some(C::Parentless)),
            (InS3(Gone), Some(NEW), false, Some(C::Dangling)),
            (InS3(Fine), None, true, Some(C::Restorable)),
            (InS3(Gone), None, true, Some(C::Restorable)),
            (InS3(Fine), None, false, Some(C::Lost)),
            (InS3(Nobody), None, false, Some(C::Lost)),
            (Elsewhere, Some(OLD), false, Some(C::LeftBehind)),
            (Elsewhere, None, true, None),
            (NoRow, Some(OLD), false, Some(C::Orphan)),
            (NoRow, Some(OLD), true, Some(C::Orphan)),
            (NoRow, Some(NEW), false, Some(C::Young)),
            // Nobody knows how old it is: it is not called an orphan.
            (NoRow, Some(None), false, Some(C::Young)),
            (NoRow, None, true, Some(C::Recycled)),
            (NoRow, None, false, None),
        ] {
            let facts = Facts { rows, linked: false, captured: false, possible: true, object, copy };
            assert_eq!(classify(&facts, LIMIT), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_link_keeps_an_object_and_a_strange_key_is_nobodys() {
        let facts = Facts {
            rows: Rows::None,
            linked: true,
            captured: true,
            possible: true,
            object: Some(OLD),
            copy: false,
        };
        assert_eq!(classify(&facts, LIMIT), Some(Class::Linked));
        assert_eq!(classify(&Facts { linked: false, ..facts }, LIMIT), Some(Class::Pending));
        let strange = Facts { linked: false, possible: false, ..facts };
        assert_eq!(classify(&strange, LIMIT), Some(Class::Unknown));
        assert_eq!(classify(&Facts { object: None, copy: true, ..strange }, LIMIT), Some(Class::Unknown));
        assert_eq!(classify(&Facts { object: None, ..strange }, LIMIT), None);
    }

    #[test]
    fn of_several_rows_the_best_counts() {
        use Owner::{Fine, Gone, Nobody};
        for (rows, expected) in [
            (vec![], Rows::None),
            (vec![(false, Fine)], Rows::Elsewhere),
            (vec![(false, Fine), (true, Gone)], Rows::InS3(Gone)),
            (vec![(true, Gone), (true, Fine), (true, Nobody)], Rows::InS3(Fine)),
            (vec![(true, Gone), (false, Fine)], Rows::InS3(Gone)),
        ] {
            assert_eq!(Rows::of(rows.iter().copied()), expected, "{rows:?}");
        }
    }

    #[test]
    fn what_is_bad_was_doubted_first() {
        for class in Class::ALL {
            assert!(!class.is_bad() || class.is_doubtful(), "{class}");
        }
    }
}
