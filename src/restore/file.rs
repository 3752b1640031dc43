//! The way of one file: look, decide, copy, and what comes after.

use std::fmt;
use std::time::Duration;

use uuid::Uuid;

use super::decision::{Next, Source, decide, moment};
use super::origin::{Look, row};
use super::{Estimate, FileResult, OldVersions, Restored, Settings, Wanted};
use crate::clock::Clock;
use crate::db::Db;
use crate::db::alive::Questions;
use crate::db::catalog::Catalog;
use crate::db::restore::{Obstacle, RowImage};
use crate::failpoint;
use crate::outcome::{Advice, Failure};
use crate::recycle::decision::may_be_read_as_another;
use crate::retention::Kept;
use crate::retry::{Pauses, Schedule};
use crate::stop::Stop;
use crate::storage::{
    ArchiveAsked, Capabilities, Copied, Head, Kind, MAX_COPY, Origin, Over, Side, Storage, StorageError,
};

/// How often a file is looked at anew because something changed under our hands.
const ROUNDS: usize = 12;
/// Tries of one file.
const TRIES: Schedule = Schedule {
    first: Duration::from_millis(100),
    longest: Duration::from_secs(5),
    count: Some(5),
    total: Some(Duration::from_secs(30)),
};
/// Size of a part where the object's own are not known, in bytes: as the storage cuts it.
const PART_SIZE: u64 = 256 * 1024 * 1024;

/// What bringing files back works with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The buckets.
    pub storage: Storage,
    /// The recycle bucket's name, by which the ledger remembers.
    pub recycle_bucket: String,
    /// What the server can do. In a dry run nothing is probed, and so nothing relied on.
    pub server: Capabilities,
    /// Where old versions may be looked for.
    pub old_versions: OldVersions,
    /// How long the recycle bucket keeps files; asked only with a backup's time.
    pub kept: Kept,
    /// The database.
    pub db: Db,
    /// Its tables.
    pub catalog: Catalog,
    /// The environment that the guard let in.
    pub environment: Uuid,
    /// The clock.
    pub clock: Clock,
    /// Ends it early.
    pub stop: Stop,
}

/// Brings files back.
pub struct Restorer {
    pub(super) parts: Parts,
    pub(super) settings: Settings,
    pub(super) questions: Questions,
}

