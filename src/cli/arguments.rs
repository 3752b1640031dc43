//! What may stand on the command line.

mod audit;
mod dlq;
mod erase;
pub(super) mod examples;
mod migrate;
mod record;
mod restore;

use std::borrow::Cow;
use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::logging::LogFormat;

pub(super) use audit::Audit;
pub(super) use dlq::{Discard, Dlq, Filter, Replay};
pub(super) use erase::Erase;
pub(super) use migrate::{Migrate, To};
pub(super) use record::record;
pub(super) use restore::Restore;

/// Moves the files of deleted CRM records to the recycle bucket, and back.
#[derive(Debug, Parser)]
#[command(name = "file-recycler", version, propagate_version = true, arg_required_else_help = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

impl Arguments {
    /// The process's command line.
    pub(super) fn try_from_command_line() -> Result<Self, clap::Error> {
        Self::of(std::env::args_os())
    }

    fn of(line: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let line: Vec<OsString> = line.into_iter().collect();
        let mut matches = definition().try_get_matches_from(&line)?;
        let mut arguments = Self::from_arg_matches_mut(&mut matches)?;
        arguments.global.set = every_set(&line);
        Ok(arguments)
    }
}

/// The whole command line, as it is parsed, shown and completed.
pub(super) fn definition() -> clap::Command {
    examples::shown(Arguments::command())
}

/// The words of a line that name a command, as far as they do: `dlq list` of `file-recycler --json dlq list --rason x`.
pub(super) fn words_of_command(line: impl IntoIterator<Item = OsString>) -> Vec<String> {
    let mut command = Arguments::command();
    let mut words = Vec::new();
    for word in line.into_iter().skip(1) {
        if let Some(inner) = word.to_str().and_then(|word| command.find_subcommand(word)).cloned() {
            words.push(inner.get_name().to_owned());
            command = inner;
        }
    }
    words
}

/// Each `--set`, before the command and after it: left to itself, the parser lets the inner ones replace the
/// outer ones, and a setting that was given would silently not hold. The line has been parsed before: what
/// stands here as `--set` is one, with its value.
fn every_set(line: &[OsString]) -> Vec<String> {
    let mut sets = Vec::new();
    let mut words = line.iter().map(|word| word.to_string_lossy());
    while let Some(word) = words.next() {
        match word.strip_prefix("--set") {
            Some("") => sets.extend(words.next().map(Cow::into_owned)),
            Some(value) => sets.extend(value.strip_prefix('=').map(str::to_owned)),
            None => {}
        }
    }
    sets
}

#[derive(Args, Debug)]
pub(super) struct Global {
    /// Configuration file [default: file-recycler.toml here, else /etc/file-recycler/config.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Sets any key but secrets, as in --set recycle.mode=observe; may be repeated
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Prints one JSON document
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Form of the log on standard error
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(super) log_format: LogFormat,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// The sidecar: listener and worker in one process
    Run,
    /// The listener alone: triggers' outbox to the broker
    Listen,
    /// The worker alone: broker to storage; start as many as you like
    Work,
    /// Triggers and own schema in the CRM's database
    Listener {
        #[command(subcommand)]
        command: Listener,
    },
    /// Publishes a record-deleted event by hand; not while the guard refuses or somebody has paused
    Emit(Emit),
    /// The dead-letter queue
    Dlq {
        #[command(subcommand)]
        command: Dlq,
    },
    /// Brings objects back from the recycle bucket, and says the truth about every file; a dry run until --apply
    Restore(Restore),
    /// Moves the contents of files between the database and the storage, while people work; a dry run until --apply
    Migrate(Migrate),
    /// Everything known about one file or record, what would happen to it now, and why
    Explain(Explain),
    /// Every row against both buckets: what is there, lost, to be restored, or nobody's; exit 1 where something is
    Audit(Audit),
    /// Removes files for good, with a receipt; a dry run until --apply
    Erase(Erase),
    /// Every check by name: ok, warn or fail, what it means, and what to do; exit 1 when one fails
    ///
    /// Asks database, broker and storage side by side, each within its own time. It changes nothing: it writes only probe
    /// objects under .file-recycler/ in both buckets, which it removes again, declares no queue that is not there, and takes no
    /// message. A server that is down fails its own check; what needs it is "not checked". It works before anything is
    /// installed, and tells the next command. No key and no password is ever printed.
    Doctor,
    /// Backlog, dead letters and health in one screen; exit 1 when not ready
    Status(Status),
    /// Is the process alive that serves on http.listen? For the health check of a container; exit 1 when not
    ///
    /// Asks /healthz, which is 200 as soon as the process serves, also while a server is down: whoever restarts a process for
    /// what `status` tells would restart it for an outage. It reads the same configuration as the process.
    Healthcheck,
    /// Binds this database to these buckets; until then nothing moves
    Adopt(Adopt),
    /// Stops all workers and relays of the environment, durably
    Pause {
        /// Why; shown to everybody who asks
        #[arg(long)]
        why: String,
    },
    /// Ends a pause
    Resume,
    /// How long the recycle bucket keeps files
    Retention {
        #[command(subcommand)]
        command: Retention,
    },
    /// The configuration
    Config {
        #[command(subcommand)]
        command: Config,
    },
    /// Prints what makes a shell complete this program's commands and options
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Man pages: one on standard output, or all of them into a folder
    Man(Man),
}

