//! Watches how long the recycle bucket keeps files, for a metric: whoever shortens the rule is found out before a
//! restored backup misses its files.

use std::time::Duration;

use tracing::debug;

use super::Parts;
use crate::gate::Cause;
use crate::retention::{Kept, kept, versions_kept};
use crate::stop::Stop;
use crate::storage::{Side, StorageError};

/// How often the rules are read.
const EVERY: Duration = Duration::from_mins(10);

impl Parts {
    /// Reads the rules again and again until the stop. Nothing rests on them: where they cannot be read, the days are
    /// not known, and `doctor` says why.
    pub(super) async fn watch_retention(self, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = self.gate.opened(&[Cause::Storage]) => {}
            }
            let days = self.retention_days().await.unwrap_or_else(|error| {
                debug!(%error, "the recycle bucket's rules could not be read");
                f64::NAN
            });
            self.metrics.retention_days(days);
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    async fn retention_days(&self) -> Result<f64, StorageError> {
        let rules = self.storage.lifecycle().await?.terms();
        let replaced =
            if self.storage.is_versioned(Side::Recycle).await? { versions_kept(&rules) } else { None };
        Ok(days(&kept(&rules), replaced))
    }
}

/// Days that every file and every version that was replaced stays at least; infinity: for ever.
fn days(kept: &Kept, replaced: Option<u32>) -> f64 {
    let kept = match kept {
        Kept::ForEver => f64::INFINITY,
        Kept::Days { days, .. } => f64::from(*days),
        // From that date on every file goes at once.
        Kept::Until { .. } => 0.0,
    };
    kept.min(replaced.map_or(f64::INFINITY, f64::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp, reason = "whole days are exact")]
    fn the_shortest_time_counts() {
        let thirty = Kept::Days { days: 30, rule: String::new() };
        assert_eq!(days(&Kept::ForEver, None), f64::INFINITY);
        assert_eq!(days(&thirty, None), 30.0);
        assert_eq!(days(&thirty, Some(7)), 7.0);
        assert_eq!(days(&Kept::ForEver, Some(90)), 90.0);
        assert_eq!(days(&Kept::Until { date: String::new(), rule: String::new() }, None), 0.0);
    }
}