impl fmt::Debug for Restorer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Restorer").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Restorer {
    /// One with these parts and settings. Whoever makes it has asked the guard.
    pub fn new(parts: Parts, settings: Settings) -> Self {
        Self { questions: Questions::new(&parts.catalog), parts, settings }
    }

    /// The tables that it knows.
    pub fn catalog(&self) -> &Catalog {
        &self.parts.catalog
    }

    /// Brings one file back, or finds out what would become of it. What may pass is tried again for up to half a
    /// minute.
    pub async fn restore(&self, wanted: &Wanted) -> FileResult {
        let mut pauses = Pauses::system(TRIES);
        let mut row_inserted = false;
        loop {
            let failure = match self.attempt(wanted, &mut row_inserted).await {
                Ok(done) => return FileResult { row_inserted, ..done },
                Err(failure) => failure,
            };
            let (may_pass, outage) = match failure.advice {
                Advice::Retry | Advice::Hold => (true, false),
                Advice::SlowDown | Advice::Outage(_) => (true, true),
                Advice::GiveUp(_) => (false, false),
            };
            let pause = pauses.next().filter(|_| may_pass && !self.parts.stop.is_requested());
            let Some(pause) = pause else {
                let ended = ended(wanted, Restored::Failed, Some(failure.error));
                return FileResult { row_inserted, outage, ..ended };
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.parts.stop.requested() => {}
            }
        }
    }

    async fn attempt(&self, wanted: &Wanted, row_inserted: &mut bool) -> Result<FileResult, Failure> {
        if may_be_read_as_another(&wanted.key) && !self.parts.server.exact_keys {
            let why =
                "this storage server reads the key as another one: its object cannot be told from that one's";
            return Ok(ended(wanted, Restored::Failed, Some(why.to_owned())));
        }
        if let Some(done) = self.by_listings(wanted).await? {
            return Ok(done);
        }
        if let Some(refused) = self.row_that_cannot_come_back(wanted).await? {
            return Ok(ended(wanted, Restored::Failed, Some(refused)));
        }
        let mut look = Look::at(self, wanted).await?;
        for _ in 0..ROUNDS {
            let next = decide(&look.facts(self, wanted));
            match next {
                Next::Ask(question) => look.ask(question, self, wanted).await?,
                Next::Copy(source) => match Box::pin(self.copy(wanted, &look, source, row_inserted)).await? {
                    Some(done) => return Ok(done),
                    None => look = Look::at(self, wanted).await?,
                },
                Next::End(result @ (Restored::Expired | Restored::NeverSeen), why) => {
                    if self.confirm_the_miss(wanted).await? {
                        return Ok(ended(wanted, result, why));
                    }
                    look = Look::at(self, wanted).await?;
                }
                Next::End(result, why) => {
                    let size = look.object.as_ref().or(look.copy.as_ref()).map(|head| head.size);
                    let done = ended(wanted, result, why);
                    let done = FileResult { size: size.or(done.size), ..done };
                    match self.afterwards(wanted, done, look.copy.as_ref(), row_inserted).await? {
                        Some(done) => return Ok(done),
                        None => look = Look::at(self, wanted).await?,
                    }
                }
            }
        }
        Err(Failure::new(Advice::Retry, format!("the object '{}' keeps changing", wanted.key)))
    }

    /// "Nowhere" is believed only after both buckets answered, after the miss: some servers say the same of a bucket
    /// that is away. The two looks went out together, and a worker may have moved the object between them.
    async fn confirm_the_miss(&self, wanted: &Wanted) -> Result<bool, Failure> {
        self.parts.storage.check().await?;
        Ok(self.parts.storage.head(Side::Recycle, &wanted.key).await?.is_none())
    }

    /// Copies; nothing where something has changed meanwhile: then it is looked at again.
    async fn copy(
        &self,
        wanted: &Wanted,
        look: &Look,
        source: Source,
        row_inserted: &mut bool,
    ) -> Result<Option<FileResult>, Failure> {
        let storage = &self.parts.storage;
        let (side, version) = match &source {
            Source::Copy => (Side::Recycle, None),
            Source::OlderCopy(version) => (Side::Recycle, Some(version)),
            Source::ObjectThen(version) => (Side::Object, Some(version)),
        };
        let head = match version {
            None => look.copy.clone(),
            Some(version) => storage.head_version(side, &wanted.key, &version.id).await?,
        };
        let Some(head) = head else { return Ok(None) };
        let origin = Origin { side, version: version.map(|version| version.id.as_str()), head: &head };
        if head.archived {
            return self.ask_archive(wanted, &origin).await.map(Some);
        }
        let over = match (&source, &look.object) {
            (Source::ObjectThen(_), Some(object)) => Over::Known(object.etag.clone()),
            (Source::Copy | Source::OlderCopy(_) | Source::ObjectThen(_), _) => Over::Nothing,
        };
        if self.settings.apply && !self.put_back(wanted, &origin, &over).await? {
            return Ok(None);
        }
        let why = version.map(|version| {
            let written = version.last_modified.map_or_else(|| "an unknown time".to_owned(), moment);
            format!("version {} of {written}", version.id)
        });
        let done = FileResult {
            size: Some(head.size),
            estimate: estimate(&head),
            ..ended(wanted, Restored::Restored, why)
        };
        let copy = if side == Side::Recycle { Some(&head) } else { look.copy.as_ref() };
        self.afterwards(wanted, done, copy, row_inserted).await
    }

    /// Is it there now, and proven? `false` where something has changed meanwhile.
    pub(super) async fn put_back(
        &self,
        wanted: &Wanted,
        origin: &Origin<'_>,
        over: &Over,
    ) -> Result<bool, Failure> {
        let storage = &self.parts.storage;
        failpoint::reach("restore::before_copy");
        let Some(copied) = self.copied(wanted, origin, over, true).await? else { return Ok(false) };
        failpoint::reach("restore::after_copy");
        if copied.etag.proves_same_content(&origin.head.etag) {
            return Ok(true);
        }
        // The answer's ETag says nothing here: the server's word for the object that it wrote has to do.
        match storage.head(Side::Object, &wanted.key).await? {
            Some(object) if object.size == origin.head.size => Ok(true),
            Some(_) => {
                let error = format!("the server wrote another size for '{}' than it copied", wanted.key);
                Err(Failure::new(Advice::Retry, error))
            }
            None => Ok(false),
        }
    }

    /// What the server says that it copied; nothing where something has changed meanwhile.
    pub(super) async fn copied(
        &self,
        wanted: &Wanted,
        origin: &Origin<'_>,
        over: &Over,
        stamp: bool,
    ) -> Result<Option<Copied>, Failure> {
        let storage = &self.parts.storage;
        match storage.put_back(&wanted.key, origin, over, stamp, &self.parts.server).await {
            Ok(copied) => Ok(Some(copied)),
            Err(error) if changed(&error) => Ok(None),
            Err(error) => Err(storage.judge(error).await.into()),
        }
    }

    async fn ask_archive(&self, wanted: &Wanted, origin: &Origin<'_>) -> Result<FileResult, Failure> {
        let class = origin.head.attributes.class();
        let archive = self.settings.archive;
        let on_its_way = "it is on its way out of the archive: run this again when it can be read";
        let (why, archive_requests) = if origin.head.restoring {
            (on_its_way.to_owned(), 0)
        } else if self.settings.apply {
            let asked = self
                .parts
                .storage
                .ask_for_archived(
                    origin.side,
                    &wanted.key,
                    origin.version,
                    origin.head,
                    (archive.tier, archive.days),
                )
                .await;
            match asked {
                Ok(ArchiveAsked::Now) => {
                    (format!("it is in {class} and was asked for: run this again when it can be read"), 1)
                }
                Ok(ArchiveAsked::Before) => (on_its_way.to_owned(), 0),
                Err(error) => return Err(self.parts.storage.judge(error).await.into()),
            }
        } else {
            (format!("it is in {class}: --apply asks for it, and it can be brought back hours later"), 1)
        };
        let estimate = Estimate { archive_requests, ..Estimate::default() };
        Ok(FileResult {
            size: Some(origin.head.size),
            estimate,
            ..ended(wanted, Restored::Requested, Some(why))
        })
    }

    /// Why the row may not come back, before anything is touched.
    async fn row_that_cannot_come_back(&self, wanted: &Wanted) -> Result<Option<String>, Failure> {
        let Some(image) = &wanted.image else { return Ok(None) };
        let Parts { db, catalog, environment, .. } = &self.parts;
        let obstacle = db.obstacle(catalog, image, *environment, self.settings.force).await?;
        Ok(obstacle.and_then(why_not))
    }

    /// The object is where it belongs, or would be: now its row, and then its copy. Nothing where the object is away again.
    async fn afterwards(
        &self,
        wanted: &Wanted,
        mut done: FileResult,
        copy: Option<&Head>,
        row_inserted: &mut bool,
    ) -> Result<Option<FileResult>, Failure> {
        if !done.result.is_well() {
            return Ok(Some(done));
        }
        if let Some(image) = &wanted.image {
            match self.bring_row_back(image).await {
                Ok(false) => {}
                Ok(true) => {
                    *row_inserted = true;
                    // A move that began while there was no row may have taken it: from now on the row keeps it.
                    let looked_for = self.settings.apply;
                    if looked_for && self.parts.storage.head(Side::Object, &wanted.key).await?.is_none() {
                        return Ok(None);
                    }
                }
                Err(why) => {
                    done.result = Restored::Failed;
                    done.why = Some(format!("its object is in place, and its row is not: {why}"));
                    return Ok(Some(done));
                }
            }
        }
        if self.settings.remove_copy
            && let Some(copy) = copy
        {
            self.remove_copy(wanted, copy, &mut done).await?;
        }
        Ok(Some(done))
    }

    /// Was it inserted (or would it be)? One that is there already was not.
    async fn bring_row_back(&self, image: &RowImage) -> Result<bool, String> {
        let Parts { db, catalog, environment, .. } = &self.parts;
        if !self.settings.apply {
            return Ok(true);
        }
        failpoint::reach("restore::before_row");
        match db.bring_row_back(catalog, image, *environment, self.settings.force).await {
            Ok(None) => Ok(true),
            Ok(Some(obstacle)) => why_not(obstacle).map_or(Ok(false), Err),
            Err(error) if error.is_denied() => {
                Err(format!("{error}: apply deploy/rights/database-restore.sql"))
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

/// A row that is there already is no reason against it.
fn why_not(obstacle: Obstacle) -> Option<String> {
    match obstacle {
        Obstacle::RowIsThere => None,
        Obstacle::NoRecord => Some(
            "the record that its row belonged to does not exist: bring it back first, or --force the row"
                .to_owned(),
        ),
        Obstacle::OtherEnvironment => {
            Some("the database is not the environment that it was a moment ago".to_owned())
        }
    }
}

pub(super) fn changed(error: &StorageError) -> bool {
    matches!(error.kind, Kind::PreconditionFailed | Kind::ConcurrentRequest | Kind::NotFound)
}

pub(super) fn ended(wanted: &Wanted, result: Restored, why: Option<String>) -> FileResult {
    let schema = wanted.schema.clone().or_else(|| Some(wanted.image.as_ref()?.schema.clone()));
    FileResult {
        file_id: wanted.id.clone(),
        schema,
        key: Some(wanted.key.clone()),
        result,
        size: row(wanted).and_then(|row| row.size),
        why,
        row_inserted: false,
        copy_removed: false,
        estimate: Estimate::default(),
        outage: false,
    }
}

/// Requests that copying this object takes.
pub(super) fn estimate(head: &Head) -> Estimate {
    let own = head.etag.parts().filter(|parts| *parts > 1).map(u64::from);
    if own.is_none() && head.size <= MAX_COPY || head.size == 0 {
        return Estimate { copies: 1, ..Estimate::default() };
    }
    let parts = own.unwrap_or_else(|| head.size.div_ceil(PART_SIZE));
    Estimate { in_parts: 1, parts, ..Estimate::default() }
}
