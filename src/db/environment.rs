//! Which database and which buckets belong together, and whether an operator has stopped everything.

use sqlx::{PgConnection, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError};
use super::{Actor, Db};

/// What the database says about itself and its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentState {
    /// Own schema is there.
    pub installed: bool,
    /// What was adopted or paused; `None` where neither ever happened.
    pub row: Option<Environment>,
    /// Which database this is.
    pub identity: Identity,
    /// It takes writes: it is no replica.
    pub primary: bool,
}

/// The environment's row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The environment's id.
    pub id: Uuid,
    /// What was adopted; `None`: only paused so far.
    pub adopted: Option<Adopted>,
    /// Who stopped everything, and why.
    pub paused: Option<Paused>,
}

/// A binding of a database to buckets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The cluster, as `pg_control_system` has it.
    pub system_identifier: String,
    /// The database's oid.
    pub database_oid: i64,
    /// The database's name.
    pub database_name: String,
    /// The buckets.
    pub buckets: BucketNames,
    /// When.
    pub at: OffsetDateTime,
    /// By whom.
    pub by: Actor,
}

/// Where the files are, as it was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BucketNames {
    /// Address of the storage; `None`: AWS.
    pub service_url: Option<String>,
    /// Name of the object bucket.
    pub object_bucket: String,
    /// Name of the recycle bucket.
    pub recycle_bucket: String,
}

/// A pause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paused {
    /// Since when.
    pub at: OffsetDateTime,
    /// By whom.
    pub by: Actor,
    /// Why.
    pub why: String,
}

/// Which database this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster, as `pg_control_system` has it.
    pub system_identifier: String,
    /// The database's oid.
    pub database_oid: i64,
    /// The database's name.
    pub database_name: String,
    /// Address and port as the server sees them; `None`: a socket.
    pub server: Option<String>,
    /// `server_version_num`, such as 150018.
    pub server_version: i32,
}

/// Is this the database that was adopted? A dump restored elsewhere, a template's copy and another cluster
/// are not; a copy of the disks is, by these signs alone.
pub fn same_database(adopted: &Adopted, identity: &Identity) -> bool {
    adopted.system_identifier == identity.system_identifier
        && adopted.database_oid == identity.database_oid
        && adopted.database_name == identity.database_name
}

impl Db {
    /// Reads what the database says about itself and its environment. Works before anything is installed.
    pub async fn environment(&self) -> Result<EnvironmentState, DbError> {
        const DOING: &str = "reading the environment";
        let row = sqlx::query(
            "SELECT (SELECT system_identifier::text FROM pg_control_system()) AS system_identifier,
                    oid::bigint AS database_oid, datname::text AS database_name,
                    host(inet_server_addr()) || ':' || inet_server_port() AS server,
                    current_setting('server_version_num')::integer AS server_version,
                    NOT pg_is_in_recovery() AS is_primary,
                    to_regclass('file_recycler.environment') IS NOT NULL AS installed
               FROM pg_database WHERE datname = current_database()",
        )
        .fetch_one(&self.pool)
        .await
        .attempted(DOING)?;
        let read = || -> Result<_, sqlx::Error> {
            let identity = Identity {
                system_identifier: row.try_get("system_identifier")?,
                database_oid: row.try_get("database_oid")?,
                database_name: row.try_get("database_name")?,
                server: row.try_get("server")?,
                server_version: row.try_get("server_version")?,
            };
            Ok((identity, row.try_get("is_primary")?, row.try_get("installed")?))
        };
        let (identity, primary, installed) = read().attempted(DOING)?;
        let row = if installed { self.environment_row().await? } else { None };
        Ok(EnvironmentState { installed, row, identity, primary })
    }

    async fn environment_row(&self) -> Result<Option<Environment>, DbError> {
        const DOING: &str = "reading the environment";
        let row = sqlx::query("SELECT * FROM file_recycler.environment")
            .fetch_optional(&self.pool)
            .await
            .attempted(DOING)?;
        row.map(|row| environment(&row)).transpose().attempted(DOING)
    }

    /// Has an operator stopped everything? `None`: no.
    pub async fn paused(&self) -> Result<Option<Paused>, DbError> {
        Ok(self.environment_row().await?.and_then(|row| row.paused))
    }

    /// Binds this database to these buckets, under this id. The same database and buckets should keep their
    /// id (events on the way carry it); a copy must get a new one.
    pub async fn adopt(&self, id: Uuid, buckets: &BucketNames, actor: &Actor) -> Result<(), DbError> {
        const DOING: &str = "adopting the database";
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query(
            "INSERT INTO file_recycler.environment AS environment
                    (id, system_identifier, database_oid, database_name, service_url, object_bucket,
                     recycle_bucket, adopted_at, adopted_by, adopted_from)
             SELECT $1, (SELECT system_identifier::text FROM pg_control_system()), oid::bigint, datname, $2, $3, $4,
                    clock_timestamp(), $5, $6
               FROM pg_database WHERE datname = current_database()
             ON CONFLICT (only_row) DO UPDATE
                SET (id, system_identifier, database_oid, database_name, service_url, object_bucket,
                     recycle_bucket, adopted_at, adopted_by, adopted_from)
                  = (excluded.id, excluded.system_identifier, excluded.database_oid, excluded.database_name,
                     excluded.service_url, excluded.object_bucket, excluded.recycle_bucket, excluded.adopted_at,
                     excluded.adopted_by, excluded.adopted_from)",
        )
        .bind(id)
        .bind(&buckets.service_url)
        .bind(&buckets.object_bucket)
        .bind(&buckets.recycle_bucket)
        .bind(&actor.who)
        .bind(&actor.host)
        .execute(&mut *tx)
        .await
        .attempted(DOING)?;
        let detail = format!("{id}: {} and {}", buckets.object_bucket, buckets.recycle_bucket);
        trail(&mut tx, actor, "adopt", &detail).await?;
        tx.commit().await.attempted(DOING)
    }

