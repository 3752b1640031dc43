//! The log on standard error: one line per event, as text or JSON, and of one kind of line only so many.

mod bound;

use std::io::{self, IsTerminal, Write};
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt as _, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::retry::Stopwatch;
use bound::Bound;

pub use bound::held_back;

/// What is logged where `RUST_LOG` does not say otherwise.
const DEFAULT_FILTER: &str = "info,lapin=off,sqlx=error,aws_config=warn,aws_smithy_runtime=warn,hyper=warn";
/// Longest line of text, in bytes.
const MAX_LINE_BYTES: usize = 16 * 1024;

/// The form of the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// A JSON object on each line.
    Json,
}

/// The bound of this process's log.
static BOUND: OnceLock<Bound> = OnceLock::new();

/// Sends all events to standard error from now on; a second call changes nothing.
pub fn init(format: LogFormat) {
    let wanted = std::env::var("RUST_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let asked = wanted.as_deref().map(|filter| EnvFilter::builder().parse(filter));
    let ignored = matches!(asked, Some(Err(_)));
    let filter = asked.and_then(Result::ok).unwrap_or_else(|| EnvFilter::new(DEFAULT_FILTER));
    let bound = BOUND.get_or_init(|| Bound::new(Stopwatch::system()));
    let filter = filter.or(bound::own_lines()).and(libraries()).and(bound.clone());
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty());
    let registry = tracing_subscriber::registry();
    let set = match format {
        LogFormat::Text => registry
            .with(fmt::layer().with_ansi(colours).with_writer(OneLine(io::stderr)).with_filter(filter))
            .try_init(),
        LogFormat::Json => {
            registry.with(fmt::layer().json().with_writer(io::stderr).with_filter(filter)).try_init()
        }
    };
    if set.is_ok() {
        bound.tell_from_now_on();
    }
    if set.is_ok() && ignored {
        tracing::warn!(
            "RUST_LOG is not a filter, and is ignored; write for example info,file_recycler=debug"
        );
    }
}

/// Says what was held back and not told yet; for the end of the process.
pub fn finish() {
    if let Some(bound) = BOUND.get() {
        bound.tell();
    }
}

/// The most that `RUST_LOG` can ask of libraries: at `trace` they write passwords (lapin's frames) and
/// signed requests (the AWS SDK) into the log, and the AWS SDK writes the access key's id at `debug`.
fn libraries() -> Targets {
    Targets::new()
        .with_default(LevelFilter::DEBUG)
        .with_target("aws", LevelFilter::INFO)
        .with_target("file_recycler", LevelFilter::TRACE)
}

/// Keeps an event on one line of bounded length, whatever its message holds.
struct OneLine<M>(M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for OneLine<M> {
    type Writer = OneLineWriter<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLineWriter(self.0.make_writer())
    }
}

struct OneLineWriter<W>(W);

impl<W: Write> Write for OneLineWriter<W> {
    /// The subscriber hands over each event whole, with its end of line.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let text = &text[..text.len().min(MAX_LINE_BYTES)];
        let mut line: Vec<u8> =
            text.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }).collect();
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    pub(super) struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Log {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    #[test]
    fn an_event_is_one_bounded_line_whatever_its_message_holds() {
        let log = Log::default();
        let writer = log.clone();
        let layer = fmt::layer().with_ansi(false).with_writer(OneLine(move || writer.clone()));
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info!("first\nsecond\r\nthird");
            tracing::info!("{}", "x".repeat(100_000));
        });
        let text = log.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.lines().all(|line| line.len() <= MAX_LINE_BYTES));
        assert!(text.lines().next().unwrap().ends_with("first second  third"));
    }

    #[test]
    fn no_filter_makes_a_library_write_its_frames() {
        let log = Log::default();
        let writer = log.clone();
        let filter = EnvFilter::new("trace").and(libraries());
        let layer = fmt::layer().with_ansi(false).with_writer(move || writer.clone()).with_filter(filter);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::trace!(target: "lapin::channels", "password");
            tracing::trace!(target: "aws_sigv4::http_request", "signature");
            tracing::debug!(target: "lapin::channels", "heartbeat");
            tracing::trace!(target: "file_recycler::worker", "ours");
        });
        let text = log.text();
        assert!(!text.contains("password") && !text.contains("signature"), "{text}");
        assert!(text.contains("heartbeat") && text.contains("ours"), "{text}");
    }

    #[test]
    fn the_default_filter_is_one() {
        assert!(EnvFilter::builder().parse(DEFAULT_FILTER).is_ok());
    }
}
