//! The product's own engine, driven as the worker drives it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use file_recycler::clock::Clock;
use file_recycler::config::{Mode, Recycling, Storage as Settings};
use file_recycler::file::{FileId, FileRef, Named, ObjectKey};
use file_recycler::outcome::{Failure, Liveness, Outcome};
use file_recycler::recycle::{EventContext, Job, LedgerEntry, Move, Recycler, Registry};
use file_recycler::retry::{self, Pauses, WITHIN_A_DELIVERY};
use file_recycler::storage::Storage;
use futures_util::stream::{FuturesOrdered, StreamExt as _};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Done, Fault, Listed};

/// Files of one message: a composed event of a record or a few.
const FILES_PER_MESSAGE: usize = 20;
/// Places for files in flight, for each request that may be in flight: as `service/` gives the worker.
const FILES_PER_REQUEST: usize = 24;

/// A registry without a database: every file is dead, nothing is noted.
struct AllDead;

impl Registry for AllDead {
    async fn check(&self, files: Vec<Named>) -> Result<Vec<Liveness>, Failure> {
        Ok(vec![Liveness::Dead; files.len()])
    }

    async fn note(&self, entries: Vec<LedgerEntry>) -> Result<Vec<Liveness>, Failure> {
        Ok(vec![Liveness::Dead; entries.len()])
    }

    async fn confirm_environment(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn doubt_key(&self, _file: &FileRef) -> Result<(), Failure> {
        Ok(())
    }
}

struct Worker {
    recycler: Recycler<AllDead>,
    places: Arc<Semaphore>,
}

pub(crate) async fn run(settings: &Settings, concurrency: usize, listed: Vec<Listed>) -> Result<Done, Fault> {
    let requests = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&requests);
    let observe = Arc::new(move |_, _| {
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let recycling = Recycling { grace: Duration::ZERO, mode: Mode::Move, brake: 0, concurrency };
    let storage = Storage::connect(settings, &recycling, observe).await?;
    let server = storage.probe().await?;
    let mut done = Done { requests_before: requests.load(Ordering::Relaxed), ..Done::default() };
    let started = Instant::now();
    let meter = Arc::new(|_| ());
    let worker = Arc::new(Worker {
        recycler: Recycler::new(storage, server, AllDead, Mode::Move, Clock::system(), meter),
        places: Arc::new(Semaphore::new(concurrency * FILES_PER_REQUEST)),
    });
    let mut messages = JoinSet::new();
    let mut listed = listed.into_iter().peekable();
    while listed.peek().is_some() {
        let jobs = listed.by_ref().take(FILES_PER_MESSAGE).map(job).collect::<Result<Vec<_>, _>>()?;
        messages.spawn(Arc::clone(&worker).message(jobs));
    }
    while let Some(ends) = messages.join_next().await {
        for end in ends? {
            match end {
                Ok(Outcome::Moved) => done.moved += 1,
                Ok(other) => done.errors.push(format!("a file is {other}")),
                Err(failure) => done.errors.push(failure.to_string()),
            }
        }
    }
    done.took = started.elapsed();
    Ok(done)
}

fn job(listed: Listed) -> Result<Job, Fault> {
    let key = ObjectKey::try_from(listed.key.as_str())?;
    let file_id = FileId::try_from(listed.key)?;
    let file = FileRef { file_id, schema: None, size: Some(listed.size), key: None };
    let event = EventContext { id: "bench".to_owned(), record: None, deleted_at: None };
    Ok(Job { file, key, event })
}

impl Worker {
    /// As `worker/message.rs` does it: a file takes its place before anything is made for it.
    async fn message(self: Arc<Self>, jobs: Vec<Job>) -> Vec<Result<Outcome, Failure>> {
        let mut ends = Vec::with_capacity(jobs.len());
        let mut moving = FuturesOrdered::new();
        for job in jobs {
            let place = Arc::clone(&self.places).acquire_owned();
            tokio::pin!(place);
            let place = loop {
                tokio::select! {
                    place = &mut place => break place,
                    Some(end) = moving.next(), if !moving.is_empty() => ends.push(end),
                }
            };
            let recycler = &self.recycler;
            moving.push_back(async move {
                let _place = place;
                let one = Move::from(job);
                retry::retry(Pauses::system(WITHIN_A_DELIVERY), || recycler.attempt(&one)).await
            });
        }
        while let Some(end) = moving.next().await {
            ends.push(end);
        }
        ends
    }
}
