//! Whose trouble is it? What the requests for other files say about the one that failed.
//!
//! Our own probe object may work while every file fails (a key of an encryption that only files have, a policy on
//! their prefix), so the control question alone condemns nobody: one file's error is its own only as long as not
//! many files fail with none between them that works.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::timeout;

use super::{Operation, Side};
use crate::file::OWN_PREFIX;

/// So many different keys that fail, with none that works, are everybody's trouble.
const MANY: usize = 3;
/// How long a failure waits to see how others fare. Where nobody else is at work, it is the file's own then.
const PATIENCE: Duration = Duration::from_secs(1);

/// What became of other files' requests of one kind lately.
#[derive(Debug, Default)]
struct Lately {
    /// Files that failed since the last one that did not; no more are kept than make [`MANY`].
    failing: HashSet<String>,
    /// Files that did not fail, ever.
    worked: u64,
}

/// The evidence of one process, by operation and bucket.
#[derive(Debug)]
pub(super) struct Evidence {
    lately: Mutex<Vec<Lately>>,
    news: Notify,
    patience: Duration,
}

impl Default for Evidence {
    fn default() -> Self {
        Self::new(PATIENCE)
    }
}

impl Evidence {
    fn new(patience: Duration) -> Self {
        let lately = Operation::ALL.iter().flat_map(|_| [Lately::default(), Lately::default()]).collect();
        Self { lately: Mutex::new(lately), news: Notify::new(), patience }
    }

    /// A file's request worked.
    pub(super) fn worked(&self, operation: Operation, side: Side, key: &str) {
        if key.starts_with(OWN_PREFIX) {
            return;
        }
        let mut lately = self.lock();
        let Some(lately) = lately.get_mut(index(operation, side)) else { return };
        lately.worked += 1;
        if !lately.failing.is_empty() {
            lately.failing.clear();
            self.news.notify_waiters();
        }
    }

    /// A file's request failed in a way that could be everybody's.
    pub(super) fn failed(&self, operation: Operation, side: Side, key: &str) {
        if key.starts_with(OWN_PREFIX) {
            return;
        }
        let mut lately = self.lock();
        let Some(lately) = lately.get_mut(index(operation, side)) else { return };
        if lately.failing.len() < MANY && lately.failing.insert(key.to_owned()) {
            self.news.notify_waiters();
        }
    }

    /// Is this operation's failure many files' trouble, with none that works? Waits a moment for evidence, where
    /// there is neither.
    pub(super) async fn many_fail(&self, operation: Operation, side: Side) -> bool {
        let before = self.count(operation, side).1;
        let decided = async {
            loop {
                // Listens first: news between the look and the wait is heard.
                let news = self.news.notified();
                let (failing, worked) = self.count(operation, side);
                if failing >= MANY || worked != before || failing == 0 {
                    return failing >= MANY;
                }
                news.await;
            }
        };
        timeout(self.patience, decided).await.unwrap_or(false)
    }

    fn count(&self, operation: Operation, side: Side) -> (usize, u64) {
        let lately = self.lock();
        lately.get(index(operation, side)).map_or((0, 0), |lately| (lately.failing.len(), lately.worked))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Lately>> {
        // Counts are whole whatever panicked.
        self.lately.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn index(operation: Operation, side: Side) -> usize {
    2 * operation as usize + usize::from(side == Side::Recycle)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const COPY: Operation = Operation::CopyObject;
    const TO: Side = Side::Recycle;
    const MOMENT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn one_that_fails_alone_or_while_others_work_is_nobody_elses_trouble() {
        let evidence = Evidence::new(MOMENT);
        evidence.failed(COPY, TO, "a");
        assert!(!evidence.many_fail(COPY, TO).await, "alone");
        evidence.worked(COPY, TO, "b");
        evidence.failed(COPY, TO, "a");
        evidence.failed(COPY, TO, "c");
        assert!(!evidence.many_fail(COPY, TO).await, "two of them");
    }

    #[tokio::test]
    async fn many_that_fail_with_none_that_works_are_everybodys_trouble() {
        let evidence = Evidence::default();
        for key in ["a", "a", "b", "c", "d"] {
            evidence.failed(COPY, TO, key);
        }
        assert!(evidence.many_fail(COPY, TO).await);
        assert!(!evidence.many_fail(Operation::HeadObject, TO).await, "of another kind");
        evidence.worked(COPY, Side::Object, "e");
        assert!(evidence.many_fail(COPY, TO).await, "the other bucket says nothing about this one");
        evidence.worked(COPY, TO, ".file-recycler/probe-x");
        assert!(evidence.many_fail(COPY, TO).await, "our own object says nothing about files");
        evidence.worked(COPY, TO, "e");
        assert!(!evidence.many_fail(COPY, TO).await, "one works");
    }

    #[tokio::test]
    async fn evidence_that_comes_within_the_moment_counts() {
        let evidence = Arc::new(Evidence::default());
        evidence.failed(COPY, TO, "a");
        let asking = tokio::spawn({
            let evidence = Arc::clone(&evidence);
            async move { evidence.many_fail(COPY, TO).await }
        });
        tokio::task::yield_now().await;
        evidence.failed(COPY, TO, "b");
        evidence.failed(COPY, TO, "c");
        assert!(asking.await.unwrap());
    }

    #[test]
    fn every_operation_has_its_own_evidence() {
        let evidence = Evidence::default();
        for (at, operation) in Operation::ALL.iter().enumerate() {
            assert_eq!(*operation as usize, at);
        }
        assert_eq!(evidence.lock().len(), 2 * Operation::ALL.len());
    }
}
