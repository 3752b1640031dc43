//! At the shell: completions, man pages, colours where somebody looks, and errors that lead on.

mod errors;

use std::process::Command;

use crate::support::folder::Folder;
use crate::support::process::{self, command};

const BIN: &str = env!("CARGO_BIN_EXE_file-recycler");

/// Runs a program to its end; what it said on both channels.
fn said(command: &mut Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// What bash offers for the last of these words.
fn offered(words: &[&str]) -> Vec<String> {
    // As bash calls it: the function that `complete` names, with the words in COMP_WORDS.
    let script = r#"source <("$0" completions bash)
        function=$(complete -p file-recycler | sed 's/.* -F \([^ ]*\) .*/\1/')
        COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
        "$function" file-recycler "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}""#;
    let (well, text) = said(Command::new("bash").args(["-c", script, BIN]).args(words));
    assert!(well, "{words:?}: {text}");
    text.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_options_and_words_that_are_known() {
    for (words, some) in [
        (&["file-recycler", "d"][..], &["dlq", "doctor"][..]),
        (&["file-recycler", "listener", ""], &["install", "uninstall", "status"]),
        (&["file-recycler", "dlq", "replay", "--ra"], &["--rate", "--ramp"]),
        (&["file-recycler", "dlq", "list", "--reason", "co"], &["conflict"]),
        (&["file-recycler", "adopt", "--for", ""], &["restore"]),
        (&["file-recycler", "completions", ""], &["bash", "zsh", "fish"]),
    ] {
        let offered = offered(words);
        for word in some {
            assert!(offered.iter().any(|offer| offer == word), "{words:?}: {offered:?}");
        }
    }
    assert_eq!(offered(&["file-recycler", "dlq", "replay", "--ramp", "--max"]), ["--max-failures"]);
}

#[tokio::test]
async fn every_shell_that_is_offered_gets_a_script_of_its_own() {
    let offered = offered(&["file-recycler", "completions", ""]);
    let shells: Vec<_> = offered.iter().filter(|word| !word.starts_with('-') && *word != "help").collect();
    assert!(shells.len() >= 5, "{shells:?}");
    for shell in shells {
        let script = process::run(&[], &["completions", shell]).await.expect(0).stdout;
        for word in ["dlq", "replay", "max-failures"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    process::run(&[], &["completions", "cmd"]).await.expect(2);
}

#[tokio::test]
async fn every_command_has_a_man_page_without_warnings() {
    let folder = Folder::create();
    process::run(&[], &["man", "--out", folder.path().to_str().unwrap()]).await.expect(0);
    let mut pages = 0;
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let page = entry.unwrap().path();
        let (well, warnings) = said(Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(&page));
        assert!(well && warnings.is_empty(), "{}: {warnings}", page.display());
        let name = page.file_stem().unwrap().to_str().unwrap().to_owned();
        let words: Vec<_> = name.split('-').skip(2).collect();
        let one = process::run(&[], &[&["man"][..], &words].concat()).await.expect(0).stdout;
        let text = std::fs::read_to_string(&page).unwrap();
        assert_eq!(text.trim_end(), one.trim_end(), "{name}");
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "EXIT STATUS"] {
            assert!(
                text.contains(&format!(".SH {section}")) || text.contains(&format!(".SH \"{section}\"")),
                "{name}: {section}"
            );
        }
        pages += 1;
    }
    // As many as the help of all commands tells of.
    assert_eq!(pages, 1 + commands(&[]).await, "a page for each command");
    process::run(&[], &["man", "nonsense"]).await.expect(2);
}

/// How many commands there are below this one, by its help.
async fn commands(words: &[&str]) -> usize {
    let help = process::run(&[], &[words, &["-h"]].concat()).await.expect(0).stdout;
    let Some((_, list)) = help.split_once("Commands:\n") else { return 0 };
    let names: Vec<_> = list
        .lines()
        .take_while(|line| !line.is_empty())
        // A line that goes on is further to the right.
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    let mut count = names.len();
    for name in names {
        count += Box::pin(commands(&[words, &[name]].concat())).await;
    }
    count
}

/// What a command shows on a terminal.
fn on_a_terminal(environment: &[(&str, &str)], line: &str) -> String {
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", &format!("{BIN} {line}"), "/dev/null"]);
    script.env_clear().env("PATH", std::env::var_os("PATH").unwrap()).env("TERM", "xterm");
    let script = script.envs(environment.iter().copied()).current_dir(std::env::temp_dir());
    said(script).1
}

#[tokio::test]
async fn colours_are_for_terminals_and_for_whoever_asks_for_them() {
    let escape = '\u{1b}';
    // The report, an error of ours, an error of the command line, and the help.
    for line in ["doctor", "status", "dlq list --reason nonsense", "--help"] {
        let terminal = on_a_terminal(&[], line);
        assert!(terminal.contains(escape), "{line}: {terminal}");
        let plain = on_a_terminal(&[("NO_COLOR", "1")], line);
        assert!(!plain.contains(escape), "{line}: {plain}");
        let words: Vec<_> = line.split(' ').collect();
        let piped = process::run(&[], &words).await;
        assert!(!format!("{}{}", piped.stdout, piped.stderr).contains(escape), "{line}: {piped:?}");
        let forced = [("CLICOLOR_FORCE".to_owned(), "1".to_owned())];
        let forced = command(&forced, &words).output().await.unwrap();
        let forced = String::from_utf8([forced.stdout, forced.stderr].concat()).unwrap();
        assert!(forced.contains(escape), "{line}: {forced}");
    }
}
