//! A database, queues and two buckets of this run alone, on servers that are there already.

use std::str::FromStr;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::{Channel, Connection, ConnectionProperties};
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};
use url::Url;

use crate::Result;

const MINIATURE: &str = include_str!("../../it/fixtures/crm.sql");
/// Times after which the program tries a failed file again.
pub const DELAYS: [&str; 4] = ["1s", "2s", "5s", "10s"];

/// The servers.
#[derive(Clone, Debug)]
pub struct Servers {
    /// A superuser's address.
    pub database: Url,
    /// The broker's address.
    pub broker: Url,
    /// The storage's address.
    pub storage: Url,
    /// The storage's access key.
    pub access_key: String,
    /// The storage's secret key.
    pub secret_key: String,
}

impl Servers {
    /// Those that `deploy/local/up` names in its variables.
    ///
    /// # Errors
    /// A variable is missing or is no address.
    pub fn from_environment() -> Result<Self> {
        let read = |of: &str| {
            let name = format!("FILE_RECYCLER_TEST_{of}");
            std::env::var(&name).map_err(|_| format!("{name} is not set: deploy/local/up prints it"))
        };
        Ok(Self {
            database: read("DATABASE_URL")?.parse()?,
            broker: read("BROKER_URL")?.parse()?,
            storage: read("S3_URL")?.parse()?,
            access_key: read("S3_ACCESS_KEY")?,
            secret_key: read("S3_SECRET_KEY")?,
        })
    }
}

/// The run's own part of the servers.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The servers.
    pub servers: Servers,
    /// The name of database and buckets, and the queues' prefix.
    pub name: String,
    /// The CRM's own connections.
    pub crm: PgPool,
    /// The buckets.
    pub storage: Client,
}

impl Scene {
    /// Makes it, with the CRM's miniature in the database.
    pub async fn create(servers: Servers, name: String) -> Result<Self> {
        let admin = connect(&servers.database, 1).await?;
        admin.execute(AssertSqlSafe(format!(r#"CREATE DATABASE "{name}""#))).await?;
        admin.close().await;
        let scene = Self::open(servers, name).await?;
        scene.crm.execute(MINIATURE).await?;
        for bucket in [scene.object_bucket(), scene.recycle_bucket()] {
            scene.storage.create_bucket().bucket(bucket).send().await?;
        }
        Ok(scene)
    }

    /// Connects to one that was made.
    pub async fn open(servers: Servers, name: String) -> Result<Self> {
        let crm = connect(&at(&servers.database, &name), 4).await?;
        let storage = client(&servers);
        Ok(Self { servers, name, crm, storage })
    }

    /// The bucket of living files.
    pub fn object_bucket(&self) -> String {
        format!("{}-object", self.name)
    }

    /// The bucket of dead files.
    pub fn recycle_bucket(&self) -> String {
        format!("{}-recycle", self.name)
    }

    /// Every queue but the dead-letter queue.
    pub fn queues(&self) -> Vec<String> {
        let waits = DELAYS.iter().map(|delay| format!("{}.wait.{delay}", self.name));
        std::iter::once(format!("{}.work", self.name)).chain(waits).collect()
    }

    /// The dead-letter queue.
    pub fn dead_letters(&self) -> String {
        format!("{}.dead", self.name)
    }

    /// A channel of our own; it lives as long as the connection.
    pub async fn channel(&self) -> Result<(Connection, Channel)> {
        let connection =
            Connection::connect(self.servers.broker.as_str(), ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        Ok((connection, channel))
    }

    /// Removes everything of this run and nothing else.
    pub async fn remove(self) -> Result<()> {
        let (connection, channel) = self.channel().await?;
        for queue in self.queues().into_iter().chain([self.dead_letters()]) {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        }
        let exchange = format!("{}.events", self.name);
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        connection.close(200, "done".into()).await?;
        for bucket in [self.object_bucket(), self.recycle_bucket()] {
            empty(&self.storage, &bucket).await?;
            self.storage.delete_bucket().bucket(bucket).send().await?;
        }
        self.crm.close().await;
        let admin = connect(&self.servers.database, 1).await?;
        admin.execute(AssertSqlSafe(format!(r#"DROP DATABASE "{}" WITH (FORCE)"#, self.name))).await?;
        admin.close().await;
        Ok(())
    }
}

async fn connect(address: &Url, connections: u32) -> Result<PgPool> {
    // By this name the disturbance leaves our own connections alone.
    let options = PgConnectOptions::from_str(address.as_str())?.application_name("chaos");
    Ok(PgPoolOptions::new().max_connections(connections).connect_with(options).await?)
}

/// The address of a database on the same server.
pub fn at(server: &Url, database: &str) -> Url {
    let mut address = server.clone();
    address.set_path(database);
    address
}

/// Deletes every object.
async fn empty(storage: &Client, bucket: &str) -> Result<()> {
    loop {
        let page = storage.list_objects_v2().bucket(bucket).send().await?;
        if page.contents().is_empty() {
            return Ok(());
        }
        let deletes = page
            .contents()
            .iter()
            .filter_map(|object| object.key())
            .map(|key| storage.delete_object().bucket(bucket).key(key).send());
        futures_util::future::try_join_all(deletes).await?;
    }
}

fn client(servers: &Servers) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(&servers.access_key, &servers.secret_key, None, None, "chaos"))
        .endpoint_url(servers.storage.as_str())
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .http_client(http);
    Client::from_conf(config.build())
}
