//! The in-memory S3 server, or the proxy to another one, as a program of its own.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use recycler_test_s3::{Conditions, Credentials, Options, Proxy, ProxyOptions, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// An in-memory S3 server for tests, or with --upstream a proxy to another server. All content in
/// memory is lost when it stops.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The address to listen on; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:9000")]
    listen: SocketAddr,
    /// A server to pass requests on to, such as http://127.0.0.1:8333.
    #[arg(long, value_name = "ENDPOINT")]
    upstream: Option<String>,
    /// The access key that clients sign with [default: test]; of a proxy the one that it signs
    /// with itself where a rule makes it change a request.
    #[arg(long)]
    access_key: Option<String>,
    /// The secret key to that [default: test-secret].
    #[arg(long)]
    secret_key: Option<String>,
    /// A bucket to begin with; may be given more than once.
    #[arg(long = "bucket", value_name = "NAME", conflicts_with = "upstream")]
    buckets: Vec<String>,
    /// How long every request waits, such as 20ms or 1.5s.
    #[arg(long, default_value = "0ms", value_parser = parse_duration)]
    latency: Duration,
    /// A file to write the endpoint to once the server is ready.
    #[arg(long, value_name = "PATH")]
    ready_file: Option<PathBuf>,
    /// Takes no notice of conditions on the destination of a copy and on deletes.
    #[arg(long, conflicts_with_all = ["refuse_conditions", "upstream"])]
    ignore_conditions: bool,
    /// Answers conditions on the destination of a copy and on deletes with 501 NotImplemented.
    #[arg(long, conflicts_with = "upstream")]
    refuse_conditions: bool,
    /// The smallest part of a multipart upload, but for the last, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 5 << 20, conflicts_with = "upstream")]
    min_part_size: u64,
    /// The largest source of one copy request, in bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 5 << 30, conflicts_with = "upstream")]
    max_copy_size: u64,
    /// Gives out random ETags rather than MD5 sums, as under SSE-KMS.
    #[arg(long, conflicts_with = "upstream")]
    opaque_etags: bool,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let arguments = Arguments::parse();
    // The S3 layer logs every refused request as an error, and here most of them are wanted.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn,s3s=off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).init();

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let ready_file = arguments.ready_file.clone();
    let running = Running::start(arguments).await?;
    let endpoint = running.endpoint();
    writeln!(io::stdout(), "listening on {endpoint}")?;
    if let Some(path) = ready_file {
        // Renamed into place, so that whoever waits for it never reads half of it.
        let unfinished = path.with_added_extension("tmp");
        tokio::fs::write(&unfinished, endpoint).await?;
        tokio::fs::rename(unfinished, path).await?;
    }
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    running.stop().await;
    Ok(())
}

/// What the arguments ask for.
enum Running {
    Server(Server),
    Proxy(Proxy),
}

impl Running {
    async fn start(arguments: Arguments) -> io::Result<Self> {
        let Some(upstream) = arguments.upstream.clone() else {
            return Server::start(arguments.into_options()).await.map(Self::Server);
        };
        let pair = arguments.access_key.zip(arguments.secret_key);
        let options = ProxyOptions {
            listen: arguments.listen,
            latency: arguments.latency,
            credentials: pair.map(|(access_key, secret_key)| Credentials { access_key, secret_key }),
            ..ProxyOptions::to(upstream)
        };
        Proxy::start(options).await.map(Self::Proxy)
    }

    fn endpoint(&self) -> String {
        match self {
            Self::Server(server) => server.endpoint(),
            Self::Proxy(proxy) => proxy.endpoint(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Server(server) => server.stop().await,
            Self::Proxy(proxy) => proxy.stop().await,
        }
    }
}

impl Arguments {
    fn into_options(self) -> Options {
        let conditions = match (self.ignore_conditions, self.refuse_conditions) {
            (true, _) => Conditions::Ignore,
            (_, true) => Conditions::Refuse,
            _ => Conditions::Honour,
        };
        let defaults = Options::default();
        Options {
            listen: self.listen,
            access_key: self.access_key.unwrap_or(defaults.access_key),
            secret_key: self.secret_key.unwrap_or(defaults.secret_key),
            buckets: self.buckets,
            latency: self.latency,
            conditions,
            min_part_size: self.min_part_size,
            max_copy_size: self.max_copy_size,
            opaque_etags: self.opaque_etags,
            made_up_versions: false,
        }
    }
}

/// A number with `ms` or `s` behind it.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 0.001),
        None => (text.strip_suffix('s').ok_or("needs ms or s behind the number")?, 1.0),
    };
    let number: f64 = number.trim().parse().map_err(|_| format!("{number:?} is no number"))?;
    Duration::try_from_secs_f64(number * unit).map_err(|error| error.to_string())
}
