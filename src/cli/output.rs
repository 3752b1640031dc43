//! What a command gives back: an exit code, and one JSON document or a few lines for people.

use serde::Serialize;

use super::next::Next;
use super::paint::Paint;
use crate::config::ConfigErrors;
use crate::db::Actor;

/// How a command ended that could do its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Done and healthy: exit 0.
    Healthy,
    /// Something failed or was found: exit 1.
    Found,
}

impl Finding {
    /// Healthy when `healthy`.
    pub(super) fn healthy_if(healthy: bool) -> Self {
        if healthy { Self::Healthy } else { Self::Found }
    }
}

/// A command that could not do its work.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) message: String,
    pub(super) code: u8,
    /// What to type next, where one command leads on.
    pub(super) next: Option<Next>,
}

impl Failed {
    /// It failed: exit 1.
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1, next: None }
    }

    /// Wrong usage: exit 2.
    pub(super) fn usage(error: impl std::fmt::Display) -> Self {
        Self { message: error.to_string(), code: 2, next: None }
    }

    /// A configuration that cannot be used, or does not say enough: exit 2.
    pub(super) fn configuration(errors: ConfigErrors) -> Self {
        Self { code: 2, ..Self::from(errors) }
    }

    /// The same, which leads on to `next`.
    #[must_use]
    pub(super) fn then(self, next: Next) -> Self {
        Self { next: Some(next), ..self }
    }

    /// The own schema is missing or old.
    pub(super) fn not_installed() -> Self {
        Self::new(
            "the own schema is not there yet, or of an older version: run `file-recycler listener install` first",
        )
        .then(Next::Install)
    }

    /// Tells it on standard error; the last line is the next command.
    pub(super) fn tell(&self) {
        let paint = Paint::of_stderr();
        eprintln!("{} {}", paint.bad("error:"), self.message);
        if let Some(next) = &self.next {
            tell_next(next);
        }
    }
}

impl<E: std::error::Error + 'static> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { message: error.to_string(), code: 1, next: Next::after(&error) }
    }
}

/// Says how to go on after an answer that was no error; on standard error, and not where a program reads.
pub(super) fn suggest(json: bool, next: Option<Next>) {
    if let Some(next) = next.filter(|_| !json) {
        tell_next(&next);
    }
}

fn tell_next(next: &Next) {
    eprintln!("next:  {}", Paint::of_stderr().strong(&next.to_string()));
}

/// Prints `value` as one JSON document, or the text for people.
pub(super) fn print(json: bool, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failed> {
    // Whoever reads may have seen enough, as in `| head`.
    write(&if json { serde_json::to_string(value)? } else { text() }).map(drop)
}

/// Writes a text and ends the line; `false` where nobody reads any more.
pub(super) fn write(text: &str) -> Result<bool, Failed> {
    use std::io::{ErrorKind, Write as _};
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        done => Ok(done.map(|()| true)?),
    }
}

/// Who runs this command, from where: kept with every change.
pub(super) fn operator() -> Actor {
    let who = std::env::var("SUDO_USER")
        .or_else(|_| std::env::var("USER"))
        .or_else(|_| std::env::var("LOGNAME"))
        .unwrap_or_else(|_| "unknown".to_owned());
    Actor { who, host: gethostname::gethostname().to_string_lossy().into_owned() }
}
