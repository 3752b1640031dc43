//! Are the triggers in the database those that the catalogue needs?

use std::collections::BTreeMap;
use std::fmt;

use sqlx::FromRow;

use super::generate::Capture;
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::db::schema::{SCHEMA, SchemaState};
use crate::db::sql::TableName;

/// How the capture stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureStatus {
    /// The own schema.
    pub schema: SchemaState,
    /// How many triggers there must be.
    pub expected: usize,
    /// What is not as it must be.
    pub drift: Vec<Drift>,
    /// What an operator may want to look at, although every trigger is right.
    pub remarks: Vec<String>,
    /// What makes the questions to the database slow, with what to do about it.
    pub hints: Vec<String>,
}

/// The state in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureState {
    /// Everything is as it must be.
    Installed,
    /// Some deletions are not captured, or not as they must be.
    Drifted,
    /// There is no capture at all.
    NotInstalled,
}

/// A trigger that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The table.
    pub table: TableName,
    /// The trigger.
    pub trigger: &'static str,
    /// What is wrong.
    pub kind: DriftKind,
}

/// What is wrong with a trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DriftKind {
    /// It is not there.
    Missing,
    /// It does not fire (or only on replicas).
    Disabled,
    /// It fires in ordinary sessions only, and the database or a role is set to others.
    Replica,
    /// Another event or function.
    Trigger,
    /// The function's text or settings.
    Function,
    /// It is on a table that had files and is none of the catalogue's any more.
    Forgotten,
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wrong = match self.kind {
            DriftKind::Missing => "is missing",
            DriftKind::Disabled => "is disabled",
            DriftKind::Replica => {
                "does not fire where session_replication_role is 'replica', as it is set for this database or a role"
            }
            DriftKind::Trigger => "is another trigger than ours",
            DriftKind::Function => "runs a function that is not as this version makes it",
            DriftKind::Forgotten => {
                "is on a table that is none of the application's tables of files or links any more: nothing moves until it is \
                 again, or `file-recycler listener install` takes it off"
            }
        };
        write!(f, "{}: {} {wrong}", self.table, self.trigger)
    }
}

impl CaptureStatus {
    /// Compares what must be with what is.
    pub(super) fn new(
        schema: SchemaState,
        captures: &[Capture],
        existing: &Existing,
        forgotten: Vec<TableName>,
    ) -> Self {
        let mut drift: Vec<Drift> = captures
            .iter()
            .filter_map(|capture| {
                let kind = differs(capture, existing)?;
                Some(Drift { table: capture.table.clone(), trigger: capture.kind.trigger(), kind })
            })
            .collect();
        drift.extend(forgotten.into_iter().map(|table| Drift {
            table,
            trigger: "our trigger",
            kind: DriftKind::Forgotten,
        }));
        Self { schema, expected: captures.len(), drift, remarks: Vec::new(), hints: Vec::new() }
    }

    /// What is wrong, in a line.
    pub fn told(&self) -> String {
        let first: Vec<_> = self.drift.iter().take(3).map(ToString::to_string).collect();
        let more = self.drift.len().saturating_sub(first.len());
        match (first.is_empty(), more) {
            (true, _) => {
                "the own schema is of an older version: run `file-recycler listener install`".to_owned()
            }
            (false, 0) => first.join("; "),
            (false, more) => format!("{} and {more} more", first.join("; ")),
        }
    }

    /// Is all that is wrong a table of which somebody has to say whether it counts?
    pub fn is_for_an_operator(&self) -> bool {
        !self.drift.is_empty() && self.drift.iter().all(|drift| drift.kind == DriftKind::Forgotten)
    }

    /// The state in one word.
    pub fn state(&self) -> CaptureState {
        let all_missing = self.expected > 0
            && self.drift.len() == self.expected
            && self.drift.iter().all(|drift| drift.kind == DriftKind::Missing);
        match self.schema {
            SchemaState::Missing => CaptureState::NotInstalled,
            _ if all_missing => CaptureState::NotInstalled,
            SchemaState::Current if self.drift.is_empty() => CaptureState::Installed,
            SchemaState::Current | SchemaState::Behind => CaptureState::Drifted,
        }
    }
}

