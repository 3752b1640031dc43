//! The real binary as a child process: started, watched by its log and its HTTP answers, killed.

use std::io::BufRead as _;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::told::{Secrets, is_unexpected};

/// Longest wait for any state in a test.
pub const PATIENCE: Duration = Duration::from_mins(1);
/// How long the last lines of a service that has ended may take.
const LAST_LINES: Duration = Duration::from_secs(10);

/// The setting that tells one environment's messages from another's.
const PREFIX: &str = "FILE_RECYCLER_BROKER__PREFIX";

/// Each service that was started and not dropped: its prefix, and where it serves.
static SERVING: Mutex<Vec<(String, SocketAddr)>> = Mutex::new(Vec::new());

/// Waits until `state` gives something; fails the test with `what` when it never does.
pub async fn eventually<T>(what: &str, state: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, state).await
}

/// The same, for work that is long by nature.
pub async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut state: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = tokio::time::Instant::now() + patience;
    loop {
        if let Some(value) = state().await {
            return value;
        }
        assert!(tokio::time::Instant::now() < deadline, "waited {patience:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Output {
    /// The JSON document that it printed.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// Asserts that it ended with `code`.
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        self
    }
}

/// The binary with an environment of its own, to be started.
pub fn command(environment: &[(String, String)], arguments: &[&str]) -> Command {
    command_of(env!("CARGO_BIN_EXE_file-recycler"), environment, arguments)
}

