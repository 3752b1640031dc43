//! The whole run: tables one after the other, some groups in work at the same time, one summary.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::asking::lasting;
use super::groups::{cut, weight};
use super::{FileResult, Migrated, Migrator, Summary};
use crate::db::migrate::{Candidate, Direction, PAGE, STILL};
use crate::failpoint::removed;
use crate::outcome::Failure;

/// Groups in work at the same time.
const AT_ONCE: usize = 8;
/// So many files in a row that fail because the storage is out of reach, with none that fares better, end it.
const OUTAGE: usize = 64;

/// A group of rows of one table.
pub(super) struct Group {
    pub(super) table: usize,
    pub(super) rows: Vec<Candidate>,
    pub(super) of: Of,
    /// When its rows have been still for long enough.
    pub(super) still_at: Option<Instant>,
}

/// What is to be done with a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    /// Contents go where they are meant to go.
    Meant,
    /// Objects that a migration to the database left behind go to the recycle bucket.
    LeftBehind,
}

/// What came of a group.
#[derive(Default)]
struct Worked {
    files: Vec<FileResult>,
    /// Why no other group can fare better: it ends the run.
    end: Option<Failure>,
}

impl From<Failure> for Worked {
    fn from(failure: Failure) -> Self {
        Self { files: Vec::new(), end: Some(failure) }
    }
}

/// Where the walk through the tables is.
#[derive(Debug, Default)]
struct Walk {
    table: usize,
    /// The id with which the next page begins.
    begin: Uuid,
    /// Rows that may still be taken.
    left: u64,
    /// There is no table any more.
    ended: bool,
}

impl Walk {
    /// So many rows more may be taken; whether there may be any.
    fn goes_on(&mut self, left: u64) -> bool {
        self.left = left;
        !self.ended
    }

    /// The rows of this page that may be taken; the next one begins after the last of them.
    fn take(&mut self, mut page: Vec<Candidate>) -> Vec<Candidate> {
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(page.len());
        let is_last = page.len() < PAGE && taken == page.len();
        page.truncate(taken);
        self.left -= taken as u64;
        let next = page.last().filter(|_| !is_last).and_then(|row| row.id.as_u128().checked_add(1));
        if let Some(next) = next {
            self.begin = Uuid::from_u128(next);
        } else {
            (self.table, self.begin) = (self.table + 1, Uuid::nil());
        }
        page
    }
}

impl Migrator {
    /// Moves everything that is meant, or finds out what that would be, and hands each file's result to `sink`.
    ///
    /// It ends early where a stop is asked for (what is in work is finished), where the database does not answer for
    /// minutes or refuses, where the sink fails, and where the storage is out of reach.
    pub async fn run(self: &Arc<Self>, mut sink: impl FnMut(&FileResult) -> Result<(), String>) -> Summary {
        let stop = &self.parts.stop;
        let mut summary = Summary::default();
        let walk = Arc::new(Mutex::new(Walk::default()));
        // What could not be done does not count, or a bound would be used up by the same files in each run: as many others
        // are looked for.
        while self.most(&summary) > 0 && summary.stopped.is_none() && !stop.is_requested() {
            if !walk.lock().await.goes_on(self.most(&summary)) {
                break;
            }
            self.work_on(self.groups(&walk), &mut summary, &mut sink).await;
        }
        let most = self.most(&summary);
        if let Some(inventory) = self.parts.left_behind.as_ref().filter(|_| most > 0)
            && summary.stopped.is_none()
            && !stop.is_requested()
        {
            // After the last of the others: what they put away is not here any more.
            let tried = std::mem::take(&mut summary.tried);
            self.work_on(self.left_behind(inventory, most, tried), &mut summary, &mut sink).await;
        }
        summary.interrupted = stop.is_requested();
        (summary.waited, summary.wal) = (self.gentle.waited(), self.gentle.wal());
        summary.blind = self.gentle.is_blind();
        summary
    }

