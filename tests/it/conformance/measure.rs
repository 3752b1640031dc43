//! 200 files at once: all of them move, and every request is counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use file_recycler::config::Mode;
use file_recycler::outcome::Outcome;
use file_recycler::storage::{Capabilities, Observe, Operation, Side, Support};
use futures_util::future::join_all;

use crate::support::registry::{Script, job, recycler};
use crate::support::servers::Server;
use crate::support::storage::connect_observed;

const FILES: u64 = 200;

/// What the probe found, and what the files cost.
#[derive(Clone, Debug)]
pub struct Measured {
    pub capabilities: Capabilities,
    /// Requests for each file, the deletes aside.
    pub per_file: u64,
    /// Deletes were shared by several files.
    pub shared_deletes: bool,
}

pub async fn two_hundred_files(server: Server) -> Measured {
    let world = server.world().await;
    let counts: Arc<Mutex<HashMap<Operation, u64>>> = Arc::default();
    let counter = Arc::clone(&counts);
    let observe: Observe =
        Arc::new(move |operation, _| *counter.lock().unwrap().entry(operation).or_default() += 1);
    let storage = connect_observed(&world.settings(), Mode::Move, observe).await;
    let capabilities = storage.probe().await.unwrap();
    let keys: Vec<String> = (0..FILES).map(|n| format!("file-{n:03}")).collect();
    for portion in keys.chunks(20) {
        join_all(portion.iter().map(|key| world.put(Side::Object, key, key.as_bytes()))).await;
    }

    counts.lock().unwrap().clear();
    let before = embedded_total(&server, &world);
    let script = Script::default();
    let recycler = recycler(&storage, capabilities, &script);
    for (key, outcome) in keys.iter().zip(join_all(keys.iter().map(|key| recycler.recycle(job(key)))).await) {
        assert_eq!(outcome, Ok(Outcome::Moved), "{key}");
    }
    let counts = counts.lock().unwrap().clone();
    let total: u64 = counts.values().sum();
    if let (Some(before), Some(after)) = (before, embedded_total(&server, &world)) {
        assert_eq!(total, after - before, "what we count is not what the server counts");
    }

    assert_eq!(world.keys(Side::Object).await, Vec::<String>::new());
    assert_eq!(world.keys(Side::Recycle).await, keys);
    assert_eq!(script.ledger().len(), keys.len());
    let deletes = counts.get(&Operation::DeleteObjects).copied().unwrap_or(0);
    let shared_deletes = deletes > 0 && deletes < FILES / 2;
    let requests = if shared_deletes { total - deletes } else { total };
    Measured { capabilities, per_file: (requests + FILES / 2) / FILES, shared_deletes }
}

/// What the server itself counts, where it does.
fn embedded_total(server: &Server, world: &crate::support::storage::TestStorage) -> Option<u64> {
    match server {
        Server::Embedded => Some(world.control().counts().total()),
        Server::Foreign(_) => None,
    }
}

impl Measured {
    /// The way that files take on this server, read off the requests: the fast one is a copy without any look.
    pub fn path(&self) -> &'static str {
        if self.per_file == 1 && self.shared_deletes { "fast" } else { "careful" }
    }

    pub fn requests(&self) -> String {
        let share = if self.shared_deletes { " and a share of a delete" } else { "" };
        format!("{}{share}", self.per_file)
    }

    /// The probe's findings in words.
    pub fn probed(&self) -> String {
        let found = &self.capabilities;
        let conditions = [
            ("a copy's source", found.copy_source_if_match),
            ("copy over nothing", found.copy_if_none_match),
            ("copy over a known one", found.copy_if_match),
            ("delete", found.delete_if_match),
            ("write over nothing", found.put_if_none_match),
            ("write over a known one", found.put_if_match),
        ];
        let mut words = Vec::new();
        for (support, verb) in
            [(Support::Honoured, "honours"), (Support::Ignored, "ignores"), (Support::Refused, "refuses")]
        {
            let of_it: Vec<_> =
                conditions.iter().filter(|(_, is)| *is == support).map(|(on, _)| *on).collect();
            match of_it.len() {
                0 => {}
                count if count == conditions.len() => words.push(format!("{verb} every condition")),
                _ => words.push(format!("{verb} conditions on {}", of_it.join(", "))),
            }
        }
        words.push(if found.exact_keys { "keys exact" } else { "keys not exact" }.to_owned());
        words.push(
            if found.copy_keeps_etag { "copies keep ETags" } else { "copies have other ETags" }.to_owned(),
        );
        words.join("; ")
    }
}
