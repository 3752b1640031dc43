//! Objects that are left behind in the object bucket: their rows have the content, and say so. A migration to the database
//! leaves them on purpose, or was cut off before it put them away.
//!
//! They are found as an audit finds them, by one listing of the bucket beside the rows: a thousand objects a request, and
//! none for rows without an object.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _};
use uuid::Uuid;

use super::away::IN_USE;
use super::groups::cut;
use super::proof::{Digest16, Same};
use super::run::{Group, Of};
use super::switch::Now;
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Direction, PAGE, Table};
use crate::failpoint;
use crate::inventory::{Entries, Entry, Inventory, RANGES_AT_ONCE};
use crate::outcome::{Failure, Outcome};

impl Migrator {
    /// Rows in the database with an object, in groups: so many files at most, and none of those that were tried just now.
    pub(super) fn left_behind(
        self: &Arc<Self>,
        inventory: &Inventory,
        most: u64,
        tried: HashSet<Uuid>,
    ) -> impl Stream<Item = Result<Group, Failure>> + use<> {
        let (this, tried, inventory) = (Arc::clone(self), Arc::new(tried), inventory.clone());
        let pages = inventory.ranges().into_iter().map(move |range| {
            let (this, tried) = (Arc::clone(&this), Arc::clone(&tried));
            stream::unfold(Some(inventory.entries(&range)), move |entries| {
                let (this, tried) = (Arc::clone(&this), Arc::clone(&tried));
                async move {
                    let mut entries = entries?;
                    // The walk is work for the database as well.
                    this.gentle.clear().await;
                    match this.page_of_left(&mut entries, &tried).await {
                        Ok((groups, is_end)) => Some((Ok(groups), (!is_end).then_some(entries))),
                        Err(failure) => Some((Err(failure), None)),
                    }
                }
            })
        });
        let pages = stream::iter(pages.map(Box::pin)).flatten_unordered(RANGES_AT_ONCE);
        let within = pages.scan(most, |most, page| {
            let ended = *most == 0;
            let page = page.map(|groups| first(groups, most));
            std::future::ready((!ended).then_some(page))
        });
        within.flat_map(|page| {
            stream::iter(match page {
                Ok(groups) => groups.into_iter().map(Ok).collect(),
                Err(failure) => vec![Err(failure)],
            })
        })
    }

    /// What a thousand objects have of it; and whether they were the last.
    async fn page_of_left(
        &self,
        entries: &mut Entries,
        tried: &HashSet<Uuid>,
    ) -> Result<(Vec<Group>, bool), Failure> {
        let (mut ids, mut objects, mut is_end) = (BTreeMap::<usize, Vec<Uuid>>::new(), 0, false);
        while objects < PAGE && !is_end {
            let Some(entry) = entries.next().await? else {
                is_end = true;
                continue;
            };
            objects += usize::from(entry.object.is_some());
            for (table, id) in self.rows_of_left(&entry).filter(|(_, id)| !tried.contains(id)) {
                ids.entry(table).or_default().push(id);
            }
        }
        let (db, migration) = (&self.parts.db, &self.parts.migration);
        let mut groups = Vec::new();
        for (index, ids) in ids {
            let Some(table) = migration.tables().get(index) else { continue };
            let rows = self.database(|| db.migration_left(migration, table, &ids)).await?;
            // As where rows are cleared, the server's digests are compared with what objects say.
            let cut = cut(rows, Direction::Reclaim, self.settings.rate);
            groups.extend(cut.into_iter().map(|rows| Group {
                table: index,
                rows,
                of: Of::LeftBehind,
                still_at: None,
            }));
        }
        Ok((groups, is_end))
    }

    /// The tables and ids of an object's rows, where none of them says S3.
    fn rows_of_left<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = (usize, Uuid)> + 'a {
        let is_left = entry.object.is_some() && entry.rows.iter().all(|row| !row.in_s3);
        entry.rows.iter().filter(move |_| is_left).filter_map(|row| {
            let tables = self.parts.migration.tables();
            let table = tables.iter().position(|table| table.schema == row.schema)?;
            Some((table, row.id.as_ref()?.as_uuid()?))
        })
    }

    /// A group of rows: their objects go to the recycle bucket.
    pub(super) async fn recycle_left(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        let look = |row: Candidate, digest| async move {
            let result = self.recycle_one_left(table, &row, digest).await;
            result.unwrap_or_else(|failure| {
                Some(FileResult { stays: true, ..self.failed(table, &row, &failure) })
            })
        };
        results.extend(self.looks(table, rows, look).await?.into_iter().flatten());
        Ok(())
    }

    /// One of them; nothing where its object is not left behind any more.
    async fn recycle_one_left(
        &self,
        table: &Table,
        row: &Candidate,
        digest: Option<Digest16>,
    ) -> Result<Option<FileResult>, Failure> {
        let told = |what, why: Option<&str>| Ok(Some(self.told(table, row, what, why.map(str::to_owned))));
        let key = self.key(row.id, &table.schema)?;
        let Some(head) = self.object(&key).await? else { return Ok(None) };
        if head.archived {
            return told(Migrated::Archived, Some("its object stays: it is in an archive class"));
        }
        match self.same(table, row, digest, &key, &head).await? {
            Same::Yes => {}
            Same::RowChanged | Same::ObjectChanged => return told(Migrated::Edited, None),
            Same::No if failpoint::removed("protection::proof_of_left_behind") => {}
            Same::No => {
                let now = self.now(table, vec![row.clone()]).await?;
                if now.iter().any(|(_, now)| *now != Now::Same) {
                    return told(Migrated::Edited, None);
                }
                return told(
                    Migrated::Differs,
                    Some(if self.is_of_an_earlier_run(&head) {
                        "its object stays: it has another content than the row, though an earlier migration wrote it"
                    } else {
                        "its object stays: it has another content than the row, and is not ours"
                    }),
                );
            }
        }
        match self.put_away(row.id, &table.schema, &key, &head.etag).await? {
            Some(Outcome::Moved | Outcome::AlreadyMoved) => told(Migrated::Recycled, None),
            Some(Outcome::Alive) => told(Migrated::Kept, Some(IN_USE)),
            Some(Outcome::Missing) => Ok(None),
            None => told(Migrated::Edited, None),
            Some(other) => {
                let why = format!("its object stays: {}", other.as_str());
                let file = self.told(table, row, Migrated::Failed, Some(why));
                Ok(Some(FileResult { stays: true, ..file }))
            }
        }
    }
}

/// The first files of these groups.
fn first(groups: Vec<Group>, most: &mut u64) -> Vec<Group> {
    let mut left = Vec::new();
    for mut group in groups {
        group.rows.truncate(usize::try_from(*most).unwrap_or(usize::MAX));
        *most -= group.rows.len() as u64;
        left.push(group);
    }
    left.retain(|group| !group.rows.is_empty());
    left
}
