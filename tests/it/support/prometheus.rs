//! A Prometheus of a test's own, and its promtool: where `deploy/local/lib/prometheus.sh` puts them.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use uuid::Uuid;

use super::own::path;
use super::process::{eventually, free_address};
use super::tools::Said;

/// The folder of alerts and configuration.
pub fn deployed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name)
}

fn program(name: &str) -> PathBuf {
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var("XDG_CACHE_HOME").map_or_else(|_| home(), PathBuf::from);
    let program = cache.join("file-recycler/prometheus").join(name);
    assert!(program.is_file(), "{} is not there: deploy/local/up installs it", program.display());
    program
}

/// Runs promtool.
pub async fn promtool(arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(program("promtool"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end without having read all of it.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let ended = child.wait_with_output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { success: ended.status.success(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

/// The server, which dies with this value.
pub struct Prometheus {
    folder: PathBuf,
    address: SocketAddr,
    child: Child,
}

impl Prometheus {
    /// Starts one that has our own configuration, with this target, a second in place of every interval, and rules
    /// whose alerts wait for nothing.
    pub async fn start(target: SocketAddr) -> Self {
        let folder =
            std::env::temp_dir().join(format!("file-recycler-prometheus-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(&folder).unwrap();
        let read = |name: &str| std::fs::read_to_string(deployed("prometheus").join(name)).unwrap();
        let ours = read("prometheus.yml");
        let config = ours.replace("worker:8077", &target.to_string()).replace("15s", "1s");
        assert!(
            config.contains(&target.to_string()) && config.matches("_interval: 1s").count() == 2,
            "{config}"
        );
        let rules = read("alerts.yml");
        let waits = |line: &&str| line.trim_start().starts_with("for: ");
        assert!(rules.lines().any(|line| waits(&line)));
        let rules: Vec<_> = rules.lines().filter(|line| !waits(line)).collect();
        std::fs::write(folder.join("prometheus.yml"), config).unwrap();
        std::fs::write(folder.join("alerts.yml"), rules.join("\n")).unwrap();
        let address = free_address().await;
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", path(&folder.join("prometheus.yml"))))
            .arg(format!("--storage.tsdb.path={}", path(&folder.join("data"))))
            .arg(format!("--web.listen-address={address}"))
            .args(["--log.level=error"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let prometheus = Self { folder, address, child };
        eventually("Prometheus is ready", async || {
            prometheus.ask("/-/ready").await.filter(|answer| answer.starts_with("HTTP/1.0 200")).map(drop)
        })
        .await;
        prometheus
    }

    /// The whole answer. By the older protocol, so that it comes in one piece.
    async fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        Some(answer)
    }

    async fn data(&self, path: &str) -> Value {
        let answer = self.ask(path).await.expect("Prometheus answers");
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        let answer: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"));
        assert_eq!(answer["status"], "success", "{path}: {answer}");
        answer["data"].clone()
    }

    /// What an expression gives now.
    pub async fn query(&self, expression: &str) -> Vec<Value> {
        let encoded = utf8_percent_encode(expression, NON_ALPHANUMERIC);
        let data = self.data(&format!("/api/v1/query?query={encoded}")).await;
        data["result"].as_array().unwrap_or_else(|| panic!("{expression}: {data}")).clone()
    }

    /// The alerts that fire, by name; one about a server with that server's name.
    pub async fn firing(&self) -> BTreeSet<String> {
        let data = self.data("/api/v1/alerts").await;
        let alerts = data["alerts"].as_array().unwrap();
        let name = |labels: &Value| {
            let name = labels["alertname"].as_str().unwrap();
            labels["name"].as_str().map_or_else(|| name.to_owned(), |server| format!("{name} {server}"))
        };
        alerts.iter().filter(|alert| alert["state"] == "firing").map(|alert| name(&alert["labels"])).collect()
    }

    /// Every rule: its name and what it asks.
    pub async fn rules(&self) -> Vec<Value> {
        let data = self.data("/api/v1/rules").await;
        let groups = data["groups"].as_array().unwrap();
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap().clone()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        // What it still writes is little, and in a place for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
