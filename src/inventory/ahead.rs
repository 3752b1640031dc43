//! A stream of pages that is read ahead: while one page is used, the next is fetched, and no third.

use std::future::Future;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::outcome::{Advice, DeadReason, Failure};

/// What has a place in the order of keys.
pub(super) trait Keyed: Send + 'static {
    /// Its object's key.
    fn key(&self) -> &str;
}

/// The reading end. When it is dropped, the reading ends.
pub(super) struct Ahead<T> {
    /// What is read, for errors.
    what: String,
    pages: mpsc::Receiver<Result<Vec<T>, Failure>>,
    page: std::vec::IntoIter<T>,
    next: Option<T>,
    ended: bool,
    waited: Duration,
    reading: JoinHandle<()>,
}

/// The writing end of a reader.
pub(super) type Pages<T> = mpsc::Sender<Result<Vec<T>, Failure>>;

impl<T: Keyed> Ahead<T> {
    /// Reads by `read`, which sends page after page.
    pub(super) fn new<F>(what: String, read: impl FnOnce(Pages<T>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (pages, receiver) = mpsc::channel(1);
        let reading = tokio::spawn(read(pages));
        let page = Vec::new().into_iter();
        Self { what, pages: receiver, page, next: None, ended: false, waited: Duration::ZERO, reading }
    }

    /// The next one, which stays where it is; nothing at the end.
    ///
    /// # Errors
    /// The reader's own; and where keys do not ascend, for then whoever merges would miss some.
    pub(super) async fn peek(&mut self) -> Result<Option<&T>, Failure> {
        if self.next.is_none() && !self.ended {
            self.next = self.read().await?;
            self.ended = self.next.is_none();
        }
        Ok(self.next.as_ref())
    }

    /// Takes the next one, if it has this key.
    pub(super) async fn take(&mut self, key: &str) -> Result<Option<T>, Failure> {
        if self.peek().await?.is_none_or(|next| next.key() != key) {
            return Ok(None);
        }
        let taken = self.next.take();
        self.peek().await?;
        if let Some(next) = self.next.as_ref().filter(|next| next.key() < key) {
            let error = format!("{}: '{}' comes after '{}'", self.what, next.key(), key);
            return Err(Failure::new(Advice::GiveUp(DeadReason::Internal), error));
        }
        Ok(taken)
    }

    /// How long the next page was waited for, so far.
    pub(super) fn waited(&self) -> Duration {
        self.waited
    }

    async fn read(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(next) = self.page.next() {
                return Ok(Some(next));
            }
            let began = Instant::now();
            let page = self.pages.recv().await;
            self.waited += began.elapsed();
            match page {
                Some(Ok(page)) => self.page = page.into_iter(),
                Some(Err(failure)) => {
                    self.ended = true;
                    return Err(Failure { error: format!("{}: {}", self.what, failure.error), ..failure });
                }
                // A reader that panicked has not come to the end.
                None => {
                    return (&mut self.reading).await.map(|()| None).map_err(|_| {
                        let error = format!("{}: it panicked", self.what);
                        Failure::new(Advice::GiveUp(DeadReason::Internal), error)
                    });
                }
            }
        }
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
