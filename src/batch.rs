//! A micro-batcher: many callers each bring one item, one function works on all of them at once, and
//! every caller gets its own answer.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use crate::outcome::{Advice, DeadReason, Failure};

/// How large batches grow, how long an item waits for company, and what is held in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most items in a batch; at least 1.
    pub size: usize,
    /// With so many, a batch waits for no more; those that have come while it waits for its turn go with it.
    pub enough: usize,
    /// How long the first item of a batch waits for more; with zero it takes who is there.
    pub linger: Duration,
    /// How long the last item of a batch waits for more: after a burst nobody waits for all of the linger.
    pub idle: Duration,
    /// Most batches worked on at the same time; at least 1.
    pub concurrent: usize,
    /// Most items waiting to be put in a batch; callers wait beyond that. At least 1.
    pub queue: usize,
}

/// The callers' end of a batcher. When it is dropped, what was submitted is still worked on.
#[derive(Debug)]
pub struct Batcher<T, R> {
    items: mpsc::Sender<Item<T, R>>,
}

#[derive(Debug)]
struct Item<T, R> {
    value: T,
    answer: oneshot::Sender<Result<R, Failure>>,
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// A batcher that calls `run` for every batch, on the current tokio runtime.
    ///
    /// `run` answers in the order of the items, one answer for each; its failure is everybody's.
    pub fn new<F, Fut>(limits: Limits, run: F) -> Self
    where
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<R>, Failure>> + Send + 'static,
    {
        let (items, queue) = mpsc::channel(limits.queue.max(1));
        tokio::spawn(collect(limits, queue, Arc::new(run)));
        Self { items }
    }

    /// Puts an item in the next batch and waits for its own answer.
    pub async fn submit(&self, value: T) -> Result<R, Failure> {
        let (answer, answered) = oneshot::channel();
        // A closed queue or a dropped answer both mean that the batch died, by a panic or with its
        // runtime: it may be tried again.
        let died = || Failure::new(Advice::Retry, "the batch ended without an answer");
        self.items.send(Item { value, answer }).await.map_err(|_| died())?;
        answered.await.unwrap_or_else(|_| Err(died()))
    }
}

async fn collect<T, R, F, Fut>(limits: Limits, mut queue: mpsc::Receiver<Item<T, R>>, run: Arc<F>)
where
    T: Send + 'static,
    R: Send + 'static,
    F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Vec<R>, Failure>> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(limits.concurrent.max(1)));
    let size = limits.size.max(1);
    while let Some(first) = queue.recv().await {
        let mut batch = vec![first];
        let due = Instant::now() + limits.linger;
        while batch.len() < limits.enough.min(size) && !limits.linger.is_zero() {
            match timeout_at(due.min(Instant::now() + limits.idle), queue.recv()).await {
                Ok(Some(item)) => batch.push(item),
                Ok(None) | Err(_) => break,
            }
        }
        // The semaphore is never closed; were it, the batch's answers would be dropped, which is an answer.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        // While this batch waited for its turn, more may have come.
        while batch.len() < size {
            let Ok(item) = queue.try_recv() else { break };
            batch.push(item);
        }
        let run = Arc::clone(&run);
        // In a task of its own: a panic drops the answers of this batch and harms no other.
        tokio::spawn(async move {
            work(batch, &*run).await;
            drop(permit);
        });
    }
}

