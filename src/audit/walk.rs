//! Walks along the ranges: each entry is classified; what is doubtful is asked again, some hundreds at a time.

use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use super::doubt::Doubt;
use super::{Audit, Batch, Class, Finding, Total, at};
use crate::db::inventory::InventoryRow;
use crate::inventory::{Entry, RANGES_AT_ONCE, Range, Waited};
use crate::outcome::Failure;
use crate::stop::Stop;
use crate::storage::Side;

/// Entries after which what was found is handed on.
const BATCH: usize = 1_000;
/// Doubts that are asked together.
pub(super) const DOUBTS: usize = 500;

/// Walks all ranges; how long they waited, and what failed in them.
pub(super) async fn all(
    audit: Audit,
    ranges: Vec<Range>,
    stop: Stop,
    batches: mpsc::Sender<Batch>,
) -> (Waited, Vec<Failure>) {
    let walks = ranges.into_iter().enumerate().map(move |(at, range)| {
        let (audit, stop, batches) = (audit.clone(), stop.clone(), batches.clone());
        // In a task of its own: two ranges may be classified at the same time.
        tokio::spawn(async move { walk(&audit, at, &range, &stop, &batches).await })
    });
    let ended: Vec<_> = futures_util::stream::iter(walks).buffer_unordered(RANGES_AT_ONCE).collect().await;
    let mut waited = Waited::default();
    let mut failures = Vec::new();
    for end in ended {
        match end {
            Ok((waits, result)) => {
                waited.listing += waits.listing;
                waited.rows += waits.rows;
                failures.extend(result.err());
            }
            Err(_) => failures.push(panicked()),
        }
    }
    (waited, failures)
}

fn panicked() -> Failure {
    use crate::outcome::{Advice, DeadReason};
    Failure::new(Advice::GiveUp(DeadReason::Internal), "a walk along the buckets panicked")
}

async fn walk(
    audit: &Audit,
    range_at: usize,
    range: &Range,
    stop: &Stop,
    batches: &mpsc::Sender<Batch>,
) -> (Waited, Result<(), Failure>) {
    let mut entries = audit.inventory.entries(range);
    let mut batch = Batch::new(range_at);
    let mut doubts = Vec::new();
    let mut seen = 0;
    let result = loop {
        if stop.is_requested() {
            break Ok(());
        }
        let next = tokio::select! {
            next = entries.next() => next,
            () = stop.requested() => break Ok(()),
        };
        let entry = match next {
            Ok(Some(entry)) => entry,
            Ok(None) => break Ok(()),
            Err(failure) => break Err(failure),
        };
        batch.count(&entry);
        batch.progress = range.progress(&entry.key);
        seen += 1;
        match audit.first_look(entry) {
            Looked::Nothing => {}
            Looked::Certain(finding) => batch.findings.push(finding),
            Looked::Doubtful(doubt) => doubts.push(doubt),
        }
        if doubts.len() >= DOUBTS {
            match audit.settle(std::mem::take(&mut doubts)).await {
                Ok(settled) => batch.findings.extend(settled),
                Err(failure) => break Err(failure),
            }
        }
        if seen % BATCH == 0 && !batch.hand_on(batches).await {
            return (entries.waited(), Ok(()));
        }
    };
    let result = match result {
        Ok(()) if stop.is_requested() => Ok(()),
        Ok(()) => audit.settle(doubts).await.map(|settled| batch.findings.extend(settled)),
        Err(failure) => Err(failure),
    };
    if result.is_ok() && !stop.is_requested() {
        batch.progress = 1.0;
    }
    batch.hand_on(batches).await;
    (entries.waited(), result)
}

/// What an entry says by itself.
pub(super) enum Looked {
    Nothing,
    Certain(Finding),
    Doubtful(Doubt),
}

impl Audit {
    fn first_look(&self, entry: Entry) -> Looked {
        // Where a row names the key, nobody has to ask whose it could be.
        let owner = if entry.rows.is_empty() { self.inventory.owner(&entry.key) } else { None };
        let doubt = Doubt { entry, owner };
        match self.as_seen(&doubt) {
            None => Looked::Nothing,
            Some(finding) if finding.class.is_doubtful() => Looked::Doubtful(doubt),
            Some(finding) => Looked::Certain(finding),
        }
    }
}

/// A finding; `sizes` are those of the object and of the copy.
pub(super) fn finding(
    file: Option<crate::file::FileId>,
    key: String,
    class: Class,
    rows: &[InventoryRow],
    (object, copy): (Option<u64>, Option<u64>),
) -> Finding {
    let told = rows.iter().filter(|row| row.in_s3).find_map(|row| row.size);
    Finding {
        file,
        schema: rows.first().map(|row| row.schema.clone()),
        key,
        class,
        size: object.or(copy).or(told),
        row_size: told.filter(|told| object.is_some_and(|object| object != *told)),
        data: rows.iter().filter(|row| row.in_s3).filter_map(|row| row.data).max(),
    }
}

impl Batch {
    fn new(range: usize) -> Self {
        Self {
            range,
            progress: 0.0,
            findings: Vec::new(),
            buckets: [Total::default(); 2],
            rows: 0,
            data_left: Total::default(),
        }
    }

    fn count(&mut self, entry: &Entry) {
        for (side, listed) in [(Side::Object, &entry.object), (Side::Recycle, &entry.copy)] {
            if let Some(listed) = listed {
                self.buckets[at(side)].add(listed.size);
            }
        }
        self.rows += entry.rows.len() as u64;
        let left = entry.rows.iter().filter(|row| row.in_s3).filter_map(|row| row.data);
        left.filter(|bytes| *bytes > 0).for_each(|bytes| self.data_left.add(bytes));
    }

    /// Hands on what has been found so far; `false` where nobody takes it any more.
    async fn hand_on(&mut self, batches: &mpsc::Sender<Self>) -> bool {
        let next = Self { progress: self.progress, ..Self::new(self.range) };
        batches.send(std::mem::replace(self, next)).await.is_ok()
    }
}
