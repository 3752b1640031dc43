//! Which database and which buckets belong together, and whether an operator stopped everything.

use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::error::{Attempted, DbError, Problem};
use super::nonce::Nonce;
use super::{Actor, Db};
use crate::config;

/// What the database says about itself and about its binding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnvironmentState {
    /// The own schema's row; `None` where the own schema is not installed.
    pub environment: Option<Environment>,
    /// What this database is.
    pub identity: Identity,
    /// Does it take writes, or does it follow another server?
    pub is_primary: bool,
}

/// The binding, as it was adopted last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Environment {
    /// The environment's id; it is in every event that is captured here.
    pub id: Uuid,
    /// The adopted binding; `None` before the first adoption.
    pub adopted: Option<Adopted>,
    /// The operator's pause.
    pub paused: Option<Pause>,
    /// What tells this database from its copies and from its past.
    pub nonce: Nonce,
}

/// What was adopted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The database at that time.
    pub identity: Identity,
    /// The buckets and their server.
    pub buckets: Buckets,
    /// When.
    pub at: OffsetDateTime,
    /// For what.
    pub purpose: Purpose,
}

/// What was adopted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Everything.
    Work,
    /// To restore files and to compare, after the database was set back to a backup; nothing moves.
    Restore,
}

/// What tells one database from another.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Identity {
    /// The cluster's system identifier (`pg_control_system`).
    pub system_identifier: String,
    /// The database's oid in its cluster.
    pub oid: i64,
    /// Its name.
    pub name: String,
}

/// The two buckets and their server.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Buckets {
    /// The S3 server's address; empty for AWS.
    pub service_url: String,
    /// The object bucket.
    pub object: String,
    /// The recycle bucket.
    pub recycle: String,
}

/// What `adopt` writes.
#[derive(Clone, Copy, Debug)]
pub struct NewBinding<'a> {
    /// The environment's id.
    pub id: Uuid,
    /// This database.
    pub identity: &'a Identity,
    /// The buckets and their server.
    pub buckets: &'a Buckets,
    /// For what.
    pub purpose: Purpose,
    /// The nonce that the marker gets.
    pub nonce: Uuid,
    /// How often it was advanced: more than whatever this database or the marker has counted.
    pub advances: i64,
}

impl Buckets {
    /// The buckets that are configured; nothing where they are not.
    pub fn configured(storage: &config::Storage) -> Option<Self> {
        let (object, recycle) = storage.buckets.as_ref()?;
        Some(Self {
            service_url: storage.service_url.as_ref().map(ToString::to_string).unwrap_or_default(),
            object: object.as_str().to_owned(),
            recycle: recycle.as_str().to_owned(),
        })
    }
}

/// An operator's pause.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Pause {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub at: OffsetDateTime,
    /// Who paused.
    pub by: String,
    /// From which host.
    pub from: String,
    /// Why.
    pub why: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    system_identifier: Option<String>,
    database_oid: Option<i64>,
    database_name: Option<String>,
    service_url: Option<String>,
    object_bucket: Option<String>,
    recycle_bucket: Option<String>,
    adopted_at: Option<OffsetDateTime>,
    paused_at: Option<OffsetDateTime>,
    paused_by: Option<String>,
    paused_from: Option<String>,
    paused_why: Option<String>,
    nonce: Option<Uuid>,
    pending_nonce: Option<Uuid>,
    advances: Option<i64>,
    advanced_seconds: Option<i64>,
    only_restore: Option<bool>,
}

impl Row {
    fn environment(self) -> Environment {
        let adopted = self.adopted_at.and_then(|at| {
            Some(Adopted {
                identity: Identity {
                    system_identifier: self.system_identifier?,
                    oid: self.database_oid?,
                    name: self.database_name?,
                },
                buckets: Buckets {
                    service_url: self.service_url?,
                    object: self.object_bucket?,
                    recycle: self.recycle_bucket?,
                },
                at,
                purpose: if self.only_restore == Some(true) { Purpose::Restore } else { Purpose::Work },
            })
        });
        let paused = self.paused_at.map(|at| Pause {
            at,
            by: self.paused_by.unwrap_or_default(),
            from: self.paused_from.unwrap_or_default(),
            why: self.paused_why.unwrap_or_default(),
        });
        let nonce = Nonce {
            confirmed: self.nonce,
            pending: self.pending_nonce,
            advances: self.advances.unwrap_or_default(),
            age: self.advanced_seconds,
        };
        Environment { id: self.id, adopted, paused, nonce }
    }
}

impl Db {
    /// What the database says about itself and its binding; works before the own schema is installed.
    pub async fn environment(&self) -> Result<EnvironmentState, DbError> {
        const DOING: &str = "asking the database what it is";
        let (system_identifier, oid, name, is_primary, installed): (String, i64, String, bool, bool) =
            sqlx::query_as(
                "SELECT (SELECT system_identifier::text FROM pg_control_system()),
                        (SELECT oid::bigint FROM pg_database WHERE datname = current_database()),
                        current_database()::text,
                        NOT pg_is_in_recovery(),
                        to_regclass('file_recycler.environment') IS NOT NULL",
            )
            .fetch_one(&self.pool)
            .await
            .attempted(DOING)?;
        let environment = if installed { self.environment_row().await? } else { None };
        let identity = Identity { system_identifier, oid, name };
        Ok(EnvironmentState { environment, identity, is_primary })
    }

