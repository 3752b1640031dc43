//! A whole environment for one test: database, queues, buckets, and the program between them.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::Options;
use uuid::Uuid;

use super::broker::{self, Scene};
use super::crm::{Crm, FILE_TYPE, S3_STORAGE};
use super::process::{self, Output, Service, eventually, eventually_within};
use super::servers::Foreign;
use super::storage::TestStorage;
use super::told::RECORD_NAME;

/// Longest time for one test.
const LIMIT: Duration = Duration::from_mins(5);
/// Longest time until nothing is on its way: there may be thousands of files.
const LONG: Duration = Duration::from_mins(3);

/// The environment; the program is configured for it by `environment`.
pub struct World {
    pub crm: Crm,
    pub queues: Arc<Scene>,
    pub storage: TestStorage,
    pub environment: Vec<(String, String)>,
}

/// Which S3 server a test works on.
#[derive(Clone, Copy, Debug)]
pub enum S3 {
    Embedded,
    Foreign,
    /// moto, which takes no notice of conditions.
    Moto,
    /// The foreign one behind a proxy that can disturb what the program asks.
    ForeignDisturbed,
    /// moto behind such a proxy.
    MotoDisturbed,
    /// The embedded one with ETags that say nothing.
    Opaque,
}

/// Runs a test in a world of its own that is installed and adopted; removed afterwards, also on failure.
pub async fn world(s3: S3, test: impl AsyncFnOnce(Arc<World>)) {
    bare_world(s3, async |world| {
        world.cli(&["listener", "install"]).await.expect(0);
        world.cli(&["adopt", "--apply"]).await.expect(0);
        test(world).await;
    })
    .await;
}

/// The same, before anything is installed.
pub async fn bare_world(s3: S3, test: impl AsyncFnOnce(Arc<World>)) {
    bare_world_on(s3, Crm::create().await, test).await;
}

/// The same on a database that is made already.
pub async fn bare_world_on(s3: S3, crm: Crm, test: impl AsyncFnOnce(Arc<World>)) {
    let world = Arc::new(World::create(s3, crm).await);
    let ended = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(tokio::time::timeout(
        LIMIT,
        test(Arc::clone(&world)),
    )))
    .await;
    world.remove().await;
    match ended {
        Ok(in_time) => in_time.expect("the test takes too long"),
        Err(panic) => resume_unwind(panic),
    }
}

/// Waits until a service takes messages. It is ready earlier: the storage's probe, whose objects are in both buckets for a
/// moment, and the first advance of the nonce, which writes the marker, come in between.
pub async fn takes_messages(service: &Service) {
    eventually("it takes messages", async || {
        service.log().iter().any(|line| line.contains("taking messages")).then_some(())
    })
    .await;
}

impl World {
    async fn create(s3: S3, crm: Crm) -> Self {
        let queues = Arc::new(Scene::new());
        let storage = match s3 {
            S3::Embedded => TestStorage::embedded(Options::default()).await,
            S3::Foreign => TestStorage::foreign().await,
            S3::Opaque => TestStorage::embedded(Options { opaque_etags: true, ..Options::default() }).await,
            S3::Moto => TestStorage::moto().await,
            S3::ForeignDisturbed => TestStorage::proxied().await,
            S3::MotoDisturbed => TestStorage::behind_a_proxy(&Foreign::moto()).await,
        };
        let mut world = Self { crm, queues, storage, environment: Vec::new() };
        let (access_key, secret_key) = world.storage.credentials();
        for (key, value) in [
            ("DATABASE__URL", world.crm.url.clone()),
            ("BROKER__URL", broker::broker_url().to_string()),
            ("BROKER__PREFIX", world.queues.topology.prefix.clone()),
            ("STORAGE__SERVICE_URL", world.storage.switches_address()),
            ("STORAGE__ACCESS_KEY", access_key),
            ("STORAGE__SECRET_KEY", secret_key),
            ("STORAGE__OBJECT_BUCKET_NAME", world.storage.object.clone()),
            ("STORAGE__RECYCLE_BUCKET_NAME", world.storage.recycle.clone()),
            ("RETRY__DELAYS", r#"["200ms"]"#.to_owned()),
        ] {
            world.environment.push((format!("FILE_RECYCLER_{key}"), value));
        }
        if let Ok(protection) = std::env::var("REMOVED_PROTECTION") {
            world.environment.push(("FAILPOINTS".to_owned(), format!("{protection}=return")));
        }
        if let Ok(filter) = std::env::var("RUST_LOG") {
            world.environment.push(("RUST_LOG".to_owned(), filter));
        }
        world
    }

    async fn remove(&self) {
        self.queues.delete().await;
        self.crm.drop_database().await;
    }

    /// The environment with some settings changed.
    pub fn with(&self, settings: &[(&str, &str)]) -> Vec<(String, String)> {
        let mut environment = self.environment.clone();
        for (key, value) in settings {
            let name = format!("FILE_RECYCLER_{key}");
            environment.retain(|(known, _)| *known != name);
            environment.push((name, (*value).to_owned()));
        }
        environment
    }

    /// Runs a command of the program.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        process::run(&self.environment, arguments).await
    }

