//! `listener install`, `uninstall`, `status`: triggers and own schema.

use serde_json::json;

use super::arguments::Listener;
use super::next::Next;
use super::output::{Failed, Finding, operator, print, suggest};
use super::parts;
use crate::config::{Config, Needs};
use crate::db::schema::SchemaState;
use crate::db::triggers::CaptureState;
use crate::db::{Db, Problem};

pub(super) async fn run(config: &Config, command: Listener, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::DATABASE).map_err(Failed::configuration)?;
    let db = parts::database(config)?;
    match command {
        Listener::Install { dry_run: true, schema_only: true } => print_sql(json, &db.schema_sql().await?),
        Listener::Install { dry_run: true, schema_only: false } => {
            let sql = db.install_sql(&config.crm, config.listener.on_capture_error).await?;
            print_sql(json, &sql)
        }
        Listener::Install { dry_run: false, schema_only: true } => install_schema(&db, json).await,
        Listener::Install { dry_run: false, schema_only: false } => install(&db, config, json).await,
        Listener::Uninstall { dry_run: true, purge } => print_sql(json, &db.uninstall_sql(purge).await?),
        Listener::Uninstall { dry_run: false, purge } => uninstall(&db, purge, json).await,
        Listener::Status => status(&db, config, json).await,
    }
}

fn print_sql(json: bool, sql: &[String]) -> Result<Finding, Failed> {
    print(json, &json!({ "applied": false, "sql": sql }), || sql.join("\n"))?;
    Ok(Finding::Healthy)
}

async fn install(db: &Db, config: &Config, json: bool) -> Result<Finding, Failed> {
    let done = db.install(&config.crm, config.listener.on_capture_error, &operator()).await?;
    let tables: Vec<_> = done.tables.iter().map(ToString::to_string).collect();
    let seen = db.see_capture_failures(&operator()).await?;
    let report = json!({
        "applied": true, "tables": tables, "untouched": done.untouched, "capture_failures_seen": seen
    });
    print(json, &report, || {
        let triggers = if tables.is_empty() {
            format!("Everything was in place already: {} triggers.", done.untouched)
        } else {
            format!("Triggers are on: {} ({} were right already).", tables.join(", "), done.untouched)
        };
        match seen {
            0 => triggers,
            seen => format!(
                "{triggers}\nTaken note of: the deletions of {seen} statements could not be captured; their files \
                 stay in the object bucket. `file-recycler audit` finds them, `audit --fix orphans` recycles them."
            ),
        }
    })?;
    Ok(Finding::Healthy)
}

async fn install_schema(db: &Db, json: bool) -> Result<Finding, Failed> {
    let made = db.install_schema(&operator()).await?;
    print(json, &json!({ "applied": true, "schema": made, "tables": [] }), || {
        let schema = if made { "made" } else { "there already" };
        format!(
            "The schema file_recycler is {schema}. No table of the application's was touched, and no trigger was put on \
             one: nothing is captured by this."
        )
    })?;
    Ok(Finding::Healthy)
}

async fn uninstall(db: &Db, purge: bool, json: bool) -> Result<Finding, Failed> {
    db.uninstall(purge, &operator()).await.map_err(|error| match error.problem() {
        // Rows wait in the outbox: whoever works takes them out.
        Problem::NotReady(_) if purge => Failed::from(error).then(Next::Run),
        _ => Failed::from(error),
    })?;
    print(json, &json!({ "applied": true, "purged": purge }), || {
        let rest =
            if purge { "The schema file_recycler is gone, too." } else { "The schema file_recycler stays." };
        format!("Triggers and functions are removed. {rest}")
    })?;
    Ok(Finding::Healthy)
}

async fn status(db: &Db, config: &Config, json: bool) -> Result<Finding, Failed> {
    let status = db.capture_status(&config.crm, config.listener.on_capture_error).await?;
    let state = match status.state() {
        CaptureState::Installed => "installed",
        CaptureState::Drifted => "drifted",
        CaptureState::NotInstalled => "not installed",
    };
    let failures = if status.schema == SchemaState::Missing { 0 } else { db.capture_failures().await? };
    let drift: Vec<_> = status.drift.iter().map(ToString::to_string).collect();
    let current = status.schema == SchemaState::Current;
    let silent = if current { db.silence().await? } else { None };
    let unseen = if current { db.unseen_capture_failures().await? } else { failures };
    let crm = db.crm_settings(&config.crm).await?;
    let report = json!({
        "state": state, "triggers": status.expected, "drift": drift, "capture_failures": failures,
        "capture_failures_unseen": unseen, "silence": silent, "remarks": status.remarks, "hints": status.hints,
        "crm": crm
    });
    print(json, &report, || {
        let mut lines = vec![format!(
            "{state}: {} triggers expected, {} not as they must be",
            status.expected,
            drift.len()
        )];
        lines.extend(drift.iter().cloned());
        if failures > 0 {
            lines.push(format!(
                "{failures} statements' deletions could not be captured, {unseen} of them since somebody took note"
            ));
        }
        lines.extend(silent.iter().map(ToString::to_string));
        lines.extend(status.remarks.iter().cloned());
        lines.extend(status.hints.iter().map(|hint| format!("hint: {hint}")));
        lines.extend(crm.iter().map(ToString::to_string));
        lines.join("\n")
    })?;
    let installed = status.state() == CaptureState::Installed;
    suggest(json, (!installed).then_some(Next::Install));
    Ok(Finding::healthy_if(installed))
}
