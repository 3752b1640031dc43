//! The configuration, and the CRM as it is set.

use crate::config::{Config, Mode, Needs, Setting, Source};
use crate::db::catalog::Catalog;
use crate::db::features::{ActiveStorage, CrmSettings};
use crate::doctor::check::Finding;

const RIGHT_DATABASE: &str = "look whether database.url, crm.schema and crm.profile are those of your CRM";

/// A configuration that was read.
pub(in crate::doctor) fn configuration(config: &Config) -> Finding {
    if let Err(missing) = config.require(Needs::ALL) {
        return unusable(&missing.to_string());
    }
    if config.recycle.mode == Mode::Observe {
        return Finding::warn(
            "recycle.mode is observe: what would become of files is found out, and nothing moves",
            "set recycle.mode = \"move\" once you have seen enough",
        );
    }
    Finding::ok("nothing is missing")
}

/// One that was not; `problems` are lines, without secrets.
pub(in crate::doctor) fn unusable(problems: &str) -> Finding {
    Finding::fail(
        problems.lines().collect::<Vec<_>>().join("; "),
        "set it as it says; docs/configuration.md lists every key and the ways to set it",
    )
}

/// What credentials were found to allow that file-recycler never needs.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::doctor) struct Powers {
    pub(in crate::doctor) reads_all_queues: bool,
    pub(in crate::doctor) deletes_copies: bool,
}

/// Keys and passwords that are the CRM's own, or allow more than they should.
pub(in crate::doctor) fn credentials(settings: &[Setting], powers: Powers) -> Finding {
    let of_the_crm = |key: &str| {
        settings
            .iter()
            .any(|setting| setting.key == key && matches!(setting.source, Source::ConnectionString { .. }))
    };
    let shared: Vec<&str> = [
        ("database.url", "the database's role (db)"),
        ("broker.url", "the broker's user (messageBroker)"),
        ("storage.access_key", "the storage's keys (s3Connection)"),
    ]
    .into_iter()
    .filter_map(|(key, what)| of_the_crm(key).then_some(what))
    .collect();
    let mut told = Vec::new();
    if !shared.is_empty() {
        told.push(format!(
            "the CRM's own are used: {}. They may do more than is needed; and who changes them for the CRM changes them here",
            shared.join(", ")
        ));
    }
    if powers.deletes_copies {
        told.push("the storage's keys may delete files in the recycle bucket".to_owned());
    }
    if powers.reads_all_queues {
        told.push("the broker's user may read every queue of its virtual host".to_owned());
    }
    if told.is_empty() {
        return Finding::ok(
            "none is taken from the CRM's ConnectionStrings.config, and none was seen to allow more than is needed",
        );
    }
    Finding::warn(
        told.join("; "),
        "give file-recycler its own role, user and keys with the rights of deploy/rights (docs/rights.md)",
    )
}

/// Connections that leave this machine.
pub(in crate::doctor) fn transport(unprotected: &[String]) -> Finding {
    if unprotected.is_empty() {
        return Finding::ok(
            "every connection to another machine is encrypted, and to a server that shows who it is",
        );
    }
    Finding::warn(
        unprotected.join("; "),
        "use sslmode=verify-full, amqps:// and https://, each with its authority's certificate (docs/security.md#tls)",
    )
}

/// `crm.profile = "events"`
pub(in crate::doctor) fn events_profile() -> Finding {
    Finding::warn(
        "crm.profile is events: no database is asked whether a file is still in use, so that promise 3 (only \
         unreferenced files move) rests on whoever sends the events",
        "let only programs send events that know which files are gone (docs/events.md)",
    )
}

/// A table by which the CRM's files are found is not there.
pub(in crate::doctor) fn no_crm(error: &str) -> Finding {
    Finding::fail(format!("this is not the CRM's database, or not its schema: {error}"), RIGHT_DATABASE)
}

/// The tables that were found.
pub(in crate::doctor) fn crm_profile(catalog: &Catalog) -> Finding {
    if let Some(mapped) = catalog.mapped() {
        let hints = catalog.hints();
        let listed = format!("crm.profile is mapping: {} tables of files are listed", mapped.tables.len());
        return if hints.is_empty() {
            Finding::ok(format!("{listed}; rows of others do not count as using an object"))
        } else {
            Finding::warn(format!("{listed}. {}", hints.join("; ")), "make the indexes that are named")
        };
    }
    match catalog.file_tables.len() {
        0 => Finding::fail(
            format!(
                "there is no table of files in the schema '{}': nothing would ever be captured",
                catalog.schema
            ),
            RIGHT_DATABASE,
        ),
        _ if catalog.storages.is_empty() => Finding::fail(
            format!(
                "the CRM has no storage with one of the codes {}: no file would count as being in S3",
                catalog.storage_codes.join(", ")
            ),
            "set crm.storage_codes to the codes in the CRM's table SysFileContentStorage that are in these buckets",
        ),
        files => Finding::ok(format!(
            "{files} tables of files, {} of records, links {}",
            catalog.record_tables.len(),
            if catalog.file_link.is_some() { "as well" } else { "none" }
        )),
    }
}

/// What the CRM itself does with files.
pub(in crate::doctor) fn crm_settings(settings: &CrmSettings) -> Finding {
    let told = settings.told().join("; ");
    let mut advice: Vec<&str> = settings.denied.iter().map(|denied| denied.advice.as_str()).collect();
    match &settings.active_storage {
        ActiveStorage::Other(_) => advice.push(
            "if those files are in the object bucket, add the code to crm.storage_codes; if they are in the database, \
             nothing is to be done",
        ),
        ActiveStorage::Ours(_) | ActiveStorage::Unknown | ActiveStorage::Denied => {}
    }
    if advice.is_empty() { Finding::ok(told) } else { Finding::warn(told, advice.join("; ")) }
}
