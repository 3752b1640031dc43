//! TLS to all three servers with authorities of one's own and client certificates. What is wrong with a certificate is an
//! outage that names the setting to change, and never a connection without TLS.

mod environment;
mod servers;

use std::net::SocketAddr;
use std::path::Path;

use file_recycler::storage::Side;
use futures_util::future::join_all;
use uuid::Uuid;

use crate::support::authority::{Authority, Issued};
use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::front::Front;
use crate::support::node::Node;
use crate::support::process::{self, Service, eventually};
use crate::support::storage::TestStorage;
use crate::support::weed::Weed;
use crate::support::world::{S3, bare_world, world};

type Environment = Vec<(String, String)>;

const HOST: &str = "127.0.0.1";

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// The environment with more set.
fn and(environment: &Environment, settings: &[(&str, &str)]) -> Environment {
    let mut changed = environment.clone();
    for (key, value) in settings {
        let name = format!("FILE_RECYCLER_{key}");
        changed.retain(|(known, _)| *known != name);
        changed.push((name, (*value).to_owned()));
    }
    changed
}

fn without(environment: &Environment, keys: &[&str]) -> Environment {
    let is_kept = |name: &str| !keys.iter().any(|key| name == format!("FILE_RECYCLER_{key}"));
    environment.iter().filter(|(name, _)| is_kept(name)).cloned().collect()
}

/// One server with one thing wrong.
struct Trouble<'a> {
    crm: &'a Crm,
    storage: &'a TestStorage,
    /// As it must be.
    right: &'a Environment,
    dependency: &'static str,
}

impl Trouble<'_> {
    /// A record with a file.
    async fn record(&self) -> (Uuid, Uuid) {
        let record = self.crm.record("Contact").await;
        let file = self.crm.hard_file("ContactFile", "Contact", record).await;
        self.storage.put(Side::Object, &file.to_string(), file.to_string().as_bytes()).await;
        (record, file)
    }

    async fn started(&self, environment: &Environment) -> Service {
        Service::start(environment, &["run"])
            .await
            .expect_log("not well")
            .expect_log("relaying was interrupted")
            .expect_log("could not be probed")
    }

    /// A service that is not ready, says so in these words, and has moved nothing.
    async fn is_told(&self, service: &Service, named: &str, file: Uuid) {
        eventually(&format!("{}: '{named}'", self.dependency), async || {
            let answer = service.readyz().await?;
            let message = answer["dependencies"][self.dependency]["message"].as_str()?.to_owned();
            (answer["ready"] == false && message.contains(named)).then_some(())
        })
        .await;
        self.storage.holds(&file.to_string(), Some(file.to_string().as_bytes()), None).await;
    }

    async fn is_recycled(&self, file: Uuid) {
        eventually(&format!("file {file} is recycled"), async || {
            let (object, recycle) = (
                self.storage.get(Side::Object, &file.to_string()).await,
                self.storage.get(Side::Recycle, &file.to_string()).await,
            );
            (object.is_none() && recycle == Some(file.to_string().into_bytes())).then_some(())
        })
        .await;
    }

    /// With each of these settings nothing works and it is named; what is deleted meanwhile is done once they are right.
    async fn of_settings(&self, cases: &[(Environment, &str)]) {
        let each = cases.iter().map(|(wrong, named)| async move {
            let service = self.started(wrong).await;
            let (record, file) = self.record().await;
            self.crm.delete("Contact", record).await;
            self.is_told(&service, named, file).await;
            drop(service);
            file
        });
        let files = join_all(each).await;
        let service = self.started(self.right).await.ready().await;
        for file in files {
            self.is_recycled(file).await;
        }
        drop(service);
    }

    /// With what the server shows now nothing works and it is named; once it is put right, the same process goes on.
    async fn of_server(&self, named: &str, put_right: impl AsyncFnOnce()) {
        let service = self.started(self.right).await;
        let (record, file) = self.record().await;
        self.crm.delete("Contact", record).await;
        self.is_told(&service, named, file).await;
        put_right().await;
        let service = service.ready().await;
        self.is_recycled(file).await;
        let dead = process::run(self.right, &["dlq", "list", "--json"]).await.expect(0).json();
        assert_eq!(dead["total"], 0, "{dead}");
        drop(service);
    }
}

