//! A mapped application for a test: the tables of `fixtures/mapped.sql`, described as `docs/mapping.md` does it.

use std::path::PathBuf;
use std::sync::Arc;

use file_recycler::storage::Side;
use lapin::BasicProperties;
use serde_json::Value;
use uuid::Uuid;

use super::broker::put;
use super::crm::Crm;
use super::process::{self, Output, Service, eventually};
use super::world::{S3, World, bare_world_on};

/// The application's tables.
pub const TABLES: &str = include_str!("../fixtures/mapped.sql");
const PAGE: &str = include_str!("../../../docs/mapping.md");

/// The first block of the page in this language.
pub fn example(language: &str) -> &'static str {
    let begin = format!("```{language}\n");
    let (_, rest) = PAGE.split_once(&begin).expect("the page has such a block");
    rest.split_once("```").expect("it ends").0
}

/// The world of a mapped application.
pub struct Mapped {
    pub world: Arc<World>,
    config: PathBuf,
}

/// Runs a test with the page's example, installed and adopted.
pub async fn mapped(test: impl AsyncFnOnce(Arc<Mapped>)) {
    bare_mapped(example("toml"), async |mapped| {
        mapped.cli(&["listener", "install"]).await.expect(0);
        mapped.cli(&["adopt", "--apply"]).await.expect(0);
        test(mapped).await;
    })
    .await;
}

/// Runs a test with this configuration, before anything is installed.
pub async fn bare_mapped(config: &str, test: impl AsyncFnOnce(Arc<Mapped>)) {
    let path = std::env::temp_dir().join(format!("file-recycler-mapped-{}.toml", Uuid::new_v4().simple()));
    std::fs::write(&path, config).unwrap();
    bare_world_on(S3::Embedded, Crm::with(TABLES).await, async |world| {
        test(Arc::new(Mapped { world, config: path })).await;
    })
    .await;
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.config);
    }
}

impl Mapped {
    /// Describes the application anew.
    pub fn describe(&self, config: &str) {
        std::fs::write(&self.config, config).unwrap();
    }

    /// The path of its configuration.
    pub fn config(&self) -> String {
        self.config.to_str().unwrap().to_owned()
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&["--config", self.config.to_str().unwrap()], arguments].concat()
    }

    /// Runs a command.
    pub async fn cli(&self, arguments: &[&str]) -> Output {
        process::run(&self.world.environment, &self.arguments(arguments)).await
    }

    /// Starts the sidecar.
    pub async fn start(&self, settings: &[(&str, &str)]) -> Service {
        Service::start(&self.world.with(settings), &self.arguments(&["run"])).await
    }

    /// Starts the sidecar and waits until it is ready.
    pub async fn run(&self) -> Service {
        self.start(&[]).await.ready().await
    }

    /// The application does something.
    pub async fn sql(&self, sql: impl Into<String>) {
        self.world.crm.sql(sql).await;
    }

    /// An object whose content is its key.
    pub async fn put(&self, key: &str) {
        self.world.storage.put(Side::Object, key, key.as_bytes()).await;
    }

    /// An attachment with its object, on a partner.
    pub async fn attachment(&self, id: i64, partner: i64, key: &str) {
        self.put(key).await;
        self.sql(format!(
            "INSERT INTO res_partner (id) VALUES ({partner}) ON CONFLICT DO NOTHING;
             INSERT INTO attachment (id, res_model, res_id, store_name, file_size)
             VALUES ({id}, 'res.partner', {partner}, '{key}', {size})",
            size = key.len()
        ))
        .await;
    }

    /// Waits until the object is in the recycle bucket alone.
    pub async fn recycled(&self, key: &str) {
        let storage = &self.world.storage;
        eventually(&format!("'{key}' is recycled"), async || {
            (storage.get(Side::Object, key).await.is_none()
                && storage.get(Side::Recycle, key).await == Some(key.as_bytes().to_vec()))
            .then_some(())
        })
        .await;
    }

    /// Asserts that the object is where living files are.
    pub async fn is_untouched(&self, key: &str) {
        self.world.storage.holds(key, Some(key.as_bytes()), None).await;
    }

    /// Waits until so many files had this outcome.
    pub async fn counted(&self, service: &Service, outcome: &str, files: u64) {
        let metric = format!(r#"file_recycler_files_total{{outcome="{outcome}"}}"#);
        eventually(&format!("{files} files are {outcome}"), async || {
            (service.metric(&metric).await >= files).then_some(())
        })
        .await;
    }

    /// Waits until so many messages are dead, and lists them.
    pub async fn dead(&self, count: usize) -> Value {
        eventually(&format!("{count} messages are dead"), async || {
            let listed = self.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            (listed["messages"].as_array()?.len() == count).then_some(listed)
        })
        .await
    }

    /// Somebody publishes an event.
    pub async fn publish(&self, event: &Value) {
        let properties = BasicProperties::default().with_content_type("application/cloudevents+json".into());
        put(&self.world.queues.topology.work(), event.to_string().as_bytes(), properties).await;
    }

    /// Waits until nothing is on its way.
    pub async fn quiet(&self, service: &Service) {
        self.world.quiet(service).await;
    }
}
