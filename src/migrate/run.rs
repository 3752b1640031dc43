//! The whole run: tables one after the other, some groups in work at the same time, one summary.

use std::sync::Arc;

use futures_util::stream::{self, Stream, StreamExt as _};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::asking::lasting;
use super::groups::{cut, weight};
use super::{FileResult, Migrated, Migrator, Summary};
use crate::db::migrate::{Candidate, Direction, PAGE};
use crate::outcome::Failure;

/// Groups in work at the same time.
const AT_ONCE: usize = 8;
/// So many files in a row that fail because the storage is out of reach, with none that fares better, end it.
const OUTAGE: usize = 64;

/// A group of rows of one table.
struct Group {
    table: usize,
    rows: Vec<Candidate>,
}

/// Where the walk is.
struct Walk {
    table: usize,
    begin: Option<Uuid>,
    left: u64,
}

impl Migrator {
    /// Moves everything that is meant, or finds out what that would be, and hands each file's result to `sink`.
    ///
    /// It ends early where a stop is asked for (what is in work is finished), where the database does not answer for
    /// minutes or refuses, where the sink fails, and where the storage is out of reach.
    pub async fn run(self: &Arc<Self>, mut sink: impl FnMut(&FileResult) -> Result<(), String>) -> Summary {
        let (stop, enough) = (&self.parts.stop, CancellationToken::new());
        let ended = async {
            tokio::select! {
                () = stop.requested() => {}
                () = enough.cancelled() => {}
            }
        };
        let groups = self.groups().take_until(Box::pin(ended)).map(|group| self.begin(group));
        let mut groups = std::pin::pin!(groups.buffer_unordered(AT_ONCE));
        let (mut summary, mut outages) = (Summary::default(), 0);
        loop {
            let next = tokio::select! {
                next = groups.next() => next,
                // A second signal, or no patience left: what is in work is dropped, and found by the next run.
                () = stop.at_once() => None,
            };
            let files = match next {
                None => break,
                Some(Ok(files)) => files,
                Some(Err(failure)) => {
                    enough.cancel();
                    summary.stopped.get_or_insert(failure.error);
                    continue;
                }
            };
            for file in files {
                outages = if file.outage { outages + 1 } else { 0 };
                summary.add(&file);
                let told = sink(&file).err();
                let stopped = told.or_else(|| file.why.clone().filter(|_| outages >= OUTAGE));
                if let Some(why) = stopped {
                    enough.cancel();
                    summary.stopped.get_or_insert(why);
                }
            }
        }
        summary.interrupted = stop.is_requested();
        (summary.waited, summary.wal) = (self.gentle.waited(), self.gentle.wal());
        summary.blind = self.gentle.is_blind();
        summary
    }

    /// All groups, a page of rows after the other.
    fn groups(self: &Arc<Self>) -> impl Stream<Item = Result<Group, Failure>> + use<> {
        let walk = Walk { table: 0, begin: Some(Uuid::nil()), left: self.settings.limit.unwrap_or(u64::MAX) };
        let this = Arc::clone(self);
        let pages = stream::unfold(Some(walk), move |walk| {
            let this = Arc::clone(&this);
            async move {
                let mut walk = walk?;
                match this.page(&mut walk).await {
                    Ok(None) => None,
                    Ok(Some(groups)) => Some((groups.into_iter().map(Ok).collect::<Vec<_>>(), Some(walk))),
                    Err(failure) => Some((vec![Err(failure)], None)),
                }
            }
        });
        pages.flat_map(stream::iter)
    }

    /// The next page, which may be empty; nothing at the end.
    async fn page(&self, walk: &mut Walk) -> Result<Option<Vec<Group>>, Failure> {
        let (migration, index) = (&self.parts.migration, walk.table);
        let Some(table) = migration.tables().get(index).filter(|_| walk.left > 0) else { return Ok(None) };
        let Some(begin) = walk.begin else {
            (walk.table, walk.begin) = (index + 1, Some(Uuid::nil()));
            return Ok(Some(Vec::new()));
        };
        let mut rows = self.database(|| self.parts.db.migration_page(migration, table, begin)).await?;
        let last = rows.last().filter(|_| rows.len() >= PAGE).map(|row| row.id.as_u128());
        walk.begin = last.and_then(|last| last.checked_add(1)).map(Uuid::from_u128);
        // What cannot be moved by what its row says does not count: else a bound would be used up by it, in each run.
        let mut left = walk.left;
        rows.retain(|row| {
            let counts = self.settings.direction != Direction::ToStorage || self.unfit(table, row).is_none();
            let taken = left > 0;
            left -= u64::from(counts && taken);
            taken
        });
        walk.left = left;
        let groups = cut(rows, self.settings.direction, self.settings.rate);
        Ok(Some(groups.into_iter().map(|rows| Group { table: index, rows }).collect()))
    }

    /// The work on one group: a task of its own. It ends where nobody waits for it any more.
    fn begin(
        self: &Arc<Self>,
        group: Result<Group, Failure>,
    ) -> impl Future<Output = Result<Vec<FileResult>, Failure>> + use<> {
        let this = Arc::clone(self);
        let work = AbortOnDropHandle::new(tokio::spawn(async move { this.work(group?).await }));
        async move { work.await.unwrap_or_else(|_| Err(lasting("the work on a group of files panicked"))) }
    }

    async fn work(&self, Group { table, rows }: Group) -> Result<Vec<FileResult>, Failure> {
        let direction = self.settings.direction;
        let Some(table) = self.parts.migration.tables().get(table) else { return Ok(Vec::new()) };
        if !self.settings.apply {
            return Ok(rows.iter().map(|row| self.prospect(table, row)).collect());
        }
        let bytes = rows.iter().map(|row| weight(row, direction)).sum();
        tokio::select! {
            () = self.parts.stop.requested() => return Ok(Vec::new()),
            () = tokio::time::sleep_until(self.pace.turn(Instant::now(), rows.len() as u64, bytes)) => {}
        }
        self.gentle.clear().await;
        // What waited for its turn when a stop came has not begun.
        if self.parts.stop.is_requested() {
            return Ok(Vec::new());
        }
        match direction {
            Direction::ToStorage => self.to_storage(table, rows).await,
            Direction::Reclaim => self.reclaim(table, rows).await,
            Direction::ToDatabase => self.to_database(table, rows).await,
        }
    }

    /// What would become of a row, by what it says itself.
    fn prospect(&self, table: &crate::db::migrate::Table, row: &Candidate) -> FileResult {
        match self.settings.direction {
            Direction::ToStorage => {
                self.unfit(table, row).unwrap_or_else(|| self.told(table, row, Migrated::WouldMigrate, None))
            }
            Direction::Reclaim => self.told(table, row, Migrated::WouldReclaim, None),
            Direction::ToDatabase => self.told(table, row, Migrated::WouldMigrate, None),
        }
    }
}
