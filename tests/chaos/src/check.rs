//! The invariants, checked by asking the servers and by what the chaos itself noted.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt as _;
use lapin::options::{BasicGetOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde::Serialize;
use uuid::Uuid;

use crate::Result;
use crate::model::{Model, content};
use crate::scene::Scene;

/// Most violations of one kind that are told one by one.
const TOLD: usize = 20;
/// The program's own throw-away objects.
const PROBES: &str = ".file-recycler/";

/// One invariant and what was found.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Invariant {
    /// Its name.
    pub name: &'static str,
    /// On how many objects, rows or queues it was checked.
    pub checked: usize,
    /// How many of them break it.
    pub violated: usize,
    /// The first of them.
    pub examples: Vec<String>,
}

impl Invariant {
    fn new(name: &'static str, checked: usize) -> Self {
        Self { name, checked, ..Self::default() }
    }

    fn violate(&mut self, example: String) {
        self.violated += 1;
        if self.examples.len() < TOLD {
            self.examples.push(example);
        }
    }
}

/// The invariants at an end, and what else is worth knowing.
#[derive(Clone, Debug, Serialize)]
pub struct Findings {
    /// The invariants.
    pub invariants: Vec<Invariant>,
    /// Files with more than one ledger row for one event: harmless, but counted.
    pub ledger_duplicates: i64,
    /// Events that the ledger names.
    pub events: i64,
}

impl Findings {
    /// Is every invariant kept?
    pub fn holds(&self) -> bool {
        self.invariants.iter().all(|invariant| invariant.violated == 0)
    }
}

/// The keys in both buckets. The object bucket comes first: a file on its way has its copy before its source goes, so
/// one that is missing in this list must be in the later one.
async fn places(scene: &Scene) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
    let object = keys(scene, &scene.object_bucket()).await?;
    let recycle = keys(scene, &scene.recycle_bucket()).await?;
    Ok((object, recycle))
}

async fn keys(scene: &Scene, bucket: &str) -> Result<BTreeSet<String>> {
    let mut keys = BTreeSet::new();
    let mut pages = scene.storage.list_objects_v2().bucket(bucket).into_paginator().send();
    while let Some(page) = pages.next().await {
        keys.extend(page?.contents().iter().filter_map(|object| object.key()).map(str::to_owned));
    }
    Ok(keys)
}

/// What must hold at every moment: every file that `before` knew is in a bucket, and those that `after` calls alive
/// are in the object bucket.
///
/// # Errors
/// A server did not answer.
pub async fn meanwhile(scene: &Scene, model: impl Fn() -> Model) -> Result<[Invariant; 2]> {
    let before = model();
    let (object, recycle) = places(scene).await?;
    // Nothing that was dead comes alive again: what is alive now has been so all the time.
    let after = model();
    let mut purged = Invariant::new("nothing is in neither bucket meanwhile", before.files.len());
    let mut moved = Invariant::new("no living file moves meanwhile", 0);
    for id in before.files.keys() {
        let key = id.to_string();
        if !object.contains(&key) && !recycle.contains(&key) {
            purged.violate(key.clone());
        }
        if after.files.get(id).is_some_and(|file| after.is_alive(file)) {
            moved.checked += 1;
            if !object.contains(&key) {
                moved.violate(key);
            }
        }
    }
    Ok([purged, moved])
}

/// Is nothing on its way any more, as far as one can see from outside? Messages in somebody's hands are not seen.
///
/// # Errors
/// A server did not answer.
pub async fn is_quiet(scene: &Scene, model: &Model) -> Result<bool> {
    if outbox(scene).await?.violated + queues(scene).await?.violated > 0 {
        return Ok(false);
    }
    let object = keys(scene, &scene.object_bucket()).await?;
    let waits = |(id, file): (&Uuid, _)| !model.is_alive(file) && object.contains(&id.to_string());
    Ok(!model.files.iter().any(waits))
}

/// What must hold in the end, with every process stopped.
///
/// # Errors
/// A server did not answer.
pub async fn finally(scene: &Scene, model: &Model) -> Result<Findings> {
    let (object, recycle) = places(scene).await?;
    let (alive, dead) = model.counts();
    let mut living = Invariant::new("no living file moved", alive);
    let mut gone = Invariant::new("every dead file is recycled", dead);
    let mut purged = Invariant::new("nothing is purged", model.files.len());
    for (id, file) in &model.files {
        let key = id.to_string();
        let (kept, copied) = (object.contains(&key), recycle.contains(&key));
        let alive = model.is_alive(file);
        if alive && !kept {
            living.violate(format!("{key}: not in the object bucket"));
        }
        if !alive && !copied {
            gone.violate(format!("{key}: not in the recycle bucket"));
        } else if !alive && kept {
            gone.violate(format!("{key}: still in the object bucket"));
        }
        if !kept && !copied {
            purged.violate(format!("{key}: in neither bucket"));
        }
    }
    let contents = contents(scene, model, &object, &recycle).await?;
    let strangers = strangers(model, &object, &recycle);
    let (ledger, ledger_duplicates, events) = ledger(scene, model).await?;
    let rest = [outbox(scene).await?, queues(scene).await?, dead_letters(scene).await?, ledger];
    let invariants = [living, gone, purged, contents, strangers].into_iter().chain(rest).collect();
    Ok(Findings { invariants, ledger_duplicates, events })
}

