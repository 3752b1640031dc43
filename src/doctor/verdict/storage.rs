//! The storage, what the keys may do, and what the server can do.

use crate::doctor::check::Finding;
use crate::storage::{Capabilities, StorageError, Support, Tried, UnseenClass};

pub(in crate::doctor) fn storage_away(error: &StorageError) -> Finding {
    Finding::fail(
        error.to_string(),
        "start the server, or correct storage.* (`file-recycler config show --sources` says where each was set): \
         address, region, keys, names of the buckets. Work waits meanwhile, and nothing is lost",
    )
}

pub(in crate::doctor) fn storage_rights(tried: &Tried) -> Finding {
    const ADVICE: &str = "grant what deploy/rights/iam-run.json grants (docs/rights.md)";
    if !tried.lacking.is_empty() {
        return Finding::fail(format!("the keys lack {}: nothing moves", tried.lacking.join("; ")), ADVICE);
    }
    if !tried.lacking_optional.is_empty() {
        return Finding::warn(
            format!("files move, but the keys lack {}", tried.lacking_optional.join("; ")),
            ADVICE,
        );
    }
    Finding::ok("every kind of request was tried on probe objects and allowed")
}

pub(in crate::doctor) fn storage_capabilities(server: &Capabilities) -> Finding {
    let conditions = [
        ("a copy's source", server.copy_source_if_match),
        ("a copy over nothing", server.copy_if_none_match),
        ("a copy over a known one", server.copy_if_match),
        ("a delete", server.delete_if_match),
        ("a write over nothing", server.put_if_none_match),
        ("a write over a known one", server.put_if_match),
    ];
    let lost: Vec<&str> = conditions
        .iter()
        .filter(|(_, support)| *support != Support::Honoured)
        .map(|(condition, _)| *condition)
        .collect();
    let mut told = vec![price(server)];
    if !server.exact_keys {
        told.push("keys with empty or dot segments or backslashes are refused as unsupported: it reads them as others".into());
    }
    if !server.copy_keeps_etag {
        told.push("ETags are no proof of content: checksums, or the content itself, are compared".into());
    }
    if lost.is_empty() {
        told.insert(0, "every condition is honoured".into());
        return Finding::ok(told.join("; "));
    }
    told.insert(0, format!("conditions are not honoured on {}", lost.join(", ")));
    Finding::warn(
        told.join("; "),
        "let nobody else write to these buckets: what is rewritten in the very moment of its move could be lost (README, \
         limit 1); or use a server that honours conditions",
    )
}

/// Which way files take, and what it costs.
fn price(server: &Capabilities) -> String {
    let proven = server.copy_if_none_match == Support::Honoured
        && server.delete_if_match == Support::Honoured
        && server.copy_keeps_etag;
    let versions = server.object_versioned || server.recycle_versioned;
    match (proven && !versions, server.unseen_class) {
        (true, UnseenClass::Right | UnseenClass::AssumedStandard) => {
            "the fast path: 1 request and a share of a delete for a file of up to 5 MiB".to_owned()
        }
        (true, UnseenClass::Lost) => {
            "the fast path with a look at each file's storage class: 2 requests and a share of a delete"
                .to_owned()
        }
        (false, _) if versions && proven => {
            "the careful path, since a bucket keeps versions: some 5 requests for a file".to_owned()
        }
        (false, _) => "the careful path: some 5 requests for a file".to_owned(),
    }
}
