//! A database of its own for each test, with the CRM miniature in it.

use std::str::FromStr;

use file_recycler::config::{Crm, DanglingRows, OnCaptureError, Profile};
use file_recycler::db::{Actor, Db};
use file_recycler::file::{FileId, Named, ObjectKey};
use secrecy::SecretString;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, Row};
use uuid::Uuid;

const ADDRESS: &str = "FILE_RECYCLER_TEST_DATABASE_URL";
const CRM: &str = include_str!("../fixtures/crm.sql");
/// The id of the storage `S3_storage` in the miniature.
pub const S3: &str = "7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11";
/// The id of the storage `Database`.
pub const IN_DATABASE: &str = "38ab9812-9bba-4eb8-86d0-8f352cd0229c";
/// Only one test at a time makes the template.
const LOCK: i64 = 0x6669_6c65;

/// A database that is dropped with this value.
pub struct TestDatabase {
    address: url::Url,
    name: String,
}

fn server() -> url::Url {
    let address =
        std::env::var(ADDRESS).unwrap_or_else(|_| panic!("{ADDRESS} must be a superuser's address"));
    url::Url::parse(&address).expect(ADDRESS)
}

async fn connect(address: &url::Url) -> PgConnection {
    PgConnectOptions::from_str(address.as_str())
        .unwrap()
        .disable_statement_logging()
        .connect()
        .await
        .expect("the test server answers")
}

/// Runs SQL of a test.
pub async fn run(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    Ok(connection.execute(sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))).await?.rows_affected())
}

impl TestDatabase {
    /// A copy of the template, which the first test makes from the miniature.
    pub async fn create() -> Self {
        super::storage::take_a_protection_away();
        let server = server();
        let mut admin = connect(&server).await;
        let template = format!("file_recycler_template_{:x}", hash_of(CRM));
        run(&mut admin, &format!("SELECT pg_advisory_lock({LOCK})")).await.unwrap();
        let made: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)")
            .bind(&template)
            .fetch_one(&mut admin)
            .await
            .unwrap();
        if !made {
            let building = format!("{template}_{}", Uuid::new_v4().simple());
            run(&mut admin, &format!("CREATE DATABASE {building}")).await.unwrap();
            let mut crm = connect(&at(&server, &building)).await;
            run(&mut crm, CRM).await.unwrap();
            crm.close().await.unwrap();
            run(&mut admin, &format!("ALTER DATABASE {building} RENAME TO {template}")).await.unwrap();
        }
        let name = format!("file_recycler_test_{}", Uuid::new_v4().simple());
        run(&mut admin, &format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        admin.close().await.unwrap();
        Self { address: at(&server, &name), name }
    }

    /// The same, with triggers.
    pub async fn installed() -> Self {
        let database = Self::create().await;
        database.install(OnCaptureError::Skip).await;
        database
    }

    /// Installs (or repairs) the triggers.
    pub async fn install(&self, policy: OnCaptureError) {
        self.db().install(&crm(), policy, &actor()).await.unwrap();
    }

    /// The database's address.
    pub fn url(&self) -> SecretString {
        self.address.as_str().into()
    }

    /// The address for another role.
    pub fn url_as(&self, role: &str) -> SecretString {
        let mut address = self.address.clone();
        address.set_username(role).unwrap();
        address.set_password(Some(role)).unwrap();
        address.as_str().into()
    }

