//! Own schema: migrations from the binary, in a table of applied ones that is not the CRM's.

use std::borrow::Cow;

use sqlx::migrate::Migrator;
use sqlx::{Connection, PgConnection};

use super::Db;
use super::error::{Attempted, DbError};
use super::sql::{hex, quote_literal};

/// Name of the schema.
pub(super) const SCHEMA: &str = "file_recycler";
/// Where applied migrations are listed: an application on sqlx has its own list in its own schema.
const APPLIED: &str = "file_recycler._sqlx_migrations";

static EMBEDDED: Migrator = sqlx::migrate!("./migrations");

/// How far the own schema is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaState {
    /// There is none.
    Missing,
    /// It is of an older version of this program.
    Behind,
    /// It is as this program wants it.
    Current,
}

impl Db {
    /// How far the own schema is.
    pub async fn schema_state(&self) -> Result<SchemaState, DbError> {
        const DOING: &str = "looking for the own schema";
        let listed: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(APPLIED)
            .fetch_one(&self.pool)
            .await
            .attempted(DOING)?;
        if !listed {
            return Ok(SchemaState::Missing);
        }
        let applied: i64 = sqlx::query_scalar(
            "SELECT coalesce(max(version), 0) FROM file_recycler._sqlx_migrations WHERE success",
        )
        .fetch_one(&self.pool)
        .await
        .attempted(DOING)?;
        let newest = EMBEDDED.iter().map(|migration| migration.version).max().unwrap_or(0);
        Ok(match applied {
            0 => SchemaState::Missing,
            version if version < newest => SchemaState::Behind,
            _ => SchemaState::Current,
        })
    }

    /// Is it of a newer version of this program? Such a one is worked with as with its own: versions only add to the schema
    /// what an older one does not miss.
    pub async fn schema_is_newer(&self) -> Result<bool, DbError> {
        let newest = EMBEDDED.iter().map(|migration| migration.version).max().unwrap_or(0);
        sqlx::query_scalar("SELECT EXISTS (SELECT FROM file_recycler._sqlx_migrations WHERE version > $1)")
            .bind(newest)
            .fetch_one(&self.pool)
            .await
            .attempted("looking for the own schema")
    }

    /// Brings the own schema to this program's version; nothing where it is.
    pub(super) async fn migrate(&self) -> Result<(), DbError> {
        const DOING: &str = "bringing the own schema up to date";
        if self.schema_state().await? == SchemaState::Current {
            return Ok(());
        }
        let mut migrator = Migrator::with_migrations(EMBEDDED.iter().cloned().collect());
        migrator.dangerous_set_table_name(APPLIED);
        let exists: bool = sqlx::query_scalar("SELECT to_regnamespace($1) IS NOT NULL")
            .bind(SCHEMA)
            .fetch_one(&self.pool)
            .await
            .attempted(DOING)?;
        if !exists {
            // Asked for only then: "IF NOT EXISTS" wants the right to create even if there is nothing to do.
            migrator.create_schema(Cow::Borrowed(SCHEMA));
        }
        // A connection of its own, closed afterwards: the migrator's advisory lock goes with it, whatever
        // happened.
        let mut connection: PgConnection = self.pool.acquire().await.attempted(DOING)?.detach();
        let done = migrator.run_direct(None, &mut connection, false).await.attempted(DOING);
        connection.close().await.attempted(DOING)?;
        done
    }
}

/// The migrations as SQL that a database administrator can run by hand.
pub(super) fn migrations_as_sql() -> Vec<String> {
    let mut sql = vec![
        format!("CREATE SCHEMA IF NOT EXISTS {SCHEMA};"),
        format!(
            "CREATE TABLE IF NOT EXISTS {APPLIED} (version bigint PRIMARY KEY, description text NOT NULL, \
             installed_on timestamptz NOT NULL DEFAULT now(), success boolean NOT NULL, checksum bytea NOT NULL, \
             execution_time bigint NOT NULL);"
        ),
    ];
    for migration in EMBEDDED.iter() {
        let checksum = hex(&migration.checksum);
        sql.push(migration.sql.as_str().trim_end().to_owned());
        sql.push(format!(
            "INSERT INTO {APPLIED} (version, description, success, checksum, execution_time) \
             VALUES ({}, {}, true, decode('{checksum}', 'hex'), 0);",
            migration.version,
            quote_literal(&migration.description),
        ));
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sql_for_an_administrator_lists_every_migration_as_applied() {
        let sql = migrations_as_sql();
        assert_eq!(sql.iter().filter(|sql| sql.starts_with("INSERT INTO")).count(), EMBEDDED.iter().count());
        assert!(sql.iter().all(|sql| sql.ends_with(';')));
    }
}
