//! A SeaweedFS of a test's own, with identities and policies of its own. It dies with the test that started it.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::process::Child;
use uuid::Uuid;

use super::authority::Issued;
use super::own::{as_user, path};
use super::process::{eventually_within, free_address, get};
use super::servers::Foreign;

/// Longest time for a start: a second, on a machine that does nothing else.
const START: Duration = Duration::from_mins(1);
const PARTS: [&str; 5] = ["master", "volume", "filer", "s3", "admin"];
/// Keys that may do everything.
const ADMIN: (&str, &str) = ("admin", "admin-secret");

/// The server and its folder.
pub struct Weed {
    folder: PathBuf,
    grpc: Vec<u16>,
    pub server: Foreign,
    child: Child,
}

impl Weed {
    /// Starts one that knows these users, each with its policy; a user's secret key is its name and `-secret`.
    pub async fn start(users: &[(String, Value)]) -> Self {
        Self::with(users, &[]).await
    }

    /// Starts one that speaks TLS, too; the address of that.
    pub async fn secured(certificate: &Issued) -> (Self, String) {
        let https = free_address().await;
        let arguments = [
            format!("-s3.port.https={}", https.port()),
            format!("-s3.cert.file={}", path(&certificate.certificate)),
            format!("-s3.key.file={}", path(&certificate.key)),
        ];
        (Self::with(&[], &arguments).await, format!("https://{https}"))
    }

    async fn with(users: &[(String, Value)], arguments: &[String]) -> Self {
        let folder = PathBuf::from(format!("/var/tmp/file-recycler-weed-{}", Uuid::new_v4().simple()));
        std::fs::create_dir_all(folder.join("data")).unwrap();
        let keys = |name: &str| json!([{ "accessKey": name, "secretKey": format!("{name}-secret") }]);
        let admin = json!({ "name": ADMIN.0, "credentials": keys(ADMIN.0), "actions": ["Admin"] });
        let user = |(name, _): &(String, Value)| json!({ "name": name, "credentials": keys(name), "policyNames": [name] });
        let policy =
            |(name, policy): &(String, Value)| json!({ "name": name, "content": policy.to_string() });
        let identities: Vec<Value> = std::iter::once(admin).chain(users.iter().map(user)).collect();
        let config =
            json!({ "identities": identities, "policies": users.iter().map(policy).collect::<Vec<_>>() });
        std::fs::write(folder.join("keys.json"), config.to_string()).unwrap();
        let mut command = as_user("root", &folder, program().to_str().unwrap());
        command.args(["mini", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3.config=keys.json"]);
        let (mut grpc, mut address) = (Vec::new(), None);
        for part in PARTS {
            let (own, its_grpc) = (free_address().await, free_address().await.port());
            command.arg(format!("-{part}.port={}", own.port())).arg(format!("-{part}.port.grpc={its_grpc}"));
            grpc.push(its_grpc);
            address = if part == "s3" { Some(own) } else { address };
        }
        command.args([
            "-s3.port.iceberg=0",
            "-s3.port.lance=0",
            "-s3.autoCreateBucket=false",
            "-volume.max=100",
        ]);
        command.args(["-admin.ui=false", "-webdav=false", "-master.telemetry=false"]);
        command.args(["-s3.localSocket=s3.sock", "-filer.localSocket=filer.sock"]);
        command.args(arguments);
        let child = command.spawn().expect("SeaweedFS starts");
        let address = address.expect("it has an S3 port");
        let keys = (ADMIN.0.to_owned(), ADMIN.1.to_owned());
        let server = Foreign::own("SeaweedFS of the test", format!("http://{address}"), keys);
        // Without a signature it refuses, which it can only once it knows its users.
        eventually_within(START, "SeaweedFS answers", async || {
            get(address, "/").await.filter(|(status, _)| *status == 403)
        })
        .await;
        Self { folder, grpc, server, child }
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        for (part, port) in PARTS.iter().zip(&self.grpc) {
            let _ = std::fs::remove_file(format!("/tmp/seaweedfs-{part}-grpc-{port}.sock"));
        }
        // What it still writes is little, and in a place for such things.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Where `deploy/local/lib/seaweedfs.sh` puts the program.
fn program() -> PathBuf {
    let version =
        std::env::var("FILE_RECYCLER_TEST_S3_VERSION").expect("FILE_RECYCLER_TEST_S3_VERSION is not set");
    let home = || PathBuf::from(std::env::var("HOME").unwrap_or_default()).join(".cache");
    let cache = std::env::var("XDG_CACHE_HOME").map_or_else(|_| home(), PathBuf::from);
    let program = cache.join("file-recycler").join(format!("weed-{version}"));
    assert!(program.is_file(), "{} is not there: deploy/local/up installs it", program.display());
    program
}
