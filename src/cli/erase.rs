//! `erase`: removes files for good, and gives a receipt.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use indicatif::HumanBytes;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::arguments::Erase;
use super::next::Next;
use super::output::{Failed, Finding, operator, print, suggest};
use super::parts;
use crate::broker::BrokerError;
use crate::config::{Config, Needs, Profile};
use crate::db::schema::SchemaState;
use crate::erase::{Ended, Eraser, Order, Receipt, VersionReceipt};
use crate::file::{FileId, ObjectKey};

#[derive(Serialize)]
struct Report {
    applied: bool,
    /// How many files ended how; every word is there.
    counts: BTreeMap<&'static str, usize>,
    files: Vec<Receipt>,
    warnings: Vec<String>,
}

pub(super) async fn run(config: &Config, erase: Erase, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let files = files(config, &erase)?;
    let key = key(config, &erase)?;
    // Before anything is removed: a receipt that cannot be written would be lost.
    let mut paper = receipt_file(&erase)?;
    let db = parts::database(config)?;
    let storage = parts::storage(config).await?;
    if db.schema_state().await? != SchemaState::Current {
        return Err(Failed::not_installed());
    }
    if let Some(lacking) = db.lacking_to_erase().await? {
        return Err(Failed::new(lacking));
    }
    parts::admitted(config, &db, &storage).await?;
    let actor = operator();
    let eraser = Eraser::new(config, db.clone(), storage.clone(), parts::buckets(config)?);
    let mut report =
        Report { applied: erase.apply, counts: BTreeMap::new(), files: Vec::new(), warnings: Vec::new() };
    report.warnings.extend(waiting(config).await);
    for (number, file) in files.iter().enumerate() {
        if number > 0 && erase.apply {
            parts::admitted(config, &db, &storage).await?;
        }
        let order = Order { file, key: key.as_ref(), why: &erase.why, actor: &actor, apply: erase.apply };
        report.files.extend(Box::pin(eraser.erase(&order)).await);
    }
    report.counts = Ended::ALL.iter().map(|ended| (ended.as_str(), count(&report.files, *ended))).collect();
    if let Some(paper) = &mut paper {
        let mut document = serde_json::to_vec_pretty(&report)?;
        document.push(b'\n');
        let written = paper.write_all(&document).and_then(|()| paper.sync_all());
        if let Err(error) = written {
            // What was done is told all the same.
            print(json, &report, || text(&report))?;
            return Err(Failed::new(format!("the receipt's file cannot be written: {error}")));
        }
    }
    print(json, &report, || text(&report))?;
    let unwell = report.files.iter().find(|receipt| !receipt.result.is_well());
    suggest(json, unwell.map(|receipt| Next::Explain(receipt.file_id.to_string())));
    Ok(Finding::healthy_if(unwell.is_none()))
}

fn count(files: &[Receipt], ended: Ended) -> usize {
    files.iter().filter(|receipt| receipt.result == ended).count()
}

/// The files that are named, each once.
fn files(config: &Config, erase: &Erase) -> Result<Vec<FileId>, Failed> {
    let mut files: Vec<FileId> = Vec::new();
    for text in &erase.files {
        let text = text.trim();
        let wrong = |why: String| Failed::usage(format!("--file: '{}' {why}", text.escape_debug()));
        let file = match config.crm.profile {
            Profile::Creatio => {
                let id = uuid::Uuid::try_parse(text).map_err(|_| wrong("is no UUID".to_owned()))?;
                FileId::from(id)
            }
            Profile::Mapping(_) | Profile::Events => {
                FileId::try_from(text).map_err(|error| wrong(error.to_string()))?
            }
        };
        if !files.contains(&file) {
            files.push(file);
        }
    }
    Ok(files)
}

fn key(config: &Config, erase: &Erase) -> Result<Option<ObjectKey>, Failed> {
    let Some(key) = &erase.key else { return Ok(None) };
    if config.crm.profile == Profile::Creatio {
        return Err(Failed::usage("--key: with crm.profile \"creatio\" a file's id gives its key"));
    }
    if erase.files.len() > 1 {
        return Err(Failed::usage("--key: is for one --file at a time"));
    }
    let key = ObjectKey::try_from(key.as_str()).map_err(|error| Failed::usage(format!("--key {error}")))?;
    Ok(Some(key))
}

fn receipt_file(erase: &Erase) -> Result<Option<File>, Failed> {
    let Some(path) = &erase.receipt else { return Ok(None) };
    let cannot = |why: &dyn std::fmt::Display| Failed::usage(format!("--receipt {}: {why}", path.display()));
    if !erase.apply {
        return if Path::exists(path) { Err(cannot(&"is there already")) } else { Ok(None) };
    }
    OpenOptions::new().write(true).create_new(true).open(path).map(Some).map_err(|error| cannot(&error))
}

