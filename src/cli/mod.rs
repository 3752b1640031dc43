//! The command line: one file per command; this one parses and hands over.

mod adopt;
mod arguments;
mod audit;
mod config_show;
mod dlq;
mod doctor;
mod emit;
mod erase;
mod explain;
mod healthcheck;
mod listener;
mod migrate;
mod next;
mod output;
mod paint;
mod parts;
mod pause;
mod report;
mod requests;
mod restore;
mod retention;
mod run;
mod shell;
mod status;

use std::process::ExitCode;

use crate::config::{self, Profile, Sources};
use crate::logging;
use arguments::{Arguments, Command, Dlq};
use next::Next;
use output::{Failed, Finding};
use paint::Paint;

/// Runs the command that the process was started with.
///
/// Exit codes: 0 done and healthy, 1 something failed or was found, 2 usage or configuration.
pub fn main() -> ExitCode {
    let _armed = crate::failpoint::arm();
    let arguments = match Arguments::try_from_command_line() {
        Ok(arguments) => arguments,
        Err(error) => return not_a_command(&error),
    };
    logging::init(arguments.global.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: the runtime cannot start: {error}");
            return ExitCode::from(1);
        }
    };
    let ended = runtime.block_on(dispatch(arguments));
    logging::finish();
    match ended {
        Ok(Finding::Healthy) => ExitCode::SUCCESS,
        Ok(Finding::Found) => ExitCode::from(1),
        Err(mut failed) => {
            if failed.code == 2 {
                failed.next.get_or_insert_with(help);
            }
            failed.tell();
            ExitCode::from(failed.code)
        }
    }
}

/// A line that is no command: told with what to type next, where the parser would name an option without its command.
/// Help and version are no error.
fn not_a_command(error: &clap::Error) -> ExitCode {
    use clap::error::ErrorKind;
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let told = error.render();
    let told = match Paint::of_stderr() {
        Paint::Colours => told.ansi().to_string(),
        Paint::Plain => told.to_string(),
    };
    eprintln!("{}", told.split("\nFor more information").next().unwrap_or(&told).trim_end());
    output::suggest(false, Some(help()));
    ExitCode::from(2)
}

/// How the command of this process is called.
fn help() -> Next {
    Next::Help(arguments::words_of_command(std::env::args_os()))
}

async fn dispatch(arguments: Arguments) -> Result<Finding, Failed> {
    let Arguments { global, command } = arguments;
    let json = global.json;
    match &command {
        Command::Completions { shell } => return shell::completions(*shell),
        Command::Man(man) => return shell::man(man),
        _ => {}
    }
    let loaded = match config::load(&Sources::from_process(global.config, global.set)) {
        Ok(loaded) => loaded,
        Err(errors) if matches!(command, Command::Doctor) => return Err(doctor::cannot(errors, json)),
        Err(errors) => return Err(Failed::configuration(errors)),
    };
    if loaded.config.crm.profile == Profile::Events && matches!(command, Command::Listen) {
        return Err(Failed::usage(
            "crm.profile is events: there is no database to listen to; start `run` or `work`",
        ));
    }
    match command {
        Command::Run => run::run(loaded.config, crate::service::Halves::Both).await,
        Command::Listen => run::run(loaded.config, crate::service::Halves::Listener).await,
        Command::Work => run::run(loaded.config, crate::service::Halves::Worker).await,
        Command::Listener { command } => listener::run(&loaded.config, command, json).await,
        Command::Emit(emit) => emit::run(&loaded.config, emit, json).await,
        Command::Dlq { command } => match command {
            Dlq::List(filter) => dlq::list(&loaded.config, filter, json).await,
            Dlq::Show(filter) => dlq::show(&loaded.config, filter, json).await,
            Dlq::Replay(replay) => dlq::replay(&loaded.config, replay, json).await,
            Dlq::Discard(discard) => dlq::discard(&loaded.config, discard, json).await,
        },
        Command::Restore(restore) => Box::pin(restore::run(&loaded.config, restore, json)).await,
        Command::Migrate(migrate) => Box::pin(migrate::run(&loaded.config, migrate, json)).await,
        Command::Explain(explain) => Box::pin(explain::run(&loaded.config, explain, json)).await,
        Command::Audit(audit) => Box::pin(audit::run(&loaded.config, &audit, json)).await,
        Command::Erase(erase) => Box::pin(erase::run(&loaded.config, erase, json)).await,
        Command::Doctor => Box::pin(doctor::run(&loaded, json)).await,
        Command::Status(status) => Box::pin(status::run(&loaded.config, &status, json)).await,
        Command::Healthcheck => healthcheck::run(&loaded.config, json).await,
        Command::Adopt(adopt) => adopt::run(&loaded.config, &adopt, json).await,
        Command::Pause { why } => pause::pause(&loaded.config, &why, json).await,
        Command::Resume => pause::resume(&loaded.config, json).await,
        Command::Retention { command } => retention::run(&loaded.config, command, json).await,
        Command::Config { command } => config_show::run(&loaded, &command, json),
        Command::Completions { shell } => shell::completions(shell),
        Command::Man(man) => shell::man(&man),
    }
}
