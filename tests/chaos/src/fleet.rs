//! The program's processes: started, killed, stopped and counted. Only these are ever disturbed.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Result;
use crate::proxy::Proxy;
use crate::scene::{DELAYS, Scene, at};

/// The program's own bound on a stop, and a margin.
const STOP_WITHIN: Duration = Duration::from_secs(40);

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Half {
    /// The relay.
    Listen,
    /// A worker.
    Work,
}

impl Half {
    fn command(self) -> &'static str {
        match self {
            Self::Listen => "listen",
            Self::Work => "work",
        }
    }
}

/// What was done to the processes, and what they did by themselves.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Counts {
    /// Processes that were started.
    pub starts: u64,
    /// SIGKILLs to a worker.
    pub kills_of_workers: u64,
    /// SIGKILLs to a relay.
    pub kills_of_relays: u64,
    /// SIGTERMs that were answered by an exit with 0 in time.
    pub clean_stops: u64,
    /// SIGTERMs that were not.
    pub unclean_stops: u64,
    /// SIGSTOPs, each with its SIGCONT.
    pub freezes: u64,
    /// Processes that ended although nobody had told them to.
    pub ended_by_themselves: u64,
}

struct Process {
    half: Half,
    child: Child,
}

/// The processes.
pub struct Fleet {
    binary: PathBuf,
    environment: Vec<(String, String)>,
    logs: PathBuf,
    processes: Vec<Process>,
    /// What happened so far.
    pub counts: Counts,
}

/// The ways from the program to its servers.
#[derive(Debug)]
pub struct Ways {
    /// To PostgreSQL.
    pub database: Proxy,
    /// To RabbitMQ.
    pub broker: Proxy,
    /// To the storage.
    pub storage: Proxy,
}

impl Ways {
    /// Opens them.
    ///
    /// # Errors
    /// An address has no host, or no port is free.
    pub async fn open(scene: &Scene) -> Result<Self> {
        let server = |url: &url::Url, port: u16| {
            let host = url.host_str().ok_or("an address without a host")?;
            Ok::<_, crate::Error>(format!("{host}:{}", url.port_or_known_default().unwrap_or(port)))
        };
        Ok(Self {
            database: Proxy::to(server(&scene.servers.database, 5432)?).await?,
            broker: Proxy::to(server(&scene.servers.broker, 5672)?).await?,
            storage: Proxy::to(server(&scene.servers.storage, 80)?).await?,
        })
    }
}

fn through(url: &url::Url, way: &Proxy) -> String {
    let mut url = url.clone();
    // Both fail only for addresses that cannot have them, and these have.
    let _ = (url.set_host(Some("127.0.0.1")), url.set_port(Some(way.address.port())));
    url.to_string()
}

impl Fleet {
    /// No process yet; `logs` is where theirs go.
    pub fn new(binary: &Path, scene: &Scene, ways: &Ways, logs: &Path) -> Self {
        let delays = DELAYS.map(|delay| format!("\"{delay}\"")).join(",");
        let settings = [
            ("DATABASE__URL", through(&at(&scene.servers.database, &scene.name), &ways.database)),
            ("BROKER__URL", through(&scene.servers.broker, &ways.broker)),
            ("BROKER__PREFIX", scene.name.clone()),
            ("STORAGE__SERVICE_URL", through(&scene.servers.storage, &ways.storage)),
            ("STORAGE__ACCESS_KEY", scene.servers.access_key.clone()),
            ("STORAGE__SECRET_KEY", scene.servers.secret_key.clone()),
            ("STORAGE__OBJECT_BUCKET_NAME", scene.object_bucket()),
            ("STORAGE__RECYCLE_BUCKET_NAME", scene.recycle_bucket()),
            ("RETRY__DELAYS", format!("[{delays}]")),
            ("HTTP__LISTEN", String::new()),
        ];
        let environment =
            settings.into_iter().map(|(key, value)| (format!("FILE_RECYCLER_{key}"), value)).collect();
        let (binary, logs) = (binary.to_owned(), logs.to_owned());
        Self { binary, environment, logs, processes: Vec::new(), counts: Counts::default() }
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).env_clear().env("PATH", path).envs(self.environment.iter().cloned());
        command.current_dir(&self.logs).stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// Runs a command of the program to its end, which must be 0.
    ///
    /// # Errors
    /// It ended otherwise.
    pub async fn command_to_end(&self, arguments: &[&str]) -> Result<()> {
        let output = self.command(arguments).output().await?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(format!("{arguments:?} ended with {}: {said}", output.status).into())
    }

