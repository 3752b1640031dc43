//! One answer for many who ask at the same time, never one that is older than the question.

use std::future::Future;

use tokio::sync::Mutex;
use tokio::time::Instant;

/// Asks at most twice for any number of callers that come together: those that come while a question is
/// under way share the next one, because the running one began before they asked.
#[derive(Debug)]
pub(crate) struct Fresh<T> {
    last: Mutex<Option<(Instant, T)>>,
}

impl<T> Default for Fresh<T> {
    fn default() -> Self {
        Self { last: Mutex::new(None) }
    }
}

impl<T: Clone> Fresh<T> {
    /// The answer of a question that began after this call.
    pub(crate) async fn ask<Fut: Future<Output = T>>(&self, question: impl FnOnce() -> Fut) -> T {
        let asked = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((began, answer)) = &*last
            && *began > asked
        {
            return answer.clone();
        }
        let began = Instant::now();
        let answer = question().await;
        *last = Some((began, answer.clone()));
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn many_questions_at_once_become_two_and_a_later_one_is_asked_again() {
        let (fresh, asked) = (Fresh::default(), AtomicUsize::new(0));
        let ask = || {
            fresh.ask(|| async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                asked.fetch_add(1, Ordering::SeqCst)
            })
        };
        join_all((0..100).map(|_| ask())).await;
        assert_eq!(asked.load(Ordering::SeqCst), 2);
        ask().await;
        assert_eq!(asked.load(Ordering::SeqCst), 3);
    }
}
