//! Many files: a stream of them, some dozens in work at the same time, and one summary.

use std::sync::Arc;

use futures_util::stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::{FileResult, Found, Restorer, Summary};
use crate::outcome::{Advice, DeadReason, Failure};

/// So many files in a row that fail because the servers are out of reach, with none that fares better, end it.
const OUTAGE: usize = 64;

impl Restorer {
    /// Brings all files of the stream back, or finds out what would become of them, and hands each result to `sink`.
    /// Nothing is kept of a file that is done.
    ///
    /// It ends early where a stop is asked for (what is in work is finished), where the source fails, where the sink
    /// does (its error says why), and where the servers are out of reach.
    pub async fn run(
        self: &Arc<Self>,
        source: impl Stream<Item = Result<Found, Failure>>,
        mut sink: impl FnMut(&FileResult) -> Result<(), String>,
    ) -> Summary {
        let (stop, enough) = (&self.parts.stop, CancellationToken::new());
        let ended = async {
            tokio::select! {
                () = stop.requested() => {}
                () = enough.cancelled() => {}
            }
        };
        let results = source
            .take_until(Box::pin(ended))
            .map(|found| self.begin(found))
            .buffer_unordered(self.settings.concurrency.max(1));
        let mut results = std::pin::pin!(results);
        let (mut summary, mut outages) = (Summary::default(), 0);
        loop {
            let next = tokio::select! {
                next = results.next() => next,
                // A second signal, or no patience left: what is in work is dropped, and found by the next run.
                () = stop.at_once() => None,
            };
            let stopped = match next {
                None => break,
                Some(Err(failure)) => Some(failure.error),
                Some(Ok(file)) => {
                    outages = if file.outage { outages + 1 } else { 0 };
                    summary.add(&file);
                    let told = sink(&file).err();
                    let outage = || file.why.clone().filter(|_| outages >= OUTAGE);
                    told.or_else(outage)
                }
            };
            if let Some(why) = stopped {
                enough.cancel();
                summary.stopped.get_or_insert(why);
            }
        }
        summary.interrupted = stop.is_requested();
        summary
    }

    /// The work on one file: a task of its own, so that no file waits for another one's processor. It ends where nobody
    /// waits for it any more.
    fn begin(
        self: &Arc<Self>,
        found: Result<Found, Failure>,
    ) -> impl Future<Output = Result<FileResult, Failure>> + use<> {
        let this = Arc::clone(self);
        let work = tokio::spawn(async move {
            match found {
                Ok(Ok(wanted)) => Ok(this.restore(&wanted).await),
                Ok(Err(keyless)) => Ok(FileResult::from(keyless)),
                Err(failure) => Err(failure),
            }
        });
        let work = AbortOnDropHandle::new(work);
        async move { work.await.unwrap_or_else(|_| Err(panicked())) }
    }
}

fn panicked() -> Failure {
    Failure::new(Advice::GiveUp(DeadReason::Internal), "the work on a file panicked")
}