async fn install(environment: &Environment) {
    process::run(environment, &["listener", "install"]).await.expect(0);
    process::run(environment, &["adopt", "--apply"]).await.expect(0);
}

/// A database whose role `worker` comes with a certificate or not at all.
async fn database(authority: &Authority, certificate: &Issued) -> (Cluster, Crm) {
    let cluster = Cluster::secured(authority, certificate).await;
    let crm = Crm::on(&cluster.url()).await;
    crm.sql("CREATE ROLE worker LOGIN SUPERUSER").await;
    (cluster, crm)
}

/// The database as the program is to reach it, with these parameters.
fn as_worker(crm: &Crm, host: &str, parameters: &[(&str, &Path)]) -> String {
    let mut url: url::Url = crm.url.parse().unwrap();
    url.set_username("worker").unwrap();
    url.set_password(None).unwrap();
    url.set_host(Some(host)).unwrap();
    for (name, value) in parameters {
        url.query_pairs_mut().append_pair(name, text(value));
    }
    url.into()
}

fn amqps(address: SocketAddr, host: &str) -> String {
    format!("amqps://guest:guest@{host}:{}/%2f", address.port())
}

#[tokio::test]
async fn a_file_is_recycled_over_three_connections_with_own_authorities_and_client_certificates() {
    let authority = Authority::new();
    let server = authority.server(HOST);
    let (cluster, crm) = database(&authority, &server).await;
    let (node, tls) = servers::broker(&authority, &server).await;
    let (weed, https) = Weed::secured(&server).await;
    bare_world(S3::Embedded, async |world| {
        let storage = TestStorage::named(&weed.server, TestStorage::bucket_names()).await;
        let (client, trusted) = (authority.client("worker"), authority.file());
        let url = as_worker(
            &crm,
            HOST,
            &[("sslrootcert", &trusted), ("sslcert", &client.certificate), ("sslkey", &client.key)],
        );
        let (access_key, secret_key) = storage.credentials();
        let right = world.with(&[
            ("DATABASE__URL", &url),
            ("BROKER__URL", &amqps(tls, HOST)),
            ("BROKER__CA_FILE", text(&trusted)),
            ("BROKER__CLIENT_CERTIFICATE_FILE", text(&client.certificate)),
            ("BROKER__CLIENT_KEY_FILE", text(&client.key)),
            ("STORAGE__SERVICE_URL", &https),
            ("STORAGE__CA_FILE", text(&trusted)),
            ("STORAGE__ACCESS_KEY", &access_key),
            ("STORAGE__SECRET_KEY", &secret_key),
            ("STORAGE__OBJECT_BUCKET_NAME", &storage.object),
            ("STORAGE__RECYCLE_BUCKET_NAME", &storage.recycle),
        ]);
        install(&right).await;
        let trouble = Trouble { crm: &crm, storage: &storage, right: &right, dependency: "broker" };
        let service = Service::start(&right, &["run"]).await.ready().await;
        let (record, file) = trouble.record().await;
        crm.delete("Contact", record).await;
        trouble.is_recycled(file).await;
        let known = |condition: &str| {
            format!(
                "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'worker' AND {condition}"
            )
        };
        assert!(crm.number(known("ssl AND client_dn = '/CN=worker'")).await > 0);
        assert_eq!(crm.number(known("(NOT ssl OR client_dn IS DISTINCT FROM '/CN=worker')")).await, 0);
        let said = process::run(&right, &["doctor", "--json"]).await.json();
        for check in said["checks"].as_array().unwrap() {
            let name = check["name"].as_str().unwrap();
            assert!(!name.ends_with("-connection") || check["result"] == "ok", "{check}");
        }
        drop(service);

        broker_troubles(&trouble, &authority, &server, &node, tls).await;
        let pool = &trouble.crm.pool;
        pool.close().await;
    })
    .await;
    drop((cluster, node, weed));
}

