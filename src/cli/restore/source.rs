//! Which files: a stream of them, read page by page from the rows, the ledger and the images.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::stream::{self, Stream, TryStreamExt as _};
use time::OffsetDateTime;

use crate::db::Db;
use crate::db::catalog::{Asks, Catalog};
use crate::db::contents::ReadableData;
use crate::db::restore::{LedgerOf, Position, RecycledFile, RestorableRow, RowImage, RowsOf};
use crate::file::{FileId, ObjectKey, SchemaName};
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, DeadReason, Failure};
use crate::restore::{Found, Keyless, RowFacts, Wanted};

/// Ids that are asked for at once.
const AT_ONCE: usize = 500;

/// Which files an operator wants.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// These.
    Files(Vec<FileId>),
    /// Those of this record.
    Record(SchemaName, String),
    /// Those whose deletion was captured at or after this moment.
    DeletedSince(OffsetDateTime),
}

/// What the files are looked for in.
pub(super) struct Source {
    pub(super) db: Db,
    pub(super) catalog: Catalog,
    /// Which rows' own contents may be known.
    pub(super) readable: ReadableData,
    pub(super) template: KeyTemplate,
    /// Look for images of rows that are gone.
    pub(super) with_rows: bool,
    /// Rows of a record whose content is not in S3: passed by, and counted.
    pub(super) elsewhere: Arc<AtomicU64>,
    /// Files of the page that have no key: they are given after the others of it.
    pub(super) keyless: RefCell<Vec<Keyless>>,
}

/// Where the walk is.
enum Step {
    Files(std::vec::IntoIter<FileId>),
    RecordRows(SchemaName, String, Option<RestorableRow>),
    RecordLedger(SchemaName, String, Option<Position>),
    RecordImages(SchemaName, String, Option<(FileId, SchemaName)>),
    Dated(OffsetDateTime, Option<Position>),
    Undated(OffsetDateTime, Option<Position>),
    End,
}

struct Walk {
    source: Source,
    step: Step,
    /// Of one record: what was given already, since rows, ledger and images may all name it.
    given: HashSet<(FileId, ObjectKey)>,
    /// Files without a key that were given already.
    given_keyless: HashSet<FileId>,
}

impl Source {
    /// All of them, a page at a time.
    pub(super) fn stream(self, which: Which) -> impl Stream<Item = Result<Found, Failure>> {
        let step = match which {
            Which::Files(ids) => Step::Files(ids.into_iter()),
            Which::Record(schema, id) => Step::RecordRows(schema, id, None),
            Which::DeletedSince(since) => Step::Dated(since, None),
        };
        let walk = Walk { source: self, step, given: HashSet::new(), given_keyless: HashSet::new() };
        let pages = stream::try_unfold(walk, async |mut walk| {
            let Some(page) = walk.page().await? else { return Ok(None) };
            let keyless = walk.keyless();
            let found = page.into_iter().map(Ok).chain(keyless.into_iter().map(Err));
            Ok::<_, Failure>(Some((stream::iter(found.map(Ok)), walk)))
        });
        pages.try_flatten()
    }
}

impl Walk {
    /// The next page, which may be empty; nothing at the end.
    async fn page(&mut self) -> Result<Option<Vec<Wanted>>, Failure> {
        let source = &self.source;
        let (page, next) = match std::mem::replace(&mut self.step, Step::End) {
            Step::End => return Ok(None),
            Step::Files(mut ids) => {
                let chunk: Vec<FileId> = ids.by_ref().take(AT_ONCE).collect();
                let next = if chunk.is_empty() { Step::End } else { Step::Files(ids) };
                (source.named(chunk).await?, next)
            }
            Step::RecordRows(schema, id, after) => {
                let of = RowsOf::Record(&schema, &id);
                let rows =
                    source.db.restorable_rows(&source.catalog, &source.readable, of, after.as_ref()).await?;
                let wanted = source.of_rows(&rows)?;
                let next = match rows.into_iter().next_back() {
                    Some(last) => Step::RecordRows(schema, id, Some(last)),
                    None => Step::RecordLedger(schema, id, None),
                };
                let mut wanted = self.new_ones(wanted);
                let all = wanted.len();
                wanted.retain(|wanted| wanted.row.is_none_or(|row| row.in_s3));
                self.source.elsewhere.fetch_add((all - wanted.len()) as u64, Ordering::Relaxed);
                (wanted, next)
            }
            Step::RecordLedger(schema, id, from) => {
                let page = source.db.recycled(&LedgerOf::Record(&schema, &id), from.as_ref()).await?;
                let wanted = source.recycled(page.files).await?;
                let next = match page.next {
                    Some(next) => Step::RecordLedger(schema, id, Some(next)),
                    None => Step::RecordImages(schema, id, None),
                };
                (self.new_ones(wanted), next)
            }
            Step::RecordImages(schema, id, after) => {
                let after = after.as_ref().map(|(id, schema)| (id, schema));
                let images = source.db.row_images_of(&source.catalog, (&schema, &id), after).await?;
                let last = images.last().map(|image| (image.id.clone(), image.schema.clone()));
                let wanted = source.of_images(images).await?;
                let next = last.map_or(Step::End, |last| Step::RecordImages(schema, id, Some(last)));
                (self.new_ones(wanted), next)
            }
            Step::Dated(since, from) => {
                let page = source.db.recycled(&LedgerOf::DeletedSince(since), from.as_ref()).await?;
                let next = match page.next {
                    Some(next) => Step::Dated(since, Some(next)),
                    None => Step::Undated(since, None),
                };
                (source.recycled(page.files).await?, next)
            }
            Step::Undated(since, from) => {
                let page = source.db.recycled(&LedgerOf::UndatedSince(since), from.as_ref()).await?;
                let next = page.next.map_or(Step::End, |next| Step::Undated(since, Some(next)));
                (source.recycled(page.files).await?, next)
            }
        };
        self.step = next;
        Ok(Some(page))
    }

