//! A scripted stand-in for the database: says who is alive at which question, and keeps the ledger.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use file_recycler::clock::Clock;
use file_recycler::config::Mode;
use file_recycler::file::{FileId, FileRef, Named, ObjectKey};
use file_recycler::outcome::{Failure, Liveness, Outcome};
use file_recycler::recycle::{Counted, EventContext, Job, LedgerEntry, Recycler, Registry};
use file_recycler::storage::{Capabilities, Storage, Support, UnseenClass};
use futures_util::future::BoxFuture;

/// A question to the database, numbered from 1 for each file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ask {
    /// The alive check: the first is before the copy, the second right before the delete.
    Check(u32),
    /// The ledger's note.
    Note(u32),
    /// Whether the buckets are still this environment's.
    Environment,
}

type Hook = Arc<dyn Fn(Ask) -> BoxFuture<'static, ()> + Send + Sync>;

/// The double; clones share everything.
#[derive(Clone, Default)]
pub struct Script(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    alive: Vec<(FileId, Ask)>,
    failing: Vec<(Ask, Failure)>,
    asked: HashMap<(FileId, bool), u32>,
    hook: Option<Hook>,
    ledger: Vec<LedgerEntry>,
    environment_asked: u32,
    alive_after_move: u32,
}

impl Script {
    /// From this question on, the file is alive.
    pub fn alive_from(&self, key: &str, ask: Ask) {
        self.0.lock().unwrap().alive.push((id(key), ask));
    }

    /// This question fails, once.
    pub fn fails(&self, ask: Ask, failure: Failure) {
        self.0.lock().unwrap().failing.push((ask, failure));
    }

    /// Called before a question is answered.
    pub fn before_answers(&self, hook: impl Fn(Ask) -> BoxFuture<'static, ()> + Send + Sync + 'static) {
        self.0.lock().unwrap().hook = Some(Arc::new(hook));
    }

    /// What was noted, as keys with their outcomes.
    pub fn ledger(&self) -> Vec<(String, Outcome)> {
        let state = self.0.lock().unwrap();
        state.ledger.iter().map(|entry| (entry.key.to_string(), entry.outcome)).collect()
    }

    /// The notes themselves.
    pub fn entries(&self) -> Vec<LedgerEntry> {
        self.0.lock().unwrap().ledger.clone()
    }

    /// How often somebody asked whether the buckets are still this environment's.
    pub fn environment_asked(&self) -> u32 {
        self.0.lock().unwrap().environment_asked
    }

    /// How often a file was counted as alive after its object had moved.
    pub fn alive_after_move(&self) -> u32 {
        self.0.lock().unwrap().alive_after_move
    }

    async fn answer(&self, files: &[FileId], noting: bool) -> Result<Vec<Liveness>, Failure> {
        let asks: Vec<Ask> = {
            let mut state = self.0.lock().unwrap();
            let number = |file: &FileId, state: &mut State| {
                let asked = state.asked.entry((file.clone(), noting)).or_default();
                *asked += 1;
                if noting { Ask::Note(*asked) } else { Ask::Check(*asked) }
            };
            files.iter().map(|file| number(file, &mut state)).collect()
        };
        let hook = self.0.lock().unwrap().hook.clone();
        if let (Some(hook), Some(ask)) = (hook, asks.first()) {
            hook(*ask).await;
        }
        let mut state = self.0.lock().unwrap();
        if let Some(at) = state.failing.iter().position(|(ask, _)| asks.contains(ask)) {
            return Err(state.failing.remove(at).1);
        }
        let alive = |(file, ask): (&FileId, &Ask)| {
            let alive = state.alive.iter().any(|(alive, from)| alive == file && reached(*ask, *from));
            if alive { Liveness::Alive } else { Liveness::Dead }
        };
        Ok(files.iter().zip(&asks).map(alive).collect())
    }
}

/// Has the file come to this question, or past it? A note comes after two checks.
fn reached(ask: Ask, from: Ask) -> bool {
    let order = |ask| match ask {
        Ask::Check(number) if number <= 2 => number,
        Ask::Check(number) => number + 1,
        Ask::Note(number) => 3 * number,
        Ask::Environment => 0,
    };
    order(ask) >= order(from)
}

impl Registry for Script {
    async fn check(&self, files: Vec<Named>) -> Result<Vec<Liveness>, Failure> {
        assert!(files.len() <= 500, "{} files in one check", files.len());
        let files: Vec<FileId> = files.into_iter().map(|file| file.id).collect();
        self.answer(&files, false).await
    }

    async fn note(&self, entries: Vec<LedgerEntry>) -> Result<Vec<Liveness>, Failure> {
        let files: Vec<FileId> = entries.iter().map(|entry| entry.file.file_id.clone()).collect();
        let answers = self.answer(&files, true).await?;
        self.0.lock().unwrap().ledger.extend(entries);
        Ok(answers)
    }

    async fn doubt_key(&self, _file: &FileRef) -> Result<(), Failure> {
        Ok(())
    }

    async fn confirm_environment(&self) -> Result<(), Failure> {
        let failure = {
            let mut state = self.0.lock().unwrap();
            state.environment_asked += 1;
            let at = state.failing.iter().position(|(ask, _)| *ask == Ask::Environment);
            at.map(|at| state.failing.remove(at).1)
        };
        failure.map_or(Ok(()), Err)
    }
}

/// A recycler that asks the script.
pub fn recycler(storage: &Storage, server: Capabilities, script: &Script) -> Recycler<Script> {
    recycler_in(storage, server, script, Mode::Move)
}

/// What a server can do, and the same with less: files are copied without a look, where the server allows it; with
/// a look at the source; and carefully.
pub fn paths(server: Capabilities) -> [Capabilities; 3] {
    [server, Capabilities { unseen_class: UnseenClass::Lost, ..server }, careful(server)]
}

/// The same server, as if it took no notice of a copy's condition.
pub fn careful(server: Capabilities) -> Capabilities {
    Capabilities { copy_if_none_match: Support::Ignored, ..server }
}

pub fn recycler_in(storage: &Storage, server: Capabilities, script: &Script, mode: Mode) -> Recycler<Script> {
    let counts = script.clone();
    let meter = Arc::new(move |counted| {
        if counted == Counted::AliveAfterMove {
            counts.0.lock().unwrap().alive_after_move += 1;
        }
    });
    Recycler::new(storage.clone(), server, script.clone(), mode, Clock::system(), meter)
}

fn id(key: &str) -> FileId {
    // Ids are bounded; keys may be longer.
    FileId::try_from(key.chars().take(200).collect::<String>()).unwrap()
}

/// The job of a file whose id is its key, and whose size is said to be small: it is copied unseen where the
/// server's conditions allow it.
pub fn job(key: &str) -> Job {
    job_of(key, Some(7))
}

/// The same of a file of this size, as the event says.
pub fn job_of(key: &str, size: Option<u64>) -> Job {
    Job {
        file: FileRef { file_id: id(key), schema: None, size, key: None },
        key: ObjectKey::try_from(key).unwrap(),
        event: EventContext { id: "event".to_owned(), record: None, deleted_at: None },
    }
}
