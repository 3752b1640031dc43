//! What is too quiet: rows of files that vanish while nothing is captured, and an outbox whose next row
//! nobody takes. Pure: what was counted and the time go in, what to say comes out.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::db::TableName;
use crate::db::outbox::Head;
use crate::db::silence::DeletionCounts;

/// Statistics of one transaction may come in pieces: so long a deletion waits for its capture.
const SETTLED: Duration = Duration::from_secs(5);
/// Most ids that one outbox row holds.
const IDS_OF_A_ROW: u64 = 1_000;
/// How unlikely it must be that none of the vanished rows was one of S3.
const DOUBT: f64 = 0.01;
/// So many of the relay's slowest polls the outbox's first row may be the first, while it is due and a relay
/// may run; and at least so long.
const STALLED_POLLS: u32 = 60;
const STALLED: Duration = Duration::from_secs(10);

/// Rows of files that vanished and of which nothing was heard.
#[derive(Debug, Default)]
pub(super) struct Silence {
    last: Option<DeletionCounts>,
    /// Vanished since the last captured one.
    pending: BTreeMap<TableName, Vanished>,
    since: Option<Instant>,
    /// Ids that the last look's outbox rows may have held beyond what had vanished by then.
    spare: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Vanished {
    rows: u64,
    in_s3: f64,
}

impl Vanished {
    /// How likely it is that none of the rows had its content in S3.
    fn none_in_s3(&self) -> f64 {
        (1.0 - self.in_s3).powi(i32::try_from(self.rows).unwrap_or(i32::MAX))
    }
}

/// What one look says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Heard {
    /// Something was captured since the last look.
    pub(super) captured: bool,
    /// Rows that vanished unheard, and from where.
    pub(super) silent: Option<(u64, Vec<TableName>)>,
}

impl Silence {
    /// Nothing was counted yet.
    pub(super) fn is_new(&self) -> bool {
        self.last.is_none()
    }

    /// Takes the next counts.
    pub(super) fn look(&mut self, counts: DeletionCounts, now: Instant) -> Heard {
        let Some(last) = self.last.replace(counts) else { return Heard::default() };
        let Some(counts) = &self.last else { return Heard::default() };
        if counts.captured < last.captured {
            // The statistics were reset: what came before cannot be told any more.
            *self = Self { last: self.last.take(), ..Self::default() };
            return Heard::default();
        }
        let captured = counts.captured - last.captured;
        let before: BTreeMap<_, _> = last.tables.iter().map(|of| (&of.table, of.deleted)).collect();
        for of in &counts.tables {
            // A table that is new here begins now, and so does one whose own statistics were reset.
            let vanished = before.get(&of.table).map_or(0, |before| of.deleted.saturating_sub(*before));
            if vanished > 0 {
                let pending = self.pending.entry(of.table.clone()).or_default();
                pending.rows += vanished;
                pending.in_s3 = of.in_s3;
            }
        }
        let explained = captured.saturating_mul(IDS_OF_A_ROW);
        let left = self.explain(explained.saturating_add(self.spare));
        self.spare = left.min(explained);
        Heard { captured: captured > 0, silent: self.silent(now) }
    }

    /// Takes away what so many captured ids can explain; gives how many are left over.
    fn explain(&mut self, mut ids: u64) -> u64 {
        for pending in self.pending.values_mut() {
            let explained = pending.rows.min(ids);
            pending.rows -= explained;
            ids -= explained;
        }
        self.pending.retain(|_, pending| pending.rows > 0);
        ids
    }

    fn silent(&mut self, now: Instant) -> Option<(u64, Vec<TableName>)> {
        if self.pending.is_empty() {
            self.since = None;
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let none_in_s3: f64 = self.pending.values().map(Vanished::none_in_s3).product();
        if none_in_s3 > DOUBT || now.saturating_duration_since(since) < SETTLED {
            return None;
        }
        let told = self.pending.iter().filter(|(_, vanished)| vanished.in_s3 > 0.0);
        let rows = told.clone().map(|(_, vanished)| vanished.rows).sum();
        Some((rows, told.map(|(table, _)| table.clone()).collect()))
    }
}

/// Does the outbox's first row stay the first?
#[derive(Debug, Default)]
pub(super) struct Stall {
    first: Option<(i64, Instant)>,
}

impl Stall {
    /// Takes the outbox's first row; `may_relay`: nothing keeps a relay from taking it. Gives how long the row
    /// has waited, once that is too long.
    pub(super) fn look(
        &mut self,
        head: Option<Head>,
        may_relay: bool,
        (grace, poll): (Duration, Duration),
        now: Instant,
    ) -> Option<Duration> {
        let Some(head) = head.filter(|head| may_relay && head.waits > grace) else {
            self.first = None;
            return None;
        };
        match self.first {
            Some((id, since)) if id == head.id => {
                let allowed = STALLED.max(poll * STALLED_POLLS);
                (now.saturating_duration_since(since) >= allowed).then_some(head.waits)
            }
            _ => {
                self.first = Some((head.id, now));
                None
            }
        }
    }
}

#[cfg(test)]
mod tests;
