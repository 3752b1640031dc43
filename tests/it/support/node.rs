//! A RabbitMQ node of a test's own: to be stopped, killed, filled up, or set to short time-outs. It dies with the
//! test that started it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use url::Url;
use uuid::Uuid;

use super::own::{as_user, is_root, path, run};
use super::process::{eventually_within, free_address};

/// Where the scripts of Debian's package are; those in `/usr/sbin` insist on the system's user.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";
/// Longest time for a start: six seconds, on a machine that does nothing else.
const START: Duration = Duration::from_mins(2);

/// A node, its data, and its epmd.
pub struct Node {
    folder: PathBuf,
    amqp: SocketAddr,
    distribution: SocketAddr,
    epmd_port: u16,
    _epmd: Child,
    server: Option<Child>,
}

impl Node {
    /// Starts a node with these lines in its `rabbitmq.conf`, and these terms in its `rabbit` application.
    pub async fn start(settings: &str, terms: &str) -> Self {
        let folder = PathBuf::from(format!("/var/tmp/file-recycler-node-{}", Uuid::new_v4().simple()));
        let (amqp, distribution) = (free_address().await, free_address().await);
        let epmd_port = free_address().await.port();
        std::fs::create_dir(&folder).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
        write("rabbitmq.conf", &format!("listeners.tcp.local = {amqp}\nloopback_users = none\n{settings}\n"));
        write("advanced.config", &format!("[{{rabbit, [{terms}]}}].\n"));
        write("enabled_plugins", "[].\n");
        write(".erlang.cookie", &Uuid::new_v4().simple().to_string());
        run("chmod", &["400", path(&folder.join(".erlang.cookie"))]).await;
        if is_root() {
            run("chown", &["-R", "rabbitmq:rabbitmq", path(&folder)]).await;
        }
        let mut epmd = as_user("rabbitmq", &folder, "epmd");
        epmd.args(["-port", &epmd_port.to_string(), "-address", "127.0.0.1"]);
        let epmd = epmd.spawn().expect("epmd starts");
        let mut node = Self { folder, amqp, distribution, epmd_port, _epmd: epmd, server: None };
        node.run().await;
        node
    }

    pub fn url(&self) -> Url {
        format!("amqp://guest:guest@{}/%2f", self.amqp).parse().unwrap()
    }

    /// SIGKILL: what is not on the disk is lost.
    pub async fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        server.start_kill().unwrap();
        server.wait().await.unwrap();
    }

    /// Ends it in its own way.
    pub async fn stop(&mut self) {
        let mut server = self.server.take().expect("it runs");
        run("kill", &["-TERM", &server.id().unwrap().to_string()]).await;
        tokio::time::timeout(START, server.wait()).await.expect("it stops").unwrap();
    }

    /// Starts it (again), with the data that it has.
    pub async fn run(&mut self) {
        let script = self.command(&format!("{SCRIPTS}/rabbitmq-server")).spawn();
        self.server = Some(script.expect("rabbitmq-server starts"));
        eventually_within(START, "the node answers", async || answers(self.amqp).await.then_some(())).await;
    }

    /// Sets the share of the machine's memory from which on it takes no messages; 0 is an alarm at once.
    pub async fn memory_watermark(&self, share: f64) {
        let expression = format!("vm_memory_monitor:set_vm_memory_high_watermark({share:?}).");
        self.control(&["eval", &expression]).await;
    }

    /// Runs `rabbitmqctl` on it.
    pub async fn control(&self, arguments: &[&str]) {
        let mut command = self.command(&format!("{SCRIPTS}/rabbitmqctl"));
        succeeds(command.args(arguments)).await;
    }

    /// Runs a script that calls `rabbitmqctl`.
    pub async fn script(&self, script: &str, arguments: &[&str]) {
        // Of a user who may not be able to reach the script itself: bash reads it from its standard input.
        let mut command = self.command("bash");
        command.stdin(std::fs::File::open(script).unwrap()).args(["-s", "--"]).args(arguments);
        succeeds(command.env("RABBITMQCTL", format!("{SCRIPTS}/rabbitmqctl"))).await;
    }

    fn command(&self, program: &str) -> Command {
        let mut command = as_user("rabbitmq", &self.folder, program);
        let file = |name: &str| self.folder.join(name);
        command
            // The script becomes the server, so that the child is the right process.
            .env("RUNNING_UNDER_SYSTEMD", "true")
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_CRASH_DUMP_SECONDS", "0")
            .env("RABBITMQ_NODENAME", "file-recycler@localhost")
            .env("RABBITMQ_DIST_PORT", self.distribution.port().to_string())
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", file("data"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_GENERATED_CONFIG_DIR", file("config"))
            .env("RABBITMQ_PID_FILE", file("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
            );
        command
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking()
            && let Ok(entries) = std::fs::read_dir(self.folder.join("log"))
        {
            let logs = entries.filter_map(|entry| std::fs::read_to_string(entry.ok()?.path()).ok());
            let logs = logs.collect::<Vec<_>>().join("\n");
            let told = logs.lines().filter(|line| !line.contains("[info]") && !line.contains("[notice]"));
            eprintln!("log of the node:\n{}", told.collect::<Vec<_>>().join("\n"));
        }
        if let Some(server) = &mut self.server {
            let _ = server.start_kill();
        }
        // It may still be writing: what is left of the folder is little, and in a place for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn succeeds(command: &mut Command) {
    let output = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Sends AMQP's protocol header; the first octet of Connection.Start is 1.
async fn answers(address: SocketAddr) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(b"AMQP\0\0\x09\x01").await.ok()?;
        stream.read_u8().await.ok()
    };
    tokio::time::timeout(Duration::from_secs(3), asked).await.is_ok_and(|octet| octet == Some(1))
}
