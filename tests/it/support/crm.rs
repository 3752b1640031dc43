//! A CRM's database of its own for each test: the miniature, and what its users do.

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::sync::OnceCell;
use url::Url;
use uuid::Uuid;

use super::told::{FILE_NAME, RECORD_NAME};

const MINIATURE: &str = include_str!("../fixtures/crm.sql");
/// Rows that are files (the CRM's constant).
pub const FILE_TYPE: &str = "529bc2f8-0ee0-df11-971b-001d60e938c6";
/// Rows that are web links.
pub const WEB_LINK_TYPE: &str = "539bc2f8-0ee0-df11-971b-001d60e938c6";
/// The storage 'S3_storage' of the miniature.
pub const S3_STORAGE: &str = "7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11";
/// The storage 'Database'.
pub const DATABASE_STORAGE: &str = "38ab9812-9bba-4eb8-86d0-8f352cd0229c";

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// The database, dropped with [`Crm::drop_database`].
pub struct Crm {
    pub pool: PgPool,
    pub name: String,
    pub url: String,
}

fn server() -> Url {
    let url =
        std::env::var("FILE_RECYCLER_TEST_DATABASE_URL").expect("FILE_RECYCLER_TEST_DATABASE_URL is not set");
    url.parse().expect("FILE_RECYCLER_TEST_DATABASE_URL is not a URL")
}

fn address(name: &str) -> String {
    let mut url = server();
    url.set_path(name);
    url.into()
}

async fn open(url: &str) -> PgPool {
    PgPoolOptions::new().max_connections(4).connect(url).await.expect("the database answers")
}

/// The miniature is loaded once for each run of the tests, and copied for each test.
async fn template() -> &'static str {
    TEMPLATE
        .get_or_init(|| async {
            let name = format!("crm_template_{}", Uuid::new_v4().simple());
            let admin = open(server().as_str()).await;
            admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
            let template = open(&address(&name)).await;
            template.execute(MINIATURE).await.unwrap();
            template.close().await;
            admin.close().await;
            name
        })
        .await
}

impl Crm {
    pub async fn create() -> Self {
        let template = template().await;
        let name = format!("crm_{}", Uuid::new_v4().simple());
        let admin = open(server().as_str()).await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {template}"))).await.unwrap();
        admin.close().await;
        let url = address(&name);
        Self { pool: open(&url).await, name, url }
    }

    /// A copy by PostgreSQL's own means; the original's connections must be closed.
    pub async fn copy_of(original: &Self) -> Self {
        let name = format!("crm_{}", Uuid::new_v4().simple());
        let admin = open(server().as_str()).await;
        admin
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name} TEMPLATE {}", original.name)))
            .await
            .unwrap();
        admin.close().await;
        let url = address(&name);
        Self { pool: open(&url).await, name, url }
    }

    /// One that is empty, for a restore.
    pub async fn empty() -> Self {
        let name = format!("crm_{}", Uuid::new_v4().simple());
        let admin = open(server().as_str()).await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        admin.close().await;
        let url = address(&name);
        Self { pool: open(&url).await, name, url }
    }

    /// On another server: a database with the miniature in it.
    pub async fn on(server: &Url) -> Self {
        super::storage::take_a_protection_away();
        let name = format!("crm_{}", Uuid::new_v4().simple());
        let admin = open(server.as_str()).await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        admin.close().await;
        let crm = Self::of(server, &name).await;
        crm.pool.execute(MINIATURE).await.unwrap();
        crm
    }

    /// A database with these tables in place of the miniature's.
    pub async fn with(tables: &'static str) -> Self {
        let name = format!("crm_{}", Uuid::new_v4().simple());
        let admin = open(server().as_str()).await;
        admin.execute(AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.unwrap();
        admin.close().await;
        let url = address(&name);
        let crm = Self { pool: open(&url).await, name, url };
        crm.pool.execute(tables).await.unwrap();
        crm
    }

    /// A database that another server has already.
    pub async fn of(server: &Url, name: &str) -> Self {
        let mut url = server.clone();
        url.set_path(name);
        let url = String::from(url);
        Self { pool: open(&url).await, name: name.to_owned(), url }
    }

    pub async fn drop_database(&self) {
        self.pool.close().await;
        let admin = open(server().as_str()).await;
        admin.execute(AssertSqlSafe(format!("DROP DATABASE {} WITH (FORCE)", self.name))).await.unwrap();
        admin.close().await;
    }

    /// Runs SQL as the CRM, or as an administrator with `psql`.
    pub async fn sql(&self, sql: impl Into<String>) {
        let sql = sql.into();
        self.pool.execute(AssertSqlSafe(sql.clone())).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Runs SQL about this database from outside of it.
    pub async fn sql_from_outside(&self, sql: impl Into<String>) {
        let admin = open(server().as_str()).await;
        admin.execute(AssertSqlSafe(sql.into())).await.unwrap();
        admin.close().await;
    }

    /// A count, or any other whole number.
    pub async fn number(&self, sql: impl Into<String>) -> i64 {
        let sql = sql.into();
        let number = sqlx::query_scalar(AssertSqlSafe(sql.clone())).fetch_one(&self.pool).await;
        number.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// A record of a section.
    pub async fn record(&self, section: &str) -> Uuid {
        let id = Uuid::new_v4();
        self.sql(format!(r#"INSERT INTO "{section}" ("Id") VALUES ('{id}')"#)).await;
        if ["Account", "Contact"].contains(&section) {
            let name = format!(r#"UPDATE "{section}" SET "Name" = '{RECORD_NAME}' WHERE "Id" = '{id}'"#);
            self.sql(name).await;
        }
        id
    }

    /// A file in S3 that hangs on a record by its foreign key.
    pub async fn hard_file(&self, table: &str, section: &str, record: Uuid) -> Uuid {
        let id = Uuid::new_v4();
        self.sql(format!(
            r#"INSERT INTO "{table}" ("Id", "Name", "TypeId", "Size", "SysFileStorageId", "{section}Id")
               VALUES ('{id}', '{FILE_NAME}', '{FILE_TYPE}', 5, '{S3_STORAGE}', '{record}')"#
        ))
        .await;
        id
    }

    /// A file in S3 that hangs on a record by name and id only.
    pub async fn weak_file(&self, table: &str, section: &str, record: Uuid) -> Uuid {
        let id = Uuid::new_v4();
        self.sql(format!(
            r#"INSERT INTO "{table}" ("Id", "TypeId", "Size", "SysFileStorageId", "RecordSchemaName", "RecordId")
               VALUES ('{id}', '{FILE_TYPE}', 5, '{S3_STORAGE}', '{section}', '{record}')"#
        ))
        .await;
        id
    }

    /// Makes a file appear on one more record.
    pub async fn link(&self, section: &str, record: Uuid, table: &str, file: Uuid) {
        self.sql(format!(
            r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
               VALUES ('{section}', '{record}', '{table}', '{file}')"#
        ))
        .await;
    }

    pub async fn delete(&self, table: &str, id: Uuid) {
        self.sql(format!(r#"DELETE FROM "{table}" WHERE "Id" = '{id}'"#)).await;
    }
}