/// Every object of a file, in whichever bucket, has the bytes that were uploaded.
async fn contents(
    scene: &Scene,
    model: &Model,
    object: &BTreeSet<String>,
    recycle: &BTreeSet<String>,
) -> Result<Invariant> {
    let in_bucket = |bucket: String, keys: &BTreeSet<String>| -> Vec<_> {
        let known = model.files.iter().filter(|(id, _)| keys.contains(&id.to_string()));
        known.map(|(id, file)| (bucket.clone(), *id, file.size)).collect()
    };
    let mut all = in_bucket(scene.object_bucket(), object);
    all.extend(in_bucket(scene.recycle_bucket(), recycle));
    let mut invariant = Invariant::new("every content is what was uploaded", all.len());
    let mut reads = futures_util::stream::iter(all)
        .map(|(bucket, id, size)| async move {
            let got = scene.storage.get_object().bucket(&bucket).key(id.to_string()).send().await?;
            let same = got.body.collect().await?.into_bytes() == content(id, size);
            Ok::<_, crate::Error>((bucket, id, same))
        })
        .buffer_unordered(32);
    while let Some(read) = reads.next().await {
        let (bucket, id, same) = read?;
        if !same {
            invariant.violate(format!("{bucket}/{id}: other content"));
        }
    }
    Ok(invariant)
}

/// Nobody put anything into the buckets that was not uploaded.
fn strangers(model: &Model, object: &BTreeSet<String>, recycle: &BTreeSet<String>) -> Invariant {
    let known: BTreeSet<String> = model.files.keys().map(Uuid::to_string).collect();
    let keys: Vec<_> = object.union(recycle).filter(|key| !key.starts_with(PROBES)).collect();
    let mut invariant = Invariant::new("there are no other objects", keys.len());
    keys.into_iter().filter(|key| !known.contains(*key)).for_each(|key| invariant.violate(key.clone()));
    invariant
}

async fn outbox(scene: &Scene) -> Result<Invariant> {
    let rows: Vec<i64> =
        sqlx::query_scalar("SELECT id FROM file_recycler.outbox ORDER BY id").fetch_all(&scene.crm).await?;
    let mut invariant = Invariant::new("the outbox is empty", 1);
    for row in rows {
        invariant.violate(format!("row {row}"));
    }
    Ok(invariant)
}

async fn queues(scene: &Scene) -> Result<Invariant> {
    let names = scene.queues();
    let mut invariant = Invariant::new("work and wait queues are empty", names.len());
    for name in names {
        let messages = depth(scene, &name).await?;
        (0..messages).for_each(|_| invariant.violate(format!("a message in {name}")));
    }
    Ok(invariant)
}

async fn depth(scene: &Scene, queue: &str) -> Result<u32> {
    let (connection, channel) = scene.channel().await?;
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    let found = channel.queue_declare(queue.into(), options, FieldTable::default()).await?;
    let messages = found.message_count();
    connection.close(200, "done".into()).await?;
    Ok(messages)
}

async fn dead_letters(scene: &Scene) -> Result<Invariant> {
    let name = scene.dead_letters();
    let mut invariant = Invariant::new("the dead-letter queue is empty", 1);
    let messages = depth(scene, &name).await?;
    let (connection, channel) = scene.channel().await?;
    for _ in 0..messages {
        // Not acknowledged: with the connection they go back.
        let got = channel.basic_get(name.as_str().into(), BasicGetOptions::default()).await?;
        let why = got.map(|message| {
            let headers = message.delivery.properties.headers().clone().unwrap_or_default();
            let of_ours = headers.inner().iter().filter(|(key, _)| key.as_str().starts_with("x-fr-"));
            of_ours.map(|(key, value)| format!("{key}: {value:?}")).collect::<Vec<_>>().join(", ")
        });
        invariant.violate(format!("a dead letter: {}", why.unwrap_or_default()));
    }
    connection.close(200, "done".into()).await?;
    Ok(invariant)
}

/// Each dead file is in the ledger; also how many are there twice for one event, and how many events there were.
async fn ledger(scene: &Scene, model: &Model) -> Result<(Invariant, i64, i64)> {
    let rows: Vec<(String, i64)> =
        sqlx::query_as("SELECT file_id, count(*) FROM file_recycler.ledger GROUP BY file_id")
            .fetch_all(&scene.crm)
            .await?;
    let noted: BTreeMap<String, i64> = rows.into_iter().collect();
    let dead = model.files.iter().filter(|(_, file)| !model.is_alive(file));
    let mut invariant = Invariant::new("the ledger has every dead file", 0);
    for (id, _) in dead {
        invariant.checked += 1;
        if !noted.contains_key(&id.to_string()) {
            invariant.violate(format!("{id}: not in the ledger"));
        }
    }
    let (duplicates, events): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM (SELECT FROM file_recycler.ledger GROUP BY file_id, event_id HAVING count(*) > 1) AS twice),
                (SELECT count(DISTINCT event_id) FROM file_recycler.ledger)",
    )
    .fetch_one(&scene.crm)
    .await?;
    Ok((invariant, duplicates, events))
}