async fn broker_troubles(
    trouble: &Trouble<'_>,
    authority: &Authority,
    shown: &Issued,
    node: &Node,
    tls: SocketAddr,
) {
    let right = trouble.right;
    let strangers = Authority::new();
    let stranger = strangers.client("worker");
    let files = [
        ("BROKER__CLIENT_CERTIFICATE_FILE", text(&stranger.certificate)),
        ("BROKER__CLIENT_KEY_FILE", text(&stranger.key)),
    ];
    let unknown = "name a file with the authority's certificate in broker.ca_file";
    let plain = node.url().to_string().replace("amqp://", "amqps://");
    trouble
        .of_settings(&[
            (and(right, &[("BROKER__CA_FILE", text(&strangers.file()))]), unknown),
            (without(right, &["BROKER__CA_FILE"]), unknown),
            (
                without(right, &["BROKER__CLIENT_CERTIFICATE_FILE", "BROKER__CLIENT_KEY_FILE"]),
                "broker.client_certificate_file and broker.client_key_file",
            ),
            (and(right, &files), "refuses the client certificate"),
            (
                and(right, &[("BROKER__URL", &amqps(tls, "localhost"))]),
                "another host name: write the name that the certificate has in broker.url",
            ),
            (and(right, &[("BROKER__URL", &plain)]), "does not speak TLS"),
        ])
        .await;

    let whole = authority.server(HOST);
    let renew = async |with: &Issued| {
        with.copy_to(&shown.certificate, &shown.key);
        node.control(&["eval", "ssl:clear_pem_cache()."]).await;
    };
    renew(&authority.expired(HOST)).await;
    trouble
        .of_server("has expired: renew it on the server that broker.url names", async || renew(&whole).await)
        .await;
}

#[tokio::test]
async fn what_is_wrong_with_the_databases_certificates_is_an_outage_that_names_the_parameter() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let server = authority.server(HOST);
    let (cluster, crm) = database(&authority, &server).await;
    bare_world(S3::Embedded, async |world| {
        let (client, stranger, trusted) =
            (authority.client("worker"), strangers.client("worker"), authority.file());
        let with = |host: &str, mode: &str, authority: &Path, client: Option<&Issued>| {
            let mut parameters = vec![("sslmode", Path::new(mode)), ("sslrootcert", authority)];
            if let Some(client) = client {
                parameters.extend([("sslcert", client.certificate.as_path()), ("sslkey", &client.key)]);
            }
            world.with(&[("DATABASE__URL", &as_worker(&crm, host, &parameters))])
        };
        let right = with(HOST, "verify-full", &trusted, Some(&client));
        install(&right).await;
        let trouble = Trouble { crm: &crm, storage: &world.storage, right: &right, dependency: "database" };
        let other = authority.client("somebody-else");
        let cases = [
            (
                with(HOST, "verify-full", &strangers.file(), Some(&client)),
                "name a file with the authority's certificate in sslrootcert of database.url",
            ),
            // `require` with an authority checks it, as PostgreSQL's own programs do.
            (with(HOST, "require", &strangers.file(), Some(&client)), "in sslrootcert of database.url"),
            (
                with("localhost", "verify-full", &trusted, Some(&client)),
                "another host name: write the name that the certificate has in database.url",
            ),
            (with(HOST, "verify-full", &trusted, None), "with a client certificate (sslcert and sslkey)"),
            (with(HOST, "verify-full", &trusted, Some(&stranger)), "sslcert and sslkey of database.url"),
            (
                with(HOST, "verify-full", &trusted, Some(&other)),
                "with a client certificate (sslcert and sslkey)",
            ),
            // It refuses who comes without TLS, and says so.
            (
                world.with(&[("DATABASE__URL", &format!("{}?sslmode=disable", as_worker(&crm, HOST, &[])))]),
                "comes with TLS (sslmode in database.url)",
            ),
        ];
        trouble.of_settings(&cases).await;
        servers::show(&cluster, &crm, &authority.expired(HOST)).await;
        let put_right = async || cluster.show(&server).await;
        trouble.of_server("has expired: renew it on the server that database.url names", put_right).await;
        crm.pool.close().await;
    })
    .await;
    drop(cluster);
}