/// A message that names an erased file harms nothing, and is not looked for; that there are some is told.
async fn waiting(config: &Config) -> Option<String> {
    config.broker.url.as_ref()?;
    match messages(config).await {
        Ok((0, 0)) => None,
        Ok((work, dead)) => Some(format!(
            "{work} messages are in the work and wait queues and {dead} among the dead letters. Those that name an erased \
             file find nothing any more, and count it as missing"
        )),
        Err(error) => Some(format!("whether messages wait in the queues could not be asked: {error}")),
    }
}

async fn messages(config: &Config) -> Result<(u64, u64), BrokerError> {
    let (broker, topology) = parts::broker(config)?;
    let session = broker.connect().await?;
    let waits = topology.delays.iter().map(|delay| topology.wait(delay));
    let (mut work, mut dead) = (0, 0);
    for queue in waits.chain([topology.work()]) {
        work += session.depth(&queue).await?.map_or(0, |depth| depth.messages);
    }
    dead += session.depth(&topology.dead()).await?.map_or(0, |depth| depth.messages);
    session.close().await;
    Ok((work, dead))
}

fn text(report: &Report) -> String {
    let mut lines = Vec::new();
    for receipt in &report.files {
        lines.extend(of_file(receipt));
    }
    lines.extend(report.warnings.iter().map(|warning| format!("warning      {warning}")));
    let would = count(&report.files, Ended::WouldErase);
    if would > 0 {
        lines.push(
            "Nothing is removed yet: --apply removes it for good, and nobody can bring it back.".to_owned(),
        );
    }
    lines.join("\n")
}

fn of_file(receipt: &Receipt) -> Vec<String> {
    let result = match receipt.result {
        Ended::WouldErase => "would be erased",
        Ended::Erased => "ERASED",
        Ended::AlreadyErased => "was erased before, and nothing of it has come since",
        Ended::NotFound => "NOT FOUND",
        Ended::Refused => "REFUSED",
        Ended::Failed => "FAILED",
    };
    let mut lines = vec![format!("file         {}: {result}", receipt.file_id)];
    lines.extend(receipt.message.iter().map(|message| format!("why          {message}")));
    lines.extend(receipt.key.iter().map(|key| format!("key          {key}")));
    for (bucket, versions) in [
        (&receipt.buckets.object, &receipt.versions.object),
        (&receipt.buckets.recycle, &receipt.versions.recycle),
    ] {
        lines.push(format!("bucket       {bucket}: {}", summary(versions)));
        lines.extend(versions.iter().map(version));
    }
    if receipt.unfinished_copies > 0 {
        lines.push(format!("copies       {} in parts, unfinished", receipt.unfinished_copies));
    }
    if receipt.images > 0 {
        lines.push(format!("images       {} of its row, with its name", receipt.images));
    }
    for earlier in &receipt.earlier {
        let ended = earlier.outcome.as_deref().unwrap_or("cut off");
        let when = moment(earlier.begun_at);
        lines.push(format!("earlier      {} {when} by {}: {ended}", earlier.erasure, earlier.who));
    }
    if let Some(erasure) = receipt.erasure {
        lines.push(format!("erasure      {erasure}"));
        lines.push(format!("by           {} on {} at {}", receipt.who, receipt.host, moment(receipt.at)));
        lines.push(format!("reason       {}", receipt.why));
    }
    lines.extend(receipt.warnings.iter().map(|warning| format!("warning      {warning}")));
    lines
}

fn summary(versions: &[VersionReceipt]) -> String {
    if versions.is_empty() {
        return "nothing".to_owned();
    }
    let markers = versions.iter().filter(|version| version.delete_marker).count();
    let bytes: u64 = versions.iter().filter_map(|version| version.size).sum();
    let markers = if markers == 0 { String::new() } else { format!(", {markers} of them delete markers") };
    format!("{} versions{markers}, {}", versions.len(), HumanBytes(bytes))
}

fn version(version: &VersionReceipt) -> String {
    let what = match version.size {
        Some(size) => format!("{size} bytes"),
        None => "delete marker".to_owned(),
    };
    let when = version.last_modified.map(moment).unwrap_or_default();
    let removed = if version.removed { ", removed" } else { "" };
    format!("             {} {what} {when}{removed}", version.version_id.as_deref().unwrap_or("object"))
}

fn moment(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}