/// Our triggers as the database has them.
#[derive(Debug)]
pub(super) struct Existing {
    /// By table's schema, table and name.
    triggers: BTreeMap<(String, String, String), ExistingTrigger>,
    /// Sessions are set to `session_replication_role = replica`, by the server, the database or a role. One
    /// that sets it by itself cannot be seen here.
    replica_sessions: bool,
}

/// A trigger as the database has it.
#[derive(Clone, Debug, FromRow)]
pub(super) struct ExistingTrigger {
    schema: String,
    name: String,
    trigger: String,
    enabled: String,
    catalog_type: i16,
    old_table: Option<String>,
    function_schema: String,
    function: String,
    body: String,
    security_definer: bool,
    configuration: Vec<String>,
}

/// Reads every trigger that has one of our names.
pub(super) async fn existing(db: &Db) -> Result<Existing, DbError> {
    let rows: Vec<ExistingTrigger> = sqlx::query_as(
        r"SELECT n.nspname::text AS schema, c.relname::text AS name, t.tgname::text AS trigger,
                 t.tgenabled::text AS enabled, t.tgtype AS catalog_type, t.tgoldtable::text AS old_table,
                 f.nspname::text AS function_schema, p.proname::text AS function, p.prosrc AS body,
                 p.prosecdef AS security_definer, coalesce(p.proconfig, '{}') AS configuration
            FROM pg_trigger AS t
            JOIN pg_class AS c ON c.oid = t.tgrelid
            JOIN pg_namespace AS n ON n.oid = c.relnamespace
            JOIN pg_proc AS p ON p.oid = t.tgfoid
            JOIN pg_namespace AS f ON f.oid = p.pronamespace
           WHERE NOT t.tgisinternal AND t.tgname LIKE 'file\_recycler\_%'",
    )
    .fetch_all(&db.pool)
    .await
    .attempted("reading the triggers")?;
    let key = |row: &ExistingTrigger| (row.schema.clone(), row.name.clone(), row.trigger.clone());
    Ok(Existing {
        triggers: rows.into_iter().map(|row| (key(&row), row)).collect(),
        replica_sessions: replica_sessions(db).await?,
    })
}

/// Are sessions of this database, of all or of some role, set to fire no ordinary triggers?
async fn replica_sessions(db: &Db) -> Result<bool, DbError> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_settings WHERE name = 'session_replication_role' AND reset_val = 'replica')
             OR EXISTS (SELECT FROM pg_db_role_setting, unnest(setconfig) AS setting
                         WHERE setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
                           AND setting = 'session_replication_role=replica')",
    )
    .fetch_one(&db.pool)
    .await
    .attempted("reading the settings of sessions")
}

/// What is wrong with a trigger; `None`: nothing.
pub(super) fn differs(capture: &Capture, existing: &Existing) -> Option<DriftKind> {
    let TableName { schema, name } = capture.table.clone();
    let Some(found) = existing.triggers.get(&(schema, name, capture.kind.trigger().to_owned())) else {
        return Some(DriftKind::Missing);
    };
    let reads_gone = found.old_table.is_some();
    let must_read_gone = capture.kind.catalog_type() & 32 == 0;
    if !matches!(found.enabled.as_str(), "O" | "A") {
        Some(DriftKind::Disabled)
    } else if found.enabled == "O" && existing.replica_sessions {
        Some(DriftKind::Replica)
    } else if found.catalog_type != capture.kind.catalog_type()
        || reads_gone != must_read_gone
        || found.function_schema != SCHEMA
        || found.function != capture.function
    {
        Some(DriftKind::Trigger)
    } else if found.body != capture.body
        || !found.security_definer
        || found.configuration != capture.configuration()
    {
        Some(DriftKind::Function)
    } else {
        None
    }
}