    fn keyless(&mut self) -> Vec<Keyless> {
        let mut keyless = self.source.keyless.take();
        keyless.retain(|file| self.given_keyless.insert(file.id.clone()));
        keyless
    }

    fn new_ones(&mut self, mut wanted: Vec<Wanted>) -> Vec<Wanted> {
        wanted.retain(|wanted| self.given.insert((wanted.id.clone(), wanted.key.clone())));
        wanted
    }
}

impl Source {
    /// Files by their ids: each with every key that a row or the ledger has for it.
    async fn named(&self, ids: Vec<FileId>) -> Result<Vec<Wanted>, Failure> {
        let mut wanted = self.of_rows(&self.rows_of(&ids).await?)?;
        let mut others = Vec::new();
        for id in ids {
            let known: HashSet<ObjectKey> =
                wanted.iter().filter(|wanted| wanted.id == id).map(|wanted| wanted.key.clone()).collect();
            // The CRM's ids are of one file: where there is a row, it says all.
            if !known.is_empty() && self.catalog.asks == Asks::Creatio {
                continue;
            }
            let recycled = self.db.recycled(&LedgerOf::File(&id), None).await?.files;
            let none = recycled.is_empty() && known.is_empty();
            others.extend(recycled.into_iter().filter(|file| !known.contains(&file.key)));
            if none {
                others.extend(self.unknown(id).await?);
            }
        }
        wanted.extend(self.recycled(others).await?);
        Ok(wanted)
    }

    /// A file that neither a row nor the ledger names: by its image, else by the key template.
    async fn unknown(&self, id: FileId) -> Result<Option<RecycledFile>, Failure> {
        let images = self.db.row_images(&self.catalog, &[id.to_string()]).await?;
        let image = images.into_iter().next();
        let schema = image.as_ref().map(|image| image.schema.clone());
        let key = match image.and_then(|image| image.key) {
            Some(key) => Some(key),
            None => self.key(&id, schema.as_ref()),
        };
        Ok(key.map(|key| RecycledFile { file_id: id, schema, key }))
    }

    /// Files of the ledger, with what their rows say, and with the images of those that have none.
    async fn recycled(&self, files: Vec<RecycledFile>) -> Result<Vec<Wanted>, Failure> {
        let ids: Vec<FileId> = files.iter().map(|file| file.file_id.clone()).collect();
        let rows = match &self.catalog.asks {
            Asks::Creatio => self.rows_of(&ids).await?,
            Asks::Mapping(_) => {
                let keys: Vec<String> = files.iter().map(|file| file.key.to_string()).collect();
                self.rows(|keys| RowsOf::Keys(keys), &keys).await?
            }
            Asks::Nothing => Vec::new(),
        };
        let by_key = self.catalog.mapped().is_some();
        let mut facts: HashMap<String, RowFacts> = HashMap::new();
        for row in &rows {
            let named = if by_key { row.key.clone() } else { Some(row.id.clone()) };
            let Some(named) = named else { continue };
            let entry = facts.entry(named).or_insert(RowFacts { in_s3: false, size: None, data: 0 });
            merge(entry, row);
        }
        let mut wanted: Vec<Wanted> = files
            .into_iter()
            .map(|file| {
                let named = if by_key { file.key.as_str() } else { file.file_id.as_str() };
                let row = facts.get(named).copied();
                Wanted { schema: file.schema, row, ..Wanted::new(file.file_id, file.key) }
            })
            .collect();
        if self.with_rows {
            self.add_images(&mut wanted).await?;
        }
        Ok(wanted)
    }

