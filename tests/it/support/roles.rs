//! Roles of a test's own in a database that gives PUBLIC nothing, with the rights of the files in `deploy/rights`.

use std::path::PathBuf;

use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tokio::process::Command;
use url::Url;
use uuid::Uuid;

use super::process;
use super::world::World;

/// A role's rights as PostgreSQL has them, one to a line.
const GRANTS: &str = "
  SELECT kind, object, name, privilege FROM (
    SELECT 'DATABASE' AS kind, quote_ident(datname) AS object, NULL AS name, datacl AS acl FROM pg_database
     WHERE datname = current_database()
    UNION ALL SELECT 'SCHEMA', quote_ident(nspname), NULL, nspacl FROM pg_namespace
    UNION ALL SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass::text, NULL, relacl FROM pg_class
    UNION ALL SELECT 'TABLE', attrelid::regclass::text, attname::text, attacl FROM pg_attribute
    UNION ALL SELECT 'FUNCTION', oid::regprocedure::text, NULL, proacl FROM pg_proc) AS things,
    LATERAL (SELECT privilege_type AS privilege FROM aclexplode(acl) WHERE grantee = $1::regrole) AS granted
   ORDER BY kind, object, name, privilege";

/// One right that a role has.
#[derive(Clone, Debug)]
pub struct Grant {
    kind: String,
    pub object: String,
    pub column: Option<String>,
    pub privilege: String,
}

