//! The capture: installs, checks and removes the triggers that write deletions into the outbox.

mod drift;
mod generate;
mod mapped;
mod patience;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use drift::{CaptureState, CaptureStatus, Drift, DriftKind};
pub use generate::{Capture, captures};
pub(super) use generate::{Kind, function_name};

use super::catalog::{Catalog, fingerprint_expression, forgotten};
use super::error::{Attempted, DbError, Problem};
use super::rights::explained;
use super::schema::{SCHEMA, SchemaState, migrations_as_sql};
use super::sql::{TableName, built, quote_identifier};
use super::{Actor, Db};
use crate::config::{Crm, OnCaptureError};
use patience::Step;

/// For whoever applies our SQL by hand: the CRM's statements would queue behind a lock that is waited for.
const PATIENT: &str = "-- A lock that is not to be had at once is an error, so that the CRM's work never waits for it: run this again.
SET lock_timeout = '200ms';";

/// What an installation did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installed {
    /// Tables whose triggers were made or repaired.
    pub tables: Vec<TableName>,
    /// Triggers that were right already.
    pub untouched: usize,
}

impl Db {
    /// The SQL that brings the own schema to this version; none where it is.
    pub async fn schema_sql(&self) -> Result<Vec<String>, DbError> {
        Ok(match self.schema_state().await? {
            SchemaState::Missing | SchemaState::Behind => migrations_as_sql(),
            SchemaState::Current => Vec::new(),
        })
    }

    /// Brings the own schema to this version, and touches nothing of the application's; `false`: it was.
    pub async fn install_schema(&self, actor: &Actor) -> Result<bool, DbError> {
        let is_new = self.schema_state().await? != SchemaState::Current;
        self.bring_up_to_date().await?;
        if is_new {
            self.record_change(actor, "listener install", "the own schema alone").await?;
        }
        Ok(is_new)
    }

    async fn bring_up_to_date(&self) -> Result<(), DbError> {
        if let Err(error) = self.migrate().await {
            return Err(explained(error, self.lacking_to_install(None)).await);
        }
        self.make_partitions().await
    }

    /// The SQL of an installation, as it stands now, for an administrator to run by hand.
    pub async fn install_sql(&self, crm: &Crm, policy: OnCaptureError) -> Result<Vec<String>, DbError> {
        let catalog = self.discover_all(crm).await?;
        let mut sql = self.schema_sql().await?;
        sql.push(PATIENT.to_owned());
        sql.extend(captures(&catalog, policy).into_iter().map(|capture| capture.sql()));
        sql.extend(self.surplus(&catalog).await?.into_values().flatten());
        Ok(sql)
    }

    /// Installs own schema and triggers, and repairs what differs; a second time it changes nothing. Each
    /// table has a short transaction of its own, so that no lock is held for long. A table that had files and is
    /// none of the catalogue's any more loses its triggers, and counts no longer: whoever says this has decided it.
    pub async fn install(
        &self,
        crm: &Crm,
        policy: OnCaptureError,
        actor: &Actor,
    ) -> Result<Installed, DbError> {
        self.install_by(crm, policy, actor, true).await
    }

    /// As [`Db::install`], but nobody has decided anything: of the tables that are none of the catalogue's only those lose
    /// their triggers whose every row is in the table that has their name now. An update kept them aside.
    pub async fn repair(
        &self,
        crm: &Crm,
        policy: OnCaptureError,
        actor: &Actor,
    ) -> Result<Installed, DbError> {
        self.install_by(crm, policy, actor, false).await
    }

    /// What takes our triggers off each table that had files.
    async fn surplus(&self, catalog: &Catalog) -> Result<BTreeMap<TableName, Vec<String>>, DbError> {
        let own = self.own_triggers().await?;
        let drops = |table: &TableName| {
            own.iter().filter(|(of, _)| of == table).map(|(of, trigger)| drop_trigger(of, trigger)).collect()
        };
        Ok(forgotten(catalog, &own).into_iter().map(|table| (table.clone(), drops(&table))).collect())
    }

