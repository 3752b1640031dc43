//! `completions` and `man`: what makes a shell know this program, out of the command line's own definition.

use std::io::Write as _;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::arguments::{self, examples};
use super::output::{Failed, Finding, write};

const NAME: &str = "file-recycler";

pub(super) fn completions(shell: Shell) -> Result<Finding, Failed> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut arguments::definition(), NAME, &mut script);
    // The library spells a hyphen in the program's name in two ways in its script for bash, which then knows no command
    // below the first; where it does so no more, this changes nothing.
    let script = String::from_utf8_lossy(&script).replace("file__subcmd__recycler", "file__recycler");
    write(script.trim_end())?;
    Ok(Finding::Healthy)
}

pub(super) fn man(arguments: &arguments::Man) -> Result<Finding, Failed> {
    let mut command = arguments::definition();
    command.build();
    if let Some(folder) = &arguments.out {
        std::fs::create_dir_all(folder).map_err(|error| cannot(folder, &error))?;
        write_all(&command, "", folder)?;
        return Ok(Finding::Healthy);
    }
    for word in &arguments.command {
        command = command
            .find_subcommand(word)
            .cloned()
            .ok_or_else(|| Failed::usage(format!("'{}' is no command", word.escape_debug())))?;
    }
    let page = page(&command, &arguments.command.join(" "))?;
    write(String::from_utf8_lossy(&page).trim_end())?;
    Ok(Finding::Healthy)
}

/// A page for this command and each below it.
fn write_all(command: &Command, words: &str, folder: &Path) -> Result<(), Failed> {
    let file = folder.join(Man::new(command.clone()).get_filename());
    let page = page(command, words)?;
    std::fs::File::create(&file)
        .and_then(|mut out| out.write_all(&page))
        .map_err(|error| cannot(&file, &error))?;
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        write_all(inner, format!("{words} {}", inner.get_name()).trim_start(), folder)?;
    }
    Ok(())
}

fn cannot(path: &Path, error: &std::io::Error) -> Failed {
    Failed::new(format!("{}: {error}", path.display()))
}

/// A page in the usual order of sections; examples and exit codes are our own.
fn page(command: &Command, words: &str) -> Result<Vec<u8>, Failed> {
    let man = Man::new(command.clone())
        .source(format!("{NAME} {}", env!("CARGO_PKG_VERSION")))
        .manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    if let Some(more) = command.get_after_long_help() {
        // The examples at its end have a section of their own.
        let text = more.to_string();
        let text = text.split("Examples:\n").next().unwrap_or_default().trim();
        let mut roff = Roff::new();
        roff.control("PP", []);
        roff.text([roman(text)]).to_writer(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    own_sections(words).to_writer(&mut page)?;
    man.render_version_section(&mut page)?;
    Ok(page)
}

fn own_sections(words: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    for (line, does) in examples::of(words) {
        roff.control("TP", []);
        roff.text([bold(*line)]);
        roff.text([roman(*does)]);
    }
    roff.control("SH", ["EXIT STATUS"]);
    roff.text([roman(
        "0: done and healthy. 1: something failed, or was found. 2: wrong usage or configuration.",
    )]);
    roff
}