    /// Stops all workers and relays of the environment, until [`Db::resume`].
    pub async fn pause(&self, why: &str, actor: &Actor) -> Result<(), DbError> {
        const DOING: &str = "pausing";
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query(
            "INSERT INTO file_recycler.environment (paused_at, paused_by, paused_from, paused_why)
             VALUES (clock_timestamp(), $1, $2, $3)
             ON CONFLICT (only_row) DO UPDATE
                SET (paused_at, paused_by, paused_from, paused_why)
                  = (excluded.paused_at, excluded.paused_by, excluded.paused_from, excluded.paused_why)",
        )
        .bind(&actor.who)
        .bind(&actor.host)
        .bind(why)
        .execute(&mut *tx)
        .await
        .attempted(DOING)?;
        trail(&mut tx, actor, "pause", why).await?;
        tx.commit().await.attempted(DOING)
    }

    /// Ends a pause. `false`: there was none.
    pub async fn resume(&self, actor: &Actor) -> Result<bool, DbError> {
        const DOING: &str = "resuming";
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        let resumed = sqlx::query(
            "UPDATE file_recycler.environment
                SET paused_at = NULL, paused_by = NULL, paused_from = NULL, paused_why = NULL
              WHERE paused_at IS NOT NULL",
        )
        .execute(&mut *tx)
        .await
        .attempted(DOING)?
        .rows_affected()
            > 0;
        trail(&mut tx, actor, "resume", if resumed { "" } else { "was not paused" }).await?;
        tx.commit().await.attempted(DOING)?;
        Ok(resumed)
    }

    /// Writes a change that is not made in the database (a replay, a discarded message) to the trail.
    pub async fn record_change(&self, actor: &Actor, action: &str, detail: &str) -> Result<(), DbError> {
        let mut connection = self.pool.acquire().await.attempted("writing the trail")?;
        trail(&mut connection, actor, action, detail).await
    }
}

/// One line of who changed what.
pub(super) async fn trail(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &str,
    detail: &str,
) -> Result<(), DbError> {
    sqlx::query("INSERT INTO file_recycler.trail (who, host, action, detail) VALUES ($1, $2, $3, $4)")
        .bind(&actor.who)
        .bind(&actor.host)
        .bind(action)
        .bind(detail)
        .execute(connection)
        .await
        .attempted("writing the trail")?;
    Ok(())
}

fn environment(row: &sqlx::postgres::PgRow) -> Result<Environment, sqlx::Error> {
    let adopted_at: Option<OffsetDateTime> = row.try_get("adopted_at")?;
    let paused_at: Option<OffsetDateTime> = row.try_get("paused_at")?;
    let adopted = adopted_at
        .map(|at| -> Result<Adopted, sqlx::Error> {
            Ok(Adopted {
                system_identifier: row.try_get("system_identifier")?,
                database_oid: row.try_get("database_oid")?,
                database_name: row.try_get("database_name")?,
                buckets: BucketNames {
                    service_url: row.try_get("service_url")?,
                    object_bucket: row.try_get("object_bucket")?,
                    recycle_bucket: row.try_get("recycle_bucket")?,
                },
                at,
                by: Actor { who: row.try_get("adopted_by")?, host: row.try_get("adopted_from")? },
            })
        })
        .transpose()?;
    let paused = paused_at
        .map(|at| -> Result<Paused, sqlx::Error> {
            let by = Actor { who: row.try_get("paused_by")?, host: row.try_get("paused_from")? };
            Ok(Paused { at, by, why: row.try_get("paused_why")? })
        })
        .transpose()?;
    Ok(Environment { id: row.try_get("id")?, adopted, paused })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_of_the_database_is_another_database() {
        let identity = Identity {
            system_identifier: "7".into(),
            database_oid: 5,
            database_name: "crm".into(),
            server: None,
            server_version: 150_018,
        };
        let adopted = Adopted {
            system_identifier: "7".into(),
            database_oid: 5,
            database_name: "crm".into(),
            buckets: BucketNames { service_url: None, object_bucket: "a".into(), recycle_bucket: "b".into() },
            at: OffsetDateTime::UNIX_EPOCH,
            by: Actor { who: "ann".into(), host: "here".into() },
        };
        assert!(same_database(&adopted, &identity));
        for other in [
            Identity { system_identifier: "8".into(), ..identity.clone() },
            Identity { database_oid: 6, ..identity.clone() },
            Identity { database_name: "crm_test".into(), ..identity.clone() },
        ] {
            assert!(!same_database(&adopted, &other), "{other:?}");
        }
        let moved = Identity { server: Some("10.0.0.2:5432".into()), server_version: 160_004, ..identity };
        assert!(same_database(&adopted, &moved), "a failover or an update keeps the database");
    }
}