    /// Works on these groups, and hands on each file's result.
    async fn work_on(
        self: &Arc<Self>,
        groups: impl Stream<Item = Result<Group, Failure>>,
        summary: &mut Summary,
        sink: &mut impl FnMut(&FileResult) -> Result<(), String>,
    ) {
        let (stop, enough) = (&self.parts.stop, CancellationToken::new());
        let ended = async {
            tokio::select! {
                () = stop.requested() => {}
                () = enough.cancelled() => {}
            }
        };
        let groups = groups.take_until(Box::pin(ended)).map(|group| self.begin(group));
        let mut groups = std::pin::pin!(groups.buffer_unordered(AT_ONCE));
        let mut outages = 0;
        loop {
            let next = tokio::select! {
                next = groups.next() => next,
                // A second signal, or no patience left: what is in work is dropped, and found by the next run.
                () = stop.at_once() => None,
            };
            let Some(Worked { files, end }) = next else { break };
            if let Some(failure) = end {
                enough.cancel();
                summary.stopped.get_or_insert(failure.error);
            }
            for file in files {
                outages = outages_after(outages, &file);
                summary.add(&file);
                let told = sink(&file).err();
                let stopped = told.or_else(|| file.why.clone().filter(|_| outages >= OUTAGE));
                if let Some(why) = stopped {
                    enough.cancel();
                    summary.stopped.get_or_insert(why);
                }
            }
        }
    }

    /// How many files may still be done.
    fn most(&self, summary: &Summary) -> u64 {
        self.settings.limit.unwrap_or(u64::MAX).saturating_sub(summary.done().files)
    }

    /// All groups from where the walk is, a page of rows after the other.
    fn groups(
        self: &Arc<Self>,
        walk: &Arc<Mutex<Walk>>,
    ) -> impl Stream<Item = Result<Group, Failure>> + use<> {
        let begun = Some((Arc::clone(self), Arc::clone(walk)));
        let pages = stream::unfold(begun, |going| async {
            let (this, walk) = going?;
            let page = this.page(&mut *walk.lock().await).await;
            match page {
                Ok(None) => None,
                Ok(Some(groups)) => {
                    Some((groups.into_iter().map(Ok).collect::<Vec<_>>(), Some((this, walk))))
                }
                Err(failure) => Some((vec![Err(failure)], None)),
            }
        });
        pages.flat_map(stream::iter)
    }

    /// The next page, which may be empty; nothing at the end.
    async fn page(&self, walk: &mut Walk) -> Result<Option<Vec<Group>>, Failure> {
        let (migration, index) = (&self.parts.migration, walk.table);
        if walk.left == 0 {
            return Ok(None);
        }
        let Some(table) = migration.tables().get(index) else {
            walk.ended = true;
            return Ok(None);
        };
        let page = self.database(|| self.parts.db.migration_page(migration, table, walk.begin)).await?;
        let read = Instant::now();
        let rows = walk.take(page);
        let groups = cut(rows, self.settings.direction, self.settings.rate);
        let group = |rows: Vec<Candidate>| {
            let waits = self.settings.let_settle && rows.iter().any(|row| row.is_fresh);
            let still_at = (waits && !removed("protection::still_rows")).then(|| read + STILL);
            Group { table: index, rows, of: Of::Meant, still_at }
        };
        Ok(Some(groups.into_iter().map(group).collect()))
    }

    /// The work on one group: a task of its own. It ends where nobody waits for it any more.
    fn begin(self: &Arc<Self>, group: Result<Group, Failure>) -> impl Future<Output = Worked> + use<> {
        let this = Arc::clone(self);
        let work = AbortOnDropHandle::new(tokio::spawn(async move {
            match group {
                Ok(group) => this.work(group).await,
                Err(failure) => failure.into(),
            }
        }));
        async move { work.await.unwrap_or_else(|_| lasting("the work on a group of files panicked").into()) }
    }

