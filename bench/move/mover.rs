//! The two movers of ours that `bench/move/run` compares with others: the product's own engine, and a bare
//! loop of the same two requests without any safety.
//!
//! Reads a list of `SIZE<TAB>KEY` lines, moves those objects from one bucket to the other, and prints one
//! line of JSON. The engine asks a registry that answers at once that every file is dead and notes nothing:
//! the others ask no database either.

mod bare;
mod engine;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use file_recycler::config::{Credentials, PathStyle, Storage};
use file_recycler::file::Bucket;
use file_recycler::key_template::KeyTemplate;

/// The product's default for one request with all its tries.
const OPERATION_TIMEOUT: Duration = Duration::from_mins(2);

/// Moves listed objects from bucket to bucket, for the benchmark. Requests are signed with the keys in
/// `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`.
#[derive(Debug, Parser)]
struct Arguments {
    /// What moves them.
    #[arg(value_enum)]
    mode: Mode,
    /// Where the S3 server is.
    #[arg(long)]
    endpoint: url::Url,
    /// The bucket to move from.
    #[arg(long)]
    from: String,
    /// The bucket to move to.
    #[arg(long)]
    to: String,
    /// A file of `SIZE<TAB>KEY` lines.
    #[arg(long)]
    list: PathBuf,
    /// Requests in flight.
    #[arg(long, default_value_t = 64)]
    concurrency: usize,
    /// Set by `cargo bench` for every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// The product's engine.
    Recycler,
    /// The same two requests and nothing else.
    Bare,
}

/// One object to move.
struct Listed {
    key: String,
    size: u64,
}

/// What a mover did.
#[derive(Default)]
struct Done {
    /// Files that are in the other bucket now, by the mover's own account.
    moved: usize,
    /// What went wrong, in words.
    errors: Vec<String>,
    /// Requests before the first file: the probe of what the server can do.
    requests_before: u64,
    /// How long the move itself took, without that.
    took: Duration,
}

type Fault = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<bool, Fault> {
    let started = Instant::now();
    let listed = read_list(arguments)?;
    let files = listed.len();
    // As the product's own.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let done = runtime.block_on(async {
        match arguments.mode {
            Mode::Recycler => engine::run(&arguments.storage()?, arguments.concurrency, listed).await,
            Mode::Bare => bare::run(&arguments.storage()?, arguments.concurrency, listed).await,
        }
    })?;
    let report = serde_json::json!({
        "files": files,
        "moved": done.moved,
        "seconds": done.took.as_secs_f64(),
        "seconds_before": started.elapsed().saturating_sub(done.took).as_secs_f64(),
        "requests_before": done.requests_before,
        "errors": done.errors.len(),
    });
    println!("{report}");
    for error in done.errors.iter().take(5) {
        eprintln!("error: {error}");
    }
    Ok(done.errors.is_empty() && done.moved == files)
}

fn read_list(arguments: &Arguments) -> Result<Vec<Listed>, Fault> {
    let mut listed = Vec::new();
    for line in BufReader::new(File::open(&arguments.list)?).lines() {
        let line = line?;
        let (size, key) = line.split_once('\t').ok_or("a line of the list has no tab")?;
        listed.push(Listed { key: key.to_owned(), size: size.parse()? });
    }
    Ok(listed)
}

impl Arguments {
    /// The product's settings, with its defaults.
    fn storage(&self) -> Result<Storage, Fault> {
        let credentials = Credentials::Keys {
            access_key: std::env::var("AWS_ACCESS_KEY_ID")?.into(),
            secret_key: std::env::var("AWS_SECRET_ACCESS_KEY")?.into(),
        };
        Ok(Storage {
            service_url: Some(self.endpoint.clone()),
            credentials,
            buckets: Some((Bucket::new(self.from.as_str()), Bucket::new(self.to.as_str()))),
            region: "us-east-1".to_owned(),
            path_style: PathStyle::Auto,
            key_template: KeyTemplate::default(),
            recycle_class: None,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(30),
            operation_timeout: OPERATION_TIMEOUT,
            ca_file: None,
        })
    }
}
