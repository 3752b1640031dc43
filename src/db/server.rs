//! What the server is, and what this role could do to the CRM beyond what is needed: for `doctor`.

use sqlx::FromRow;
use time::OffsetDateTime;

use super::error::{Attempted, DbError};
use super::{Db, SETTINGS};
use crate::config::{Crm, Profile};

/// What a server says of itself; it needs no right.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub struct ServerInfo {
    /// As in `16.4 (Debian 16.4-1)`.
    pub version: String,
    /// As in 160004.
    pub version_number: i32,
    /// Does it take writes, or does it follow another server?
    pub is_primary: bool,
    /// Its clock.
    pub now: OffsetDateTime,
    /// Which settings that were asked for at the connection's start are not in force.
    pub ignored: Vec<String>,
}

/// What a role may do beyond its task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Powers {
    /// The role.
    pub role: String,
    /// It is a superuser.
    pub superuser: bool,
    /// How many of the application's tables are its own, or those of a role that it belongs to.
    pub owned_tables: u64,
    /// It may make other roles.
    pub makes_roles: bool,
}

impl Db {
    /// What the server is, and how late it is there.
    pub async fn server_info(&self) -> Result<ServerInfo, DbError> {
        let (names, values): (Vec<&str>, Vec<&str>) = SETTINGS.into_iter().unzip();
        sqlx::query_as(
            "SELECT current_setting('server_version') AS version, current_setting('server_version_num')::int AS version_number,
                    NOT pg_is_in_recovery() AS is_primary, clock_timestamp() AS now,
                    ARRAY(SELECT name FROM unnest($1::text[], $2::text[]) AS asked(name, value)
                           WHERE current_setting(name) <> value) AS ignored",
        )
        .bind(names)
        .bind(values)
        .fetch_one(&self.pool)
        .await
        .attempted("connecting to the database")
    }

    /// What this role may do beyond its task. Of a database without an application, the own schema's tables do not count.
    pub async fn powers(&self, crm: &Crm) -> Result<Powers, DbError> {
        let schema = (crm.profile != Profile::Events).then_some(&crm.schema);
        let (role, superuser, makes_roles, owned): (String, bool, bool, i64) = sqlx::query_as(
            "SELECT rolname::text, rolsuper, rolcreaterole,
                    (SELECT count(*) FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
                      WHERE n.nspname = $1 AND c.relkind IN ('r', 'p') AND pg_has_role(c.relowner, 'USAGE'))
               FROM pg_roles WHERE rolname = current_user",
        )
        .bind(schema)
        .fetch_one(&self.pool)
        .await
        .attempted("asking what this role may do")?;
        Ok(Powers { role, superuser, owned_tables: owned.unsigned_abs(), makes_roles })
    }
}