    /// Starts one more.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(&mut self, half: Half) -> Result<()> {
        self.counts.starts += 1;
        let name = format!("{:04}-{}.log", self.counts.starts, half.command());
        let log = File::create(self.logs.join(name))?;
        let mut command = self.command(&[half.command()]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn()?;
        self.processes.push(Process { half, child });
        Ok(())
    }

    /// How many of them there are.
    pub fn count(&self, half: Half) -> usize {
        self.processes.iter().filter(|process| process.half == half).count()
    }

    /// The place of the `number`th of a kind, counted round and round.
    fn place(&self, half: Half, number: usize) -> Option<usize> {
        let of_kind = |(at, process): (usize, &Process)| (process.half == half).then_some(at);
        let places: Vec<_> = self.processes.iter().enumerate().filter_map(of_kind).collect();
        places.get(number % places.len().max(1)).copied()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// It could not be sent.
    pub async fn kill(&mut self, half: Half, number: usize) -> Result<()> {
        let Some(at) = self.place(half, number) else { return Ok(()) };
        let mut process = self.processes.remove(at);
        process.child.kill().await?;
        match half {
            Half::Listen => self.counts.kills_of_relays += 1,
            Half::Work => self.counts.kills_of_workers += 1,
        }
        Ok(())
    }

    /// SIGTERM, and waits until it has ended.
    ///
    /// # Errors
    /// It could not be sent.
    pub async fn stop(&mut self, half: Half, number: usize) -> Result<()> {
        let Some(at) = self.place(half, number) else { return Ok(()) };
        let mut process = self.processes.remove(at);
        signal(&process.child, "-TERM").await?;
        match timeout(STOP_WITHIN, process.child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(ExitStatus::success) => self.counts.clean_stops += 1,
            // One that had not come up yet ends by the signal itself, or says what it missed.
            Ok(_) => self.counts.unclean_stops += 1,
            Err(_) => {
                self.counts.unclean_stops += 1;
                process.child.kill().await?;
            }
        }
        Ok(())
    }

    /// SIGSTOP, and after a while SIGCONT.
    ///
    /// # Errors
    /// A signal could not be sent.
    pub async fn freeze(&mut self, half: Half, number: usize, length: Duration) -> Result<()> {
        let Some(at) = self.place(half, number) else { return Ok(()) };
        let child = &self.processes[at].child;
        signal(child, "-STOP").await?;
        tokio::time::sleep(length).await;
        signal(child, "-CONT").await?;
        self.counts.freezes += 1;
        Ok(())
    }

    /// Starts those again that ended by themselves, as a supervisor does.
    ///
    /// # Errors
    /// One cannot be started.
    pub fn supervise(&mut self) -> Result<()> {
        let mut ended = Vec::new();
        self.processes.retain_mut(|process| {
            let runs = matches!(process.child.try_wait(), Ok(None));
            if !runs {
                ended.push(process.half);
            }
            runs
        });
        for half in ended {
            self.counts.ended_by_themselves += 1;
            self.start(half)?;
        }
        Ok(())
    }

    /// Stops all, cleanly.
    ///
    /// # Errors
    /// A signal could not be sent.
    pub async fn stop_all(&mut self) -> Result<()> {
        for half in [Half::Listen, Half::Work] {
            while self.count(half) > 0 {
                self.stop(half, 0).await?;
            }
        }
        Ok(())
    }
}

/// To one of our own children, by its id.
async fn signal(child: &Child, signal: &str) -> Result<()> {
    if let Some(pid) = child.id() {
        Command::new("kill").args([signal, &pid.to_string()]).stderr(Stdio::null()).status().await?;
    }
    Ok(())
}