/// The same of another binary.
fn command_of(binary: &str, environment: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(binary);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Runs a command to its end. A secret in what it prints fails the test, and so does a WARN or ERROR in its log.
pub async fn run(environment: &[(String, String)], arguments: &[&str]) -> Output {
    run_that_warns(environment, arguments, &[]).await
}

/// The same, where the log may have a WARN or ERROR whose line contains one of these.
pub async fn run_that_warns(
    environment: &[(String, String)],
    arguments: &[&str],
    expected: &[&str],
) -> Output {
    looked_through(environment, command(environment, arguments), expected).await
}

/// Runs any command to its end, and looks through what it printed.
pub async fn looked_through(
    environment: &[(String, String)],
    mut command: Command,
    expected: &[&str],
) -> Output {
    let ended = tokio::time::timeout(PATIENCE * 2, command.output());
    let output = ended.await.unwrap_or_else(|_| panic!("{command:?} does not end")).unwrap();
    let output = Output {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    };
    let secrets = Secrets::of(environment);
    secrets.look_through("standard output", &output.stdout);
    secrets.look_through("standard error", &output.stderr);
    let unexpected: Vec<_> = output.stderr.lines().filter(|line| is_unexpected(line, expected)).collect();
    assert!(unexpected.is_empty(), "unexpected in the log:\n{}", unexpected.join("\n"));
    output
}

/// A running `run`, `listen` or `work`. Dropped, it is killed, and an unexpected WARN or ERROR in its log, or a secret,
/// fails the test.
pub struct Service {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Lines with a secret in them, and which.
    leaks: Arc<Mutex<Vec<String>>>,
    /// Reads the log to its end, whatever becomes of the test.
    reader: Option<JoinHandle<()>>,
    expected: Vec<&'static str>,
    pub http: SocketAddr,
}

impl Service {
    /// Starts it; `environment` configures it, `http.listen` is chosen here.
    pub async fn start(environment: &[(String, String)], arguments: &[&str]) -> Self {
        Self::start_of(env!("CARGO_BIN_EXE_file-recycler"), environment, arguments).await
    }

    /// The same of another binary, such as a release's.
    pub async fn start_of(binary: &str, environment: &[(String, String)], arguments: &[&str]) -> Self {
        let http = free_address().await;
        let mut environment = environment.to_vec();
        environment.push(("FILE_RECYCLER_HTTP__LISTEN".into(), http.to_string()));
        Self::started(&environment, command_of(binary, &environment, arguments), http)
    }

    /// Starts it by a command that somebody else made with this environment; it serves on `http`.
    pub fn started(environment: &[(String, String)], mut command: Command, http: SocketAddr) -> Self {
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let leaks = Arc::new(Mutex::new(Vec::new()));
        let (lines, found, secrets) = (Arc::clone(&log), Arc::clone(&leaks), Secrets::of(environment));
        let stderr = std::fs::File::from(child.stderr.take().unwrap().into_owned_fd().unwrap());
        let prefix = environment.iter().find(|(key, _)| key == PREFIX).map(|(_, prefix)| prefix.clone());
        SERVING.lock().unwrap().push((prefix.unwrap_or_default(), http));
        let reader = std::thread::spawn(move || {
            for line in std::io::BufReader::new(stderr).lines().map_while(Result::ok) {
                let told = secrets.told_by(&line);
                if !told.is_empty() {
                    found.lock().unwrap().push(format!("{told:?}: {line}"));
                }
                lines.lock().unwrap().push(line);
            }
        });
        Self { child, log, leaks, reader: Some(reader), expected: Vec::new(), http }
    }

    /// Announces a WARN or ERROR whose line contains `text`.
    pub fn expect_log(mut self, text: &'static str) -> Self {
        self.expected.push(text);
        self
    }

    /// Announces several, later.
    pub fn expects(&mut self, texts: &[&'static str]) {
        self.expected.extend(texts);
    }

    /// Waits until `/readyz` says ready.
    pub async fn ready(self) -> Self {
        eventually("the service is ready", async || {
            self.readyz().await.filter(|answer| answer["ready"] == true)
        })
        .await;
        self
    }

    /// What `/readyz` answers; nothing while it does not answer.
    pub async fn readyz(&self) -> Option<Value> {
        let (_, body) = get(self.http, "/readyz").await?;
        serde_json::from_str(&body).ok()
    }

    /// Waits until it is not ready, since its guard says this.
    pub async fn guard_says(&self, text: &str) {
        eventually(&format!("the guard says '{text}'"), async || {
            let answer = self.readyz().await?;
            let message = answer["guard"]["message"].as_str()?;
            (answer["ready"] == false && message.contains(text)).then_some(())
        })
        .await;
    }

    /// A counter, by its name with labels; 0 where it is not there.
    pub async fn metric(&self, name: &str) -> u64 {
        metric_of(self.http, name).await
    }

    /// The log so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// All of the log, of a service that has ended.
    pub fn log_to_its_end(&mut self) -> Vec<String> {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.log()
    }

    /// The most memory that it ever had, in KiB.
    pub fn peak_kib(&self) -> u64 {
        let pid = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak.and_then(|line| line.split_whitespace().next()).unwrap().parse().unwrap()
    }

    /// The process's id.
    pub fn id(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// SIGKILL, and waits for the end.
    pub async fn kill(&mut self) {
        self.child.start_kill().expect("it runs");
        self.child.wait().await.unwrap();
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("it was started").is_some()
    }

    /// Waits until it has ended by itself (a failpoint, a wrong configuration), and gives its exit code;
    /// nothing where a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends by itself").unwrap().code()
    }

    /// Waits until it has ended by itself, and gives the signal that ended it; nothing where it exited.
    pub async fn signal(&mut self) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt as _;
        let ended = tokio::time::timeout(PATIENCE, self.child.wait()).await;
        ended.expect("it ends by itself").unwrap().signal()
    }

    /// SIGTERM, and the exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.terminate().await;
        self.ended().await
    }

    /// SIGTERM without waiting.
    pub async fn terminate(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let status = Command::new("kill").args(["-TERM", &pid]).status().await.unwrap();
        assert!(status.success());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        SERVING.lock().unwrap().retain(|(_, http)| *http != self.http);
        // The log ends with the process, and is read to its end: also that of one that had ended before.
        let killed = self.child.start_kill();
        if let Some(reader) = self.reader.take() {
            // Of one that had ended, somebody else may hold the log's other end: then it is not waited for.
            let until = std::time::Instant::now() + LAST_LINES;
            while killed.is_err() && !reader.is_finished() && std::time::Instant::now() < until {
                std::thread::sleep(Duration::from_millis(5));
            }
            if killed.is_ok() || reader.is_finished() {
                let _ = reader.join();
            }
        }
        let leaks = self.leaks.lock().unwrap().join("\n");
        if std::thread::panicking() {
            eprintln!("secrets in the log of the service:\n{leaks}");
            eprintln!("log of the service:\n{}", self.log().join("\n"));
            return;
        }
        assert!(leaks.is_empty(), "secrets in the log:\n{leaks}");
        let unexpected: Vec<_> =
            self.log().into_iter().filter(|line| is_unexpected(line, &self.expected)).collect();
        assert!(unexpected.is_empty(), "unexpected in the log:\n{}", unexpected.join("\n"));
    }
}

/// Messages that the services of a prefix took and have not settled. What the broker sent and nobody took yet is not
/// among them.
pub async fn in_hand(prefix: &str) -> u64 {
    let mut sum = 0;
    let serving: Vec<_> = SERVING.lock().unwrap().iter().filter(|(of, _)| of == prefix).cloned().collect();
    for (_, http) in serving {
        sum += metric_of(http, "file_recycler_deliveries_in_hand").await;
    }
    sum
}

/// A counter of who serves there, by its name with labels; 0 where it or nobody is there.
async fn metric_of(http: SocketAddr, name: &str) -> u64 {
    let Some((_, body)) = get(http, "/metrics").await else { return 0 };
    let line = body.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()).and_then(|value| value.parse().ok()).unwrap_or(0)
}

/// A port that is free now, for somebody who binds it later. It is of none that a system gives to connections: one
/// of those could be taken in between.
pub async fn free_address() -> SocketAddr {
    const PORTS: std::ops::Range<u16> = 11_000..19_000;
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    for _ in PORTS {
        let turn = TAKEN.fetch_add(1, Ordering::Relaxed).wrapping_add(std::process::id().wrapping_mul(97));
        let port = PORTS.start + u16::try_from(turn % u32::from(PORTS.end - PORTS.start)).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        if tokio::net::TcpListener::bind(address).await.is_ok() {
            return address;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// Status and body of a GET; nothing while nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}