    /// `decided`: an operator says that tables which had files count no longer.
    async fn install_by(
        &self,
        crm: &Crm,
        policy: OnCaptureError,
        actor: &Actor,
        decided: bool,
    ) -> Result<Installed, DbError> {
        self.bring_up_to_date().await?;
        let catalog = self.discover_all(crm).await?;
        let captures = captures(&catalog, policy);
        let existing = drift::existing(self).await?;
        let mut done = Installed::default();
        let mut wrong = BTreeMap::<TableName, Vec<String>>::new();
        for capture in &captures {
            if drift::differs(capture, &existing).is_some() {
                wrong.entry(capture.table.clone()).or_default().push(capture.sql());
            } else {
                done.untouched += 1;
            }
        }
        for (table, drops) in self.surplus(&catalog).await? {
            // What cannot be asked is in doubt, and no hindrance to the repair of others.
            if !decided && !self.is_set_aside(&catalog, &table).await.unwrap_or(false) {
                continue;
            }
            wrong.entry(table).or_default().extend(drops);
        }
        let steps = wrong.into_iter().map(|(table, statements)| Step {
            doing: format!("installing triggers on {table}"),
            table: Some(table),
            sql: statements.join("\n").into(),
            alone: false,
            was_patient: false,
        });
        let patient = self.patiently(steps.collect()).await;
        done.tables = patient.tables;
        done.tables.sort();
        if !done.tables.is_empty() {
            let detail = format!("triggers on {} tables", done.tables.len());
            self.record_change(actor, "listener install", &detail).await?;
        }
        match patient.failed {
            None => Ok(done),
            Some(error) => Err(explained(error, self.lacking_to_install(Some(&catalog))).await),
        }
    }

    /// Are the triggers as they must be?
    pub async fn capture_status(&self, crm: &Crm, policy: OnCaptureError) -> Result<CaptureStatus, DbError> {
        let catalog = self.discover_all(crm).await?;
        let mut status = self.capture_status_of(&catalog, policy).await?;
        status.hints.extend(self.missing_indexes(&catalog).await?.iter().map(ToString::to_string));
        Ok(status)
    }

    /// The same for tables that are known.
    pub async fn capture_status_of(
        &self,
        catalog: &Catalog,
        policy: OnCaptureError,
    ) -> Result<CaptureStatus, DbError> {
        let schema = self.schema_state().await?;
        let existing = drift::existing(self).await?;
        let captures = captures(catalog, policy);
        Ok(CaptureStatus {
            remarks: catalog.remarks.clone(),
            hints: catalog.hints(),
            ..CaptureStatus::new(schema, &captures, &existing, self.forgotten_tables(catalog).await?)
        })
    }

