//! Examples: at the end of every command's `--help`, and in its man page.

use clap::Command;

/// A command line, and what it does.
type Example = (&'static str, &'static str);

/// By the words of the command. Every command has some, and each of them is one (a test parses them all).
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            (
                "file-recycler doctor",
                "what is missing or wrong, and what to do; at any time, also first of all",
            ),
            ("file-recycler listener install", "own schema and triggers"),
            ("file-recycler adopt --apply", "binds this database to these buckets"),
            ("file-recycler run", "works"),
            ("file-recycler status", "is it working, is it behind, what is stuck"),
        ],
    ),
    (
        "run",
        &[
            ("file-recycler run", ""),
            ("file-recycler run --set recycle.mode=observe", "looks and counts, and moves nothing"),
            ("file-recycler run --config /etc/file-recycler/config.toml --log-format json", "as a service"),
        ],
    ),
    (
        "healthcheck",
        &[(
            "file-recycler healthcheck",
            "as a container's health check: does the worker on this machine answer?",
        )],
    ),
    ("listen", &[("file-recycler listen", "beside the CRM; `work` may be anywhere")]),
    ("work", &[("file-recycler work", ""), ("file-recycler work --set worker.prefetch=64", "")]),
    (
        "listener",
        &[("file-recycler listener install", ""), ("file-recycler listener status", "is all as it must be?")],
    ),
    (
        "listener install",
        &[
            ("file-recycler listener install --dry-run", "the SQL, for an administrator"),
            ("file-recycler listener install", "also after an upgrade, and to repair"),
            (
                "file-recycler listener install --schema-only",
                "no triggers: `audit --fix orphans` finds what was deleted",
            ),
        ],
    ),
    (
        "listener uninstall",
        &[
            ("file-recycler listener uninstall", "triggers and functions; the ledger stays"),
            ("file-recycler listener uninstall --purge", "the schema with the ledger, too"),
        ],
    ),
    (
        "listener status",
        &[("file-recycler listener status", ""), ("file-recycler listener status --json", "")],
    ),
    (
        "emit",
        &[(
            "file-recycler emit --schema Contact --record 7c9e6679-7425-40de-944b-e07fc1f90ae7",
            "what hangs on this record is found in the database",
        )],
    ),
    (
        "dlq",
        &[
            ("file-recycler dlq list", ""),
            ("file-recycler dlq show --reason conflict", "what would happen to each now"),
            ("file-recycler dlq replay --reason conflict --apply", "after the repair"),
        ],
    ),
    (
        "dlq list",
        &[
            ("file-recycler dlq list", ""),
            ("file-recycler dlq list --reason forbidden --since 1h --json", ""),
        ],
    ),
    (
        "dlq show",
        &[(
            "file-recycler dlq show --id 73e2aab8-d76a-5bcc-a8d9-d89a6cca4335",
            "one, and what would happen to it now",
        )],
    ),
    (
        "dlq replay",
        &[
            ("file-recycler dlq replay --reason forbidden", "how many these are"),
            ("file-recycler dlq replay --reason forbidden --limit 1 --apply", "one first"),
            (
                "file-recycler dlq replay --reason forbidden --ramp --max-failures 10 --apply",
                "then all of them",
            ),
        ],
    ),
    (
        "dlq discard",
        &[
            ("file-recycler dlq discard --reason malformed --why 'a test of ours'", "how many these are"),
            ("file-recycler dlq discard --reason malformed --why 'a test of ours' --apply", ""),
        ],
    ),
    (
        "restore",
        &[
            ("file-recycler restore --file 0f8fad5b-d9cb-469f-a165-70867728950e", "what would come back"),
            ("file-recycler restore --record Contact:7c9e6679-7425-40de-944b-e07fc1f90ae7 --apply", ""),
            (
                "file-recycler restore --to-match-database --backup-time 2026-11-28T02:00:00Z --report restored.csv --apply",
                "after the database was set back",
            ),
        ],
    ),
    (
        "migrate",
        &[
            ("file-recycler migrate --to storage", "how many files and bytes that would be"),
            (
                "file-recycler migrate --to storage --older-than 90d --bandwidth 20MB/s --apply",
                "while people work",
            ),
            ("file-recycler migrate --reclaim --apply", "clears what is proven to be in the storage"),
            ("file-recycler migrate --to database --record Contact:7c9e6679-7425-40de-944b-e07fc1f90ae7", ""),
        ],
    ),
    (
        "explain",
        &[
            ("file-recycler explain 0f8fad5b-d9cb-469f-a165-70867728950e", "a file, or a record"),
            ("file-recycler explain 7c9e6679-7425-40de-944b-e07fc1f90ae7 --schema Contact --json", ""),
        ],
    ),
    (
        "audit",
        &[
            ("file-recycler audit --report audit.csv", "looks, changes nothing"),
            ("file-recycler audit --fix orphans", "what it would move"),
            ("file-recycler audit --fix orphans --max 5000 --apply", ""),
        ],
    ),
    (
        "erase",
        &[
            (
                "file-recycler erase --file 0f8fad5b-d9cb-469f-a165-70867728950e --why 'request 17'",
                "what is there",
            ),
            (
                "file-recycler erase --file 0f8fad5b-d9cb-469f-a165-70867728950e --why 'request 17' --receipt 17.json --apply",
                "for good",
            ),
        ],
    ),
    ("doctor", &[("file-recycler doctor", ""), ("file-recycler doctor --json", "for scripts")]),
    (
        "status",
        &[
            ("file-recycler status", ""),
            ("file-recycler status --watch 5", "every five seconds, until Ctrl-C"),
            ("file-recycler status --json", "for scripts"),
        ],
    ),
    (
        "adopt",
        &[
            ("file-recycler adopt", "what would be bound: database, buckets, files"),
            ("file-recycler adopt --apply", "binds"),
            ("file-recycler adopt --for restore --apply", "after the database was set back to a backup"),
        ],
    ),
    ("pause", &[("file-recycler pause --why 'the storage moves tonight'", "")]),
    ("resume", &[("file-recycler resume", "")]),
    ("retention", &[("file-recycler retention show", "")]),
    (
        "retention show",
        &[("file-recycler retention show", "does it cover the backups, and what will the bucket hold?")],
    ),
    (
        "retention set",
        &[
            ("file-recycler retention set --days 90", "what would be written"),
            ("file-recycler retention set --days 90 --apply", ""),
        ],
    ),
    ("config", &[("file-recycler config show --sources", "")]),
    (
        "config show",
        &[
            ("file-recycler config show --sources", "every key, its value, and where it came from"),
            ("file-recycler config show --json", ""),
        ],
    ),
    (
        "completions",
        &[
            ("file-recycler completions bash >/etc/bash_completion.d/file-recycler", "bash, for everybody"),
            ("file-recycler completions zsh >~/.zfunc/_file-recycler", "zsh, where ~/.zfunc is in fpath"),
            ("file-recycler completions fish >~/.config/fish/completions/file-recycler.fish", ""),
        ],
    ),
    (
        "man",
        &[
            ("file-recycler man dlq replay | man -l -", "reads one"),
            ("file-recycler man --out /usr/local/share/man/man1", "a page for each command"),
        ],
    ),
];