impl Grant {
    fn sql(&self, verb: &str, role: &str) -> String {
        let Self { kind, object, column, privilege } = self;
        let column = column.as_ref().map_or_else(String::new, |name| format!(r#" ("{name}")"#));
        let preposition = if verb == "GRANT" { "TO" } else { "FROM" };
        format!("{verb} {privilege}{column} ON {kind} {object} {preposition} {role}")
    }

    /// The object as messages name it: `SysFile` for `public."SysFile"`.
    pub fn plain_name(&self) -> String {
        let name = self.object.rsplit('.').next().unwrap_or(&self.object);
        name.split('(').next().unwrap_or(name).trim_matches('"').to_owned()
    }
}

/// The owner of the CRM's tables, the CRM's own role, and ours.
pub struct Roles {
    admin: PgPool,
    url: Url,
    pub owner: String,
    pub application: String,
    pub install: String,
    pub run: String,
}

impl Roles {
    /// Makes the roles for this database, and takes everything from PUBLIC. Its tables get an owner that may do
    /// nothing else; the application may read and write them.
    pub async fn create(url: &str) -> Self {
        let id = Uuid::new_v4().simple();
        let role = |what: &str| format!("fr_{what}_{id}");
        let admin = PgPoolOptions::new().max_connections(2).connect(url).await.unwrap();
        let url: Url = url.parse().unwrap();
        let [owner, application] = [role("owner"), role("application")];
        let roles = Self { admin, url, owner, application, install: role("install"), run: role("run") };
        roles.sql(&format!("CREATE ROLE {} NOLOGIN", roles.owner)).await;
        for role in [&roles.application, &roles.install, &roles.run] {
            roles.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{role}'")).await;
        }
        let (owner, application) = (&roles.owner, &roles.application);
        let database = roles.database();
        roles
            .sql(&format!(
                r#"REVOKE ALL ON DATABASE "{database}" FROM PUBLIC; REVOKE ALL ON SCHEMA public FROM PUBLIC;
                   GRANT CONNECT ON DATABASE "{database}" TO {application};
                   GRANT USAGE ON SCHEMA public TO {owner}, {application};
                   DO $$ DECLARE one regclass; BEGIN
                     FOR one IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
                       EXECUTE format('ALTER TABLE %s OWNER TO {owner}', one);
                       EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO {application}', one);
                     END LOOP;
                   END $$"#
            ))
            .await;
        roles
    }

    /// Roles of this world, with the own schema installed by the one and the least rights given to the other.
    pub async fn installed(world: &World) -> Self {
        let roles = Self::create(&world.crm.url).await;
        roles.allow_install().await;
        let as_install = world.with(&[("DATABASE__URL", &roles.url_as(&roles.install))]);
        process::run(&as_install, &["listener", "install"]).await.expect(0);
        roles.allow_run(&[]).await;
        roles
    }

    /// Applies `database-install.sql`.
    pub async fn allow_install(&self) {
        let variables = [("install_role", self.install.as_str()), ("table_owner", &self.owner)];
        self.apply("database-install.sql", &variables).await;
    }

    /// Applies `database-run.sql`.
    pub async fn allow_run(&self, more: &[(&str, &str)]) {
        let variables = [&[("run_role", self.run.as_str())], more].concat();
        self.apply("database-run.sql", &variables).await;
    }

    /// Applies `database-restore.sql`.
    pub async fn allow_restore(&self) {
        self.apply("database-restore.sql", &[("restore_role", self.run.as_str())]).await;
    }

    /// Applies `database-erase.sql`.
    pub async fn allow_erase(&self) {
        self.apply("database-erase.sql", &[("erase_role", self.run.as_str())]).await;
    }

    /// Applies `database-migrate.sql`.
    pub async fn allow_migrate(&self) {
        self.apply("database-migrate.sql", &[("migrate_role", self.run.as_str())]).await;
    }

    async fn apply(&self, file: &str, variables: &[(&str, &str)]) {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/rights").join(file);
        let mut psql = Command::new("psql");
        psql.args(["--no-psqlrc", "--quiet", "--dbname", self.url.as_str()]);
        for (name, value) in variables {
            psql.arg("--set").arg(format!("{name}={value}"));
        }
        let output = psql.arg("--file").arg(file).output().await.expect("psql starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && told.is_empty(), "{told}");
    }

    fn database(&self) -> &str {
        self.url.path().trim_start_matches('/')
    }

    /// The address for a role.
    pub fn url_as(&self, role: &str) -> String {
        let mut url = self.url.clone();
        url.set_username(role).unwrap();
        url.set_password(Some(role)).unwrap();
        url.into()
    }

    /// Runs SQL as the administrator.
    pub async fn sql(&self, sql: &str) {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.admin).await;
        done.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// Everything that a role has.
    pub async fn grants(&self, role: &str) -> Vec<Grant> {
        let rows = sqlx::query(GRANTS).bind(role).fetch_all(&self.admin).await.unwrap();
        let grant = |row: &sqlx::postgres::PgRow| Grant {
            kind: row.get(0),
            object: row.get(1),
            column: row.get(2),
            privilege: row.get(3),
        };
        rows.iter().map(grant).collect()
    }

    pub async fn revoke(&self, grant: &Grant, role: &str) {
        self.sql(&grant.sql("REVOKE", role)).await;
    }

    pub async fn grant(&self, grant: &Grant, role: &str) {
        self.sql(&grant.sql("GRANT", role)).await;
    }
}

impl Drop for Roles {
    /// Removes the roles, with everything that is theirs here. Roles are the whole server's, so this is done for a test
    /// that fails, too: in a thread with a runtime of its own.
    fn drop(&mut self) {
        let url = self.url.clone();
        let roles = [&self.run, &self.install, &self.application, &self.owner].map(String::clone);
        let removing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = PgPoolOptions::new().max_connections(1).connect(url.as_str()).await?;
                for role in roles {
                    let sql =
                        format!("SET lock_timeout = '10s'; DROP OWNED BY {role} CASCADE; DROP ROLE {role}");
                    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&admin).await?;
                }
                admin.close().await;
                Ok::<_, sqlx::Error>(())
            })
        });
        // A test that failed already must not fail twice.
        let removed = removing.join().unwrap();
        assert!(std::thread::panicking() || removed.is_ok(), "{removed:?}");
    }
}