    /// A role that may read, with its name for a password; `DROP OWNED BY` and `DROP ROLE` it in the end.
    pub async fn reader(&self) -> String {
        let role = format!("role_{}", Uuid::new_v4().simple());
        self.run(&format!(
            "CREATE ROLE {role} LOGIN PASSWORD '{role}';
               GRANT USAGE ON SCHEMA file_recycler TO {role};
               GRANT SELECT ON ALL TABLES IN SCHEMA file_recycler, public TO {role}"
        ))
        .await;
        role
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the program uses.
    pub fn db(&self) -> Db {
        Db::connect(&self.url()).unwrap()
    }

    /// A connection of the CRM.
    pub async fn crm(&self) -> PgConnection {
        connect(&self.address).await
    }

    /// A connection of the CRM as another role.
    pub async fn crm_as(&self, role: &str) -> PgConnection {
        let mut address = self.address.clone();
        address.set_username(role).unwrap();
        address.set_password(Some(role)).unwrap();
        connect(&address).await
    }

    /// One statement (or several) of the CRM, committed.
    pub async fn run(&self, sql: &str) -> u64 {
        let mut crm = self.crm().await;
        let done = run(&mut crm, sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        crm.close().await.unwrap();
        done
    }

    /// One value.
    pub async fn value<T>(&self, sql: &str) -> T
    where
        T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let mut crm = self.crm().await;
        let row: PgRow = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut crm).await.unwrap();
        crm.close().await.unwrap();
        row.get(0)
    }

    /// A record.
    pub async fn record(&self, section: &str) -> Uuid {
        self.value(&format!(r#"INSERT INTO "{section}" DEFAULT VALUES RETURNING "Id""#)).await
    }

    /// A file in S3 that a record owns by a foreign key.
    pub async fn file(&self, table: &str, column: &str, record: Uuid) -> Uuid {
        self.value(&format!(
            r#"INSERT INTO "{table}" ("TypeId", "SysFileStorageId", "Size", "{column}")
               VALUES ('529bc2f8-0ee0-df11-971b-001d60e938c6', '{S3}', 20480, '{record}') RETURNING "Id""#
        ))
        .await
    }

    /// A file that a record owns weakly, in the given storage.
    pub async fn weak_file_in(&self, table: &str, schema: &str, record: Uuid, storage: &str) -> Uuid {
        self.value(&format!(
            r#"INSERT INTO "{table}" ("TypeId", "SysFileStorageId", "Size", "RecordSchemaName", "RecordId")
               VALUES ('529bc2f8-0ee0-df11-971b-001d60e938c6', '{storage}', 20480, '{schema}', '{record}')
               RETURNING "Id""#
        ))
        .await
    }

    /// A file in S3 that a record owns weakly.
    pub async fn weak_file(&self, table: &str, schema: &str, record: Uuid) -> Uuid {
        self.weak_file_in(table, schema, record, S3).await
    }

    /// A link that shows a file on a record.
    pub async fn link(&self, schema: &str, record: Uuid, file_schema: &str, file: Uuid) -> Uuid {
        self.value(&format!(
            r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
               VALUES ('{schema}', '{record}', '{file_schema}', '{file}') RETURNING "Id""#
        ))
        .await
    }

    /// `kind schema n` of every outbox row, in their order.
    pub async fn captured(&self) -> Vec<String> {
        let mut crm = self.crm().await;
        sqlx::query_scalar(
            "SELECT kind || ' ' || schema || ' ' || n FROM file_recycler.outbox ORDER BY kind DESC, schema, id",
        )
        .fetch_all(&mut crm)
        .await
        .unwrap()
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        let name = self.name.clone();
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut admin = connect(&server()).await;
                run(&mut admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await
            })
        });
        // A test that failed already must not fail twice.
        let _ = dropping.join();
    }
}

/// The CRM as the configuration's defaults describe it.
pub fn crm() -> Crm {
    Crm {
        profile: Profile::Creatio,
        schema: "public".to_owned(),
        dangling_rows: DanglingRows::Delete,
        trust_outside_events: false,
        storage_codes: vec!["S3_storage".to_owned()],
    }
}

/// Whoever runs the tests.
pub fn actor() -> Actor {
    Actor { who: "tester".to_owned(), host: "test".to_owned() }
}

/// A file as the check takes it, with its id as its key.
pub fn named(id: &str) -> Named {
    Named { id: FileId::try_from(id).unwrap(), key: ObjectKey::try_from(id).unwrap() }
}

/// Ids as the check takes them.
pub fn ids(ids: &[Uuid]) -> Vec<Named> {
    ids.iter().map(|id| named(&id.to_string())).collect()
}

fn at(server: &url::Url, database: &str) -> url::Url {
    let mut address = server.clone();
    address.set_path(database);
    address
}

fn hash_of(text: &str) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}
