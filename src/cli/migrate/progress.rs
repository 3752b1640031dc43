//! How far a migration is, on standard error: in bytes, with what is left of the time.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line tells how far it is, where there is no terminal to draw on.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// How far it is: a bar on a terminal, a line now and then elsewhere.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    files: u64,
    bytes: u64,
    of_files: u64,
    of_bytes: u64,
    told: Instant,
}

impl Progress {
    /// Nothing is done of so many bytes in so many files.
    pub(super) fn new(of_bytes: u64, of_files: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let template = "{bar:30} {bytes} of {total_bytes}, {msg}, {bytes_per_sec}, {eta} left";
            // The template is a constant; a wrong one would only look plainer.
            let style = ProgressStyle::with_template(template);
            ProgressBar::new(of_bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        Self { bar, files: 0, bytes: 0, of_files, of_bytes, told: Instant::now() }
    }

    /// One more file is through.
    pub(super) fn add(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
        if let Some(bar) = &self.bar {
            bar.set_position(self.bytes);
            bar.set_message(format!("{} of {} files", self.files, self.of_files));
        } else if self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let Self { files, bytes, of_files, of_bytes, .. } = self;
            tracing::info!(files, of_files, bytes, of_bytes, "migrating");
        }
    }

    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