    async fn add_images(&self, wanted: &mut [Wanted]) -> Result<(), Failure> {
        let alone = |wanted: &&mut Wanted| wanted.row.is_none();
        let ids: Vec<String> = wanted.iter_mut().filter(alone).map(|wanted| wanted.id.to_string()).collect();
        for ids in ids.chunks(AT_ONCE) {
            for image in self.db.row_images(&self.catalog, ids).await? {
                let its = |wanted: &&mut Wanted| {
                    wanted.row.is_none()
                        && wanted.image.is_none()
                        && wanted.id == image.id
                        && image.key.as_ref().is_none_or(|key| *key == wanted.key)
                };
                if let Some(wanted) = wanted.iter_mut().find(its) {
                    wanted.image = Some(image);
                }
            }
        }
        Ok(())
    }

    /// Files whose rows went with their record.
    async fn of_images(&self, images: Vec<RowImage>) -> Result<Vec<Wanted>, Failure> {
        let files = images.into_iter().filter_map(|image| {
            let key = image.key.or_else(|| self.key(&image.id, Some(&image.schema)))?;
            Some(RecycledFile { file_id: image.id, schema: Some(image.schema), key })
        });
        self.recycled(files.collect()).await
    }

    async fn rows_of(&self, ids: &[FileId]) -> Result<Vec<RestorableRow>, Failure> {
        let ids: Vec<String> = ids
            .iter()
            .filter(|id| self.catalog.asks != Asks::Creatio || id.as_uuid().is_some())
            .map(ToString::to_string)
            .collect();
        self.rows(|ids| RowsOf::Ids(ids), &ids).await
    }

    /// All rows of these names; several may have the same.
    async fn rows(
        &self,
        of: impl for<'a> Fn(&'a [String]) -> RowsOf<'a>,
        names: &[String],
    ) -> Result<Vec<RestorableRow>, Failure> {
        let mut all = Vec::new();
        for names in names.chunks(AT_ONCE) {
            let mut after: Option<RestorableRow> = None;
            loop {
                let rows =
                    self.db.restorable_rows(&self.catalog, &self.readable, of(names), after.as_ref()).await?;
                let Some(last) = rows.last() else { break };
                after = Some(last.clone());
                all.extend(rows);
            }
        }
        Ok(all)
    }

    /// Files by their rows; rows of one file that have the same key are one.
    fn of_rows(&self, rows: &[RestorableRow]) -> Result<Vec<Wanted>, Failure> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let mut places: HashMap<(FileId, ObjectKey), usize> = HashMap::new();
        for row in rows {
            let bad = |what: &str| odd(format!("the row '{}' of {} has {what}", row.id, row.schema));
            let id = FileId::try_from(row.id.clone()).map_err(|error| bad(&format!("an id that {error}")))?;
            let schema = SchemaName::try_from(row.schema.clone())
                .map_err(|error| bad(&format!("a schema that {error}")))?;
            let key = match row.key.clone() {
                Some(key) => {
                    let key = ObjectKey::try_from(key).map_err(|error| format!("the key of its row {error}"));
                    self.or_keyless(key, &id, Some(&schema))
                }
                // A row without an object has no key of its own; any will do to say so.
                None => self.key(&id, Some(&schema)),
            };
            let Some(key) = key else { continue };
            let place = *places.entry((id.clone(), key.clone())).or_insert_with(|| {
                let row = Some(RowFacts { in_s3: false, size: None, data: 0 });
                wanted.push(Wanted { schema: Some(schema), row, ..Wanted::new(id, key) });
                wanted.len() - 1
            });
            if let Some(facts) = wanted[place].row.as_mut() {
                merge(facts, row);
            }
        }
        Ok(wanted)
    }

    /// Its key by the template. One file that has none does not keep the others from coming back.
    fn key(&self, id: &FileId, schema: Option<&SchemaName>) -> Option<ObjectKey> {
        let key = self.template.key(id, schema).map_err(|error| error.to_string());
        self.or_keyless(key, id, schema)
    }

    fn or_keyless(
        &self,
        key: Result<ObjectKey, String>,
        id: &FileId,
        schema: Option<&SchemaName>,
    ) -> Option<ObjectKey> {
        let error = match key {
            Ok(key) => return Some(key),
            Err(error) => error,
        };
        let why = format!("it has no key to look for: {error}");
        self.keyless.borrow_mut().push(Keyless { id: id.clone(), schema: schema.cloned(), why });
        None
    }
}

/// One row whose content is in S3 is enough; its size counts.
fn merge(facts: &mut RowFacts, row: &RestorableRow) {
    if row.in_s3 {
        facts.in_s3 = true;
        facts.size = facts.size.or(row.size.and_then(|size| u64::try_from(size).ok()));
        facts.data = facts.data.max(row.data.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default());
    }
}

fn odd(error: String) -> Failure {
    Failure::new(Advice::GiveUp(DeadReason::Malformed), error)
}