/// The examples of a command, by its words after the program's name.
pub(in crate::cli) fn of(words: &str) -> &'static [Example] {
    EXAMPLES.iter().find(|(command, _)| *command == words).map_or(&[], |(_, examples)| examples)
}

/// The same command line, with examples at the end of each command's help.
pub(super) fn shown(command: Command) -> Command {
    add(command, "")
}

fn add(command: Command, words: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|inner| inner.get_name().to_owned()).collect();
    let command = names.iter().fold(command, |command, name| {
        let words = format!("{words} {name}").trim_start().to_owned();
        command.mut_subcommand(name, |inner| add(inner, &words))
    });
    let text = text(words);
    if text.is_empty() {
        return command;
    }
    match command.get_after_long_help().cloned() {
        Some(long) => command.after_long_help(format!("{long}\n\n{text}")).after_help(text),
        None => command.after_help(text),
    }
}

fn text(words: &str) -> String {
    let lines = of(words).iter().map(|(line, does)| match *does {
        "" => format!("  {line}"),
        does => format!("  {line}\n      {does}"),
    });
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() { String::new() } else { format!("Examples:\n{}", lines.join("\n")) }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::Arguments;
    use super::*;

    fn each(command: &Command, words: &str, seen: &mut Vec<String>) {
        seen.push(words.to_owned());
        for inner in command.get_subcommands() {
            each(inner, format!("{words} {}", inner.get_name()).trim_start(), seen);
        }
    }

    #[test]
    fn every_command_has_examples_and_each_of_them_is_a_command_line() {
        let mut commands = Vec::new();
        each(&Arguments::command(), "", &mut commands);
        for words in &commands {
            assert!(!of(words).is_empty(), "`{words}` has no example");
            for (line, _) in of(words) {
                assert!(line.starts_with(format!("file-recycler {words}").trim_end()), "{words}: {line}");
            }
        }
        for (words, examples) in EXAMPLES {
            assert!(commands.iter().any(|command| command == words), "`{words}` is no command");
            for (line, _) in *examples {
                let line = line.split(" >").next().unwrap().split(" | ").next().unwrap();
                super::super::parses(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            }
        }
    }

    #[test]
    fn the_examples_are_in_the_short_help_and_in_the_long_one() {
        for words in ["dlq replay", "restore", "erase"] {
            let mut command = shown(Arguments::command());
            command.build();
            let mut command = words
                .split(' ')
                .fold(command, |command, word| command.find_subcommand(word).unwrap().clone());
            for help in [command.render_help(), command.render_long_help()] {
                assert!(help.to_string().contains(of(words)[0].0), "{words}: {help}");
            }
        }
    }
}
