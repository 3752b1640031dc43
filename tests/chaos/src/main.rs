//! The command line of the chaos.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use recycler_test_chaos::run::{self, Plan};
use recycler_test_chaos::scene::{Scene, Servers};
use recycler_test_chaos::{Result, check};
use serde::Serialize;

/// Kills, stops and cuts off real processes of file-recycler at random while records are deleted, and checks on the
/// servers that no promise was broken. The servers are those that `deploy/local/up` prints.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// One JSON document in place of text.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Disturbs for a while, waits until it is quiet, checks. Exit 1 on any violation.
    Run {
        /// The same seed gives the same sequence of actions.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How long to disturb, such as 90s or 10m.
        #[arg(long = "for", value_name = "DURATION", default_value = "3m", value_parser = duration)]
        length: Duration,
        /// How many workers there are usually; they become fewer and more meanwhile.
        #[arg(long, default_value_t = 4)]
        workers: usize,
        /// The program.
        #[arg(long, default_value = "target/debug/file-recycler")]
        binary: PathBuf,
        /// Where logs, notes and the list of actions go.
        #[arg(long, default_value = "target/chaos")]
        folder: PathBuf,
        /// Leave database, queues and buckets, for `check`.
        #[arg(long)]
        keep: bool,
    },
    /// Checks a scene that was kept, with no process at work in it.
    Check {
        /// The name that `run --keep` printed.
        #[arg(long)]
        scene: String,
        /// The notes of the run.
        #[arg(long, default_value = "target/chaos/model.json")]
        model: PathBuf,
        /// Remove the scene afterwards.
        #[arg(long)]
        remove: bool,
    },
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no duration such as 90s or 10m");
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(number * seconds))
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match act(arguments).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("chaos: {error}");
            ExitCode::from(2)
        }
    }
}

async fn act(arguments: Arguments) -> Result<bool> {
    let servers = Servers::from_environment()?;
    match arguments.command {
        Command::Run { seed, length, workers, binary, folder, keep } => {
            let plan = Plan { seed, length, workers, binary, folder, keep };
            let summary = run::run(servers, &plan).await?;
            show(&summary, arguments.json)?;
            Ok(summary.holds())
        }
        Command::Check { scene, model, remove } => {
            let scene = Scene::open(servers, scene).await?;
            let model = serde_json::from_slice(&std::fs::read(model)?)?;
            let findings = check::finally(&scene, &model).await?;
            show(&findings, arguments.json)?;
            if remove {
                scene.remove().await?;
            }
            Ok(findings.holds())
        }
    }
}

fn show(result: &(impl Serialize + std::fmt::Display), json: bool) -> Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(result)?);
    } else {
        print!("{result}");
    }
    Ok(())
}