    async fn work(&self, Group { table, rows, of, still_at }: Group) -> Worked {
        let direction = self.settings.direction;
        let Some(table) = self.parts.migration.tables().get(table) else { return Worked::default() };
        if !self.settings.apply {
            let files = rows.iter().map(|row| self.prospect(table, row, of)).collect();
            return Worked { files, end: None };
        }
        let bytes = match of {
            Of::Meant => rows.iter().map(|row| weight(row, direction)).sum(),
            // As where rows are cleared: the server reads small ones, and what no digest tells apart comes here.
            Of::LeftBehind => rows.iter().map(|row| weight(row, Direction::Reclaim)).sum(),
        };
        if let Some(still_at) = still_at {
            // Who changes one of them meanwhile makes it another version, which is left to the next run.
            tokio::select! {
                () = self.parts.stop.requested() => return Worked::default(),
                () = tokio::time::sleep_until(still_at) => {}
            }
        }
        tokio::select! {
            () = self.parts.stop.requested() => return Worked::default(),
            () = tokio::time::sleep_until(self.pace.turn(Instant::now(), rows.len() as u64, bytes)) => {}
        }
        self.gentle.clear().await;
        // What waited for its turn when a stop came has not begun.
        if self.parts.stop.is_requested() {
            return Worked::default();
        }
        let (asked, mut files) = (rows.clone(), Vec::with_capacity(rows.len()));
        let done = match (of, direction) {
            (Of::LeftBehind, _) => self.recycle_left(table, rows, &mut files).await,
            (Of::Meant, Direction::ToStorage) => self.to_storage(table, rows, &mut files).await,
            (Of::Meant, Direction::Reclaim) => self.reclaim(table, rows, &mut files).await,
            (Of::Meant, Direction::ToDatabase) => self.to_database(table, rows, &mut files).await,
        };
        let end = done.err();
        if let Some(failure) = &end {
            // What was done before it is told, and every other file, too.
            let told: HashSet<Uuid> = files.iter().map(|file| file.file_id).collect();
            let untold = asked.iter().filter(|row| !told.contains(&row.id));
            files.extend(untold.map(|row| self.failed(table, row, failure)));
        }
        Worked { files, end }
    }

    /// What would become of a row, by what it says itself.
    fn prospect(&self, table: &crate::db::migrate::Table, row: &Candidate, of: Of) -> FileResult {
        match self.settings.direction {
            _ if of == Of::LeftBehind => self.told(table, row, Migrated::WouldRecycle, None),
            Direction::ToStorage => {
                self.unfit(table, row).unwrap_or_else(|| self.told(table, row, Migrated::WouldMigrate, None))
            }
            Direction::Reclaim => self.told(table, row, Migrated::WouldReclaim, None),
            Direction::ToDatabase => self.told(table, row, Migrated::WouldMigrate, None),
        }
    }
}

/// Files in a row that failed because the storage is out of reach. One for which nobody asked it says nothing of that.
fn outages_after(before: usize, file: &FileResult) -> usize {
    match file.result {
        _ if file.outage => before + 1,
        Migrated::NoContent
        | Migrated::SizeDiffers
        | Migrated::Kept
        | Migrated::Edited
        | Migrated::Gone
        | Migrated::Failed => before,
        Migrated::Migrated
        | Migrated::AlreadyThere
        | Migrated::WouldMigrate
        | Migrated::Reclaimed
        | Migrated::WouldReclaim
        | Migrated::Recycled
        | Migrated::WouldRecycle
        | Migrated::Differs
        | Migrated::Missing
        | Migrated::TooLarge
        | Migrated::Archived
        | Migrated::Unproven => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::file::SchemaName;

    #[test]
    fn only_what_the_storage_has_answered_ends_a_row_of_outages() {
        let file = |result, outage| FileResult {
            file_id: Uuid::nil(),
            schema: SchemaName::try_from("ContactFile").unwrap(),
            key: None,
            result,
            bytes: None,
            why: None,
            stored: 0,
            outage,
            stays: false,
        };
        assert_eq!(outages_after(3, &file(Migrated::Failed, true)), 4);
        for (result, expected) in [
            (Migrated::NoContent, 3),
            (Migrated::SizeDiffers, 3),
            (Migrated::Edited, 3),
            (Migrated::Gone, 3),
            // By the database, or for a reason of its own.
            (Migrated::Failed, 3),
            (Migrated::Migrated, 0),
            (Migrated::Missing, 0),
            (Migrated::Unproven, 0),
        ] {
            assert_eq!(outages_after(3, &file(result, false)), expected, "{result}");
        }
    }
}
