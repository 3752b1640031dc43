//! A database of its own for each test, with our own schema and rows in the outbox as triggers write them.

use std::panic::resume_unwind;
use std::path::Path;
use std::sync::Arc;

use file_recycler::db::Db;
use secrecy::SecretString;
use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use url::Url;
use uuid::Uuid;

use super::broker::SOON;

/// A database with an outbox.
pub struct Outbox {
    pub db: Db,
    pub url: Url,
    /// A connection of the test, as the CRM and an operator would have one.
    pub plain: PgPool,
}

fn server_url() -> Url {
    let url =
        std::env::var("FILE_RECYCLER_TEST_DATABASE_URL").expect("FILE_RECYCLER_TEST_DATABASE_URL is not set");
    url.parse().expect("FILE_RECYCLER_TEST_DATABASE_URL is not a URL")
}

/// Runs a test on a database of its own and drops it, also when the test fails.
pub async fn outbox<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Arc<Outbox>) -> F) {
    let name = format!("test_{}", Uuid::new_v4().simple());
    let server = server_url();
    let mut admin = PgConnection::connect(server.as_str()).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {name}"))).execute(&mut admin).await.unwrap();
    let mut url = server;
    url.set_path(&name);
    let made = Arc::new(Outbox::open(url).await);
    made.make_schema().await;
    let ended = tokio::spawn(tokio::time::timeout(4 * SOON, test(made.clone()))).await;
    made.db.close().await;
    made.plain.close().await;
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut admin).await.unwrap();
    match ended {
        Ok(in_time) => in_time.expect("the test takes too long"),
        Err(error) => resume_unwind(error.into_panic()),
    }
}

impl Outbox {
    pub async fn open(url: Url) -> Self {
        super::storage::take_a_protection_away();
        let plain = PgPoolOptions::new().max_connections(2).connect(url.as_str()).await.unwrap();
        let db = Db::connect(&SecretString::from(url.as_str())).unwrap();
        Self { db, url, plain }
    }

    async fn make_schema(&self) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let mut sql = "CREATE SCHEMA file_recycler;".to_owned();
        for file in files {
            sql.push_str(&std::fs::read_to_string(file).unwrap());
        }
        // Numbers that this server has not given out, as a restored dump has them: the relay waits for nobody beside.
        sql.push_str(
            "ALTER TABLE file_recycler.outbox ALTER COLUMN transaction
               SET DEFAULT (pg_current_xact_id()::text::bigint + 1000000000000)::text::xid8;",
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.plain).await.unwrap();
    }

    /// One statement's deletion of records, in a transaction of its own.
    pub async fn capture_records(&self, ids: &[Uuid]) {
        let sql =
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids) VALUES ('records', 'Contact', $1, $2)";
        let count = i32::try_from(ids.len()).unwrap();
        sqlx::query(sql).bind(count).bind(ids).execute(&self.plain).await.unwrap();
    }

    /// One statement's deletion of files, in a transaction of its own.
    pub async fn capture_files(&self, ids: &[Uuid]) {
        let sql =
            "INSERT INTO file_recycler.outbox (kind, schema, n, ids) VALUES ('files', 'ContactFile', $1, $2)";
        let count = i32::try_from(ids.len()).unwrap();
        sqlx::query(sql).bind(count).bind(ids).execute(&self.plain).await.unwrap();
    }

    /// How many rows are there.
    pub async fn rows(&self) -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM file_recycler.outbox").fetch_one(&self.plain).await.unwrap()
    }
}
