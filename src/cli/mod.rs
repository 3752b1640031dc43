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
mod listener;
mod output;
mod parts;
mod pause;
mod report;
mod requests;
mod restore;
mod retention;
mod run;
mod status;

use std::process::ExitCode;

use crate::config::{self, Profile, Sources};
use crate::logging;
use arguments::{Arguments, Command, Dlq};
use output::{Failed, Finding};

/// Runs the command that the process was started with.
///
/// Exit codes: 0 done and healthy, 1 something failed or was found, 2 usage or configuration.
pub fn main() -> ExitCode {
    let _armed = crate::failpoint::arm();
    let arguments = match Arguments::try_from_command_line() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are printed and are no error.
            let code = if error.use_stderr() { 2 } else { 0 };
            let _ = error.print();
            return ExitCode::from(code);
        }
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
        Err(Failed { message, code }) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

async fn dispatch(arguments: Arguments) -> Result<Finding, Failed> {
    let Arguments { global, command } = arguments;
    let json = global.json;
    let loaded = match config::load(&Sources::from_process(global.config, global.set)) {
        Ok(loaded) => loaded,
        Err(errors) if matches!(command, Command::Doctor) => return Err(doctor::cannot(errors, json)),
        Err(errors) => return Err(Failed::usage(errors)),
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
        Command::Explain(explain) => Box::pin(explain::run(&loaded.config, explain, json)).await,
        Command::Audit(audit) => Box::pin(audit::run(&loaded.config, &audit, json)).await,
        Command::Erase(erase) => Box::pin(erase::run(&loaded.config, erase, json)).await,
        Command::Doctor => Box::pin(doctor::run(&loaded, json)).await,
        Command::Status(status) => Box::pin(status::run(&loaded.config, &status, json)).await,
        Command::Adopt(adopt) => adopt::run(&loaded.config, &adopt, json).await,
        Command::Pause { why } => pause::pause(&loaded.config, &why, json).await,
        Command::Resume => pause::resume(&loaded.config, json).await,
        Command::Retention { command } => retention::run(&loaded.config, command, json).await,
        Command::Config { command } => config_show::run(&loaded, &command, json),
    }
}