#[derive(Args, Debug)]
pub(super) struct Man {
    /// The page of this command, as in dlq replay; else the page of the program
    #[arg(value_name = "COMMAND", conflicts_with = "out")]
    pub(super) command: Vec<String>,
    /// Writes a page for each command into this folder
    #[arg(long, value_name = "DIR")]
    pub(super) out: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
pub(super) struct Status {
    /// Looks again every so many seconds, until Ctrl-C: on a terminal in place, else one block (with --json: one line)
    /// after the other
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "2",
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(super) watch: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Retention {
    /// The lifecycle rules, what they mean for the database backups, and what the bucket will hold
    Show,
    /// Writes our rule, and no other; a dry run until --apply
    Set {
        /// Days from a file's last deletion, 1 to 36500
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=36_500))]
        days: u16,
        /// Fewer days than retention.database_backups
        #[arg(long)]
        force: bool,
        /// Does it
        #[arg(long)]
        apply: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Listener {
    /// Installs or repairs the own schema and the triggers
    Install {
        /// Prints the SQL and changes nothing
        #[arg(long)]
        dry_run: bool,
        /// The own schema alone: no table of the application's is touched, and nothing is captured
        #[arg(long)]
        schema_only: bool,
    },
    /// Removes triggers and functions; keeps the schema with the ledger
    Uninstall {
        /// Prints the SQL and changes nothing
        #[arg(long)]
        dry_run: bool,
        /// Drops the schema with the ledger, too; refuses while the outbox has rows
        #[arg(long)]
        purge: bool,
    },
    /// Compares the triggers with what they must be; exit 1 on drift
    Status,
}

#[derive(Args, Debug)]
pub(super) struct Emit {
    /// The record's schema, as in Contact
    #[arg(long)]
    pub(super) schema: String,
    /// The record's id
    #[arg(long)]
    pub(super) record: String,
    /// A file that went with it; may be repeated
    #[arg(long = "file", value_name = "ID")]
    pub(super) files: Vec<String>,
}

#[derive(Args, Debug)]
pub(super) struct Explain {
    /// The id of a file or of a record
    pub(super) id: String,
    /// The record's schema, as in Contact, where records of several have this id
    #[arg(long)]
    pub(super) schema: Option<String>,
}

#[derive(Args, Debug)]
pub(super) struct Adopt {
    /// Binds
    #[arg(long)]
    pub(super) apply: bool,

    /// After the database was set back to a backup: unlocks `restore` and `audit` alone, and nothing moves
    #[arg(long = "for", value_name = "PURPOSE")]
    pub(super) purpose: Option<AdoptFor>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum AdoptFor {
    /// `restore` and `audit`
    Restore,
}

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Every key and its value; secrets are hidden
    Show {
        /// Where each value came from
        #[arg(long)]
        sources: bool,
    },
}

/// A point in time: RFC 3339, or a duration back from now, as in `1h`.
#[derive(Clone, Copy, Debug)]
pub(super) enum PointInTime {
    At(OffsetDateTime),
    Ago(Duration),
}

impl PointInTime {
    pub(super) fn resolve(self, now: OffsetDateTime) -> OffsetDateTime {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => now - duration,
        }
    }
}

impl FromStr for PointInTime {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(time) = OffsetDateTime::parse(text, &Rfc3339) {
            return Ok(Self::At(time));
        }
        crate::config::parse_duration(text).map(Self::Ago).map_err(|_| {
            "is neither a time as 2026-11-23T10:00:00Z nor a duration as 90m, 6h or 7d".to_owned()
        })
    }
}

/// Parses a line as a shell would hand it over: words, some of them in single quotes.
#[cfg(test)]
pub(super) fn parses(line: &str) -> Result<(), clap::Error> {
    let quoted = line.split('\'').enumerate();
    let words = quoted.flat_map(|(at, part)| {
        let words: Vec<_> = if at % 2 == 1 { vec![part] } else { part.split_whitespace().collect() };
        words.into_iter().map(OsString::from)
    });
    Arguments::of(words).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_of_a_line_is_found_whatever_else_is_wrong_with_it() {
        for (line, expected) in [
            ("x dlq list --reason nonsense", "dlq list"),
            ("x --json dlq lst", "dlq"),
            ("x --set a=1 listener install --dry", "listener install"),
            ("x nonsense", ""),
            ("x", ""),
        ] {
            let words = words_of_command(line.split(' ').map(OsString::from));
            assert_eq!(words.join(" "), expected, "{line}");
        }
    }

    #[test]
    fn settings_before_and_after_the_command_all_hold() {
        for (line, expected) in [
            ("x --set a=1 run --set b=2", vec!["a=1", "b=2"]),
            ("x --set a=1 --set b=2 config show --set c=3", vec!["a=1", "b=2", "c=3"]),
            ("x --set a=1 config --set b=2 show --set c=3", vec!["a=1", "b=2", "c=3"]),
            ("x --set a=1 run", vec!["a=1"]),
            ("x run --set a=1 --set b=2", vec!["a=1", "b=2"]),
            ("x --set=a=1 run --set=b=2", vec!["a=1", "b=2"]),
            ("x run", vec![]),
        ] {
            let words = line.split(' ').map(OsString::from);
            assert_eq!(Arguments::of(words).unwrap().global.set, expected, "{line}");
        }
    }
}