    /// A text that changes with everything that [`Db::capture_status_of`] compares in the catalogue: the CRM's
    /// tables, their partitions and heirs, our triggers and functions, the settings of sessions. It reads rows'
    /// transaction numbers and so costs next to nothing.
    pub async fn capture_fingerprint(&self, crm: &Crm) -> Result<String, DbError> {
        let sql: Arc<str> = format!(
            r"SELECT concat_ws(' ', {},
                (SELECT concat_ws(':', count(*), sum(xmin::text::bigint)) FROM pg_trigger
                  WHERE NOT tgisinternal AND tgname LIKE 'file\_recycler\_%'),
                (SELECT concat_ws(':', count(*), sum(xmin::text::bigint)) FROM pg_class
                  WHERE relnamespace = to_regnamespace($1)),
                (SELECT concat_ws(':', count(*), sum(xmin::text::bigint)) FROM pg_proc
                  WHERE pronamespace = to_regnamespace($1)),
                (SELECT concat_ws(':', count(*), sum(xmin::text::bigint)) FROM pg_db_role_setting),
                (SELECT reset_val FROM pg_settings WHERE name = 'session_replication_role'))",
            fingerprint_expression(crm)
        )
        .into();
        sqlx::query_scalar(built(&sql))
            .bind(SCHEMA)
            .fetch_one(&self.pool)
            .await
            .attempted("asking whether the catalogue has changed")
    }

    /// The SQL of a removal, as it stands now.
    pub async fn uninstall_sql(&self, purge: bool) -> Result<Vec<String>, DbError> {
        let mut sql: Vec<String> = Vec::new();
        for (table, trigger) in self.own_triggers().await? {
            sql.push(drop_trigger(&table, &trigger));
        }
        if !sql.is_empty() {
            sql.insert(0, PATIENT.to_owned());
        }
        sql.extend(self.own_functions().await?.iter().map(|name| drop_function(name)));
        if purge {
            sql.push(format!("DROP SCHEMA IF EXISTS {SCHEMA} CASCADE;"));
        }
        Ok(sql)
    }

    /// Removes triggers and functions; the schema with the ledger stays, unless `purge`. Purging is refused
    /// while the outbox has rows.
    pub async fn uninstall(&self, purge: bool, actor: &Actor) -> Result<(), DbError> {
        if purge {
            self.refuse_unless_empty().await?;
        }
        let mut drops = BTreeMap::<TableName, Vec<String>>::new();
        for (table, trigger) in self.own_triggers().await? {
            drops.entry(table.clone()).or_default().push(drop_trigger(&table, &trigger));
        }
        let steps = drops.into_iter().map(|(table, statements)| Step {
            doing: format!("removing the triggers of {table}"),
            table: Some(table),
            sql: statements.join("\n").into(),
            alone: true,
            was_patient: false,
        });
        if let Some(error) = self.patiently(steps.collect()).await.failed {
            return Err(error);
        }
        let steps = self.own_functions().await?.into_iter().map(|name| Step {
            doing: "removing a trigger's function".to_owned(),
            table: None,
            sql: drop_function(&name).into(),
            alone: false,
            was_patient: false,
        });
        if let Some(error) = self.patiently(steps.collect()).await.failed {
            return Err(error);
        }
        if purge {
            return self.purge().await;
        }
        if self.schema_state().await? == SchemaState::Missing {
            return Ok(());
        }
        self.record_change(actor, "listener uninstall", "triggers and functions").await
    }

    /// Drops the own schema, if nothing waits in the outbox at that very moment.
    async fn purge(&self) -> Result<(), DbError> {
        const DOING: &str = "dropping the own schema";
        if self.schema_state().await? == SchemaState::Missing {
            return Ok(());
        }
        let mut tx = self.pool.begin().await.attempted(DOING)?;
        sqlx::query("LOCK TABLE file_recycler.outbox IN ACCESS EXCLUSIVE MODE")
            .execute(&mut *tx)
            .await
            .attempted(DOING)?;
        let waiting: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM file_recycler.outbox)")
            .fetch_one(&mut *tx)
            .await
            .attempted(DOING)?;
        if waiting {
            return Err(outbox_has_rows());
        }
        sqlx::query("DROP SCHEMA file_recycler CASCADE").execute(&mut *tx).await.attempted(DOING)?;
        tx.commit().await.attempted(DOING)
    }

    async fn refuse_unless_empty(&self) -> Result<(), DbError> {
        if self.schema_state().await? != SchemaState::Missing && self.backlog().await?.rows > 0 {
            return Err(outbox_has_rows());
        }
        Ok(())
    }

    /// Every trigger that runs one of our functions, whatever its name.
    pub(super) async fn own_triggers(&self) -> Result<Vec<(TableName, String)>, DbError> {
        let rows: Vec<(String, String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text, t.tgname::text
               FROM pg_trigger AS t
               JOIN pg_proc AS p ON p.oid = t.tgfoid AND p.pronamespace = to_regnamespace($1)
               JOIN pg_class AS c ON c.oid = t.tgrelid
               JOIN pg_namespace AS n ON n.oid = c.relnamespace
              WHERE NOT t.tgisinternal ORDER BY 1, 2, 3",
        )
        .bind(SCHEMA)
        .fetch_all(&self.pool)
        .await
        .attempted("looking for own triggers")?;
        Ok(rows.into_iter().map(|(schema, name, trigger)| (TableName { schema, name }, trigger)).collect())
    }

    async fn own_functions(&self) -> Result<Vec<String>, DbError> {
        sqlx::query_scalar(
            "SELECT proname::text FROM pg_proc
              WHERE pronamespace = to_regnamespace($1) AND prorettype = 'trigger'::regtype ORDER BY 1",
        )
        .bind(SCHEMA)
        .fetch_all(&self.pool)
        .await
        .attempted("looking for own functions")
    }
}

fn drop_trigger(table: &TableName, trigger: &str) -> String {
    format!("DROP TRIGGER IF EXISTS {} ON {};", quote_identifier(trigger), table.quoted())
}

fn drop_function(name: &str) -> String {
    format!("DROP FUNCTION IF EXISTS {SCHEMA}.{}();", quote_identifier(name))
}

fn outbox_has_rows() -> DbError {
    let why =
        "the outbox still has rows: their files would never be recycled; let the listener drain it first";
    DbError::new("dropping the own schema", Problem::NotReady(why.to_owned()))
}