#[tokio::test]
async fn a_database_without_tls_is_not_connected_to_where_tls_is_asked_for() {
    world(S3::Embedded, async |world| {
        let trusted = Authority::new();
        for parameters in ["sslmode=require".to_owned(), format!("sslrootcert={}", text(&trusted.file()))] {
            let wrong = world.with(&[("DATABASE__URL", &format!("{}?{parameters}", world.crm.url))]);
            let refused = process::run(&wrong, &["status", "--json"]).await.expect(1);
            let named = "there is no TLS, which sslmode in database.url asks for";
            assert!(refused.stdout.contains(named), "{refused:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn what_is_wrong_with_the_storages_certificate_is_an_outage_that_names_the_setting() {
    bare_world(S3::Embedded, async |world| {
        let (authority, strangers) = (Authority::new(), Authority::new());
        let server = authority.server(HOST);
        let target = world.storage.endpoint().trim_start_matches("http://").to_owned();
        let front = Front::before(target, &server).await;
        let https = |host: &str| format!("https://{host}:{}", front.address().port());
        let trusted = authority.file();
        let right =
            world.with(&[("STORAGE__SERVICE_URL", &https(HOST)), ("STORAGE__CA_FILE", text(&trusted))]);
        install(&right).await;
        let trouble =
            Trouble { crm: &world.crm, storage: &world.storage, right: &right, dependency: "storage" };
        let unknown = "name a file with the authority's certificate in storage.ca_file";
        let plain = world.storage.endpoint().replace("http://", "https://");
        trouble
            .of_settings(&[
                (and(&right, &[("STORAGE__CA_FILE", text(&strangers.file()))]), unknown),
                (without(&right, &["STORAGE__CA_FILE"]), unknown),
                (
                    and(&right, &[("STORAGE__SERVICE_URL", &https("localhost"))]),
                    "another host name: write the name that the certificate has in storage.service_url",
                ),
                (and(&right, &[("STORAGE__SERVICE_URL", &plain)]), "does not speak TLS"),
            ])
            .await;

        front.show(&authority.expired(HOST));
        let put_right = async || front.show(&server);
        trouble
            .of_server("has expired: renew it on the server that storage.service_url names", put_right)
            .await;
        front.show(&strangers.server(HOST));
        trouble.of_server(unknown, async || front.show(&server)).await;
    })
    .await;
}

#[tokio::test]
async fn certificates_with_an_address_that_uses_no_tls_are_a_wrong_configuration() {
    world(S3::Embedded, async |world| {
        let authority = Authority::new();
        let (file, client) = (authority.file(), authority.client("worker"));
        let database = format!("{}?sslmode=prefer&sslrootcert={}", world.crm.url, text(&file));
        for (settings, named) in [
            (vec![("DATABASE__URL", database.as_str())], "write sslmode=verify-full"),
            (vec![("BROKER__CA_FILE", text(&file))], "broker.ca_file"),
            (
                vec![
                    ("BROKER__CLIENT_CERTIFICATE_FILE", text(&client.certificate)),
                    ("BROKER__CLIENT_KEY_FILE", text(&client.key)),
                ],
                "broker.client_certificate_file",
            ),
            (vec![("STORAGE__CA_FILE", text(&file))], "storage.ca_file"),
        ] {
            let refused = process::run(&world.with(&settings), &["run"]).await.expect(2);
            assert!(refused.stderr.contains(named), "{refused:?}");
        }
    })
    .await;
}