async fn work<T, R, F, Fut>(batch: Vec<Item<T, R>>, run: &F)
where
    F: Fn(Vec<T>) -> Fut,
    Fut: Future<Output = Result<Vec<R>, Failure>>,
{
    let (values, answers): (Vec<_>, Vec<_>) = batch.into_iter().map(|item| (item.value, item.answer)).unzip();
    let result = run(values).await.and_then(|results| {
        if results.len() == answers.len() {
            return Ok(results);
        }
        let error = format!("a batch of {} items got {} answers", answers.len(), results.len());
        Err(Failure::new(Advice::GiveUp(DeadReason::Internal), error))
    });
    // A caller that is gone does not take its answer; that is its own affair.
    match result {
        Ok(results) => {
            for (answer, result) in answers.into_iter().zip(results) {
                let _ = answer.send(Ok(result));
            }
        }
        Err(failure) => {
            for answer in answers {
                let _ = answer.send(Err(failure.clone()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;

    use super::*;

    const MOMENT: Duration = Duration::from_millis(50);
    const LIMITS: Limits =
        Limits { size: 3, enough: 3, linger: MOMENT, idle: MOMENT, concurrent: 2, queue: 8 };

    fn doubling(sizes: &Arc<Mutex<Vec<usize>>>) -> Batcher<u32, u32> {
        let sizes = Arc::clone(sizes);
        Batcher::new(LIMITS, move |batch: Vec<u32>| {
            sizes.lock().unwrap().push(batch.len());
            async move { Ok(batch.into_iter().map(|n| n * 2).collect()) }
        })
    }

    #[tokio::test]
    async fn every_item_gets_its_own_answer_from_a_batch_that_is_never_too_large() {
        let sizes = Arc::default();
        let batcher = doubling(&sizes);
        let answers = join_all((0..7).map(|n| batcher.submit(n))).await;
        assert_eq!(answers, (0..7).map(|n| Ok(n * 2)).collect::<Vec<_>>());
        assert_eq!(*sizes.lock().unwrap(), [3, 3, 1]);
    }

    #[tokio::test]
    async fn a_lonely_item_waits_no_longer_than_the_linger() {
        let batcher = doubling(&Arc::default());
        let start = Instant::now();
        assert_eq!(batcher.submit(21).await, Ok(42));
        assert!((LIMITS.linger..LIMITS.linger * 20).contains(&start.elapsed()));
    }

    #[tokio::test]
    async fn after_a_burst_nobody_waits_for_all_of_the_linger() {
        let forever = Duration::from_hours(1);
        let limits = Limits { size: 8, enough: 8, linger: forever, idle: MOMENT, ..LIMITS };
        let batcher = Batcher::new(limits, |batch: Vec<u32>| async move { Ok(batch) });
        let answers = join_all((0..3).map(|n| batcher.submit(n)));
        let answers = tokio::time::timeout(Duration::from_secs(10), answers).await.unwrap();
        assert_eq!(answers, [Ok(0), Ok(1), Ok(2)]);
    }

    #[tokio::test]
    async fn a_batch_that_is_large_enough_waits_for_no_more_and_takes_those_who_came_meanwhile() {
        let forever = Duration::from_hours(1);
        let limits = Limits { size: 9, enough: 3, linger: forever, idle: forever, concurrent: 1, queue: 9 };
        let sizes = Arc::new(Mutex::new(Vec::new()));
        let gate = Arc::new(Semaphore::new(0));
        let batcher = Batcher::new(limits, {
            let (sizes, gate) = (Arc::clone(&sizes), Arc::clone(&gate));
            move |batch: Vec<u32>| {
                sizes.lock().unwrap().push(batch.len());
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.unwrap().forget();
                    Ok(batch)
                }
            }
        });
        let first = join_all((0..3).map(|n| batcher.submit(n)));
        let rest = async {
            while sizes.lock().unwrap().is_empty() {
                tokio::task::yield_now().await;
            }
            // Three of these are enough as well, and wait for their turn; the others come meanwhile.
            let rest = join_all((3..9).map(|n| batcher.submit(n)));
            let opens = async {
                tokio::task::yield_now().await;
                gate.add_permits(2);
            };
            futures_util::future::join(rest, opens).await.0
        };
        let both = futures_util::future::join(first, rest);
        let (first, rest) = tokio::time::timeout(Duration::from_secs(10), both).await.unwrap();
        assert_eq!((first.len(), rest.len()), (3, 6));
        assert_eq!(*sizes.lock().unwrap(), [3, 6]);
    }

    #[tokio::test]
    async fn a_failing_batch_fails_all_of_its_items_and_no_other() {
        let batcher = Batcher::new(LIMITS, |batch: Vec<u32>| async move {
            if batch.contains(&1) { Err(Failure::new(Advice::SlowDown, "too fast")) } else { Ok(batch) }
        });
        let answers = join_all((0..6).map(|n| batcher.submit(n))).await;
        let failure = Failure::new(Advice::SlowDown, "too fast");
        assert!(answers[..3].iter().all(|answer| answer.as_ref() == Err(&failure)), "{answers:?}");
        assert_eq!(answers[3..], [Ok(3), Ok(4), Ok(5)]);
    }

    #[tokio::test]
    async fn a_panicking_batch_answers_its_items_and_harms_no_other() {
        let batcher = Batcher::new(LIMITS, |batch: Vec<u32>| async move {
            assert!(!batch.contains(&1), "a bug");
            Ok(batch)
        });
        let answers = join_all((0..6).map(|n| batcher.submit(n))).await;
        assert!(
            answers[..3]
                .iter()
                .all(|answer| { matches!(answer, Err(Failure { advice: Advice::Retry, .. })) })
        );
        assert_eq!(answers[3..], [Ok(3), Ok(4), Ok(5)]);
    }

    #[tokio::test]
    async fn a_batch_with_too_few_answers_answers_nobody_with_anothers() {
        let batcher = Batcher::new(LIMITS, |batch: Vec<u32>| async move { Ok(batch[1..].to_vec()) });
        for answer in join_all((0..3).map(|n| batcher.submit(n))).await {
            assert_eq!(answer.unwrap_err().advice, Advice::GiveUp(DeadReason::Internal));
        }
    }

    #[tokio::test]
    async fn no_more_batches_run_at_once_than_allowed() {
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let peak = Arc::clone(&most);
        let batcher = Batcher::new(LIMITS, move |batch: Vec<u32>| {
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            async move {
                most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(10)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                Ok(batch)
            }
        });
        join_all((0..30).map(|n| batcher.submit(n))).await;
        assert_eq!(peak.load(Ordering::SeqCst), LIMITS.concurrent);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_takes_nobody_with_it() {
        let batcher = Arc::new(doubling(&Arc::default()));
        let gone = tokio::time::timeout(Duration::from_millis(1), batcher.submit(1)).await;
        assert!(gone.is_err());
        assert_eq!(batcher.submit(2).await, Ok(4));
    }
}
