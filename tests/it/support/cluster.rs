//! A PostgreSQL cluster of a test's own: to be cloned as it runs, and to be set back. It dies with the test.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::{Child, Command};
use url::Url;
use uuid::Uuid;

use super::authority::{Authority, Issued};
use super::own::{as_user, is_root, path, run};
use super::process::{eventually_within, free_address};

const USER: &str = "postgres";
const START: Duration = Duration::from_mins(1);

/// A cluster, its data and its server.
pub struct Cluster {
    folder: PathBuf,
    address: SocketAddr,
    /// Beyond those of every cluster, as `name=value`.
    settings: Vec<&'static str>,
    server: Option<Child>,
}

impl Cluster {
    /// An empty one.
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// An empty one with these settings.
    pub async fn with(settings: &[&'static str]) -> Self {
        let mut cluster = Self::made(settings).await;
        cluster.run().await;
        cluster
    }

    /// An empty one that was not started yet.
    async fn made(settings: &[&'static str]) -> Self {
        let mut cluster = Self::at(free_address().await);
        cluster.settings = settings.to_vec();
        std::fs::write(cluster.folder.join("password"), "crm").unwrap();
        let (data, password) = (cluster.data(), cluster.folder.join("password"));
        let initdb =
            ["-D", path(&data), "-U", "crm", "--pwfile", path(&password), "-A", "scram-sha-256", "-N"];
        cluster.tool("initdb", &initdb).await;
        cluster
    }

    /// An empty one that speaks TLS with this certificate, and lets in the role `worker` with a certificate of that name
    /// by the authority alone. The test itself may come without.
    pub async fn secured(authority: &Authority, certificate: &Issued) -> Self {
        let mut cluster = Self::made(&["ssl=on", "ssl_ca_file=authority.crt"]).await;
        let rules = "hostssl all worker 127.0.0.1/32 cert clientcert=verify-full\n\
                     host all crm 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
        cluster.own("authority.crt", &authority.file());
        cluster.own("server.crt", &certificate.certificate);
        cluster.own("server.key", &certificate.key);
        cluster.run().await;
        cluster
    }

    /// From now on new connections are shown this certificate.
    pub async fn show(&self, certificate: &Issued) {
        self.own("server.crt", &certificate.certificate);
        self.own("server.key", &certificate.key);
        let server = self.server.as_ref().expect("it runs");
        run("kill", &["-HUP", &server.id().unwrap().to_string()]).await;
    }

    /// Copies a file into its data, as its own.
    fn own(&self, name: &str, file: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        let own = self.data().join(name);
        std::fs::copy(file, &own).unwrap();
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o600)).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&own, Some(id_of(USER)), None).unwrap();
        }
    }

    /// A clone by `pg_basebackup`, while this one runs; not started.
    pub async fn clone_of(&self) -> Self {
        self.copied(&[]).await
    }

    /// A standby that follows this one by streaming; not started.
    pub async fn standby_of(&self) -> Self {
        self.copied(&["-R"]).await
    }

    async fn copied(&self, more: &[&str]) -> Self {
        let clone = Self::at(free_address().await);
        let (data, port) = (clone.data(), self.address.port().to_string());
        let arguments = ["-D", path(&data), "-h", "127.0.0.1", "-p", &port, "-U", "crm", "-c", "fast", "-N"];
        clone.tool("pg_basebackup", &[&arguments[..], more].concat()).await;
        clone
    }

    /// From now on this one's address is that of a cluster which has ended.
    pub fn take_the_place_of(&mut self, other: &Self) {
        self.address = other.address;
    }

    pub async fn run(&mut self) {
        let port = self.address.port().to_string();
        let mut server = as_user(USER, &self.folder, &format!("{}/postgres", bin().display()));
        server.args(["-D", path(&self.data()), "-p", &port, "-c", "listen_addresses=127.0.0.1"]);
        server.args(["-c", "unix_socket_directories=", "-c", "fsync=off"]);
        for setting in &self.settings {
            server.args(["-c", setting]);
        }
        self.server = Some(server.spawn().expect("postgres starts"));
        let ready = || async {
            let mut command = Command::new(bin().join("pg_isready"));
            let asked = command.args(["-q", "-h", "127.0.0.1", "-p", &port]).status().await.unwrap();
            asked.success().then_some(())
        };
        eventually_within(START, "the cluster answers", async || ready().await).await;
    }

    /// At once, as by a crash.
    pub async fn kill(&mut self) {
        let mut server = self.server.take().expect("it runs");
        run("kill", &["-QUIT", &server.id().unwrap().to_string()]).await;
        tokio::time::timeout(START, server.wait()).await.expect("it stops").unwrap();
    }

    pub fn url(&self) -> Url {
        format!("postgres://crm:crm@{}/postgres", self.address).parse().unwrap()
    }

    fn at(address: SocketAddr) -> Self {
        let folder = PathBuf::from(format!("/var/tmp/file-recycler-cluster-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        if is_root() {
            std::os::unix::fs::chown(&folder, Some(id_of(USER)), None).unwrap();
        }
        Self { folder, address, settings: Vec::new(), server: None }
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    async fn tool(&self, name: &str, arguments: &[&str]) {
        let mut command = as_user(USER, &self.folder, path(&bin().join(name)));
        let ended = command.args(arguments).env("PGPASSWORD", "crm").status().await.unwrap();
        assert!(ended.success(), "{name} {arguments:?}");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.start_kill();
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The newest installed server programs.
pub fn bin() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.filter_map(|entry| Some(entry.ok()?.path())).max_by_key(|path| number(path));
    newest.expect("a version of PostgreSQL").join("bin")
}

fn id_of(user: &str) -> u32 {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.split(':').next() == Some(user)).expect("the package's user");
    line.split(':').nth(2).and_then(|id| id.parse().ok()).unwrap()
}