    async fn environment_row(&self) -> Result<Option<Environment>, DbError> {
        // By way of JSON what an older version's schema does not have: such a database is read, too.
        let row: Option<Row> = sqlx::query_as(
            "SELECT id, system_identifier, database_oid, database_name, service_url, object_bucket,
                    recycle_bucket, adopted_at, paused_at, paused_by, paused_from, paused_why,
                    (to_jsonb(e) ->> 'nonce')::uuid AS nonce,
                    (to_jsonb(e) ->> 'pending_nonce')::uuid AS pending_nonce,
                    (to_jsonb(e) ->> 'advances')::bigint AS advances,
                    extract(epoch FROM clock_timestamp() - (to_jsonb(e) ->> 'advanced_at')::timestamptz)::bigint
                      AS advanced_seconds,
                    (to_jsonb(e) ->> 'only_restore')::boolean AS only_restore
               FROM file_recycler.environment AS e",
        )
        .fetch_optional(&self.pool)
        .await
        .attempted("reading the environment")?;
        Ok(row.map(Row::environment))
    }

    /// Binds this database to `buckets`; the nonce begins anew.
    pub async fn adopt(&self, binding: &NewBinding<'_>, actor: &Actor) -> Result<(), DbError> {
        const DOING: &str = "adopting the environment";
        let NewBinding { id, identity, buckets, purpose, nonce, advances } = *binding;
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let changed = sqlx::query(
            "INSERT INTO file_recycler.environment AS e (id, system_identifier, database_oid, database_name,
                    service_url, object_bucket, recycle_bucket, adopted_at, adopted_by, adopted_from, nonce,
                    advances, advanced_at, only_restore)
             VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp(), $8, $9, $10, $11, clock_timestamp(), $12)
             ON CONFLICT (only_row) DO UPDATE SET id = $1, system_identifier = $2, database_oid = $3,
                    database_name = $4, service_url = $5, object_bucket = $6, recycle_bucket = $7,
                    adopted_at = clock_timestamp(), adopted_by = $8, adopted_from = $9, nonce = $10,
                    pending_nonce = NULL, advances = $11, advanced_at = clock_timestamp(), only_restore = $12",
        )
        .bind(id)
        .bind(&identity.system_identifier)
        .bind(identity.oid)
        .bind(&identity.name)
        .bind(&buckets.service_url)
        .bind(&buckets.object)
        .bind(&buckets.recycle)
        .bind(&actor.who)
        .bind(&actor.host)
        .bind(nonce)
        .bind(advances)
        .bind(purpose == Purpose::Restore)
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?
        .rows_affected();
        one(changed, DOING)?;
        let detail = format!(
            "environment {id}: {} with {} and {}{}",
            identity.name,
            buckets.object,
            buckets.recycle,
            if purpose == Purpose::Restore { ", for restore alone" } else { "" }
        );
        trail(&mut transaction, actor, "adopt", &detail).await?;
        transaction.commit().await.attempted(DOING)
    }

    /// Pauses the environment durably; a second pause replaces the first one's reason.
    pub async fn pause(&self, why: &str, actor: &Actor) -> Result<(), DbError> {
        const DOING: &str = "pausing the environment";
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let changed = sqlx::query(
            "INSERT INTO file_recycler.environment (paused_at, paused_by, paused_from, paused_why)
             VALUES (clock_timestamp(), $1, $2, $3)
             ON CONFLICT (only_row) DO UPDATE
                SET paused_at = clock_timestamp(), paused_by = $1, paused_from = $2, paused_why = $3",
        )
        .bind(&actor.who)
        .bind(&actor.host)
        .bind(why)
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?
        .rows_affected();
        one(changed, DOING)?;
        trail(&mut transaction, actor, "pause", why).await?;
        transaction.commit().await.attempted(DOING)
    }

    /// Ends the pause; `false` when there was none.
    pub async fn resume(&self, actor: &Actor) -> Result<bool, DbError> {
        const DOING: &str = "ending the pause";
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        let changed = sqlx::query(
            "UPDATE file_recycler.environment
                SET paused_at = NULL, paused_by = NULL, paused_from = NULL, paused_why = NULL
              WHERE paused_at IS NOT NULL",
        )
        .execute(&mut *transaction)
        .await
        .attempted(DOING)?
        .rows_affected();
        if changed == 0 {
            transaction.rollback().await.attempted(DOING)?;
            return Ok(false);
        }
        trail(&mut transaction, actor, "resume", "").await?;
        transaction.commit().await.attempted(DOING)?;
        Ok(true)
    }

    /// Notes a change that an operator made: who, from where, what.
    pub async fn record_change(&self, actor: &Actor, action: &str, detail: &str) -> Result<(), DbError> {
        const DOING: &str = "noting an operator's change";
        let mut transaction = self.pool.begin().await.attempted(DOING)?;
        trail(&mut transaction, actor, action, detail).await?;
        transaction.commit().await.attempted(DOING)
    }
}

pub(super) async fn trail(
    transaction: &mut Transaction<'static, Postgres>,
    actor: &Actor,
    action: &str,
    detail: &str,
) -> Result<(), DbError> {
    const DOING: &str = "noting an operator's change";
    let noted =
        sqlx::query("INSERT INTO file_recycler.trail (who, host, action, detail) VALUES ($1, $2, $3, $4)")
            .bind(&actor.who)
            .bind(&actor.host)
            .bind(action)
            .bind(detail)
            .execute(&mut **transaction)
            .await
            .attempted(DOING)?
            .rows_affected();
    one(noted, DOING)
}

fn one(changed: u64, doing: &str) -> Result<(), DbError> {
    if changed == 1 {
        return Ok(());
    }
    Err(DbError::new(doing, Problem::Broken(format!("{changed} rows were changed in place of one"))))
}
