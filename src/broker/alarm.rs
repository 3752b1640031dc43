//! Whether the broker takes messages: what one connection hears of its memory or disk alarm, all of them know.
//!
//! The broker tells only a connection that has tried to publish. So the connections of one `Broker` share what
//! they hear: the monitor, which never publishes, can say it, and no publisher runs into an alarm that another one
//! has met already.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

/// What is known of the alarm. Clones share it; each holds the sender, so that no wait here ends otherwise.
#[derive(Clone, Default)]
pub(super) struct Alarm(Arc<Shared>);

#[derive(Default)]
struct Shared {
    /// The broker's reason, for each connection that heard one and has not heard its end.
    heard: watch::Sender<BTreeMap<u64, String>>,
    next: AtomicU64,
}

/// One connection's part in it. Dropped with the connection, it has heard nothing: another one will.
pub(super) struct Ear {
    alarm: Alarm,
    number: u64,
}

impl Alarm {
    /// For a new connection.
    pub(super) fn ear(&self) -> Ear {
        Ear { alarm: self.clone(), number: self.0.next.fetch_add(1, Ordering::Relaxed) }
    }

    /// The broker's reason for taking no messages, if it does not.
    pub(super) fn reason(&self) -> Option<String> {
        self.0.heard.borrow().values().next().cloned()
    }

    /// Waits until a connection knows of an alarm.
    pub(super) async fn heard(&self) {
        let _ = self.0.heard.subscribe().wait_for(|heard| !heard.is_empty()).await;
    }

    /// Waits until no connection knows of an alarm.
    pub(super) async fn over(&self) {
        let _ = self.0.heard.subscribe().wait_for(BTreeMap::is_empty).await;
    }
}

impl Ear {
    pub(super) fn blocked(&self, reason: String) {
        self.alarm.0.heard.send_modify(|heard| drop(heard.insert(self.number, reason)));
    }

    pub(super) fn unblocked(&self) {
        self.alarm.0.heard.send_if_modified(|heard| heard.remove(&self.number).is_some());
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.unblocked();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn all_know_what_one_hears_until_everyone_who_heard_it_heard_its_end_or_is_gone() {
        let alarm = Alarm::default();
        let (first, second) = (alarm.ear(), alarm.ear());
        let elsewhere = alarm.clone();
        assert_eq!(elsewhere.reason(), None);
        assert!(elsewhere.over().now_or_never().is_some());
        assert!(elsewhere.heard().now_or_never().is_none());
        first.blocked("low on memory".to_owned());
        second.blocked("low on disk".to_owned());
        assert_eq!(elsewhere.reason().as_deref(), Some("low on memory"));
        first.unblocked();
        assert_eq!(elsewhere.reason().as_deref(), Some("low on disk"));
        assert!(elsewhere.heard().now_or_never().is_some());
        assert!(elsewhere.over().now_or_never().is_none());
        drop(second);
        assert_eq!(elsewhere.reason(), None);
        assert!(elsewhere.over().now_or_never().is_some());
    }
}