    /// Starts the sidecar and waits until it is ready.
    pub async fn run(&self) -> Service {
        Service::start(&self.environment, &["run"]).await.ready().await
    }

    /// Starts a half, with a failpoint at which it dies.
    pub async fn doomed(&self, half: &str, failpoint: &str) -> Service {
        let mut environment = self.environment.clone();
        environment.push(("FAILPOINTS".to_owned(), format!("{failpoint}=return")));
        Service::start(&environment, &[half]).await
    }

    /// Deletes a record with a file, and waits until the file is recycled.
    pub async fn moves_a_file(&self) {
        let (record, files) = self.record_with_files("Contact", "ContactFile", 1).await;
        self.crm.delete("Contact", record).await;
        self.recycled(files[0]).await;
    }

    /// A record of a section with files on it, each with its object; the record and the files' ids.
    pub async fn record_with_files(&self, section: &str, table: &str, files: usize) -> (Uuid, Vec<Uuid>) {
        let record = self.crm.record(section).await;
        let mut ids = Vec::new();
        for _ in 0..files {
            let file = self.crm.hard_file(table, section, record).await;
            self.upload(file).await;
            ids.push(file);
        }
        (record, ids)
    }

    /// Contacts with a file each, and the files' ids.
    pub async fn many(&self, count: usize) -> Vec<String> {
        let rows = format!(
            r#"INSERT INTO "Contact" ("Name") SELECT '{RECORD_NAME}' FROM generate_series(1, {count});
               INSERT INTO "ContactFile" ("TypeId", "SysFileStorageId", "Size", "ContactId")
               SELECT '{FILE_TYPE}', '{S3_STORAGE}', 36, "Id" FROM "Contact""#
        );
        // As the CRM does it: nobody sees a row before its object is there.
        let mut transaction = self.crm.pool.begin().await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(rows)).execute(&mut *transaction).await.unwrap();
        let ids: Vec<String> = sqlx::query_scalar(r#"SELECT "Id"::text FROM "ContactFile""#)
            .fetch_all(&mut *transaction)
            .await
            .unwrap();
        for id in &ids {
            self.storage.control().put(&self.storage.object, id, id.clone());
        }
        transaction.commit().await.unwrap();
        ids
    }

    /// The object of a file: its content is its id.
    pub async fn upload(&self, file: Uuid) {
        self.storage.put(Side::Object, &file.to_string(), file.to_string().as_bytes()).await;
    }

    /// Waits until a file is in the recycle bucket with its content, and in the object bucket no more.
    pub async fn recycled(&self, file: Uuid) {
        eventually(&format!("file {file} is recycled"), async || {
            (self.object(Side::Object, file).await.is_none()
                && self.object(Side::Recycle, file).await == Some(file.to_string().into_bytes()))
            .then_some(())
        })
        .await;
    }

    /// The content of a file's object.
    pub async fn object(&self, side: Side, file: Uuid) -> Option<Vec<u8>> {
        self.storage.get(side, &file.to_string()).await
    }

    /// Asserts that a file is where living files are, and nowhere else.
    pub async fn is_untouched(&self, file: Uuid) {
        let key = file.to_string();
        self.storage.holds(&key, Some(key.as_bytes()), None).await;
    }

    /// Waits until nothing is on its way: outbox, work and wait queues are empty, and no service has a message in hand.
    pub async fn quiet(&self, service: &Service) {
        self.quiet_with(&self.crm, service).await;
    }

    /// The same with another database than the world's own.
    ///
    /// A queue's depth counts what is ready alone (a quorum queue's passive declare), and a message may go from one
    /// place to the next between two looks: quiet is what is so several times in a row, for as long as the wait
    /// queue's delay.
    pub async fn quiet_with(&self, crm: &Crm, service: &Service) {
        const LOOKS: u8 = 8;
        let mut looks = 0;
        eventually_within(LONG, "nothing is on its way", async || {
            let outbox = crm.number("SELECT count(*) FROM file_recycler.outbox").await;
            let ready = self.queues.unfinished().await;
            let in_hand = process::in_hand(&self.queues.topology.prefix).await;
            let quiet = outbox == 0 && ready == 0 && in_hand == 0 && service.readyz().await.is_some();
            looks = if quiet { looks + 1 } else { 0 };
            (looks == LOOKS).then_some(())
        })
        .await;
    }

    /// Waits until a service has counted so many files with this outcome, and no more: it counts after it has acknowledged.
    pub async fn counted(&self, service: &Service, outcome: &str, files: u64) {
        let metric = format!(r#"file_recycler_files_total{{outcome="{outcome}"}}"#);
        eventually(&format!("{files} files are counted as {outcome}"), async || {
            (service.metric(&metric).await == files).then_some(())
        })
        .await;
    }
}
