//! How far a restore is, on standard error.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line tells how far it is, where there is no terminal to draw on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far it is: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    done: u64,
    /// How many there are, where that is known.
    total: Option<u64>,
    told: Instant,
}

impl Progress {
    pub(super) fn new(total: Option<u64>) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| match total {
            Some(total) => {
                ProgressBar::new(total).with_style(style("{bar:40} {pos}/{len} files, {per_sec}, {eta} left"))
            }
            None => ProgressBar::new_spinner().with_style(style("{spinner} {pos} files, {per_sec}")),
        });
        Self { bar, done: 0, total, told: Instant::now() }
    }

    pub(super) fn add(&mut self) {
        self.done += 1;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            tracing::info!(files = self.done, of = self.total, "restoring");
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a wrong one would only look plainer.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
