//! Doubts: what an entry seems to be is asked again, by row and by HEAD.

use std::collections::{HashMap, HashSet};

use futures_util::{StreamExt as _, TryStreamExt as _};

use super::class::{Facts, Rows, classify};
use super::walk::finding;
use super::{Audit, Class, Finding};
use crate::db::inventory::InventoryRow;
use crate::failpoint;
use crate::file::{FileId, Named, ObjectKey};
use crate::inventory::Entry;
use crate::outcome::Failure;
use crate::storage::Side;

/// Looks at the storage at the same time, for one range.
const LOOKS: usize = 16;

/// An entry that has to be asked again.
#[derive(Clone)]
pub(super) struct Doubt {
    pub(super) entry: Entry,
    /// The file that the key template gives the key to; looked for only where no row names the key.
    pub(super) owner: Option<FileId>,
}

/// What was seen of an object and its copy.
type Looks = (Option<crate::storage::Head>, Option<crate::storage::Head>);

impl Doubt {
    /// The file, by its rows or by its key.
    fn file(&self) -> Option<FileId> {
        self.entry.rows.iter().find_map(|row| row.id.clone()).or_else(|| self.owner.clone())
    }

    /// Could the key be a file's?
    fn is_possible(&self) -> bool {
        !self.entry.rows.is_empty() || self.owner.is_some()
    }

    /// The file as the database is asked for it.
    fn named(&self) -> Option<Named> {
        let key = ObjectKey::try_from(self.entry.key.as_str()).ok()?;
        Some(Named { id: self.file()?, key })
    }
}

impl Audit {
    /// What these are, by what rows and objects say now. What is bad then is asked once more: a file that is written, moved
    /// or brought back between the look at its object and the question for its row was bad for that moment alone.
    pub(super) async fn settle(&self, doubts: Vec<Doubt>) -> Result<Vec<Finding>, Failure> {
        let first = self.ask(doubts.clone()).await?;
        let (bad, mut settled): (Vec<_>, Vec<_>) =
            first.into_iter().partition(|finding| finding.class.is_bad());
        let bad: HashSet<&str> = bad.iter().map(|finding| finding.key.as_str()).collect();
        let again = doubts.into_iter().filter(|doubt| bad.contains(doubt.entry.key.as_str())).collect();
        settled.extend(self.ask(again).await?);
        Ok(settled)
    }

    async fn ask(&self, doubts: Vec<Doubt>) -> Result<Vec<Finding>, Failure> {
        if doubts.is_empty() {
            return Ok(Vec::new());
        }
        failpoint::reach("audit::doubted");
        if failpoint::removed("protection::audit_asks_again") {
            return Ok(doubts.iter().filter_map(|doubt| self.as_seen(doubt)).collect());
        }
        // Objects first: a row that came since then keeps its file from being called an orphan.
        let keys: Vec<String> = doubts.iter().map(|doubt| doubt.entry.key.clone()).collect();
        let looks = keys.into_iter().map(|key| self.looks(key));
        let looks: Vec<Looks> = futures_util::stream::iter(looks).buffered(LOOKS).try_collect().await?;
        self.inventory.check_buckets().await?;
        let named: Vec<Named> = doubts.iter().filter_map(Doubt::named).collect();
        let again = self.inventory.ask_again(&named).await?;
        let mut rows: HashMap<String, Vec<InventoryRow>> = HashMap::new();
        for row in again.rows {
            if let Some(key) = self.inventory.key_of(&row) {
                rows.entry(key.into()).or_default().push(row);
            }
        }
        let settled = doubts.into_iter().zip(looks).filter_map(|(doubt, (object, copy))| {
            let rows = rows.remove(&doubt.entry.key).unwrap_or_default();
            let file = rows.iter().find_map(|row| row.id.clone()).or_else(|| doubt.file());
            if ObjectKey::try_from(doubt.entry.key.as_str()).is_err() {
                // No request can be made for such a key.
                return self.as_seen(&doubt);
            }
            let facts = Facts {
                rows: Rows::of(rows.iter().map(|row| (row.in_s3, row.owner))),
                linked: file.as_ref().is_some_and(|file| again.linked.contains(file)),
                captured: file.as_ref().is_some_and(|file| again.captured.contains(file)),
                possible: doubt.is_possible(),
                object: object.as_ref().map(|head| head.last_modified),
                copy: copy.is_some(),
            };
            let class = classify(&facts, self.orphan_before)?;
            let sizes = (object.map(|head| head.size), copy.map(|head| head.size));
            Some(finding(file, doubt.entry.key, class, &rows, sizes))
        });
        Ok(settled.collect())
    }

    /// By the entry alone.
    pub(super) fn as_seen(&self, doubt: &Doubt) -> Option<Finding> {
        let entry = &doubt.entry;
        let facts = Facts {
            rows: Rows::of(entry.rows.iter().map(|row| (row.in_s3, row.owner))),
            linked: false,
            captured: false,
            possible: doubt.is_possible(),
            object: entry.object.as_ref().map(|object| object.last_modified),
            copy: entry.copy.is_some(),
        };
        let class: Class = classify(&facts, self.orphan_before)?;
        let sizes = (entry.object.as_ref().map(|it| it.size), entry.copy.as_ref().map(|it| it.size));
        Some(finding(doubt.file(), entry.key.clone(), class, &entry.rows, sizes))
    }

    async fn looks(&self, key: String) -> Result<Looks, Failure> {
        let Ok(key) = ObjectKey::try_from(key) else { return Ok((None, None)) };
        let object = self.inventory.look(Side::Object, &key).await?;
        // Moved between the two looks: seen in the second one.
        let copy = if object.is_none() { self.inventory.look(Side::Recycle, &key).await? } else { None };
        Ok((object, copy))
    }
}
