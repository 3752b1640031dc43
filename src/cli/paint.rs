//! Colours: on a terminal, and only where nobody has asked for plain text.

use std::io::IsTerminal;

use console::Style;

/// Are there colours?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    Plain,
    Colours,
}

impl Paint {
    /// For what standard output shows.
    pub(super) fn of_stdout() -> Self {
        Self::of(&std::io::stdout())
    }

    /// For what standard error shows.
    pub(super) fn of_stderr() -> Self {
        Self::of(&std::io::stderr())
    }

    fn of(stream: &impl IsTerminal) -> Self {
        let set = |name: &str| std::env::var(name).ok();
        Self::decide(&Surroundings {
            no_color: set("NO_COLOR").as_deref(),
            clicolor_force: set("CLICOLOR_FORCE").as_deref(),
            clicolor: set("CLICOLOR").as_deref(),
            term: set("TERM").as_deref(),
            is_terminal: stream.is_terminal(),
        })
    }

    /// As the help of the command line does it, so that all of the output follows one rule: `NO_COLOR` forbids,
    /// `CLICOLOR_FORCE` insists, else a terminal that can show colours has them.
    fn decide(around: &Surroundings<'_>) -> Self {
        let given = |value: Option<&str>| value.is_some_and(|value| !value.is_empty());
        let insists = |value: Option<&str>| value.is_some_and(|value| !value.is_empty() && value != "0");
        let able = around.is_terminal && around.clicolor != Some("0") && around.term != Some("dumb");
        if !given(around.no_color) && (insists(around.clicolor_force) || able) {
            Self::Colours
        } else {
            Self::Plain
        }
    }

    pub(super) fn good(self, text: &str) -> String {
        self.with(&Style::new().green(), text)
    }

    pub(super) fn bad(self, text: &str) -> String {
        self.with(&Style::new().red().bold(), text)
    }

    pub(super) fn attention(self, text: &str) -> String {
        self.with(&Style::new().yellow(), text)
    }

    pub(super) fn strong(self, text: &str) -> String {
        self.with(&Style::new().bold(), text)
    }

    fn with(self, style: &Style, text: &str) -> String {
        match self {
            Self::Plain => text.to_owned(),
            Self::Colours => style.clone().force_styling(true).apply_to(text).to_string(),
        }
    }
}

/// What decides about colours.
#[derive(Clone, Copy, Debug, Default)]
struct Surroundings<'a> {
    no_color: Option<&'a str>,
    clicolor_force: Option<&'a str>,
    clicolor: Option<&'a str>,
    term: Option<&'a str>,
    is_terminal: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_follow_the_terminal_and_the_environment() {
        let terminal = Surroundings { is_terminal: true, term: Some("xterm"), ..Surroundings::default() };
        let pipe = Surroundings { is_terminal: false, ..terminal };
        for (around, expected) in [
            (terminal, Paint::Colours),
            (pipe, Paint::Plain),
            (Surroundings { no_color: Some("1"), ..terminal }, Paint::Plain),
            (Surroundings { no_color: Some(""), ..terminal }, Paint::Colours),
            (Surroundings { clicolor: Some("0"), ..terminal }, Paint::Plain),
            (Surroundings { term: Some("dumb"), ..terminal }, Paint::Plain),
            (Surroundings { clicolor_force: Some("1"), ..pipe }, Paint::Colours),
            (Surroundings { clicolor_force: Some("0"), ..pipe }, Paint::Plain),
            (Surroundings { clicolor_force: Some("1"), no_color: Some("1"), ..pipe }, Paint::Plain),
        ] {
            assert_eq!(Paint::decide(&around), expected, "{around:?}");
        }
    }
}
