//! The alive check with its catalogue: discovers, asks, and asks again when the tables have changed since.

use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::Mutex;

use super::Db;
pub use super::alive::Checked;
use super::alive::{AliveAnswer, Questions};
use super::catalog::Catalog;
use super::conditions::Conditions;
use super::connections::{SEVERAL_WITHIN, within};
use super::dangling::{DanglingReport, DeletedRecord};
use super::error::{Class, DbError, Problem};
use super::hanging::Record;
use super::held::Held;
use super::ledger::LedgerEntry;
use crate::config::{Crm, DanglingRows, Profile};
use crate::file::{FileId, Named};

/// How often a question is asked again because the tables changed meanwhile.
const TRIES: usize = 4;

/// The catalogue in use, and the checks that rely on it.
#[derive(Debug)]
pub struct Registry {
    db: Db,
    crm: Crm,
    current: RwLock<Option<Arc<Current>>>,
    /// One discovery at a time; whoever waited takes what the other found.
    discovering: Mutex<()>,
}

#[derive(Debug)]
struct Current {
    catalog: Arc<Catalog>,
    questions: Questions,
}

/// A question that is asked until the tables fit the catalogue.
trait Question {
    type Answer;
    const DOING: &'static str;

    fn ask(
        &self,
        db: &Db,
        questions: &Questions,
    ) -> impl Future<Output = Result<(Conditions, Self::Answer), DbError>> + Send;
}

struct Alive<'a>(&'a [Named]);
struct Note<'a>(&'a [LedgerEntry]);
struct Hanging<'a>(&'a [Record]);

impl Question for Alive<'_> {
    type Answer = Checked;
    const DOING: &'static str = "asking whether files are alive";

    async fn ask(&self, db: &Db, questions: &Questions) -> Result<(Conditions, Checked), DbError> {
        db.check(questions, self.0).await.map(checked)
    }
}

impl Question for Note<'_> {
    type Answer = Checked;
    const DOING: &'static str = "writing the ledger";

    async fn ask(&self, db: &Db, questions: &Questions) -> Result<(Conditions, Checked), DbError> {
        db.note(questions, self.0).await.map(checked)
    }
}

impl Question for Hanging<'_> {
    type Answer = Vec<bool>;
    const DOING: &'static str = "asking what hangs on deleted records";

    async fn ask(&self, db: &Db, questions: &Questions) -> Result<(Conditions, Vec<bool>), DbError> {
        db.hanging(questions, self.0).await
    }
}

fn checked(answer: AliveAnswer) -> (Conditions, Checked) {
    let AliveAnswer { checked, conditions } = answer;
    (conditions, checked)
}

impl Registry {
    /// Nothing is discovered yet.
    pub fn new(db: Db, crm: Crm) -> Self {
        Self { db, crm, current: RwLock::new(None), discovering: Mutex::new(()) }
    }

    /// What kind of application's database this is.
    pub fn profile(&self) -> &Profile {
        &self.crm.profile
    }

    /// The catalogue in use; discovered now, if there is none.
    pub async fn catalog(&self) -> Result<Arc<Catalog>, DbError> {
        Ok(Arc::clone(&self.current().await?.catalog))
    }

    /// Discovers again.
    pub async fn refresh(&self) -> Result<Arc<Catalog>, DbError> {
        let known = self.known();
        Ok(Arc::clone(&self.discover(known.as_ref()).await?.catalog))
    }

    /// Which of these files are still named? At most [`super::alive::MAX_IDS`] at a time.
    pub async fn liveness(&self, files: &[Named]) -> Result<Checked, DbError> {
        self.settled(Alive(files)).await
    }

    /// Writes the ledger and asks once more for the same files, in one statement.
    pub async fn note(&self, entries: &[LedgerEntry]) -> Result<Checked, DbError> {
        self.settled(Note(entries)).await
    }

    /// For each of these deleted records: does a row or a link still hang on it?
    pub async fn hanging(&self, records: &[Record]) -> Result<Vec<bool>, DbError> {
        self.settled(Hanging(records)).await
    }

    /// Deletes one page of what hangs on a deleted record, by `crm.dangling_rows`; ask again while there is
    /// more.
    pub async fn clear_dangling(&self, record: DeletedRecord<'_>) -> Result<DanglingReport, DbError> {
        let may_delete = record.may_delete && self.crm.dangling_rows == DanglingRows::Delete;
        let record = DeletedRecord { may_delete, ..record };
        let current = self.current().await?;
        match self.dangling(&current.catalog, record).await {
            // Nothing was deleted; by the tables that there are now it may be.
            Err(error) if matches!(error.problem(), Problem::Unsettled) => {
                let fresh = self.discover(Some(&current)).await?;
                self.dangling(&fresh.catalog, record).await
            }
            done => done,
        }
    }

    async fn dangling(
        &self,
        catalog: &Catalog,
        record: DeletedRecord<'_>,
    ) -> Result<DanglingReport, DbError> {
        let doing = "clearing what hangs on a deleted record";
        within(SEVERAL_WITHIN, doing, self.db.dangling(catalog, record)).await
    }

    /// The remembered records (see [`super::held`]) of which a row of these files is left.
    pub async fn held(&self, files: &[FileId]) -> Result<Vec<Held>, DbError> {
        let catalog = self.catalog().await?;
        self.db.held(&catalog, files).await
    }

    /// Asks until the tables looked the same to the question as to the discovery before it.
    async fn settled<Q: Question>(&self, question: Q) -> Result<Q::Answer, DbError> {
        let mut current = self.current().await?;
        for _ in 0..TRIES {
            match question.ask(&self.db, &current.questions).await {
                Ok((conditions, answer)) => {
                    if conditions.fit(&current.catalog, Q::DOING)? {
                        return Ok(answer);
                    }
                }
                // A table that was dropped since; with a new catalogue it is not asked any more.
                Err(error) if error.class() == Some(Class::Missing) => {
                    let fresh = self.discover(Some(&current)).await?;
                    if fresh.catalog.fingerprint == current.catalog.fingerprint {
                        return Err(error);
                    }
                    current = fresh;
                    continue;
                }
                Err(error) => return Err(error),
            }
            current = self.discover(Some(&current)).await?;
        }
        Err(DbError::new(Q::DOING, Problem::Unsettled))
    }

    async fn current(&self) -> Result<Arc<Current>, DbError> {
        match self.known() {
            Some(current) => Ok(current),
            None => self.discover(None).await,
        }
    }

    fn known(&self) -> Option<Arc<Current>> {
        // The lock guards one pointer; whoever panicked while holding it left it whole.
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Discovers, unless another has done so since `old` was in use.
    async fn discover(&self, old: Option<&Arc<Current>>) -> Result<Arc<Current>, DbError> {
        let _one_at_a_time = self.discovering.lock().await;
        if let Some(known) = self.known()
            && old.is_none_or(|old| !Arc::ptr_eq(old, &known))
        {
            return Ok(known);
        }
        let catalog = Arc::new(self.db.discover(&self.crm).await?);
        let current = Arc::new(Current { questions: Questions::new(&catalog), catalog });
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&current));
        Ok(current)
    }
}
