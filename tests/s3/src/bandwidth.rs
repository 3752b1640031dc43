//! The bandwidth of the network that a server pretends to be behind: so many bytes a second each way, whatever the
//! number of connections.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Less than this is not waited for: a timer's step is a millisecond.
const STEP: Duration = Duration::from_millis(2);

/// The most that passes at once where there is a bound: a socket takes megabytes, and nobody waits behind the last.
const PIECE: usize = 64 << 10;

/// What was not used for so long may be used later, so that a timer which fires late costs nothing.
const CREDIT: Duration = Duration::from_millis(20);

/// One direction, of all connections together.
#[derive(Debug, Default)]
struct Lane {
    /// Bytes a second; 0 is no bound.
    bound: AtomicU64,
    /// When all that has passed would have passed within the bound.
    busy_until: Mutex<Option<Instant>>,
}

impl Lane {
    /// Notes what has passed at `now`, and gives until when nothing more of the same connection may.
    fn pass(&self, bytes: usize, now: Instant) -> Option<Instant> {
        let bound = self.bound.load(Ordering::Relaxed);
        if bound == 0 || bytes == 0 {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "seconds of some kilobytes")]
        let takes = Duration::from_secs_f64(bytes as f64 / bound as f64);
        let mut busy_until = self.busy_until.lock().unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(CREDIT).unwrap_or(now);
        let until = busy_until.map_or(now, |until| until.max(earliest)) + takes;
        *busy_until = Some(until);
        (until > now + STEP).then_some(until)
    }
}

/// Both directions.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bandwidth {
    received: Arc<Lane>,
    sent: Arc<Lane>,
}

impl Bandwidth {
    /// Bounds each direction from now on; 0 takes the bound away.
    pub(crate) fn set(&self, bytes_per_second: u64) {
        for lane in [&self.received, &self.sent] {
            lane.bound.store(bytes_per_second, Ordering::Relaxed);
        }
    }

    pub(crate) fn bound(&self) -> u64 {
        self.received.bound.load(Ordering::Relaxed)
    }

    /// What a connection's reads and what its writes go through.
    pub(crate) fn gates(&self) -> (Gate, Gate) {
        let gate = |lane: &Arc<Lane>| Gate { lane: Arc::clone(lane), shut: None };
        (gate(&self.received), gate(&self.sent))
    }
}

/// One direction of one connection: shut while the network is busy with what has passed already.
#[derive(Debug)]
pub(crate) struct Gate {
    lane: Arc<Lane>,
    shut: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// Ready once something may pass.
    pub(crate) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(shut) = &mut self.shut {
            ready!(shut.as_mut().poll(cx));
            self.shut = None;
        }
        Poll::Ready(())
    }

    /// Of so many bytes, how many may pass at once.
    pub(crate) fn piece(&self, bytes: usize) -> usize {
        if self.lane.bound.load(Ordering::Relaxed) == 0 { bytes } else { bytes.min(PIECE) }
    }

    pub(crate) fn passed(&mut self, bytes: usize) {
        self.shut = self.lane.pass(bytes, Instant::now()).map(|until| Box::pin(sleep_until(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_for_all_connections_together_and_a_pause_is_no_store() {
        let bandwidth = Bandwidth::default();
        let (start, kib) = (Instant::now(), 1 << 10);
        let lane = &bandwidth.received;
        assert_eq!(lane.pass(1000 * kib, start), None, "no bound");
        bandwidth.set(1000 * 1024);
        assert_eq!(bandwidth.bound(), 1000 * 1024);
        assert_eq!(lane.pass(kib, start), None, "a millisecond is not waited for");
        assert_eq!(lane.pass(99 * kib, start), Some(start + Duration::from_millis(100)));
        assert_eq!(lane.pass(100 * kib, start), Some(start + Duration::from_millis(200)), "whoever it is");
        assert_eq!(
            bandwidth.sent.pass(100 * kib, start),
            Some(start + Duration::from_millis(100)),
            "each way"
        );
        let overslept = start + Duration::from_millis(210);
        assert_eq!(
            lane.pass(100 * kib, overslept),
            Some(overslept + Duration::from_millis(90)),
            "what was late is made up for"
        );
        let much_later = start + Duration::from_mins(1);
        assert_eq!(lane.pass(100 * kib, much_later), Some(much_later + Duration::from_millis(80)));
        assert_eq!(lane.pass(0, much_later), None);
    }
}
