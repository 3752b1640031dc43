//! One file's content is removed for good, from both buckets with all its versions, and what we remember of its name with
//! it. A living file, a protected one, and one on its way are refused.
//!
//! The order is what a crash leaves in a good state: noted first with everything that is there, then the object bucket,
//! so that nobody can copy from it any more, then the recycle bucket, then a look that finds nothing, then the rest of
//! the notes. Whatever an erasure dies after, the next one of the same file finishes it.

mod keys;
mod memory;
mod receipt;
mod verdict;

use tokio::try_join;
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, Profile};
use crate::db::environment::Buckets;
use crate::db::erasure::{Begun, Erasure, Images};
use crate::db::ledger::ERASED;
use crate::db::registry::{Checked, Registry};
use crate::db::{Actor, Db};
use crate::failpoint;
use crate::file::{FileId, Named, ObjectKey};
use crate::key_template::KeyTemplate;
use crate::outcome::{Advice, Failure, Liveness};
use crate::recycle::decision::may_be_read_as_another;
use crate::storage::{Capabilities, Side, Storage, StorageError, UnfinishedCopy};

use keys::Keys;
use verdict::{Facts, Past, refused, to_do};

pub use receipt::{BucketNames, Earlier, Ended, Receipt, VersionReceipt, Versions};

/// How often what appears under the key meanwhile is removed as well.
const ROUNDS: u32 = 3;
/// Rows that are named at most.
const NAMED: usize = 5;

/// What an operator asks for.
#[derive(Clone, Debug)]
pub struct Order<'a> {
    /// The file.
    pub file: &'a FileId,
    /// Its key, where its id is not enough.
    pub key: Option<&'a ObjectKey>,
    /// Why.
    pub why: &'a str,
    /// Who, from where.
    pub actor: &'a Actor,
    /// Do it, or say what would be done?
    pub apply: bool,
}

/// Erases files of one environment.
pub struct Eraser {
    db: Db,
    storage: Storage,
    registry: Registry,
    template: KeyTemplate,
    profile: Profile,
    buckets: Buckets,
    clock: Clock,
}

/// What was found of one file under one key.
struct Look {
    named: Named,
    /// The database's answer, by which the next one is measured.
    checked: Checked,
    facts: Facts,
    copies: Vec<UnfinishedCopy>,
    earlier: Vec<Begun>,
    images: Images,
    warnings: Vec<String>,
}

impl Eraser {
    /// Nothing is asked yet.
    pub fn new(config: &Config, db: Db, storage: Storage, buckets: Buckets) -> Self {
        Self {
            registry: Registry::new(db.clone(), config.crm.clone()),
            db,
            storage,
            template: config.storage.key_template.clone(),
            profile: config.crm.profile.clone(),
            buckets,
            clock: Clock::system(),
        }
    }

    /// Erases a file, or says what would be done: a receipt for each key under which there is something of it, and one
    /// where there is nothing. The caller has asked the guard.
    pub async fn erase(&self, order: &Order<'_>) -> Vec<Receipt> {
        match self.keys_of(order).await {
            Ok(Keys::These(keys)) => self.erase_all(order, keys).await,
            Ok(Keys::Unknown) => {
                vec![Receipt { message: Some(self.unknown()), ..self.receipt(order, None, Ended::NotFound) }]
            }
            Ok(Keys::OneOf(keys)) => vec![Receipt {
                message: Some(format!(
                    "several files have this id; --key says which one is meant: {}",
                    keys.join(", ")
                )),
                keys,
                ..self.receipt(order, None, Ended::Refused)
            }],
            Ok(Keys::NotAmong(keys)) => vec![Receipt {
                message: Some(format!("no file with this id has that key; known are: {}", keys.join(", "))),
                keys,
                ..self.receipt(order, order.key, Ended::Refused)
            }],
            Err(failure) => vec![self.failed(order, order.key, failure)],
        }
    }

    fn unknown(&self) -> String {
        match self.profile {
            Profile::Creatio => "the key template gives no key for it".to_owned(),
            Profile::Mapping(_) | Profile::Events => {
                "neither the ledger nor a row knows a key of it; --key names one".to_owned()
            }
        }
    }

    /// Of many keys that a file may have, those without anything are passed over.
    async fn erase_all(&self, order: &Order<'_>, keys: Vec<ObjectKey>) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for key in &keys {
            let receipt = match self.erase_one(order, key).await {
                Ok(receipt) => receipt,
                Err(failure) => self.failed(order, Some(key), failure),
            };
            receipts.push(receipt);
        }
        if receipts.iter().any(|receipt| receipt.result != Ended::NotFound) {
            receipts.retain(|receipt| receipt.result != Ended::NotFound);
        } else {
            receipts.truncate(1);
        }
        receipts
    }

    async fn erase_one(&self, order: &Order<'_>, key: &ObjectKey) -> Result<Receipt, Failure> {
        let look = self.look(order.file, key).await?;
        let mut receipt = self.receipt(order, Some(key), to_do(&look.facts));
        receipt.environment = look.checked.environment;
        receipt.versions = Versions::of(&look.facts.object, &look.facts.recycle);
        receipt.unfinished_copies = look.facts.unfinished_copies;
        receipt.images = look.facts.images;
        receipt.earlier = look.earlier.iter().map(Earlier::from).collect();
        receipt.named_by.clone_from(&look.facts.named_by);
        receipt.warnings.clone_from(&look.warnings);
        if let Some(why) = refused(&look.facts, self.clock.now()) {
            return Ok(Receipt { result: Ended::Refused, message: Some(why), ..receipt });
        }
        if order.apply && receipt.result == Ended::WouldErase {
            return self.carry_out(order, look, receipt).await;
        }
        receipt.message = match receipt.result {
            Ended::NotFound => Some("there is nothing of it in either bucket, and no note of it".to_owned()),
            _ => None,
        };
        Ok(receipt)
    }

    /// From here on something may be removed: an error is told in the receipt, which says what was.
    async fn carry_out(
        &self,
        order: &Order<'_>,
        mut look: Look,
        mut receipt: Receipt,
    ) -> Result<Receipt, Failure> {
        let id = Uuid::new_v4();
        let key = look.named.key.clone();
        let erasure = Erasure { id, file: order.file, key: &key, why: order.why, actor: order.actor };
        // What those that were cut off had found is gone by now, or is found again.
        for begun in look.earlier.iter().filter(|begun| begun.is_unfinished()) {
            if let Ok(planned) = serde_json::from_value(begun.planned.0.clone()) {
                receipt.versions.merge(planned);
            }
        }
        self.db.begin_erasure(&erasure, &serde_json::json!(receipt.versions)).await?;
        receipt.erasure = Some(id);
        failpoint::reach("erase::begun");
        let ended = self.remove(&mut look, &mut receipt).await;
        receipt.versions.gone_but(&look.facts.object, &look.facts.recycle);
        let ended = match ended {
            Ok(None) => self.finish(&erasure, &look, &mut receipt).await.map(|()| None),
            other => other,
        };
        (receipt.result, receipt.message) = match ended {
            Ok(None) => (Ended::Erased, None),
            Ok(Some(why)) => (Ended::Refused, Some(why)),
            Err(failure) => (Ended::Failed, Some(failure.error)),
        };
        receipt.at = self.clock.now();
        self.note_the_end(&receipt, id).await;
        Ok(receipt)
    }

    /// Until nothing is left: the reason of a refusal, where that came up meanwhile.
    async fn remove(&self, look: &mut Look, receipt: &mut Receipt) -> Result<Option<String>, Failure> {
        for _ in 0..ROUNDS {
            self.check_again(look).await?;
            if let Some(why) = refused(&look.facts, self.clock.now()) {
                receipt.named_by.clone_from(&look.facts.named_by);
                return Ok(Some(why));
            }
            // What cannot be removed stays listed: the look afterwards finds it.
            let mut failed = self.remove_from(Side::Object, &look.named.key, &look.facts).await;
            failpoint::reach("erase::object_bucket");
            // As long as there is something to copy from, a copy may come back.
            if failed.is_none() {
                failed = self.remove_from(Side::Recycle, &look.named.key, &look.facts).await;
                failpoint::reach("erase::recycle_bucket");
            }
            for copy in &look.copies {
                if let Err(error) = self.storage.abort_copy(&look.named.key, copy).await {
                    failed.get_or_insert(error);
                }
            }
            self.look_into_buckets(look).await?;
            if let Some(error) = failed {
                return Err(error.into());
            }
            if look.facts.object.is_empty() && look.facts.recycle.is_empty() && look.copies.is_empty() {
                return Ok(None);
            }
            receipt.versions.merge(Versions::of(&look.facts.object, &look.facts.recycle));
        }
        let why = "somebody keeps writing under its key: find out who, then erase again";
        Err(Failure::new(Advice::Retry, why))
    }

    async fn remove_from(&self, side: Side, key: &ObjectKey, facts: &Facts) -> Option<StorageError> {
        let stored = match side {
            Side::Object => &facts.object,
            Side::Recycle => &facts.recycle,
        };
        self.storage.remove(side, key, stored).await.into_iter().find_map(Result::err)
    }

    async fn finish(&self, erasure: &Erasure<'_>, look: &Look, receipt: &mut Receipt) -> Result<(), Failure> {
        failpoint::reach("erase::proven");
        let buckets = (self.buckets.object.as_str(), self.buckets.recycle.as_str());
        receipt.images =
            self.db.finish_erasure(erasure, &look.images, buckets, receipt.versions.bytes()).await?;
        failpoint::reach("erase::finished");
        Ok(())
    }

    async fn note_the_end(&self, receipt: &Receipt, id: Uuid) {
        let removed = receipt.versions.object.iter().chain(&receipt.versions.recycle).any(|it| it.removed);
        let outcome = match receipt.result {
            Ended::Refused if !removed => "refused",
            // What was removed belongs on the receipt of the next one.
            Ended::Refused | Ended::Failed => "failed",
            _ => return,
        };
        if let Err(error) = self.db.give_up_erasure(id, outcome).await {
            tracing::warn!(%error, "how the erasure ended is not noted");
        }
    }

    /// Asks once more, right before the deletion: also whether this is still the database that was asked first.
    async fn check_again(&self, look: &mut Look) -> Result<(), Failure> {
        if failpoint::removed("protection::erase_alive_again") {
            return Ok(());
        }
        let before = &look.checked;
        let now = self.registry.liveness(std::slice::from_ref(&look.named)).await?;
        if now.environment != before.environment || now.advances < before.advances {
            let why = "the database is not the one that it was: it has been set back, or replaced by a copy";
            return Err(Failure::new(Advice::Hold, why));
        }
        let liveness = now.liveness.first().copied();
        if liveness != Some(Liveness::Dead) {
            look.facts.named_by = self.who_names(&look.named).await?;
        }
        look.facts.liveness = liveness.unwrap_or(Liveness::Alive);
        Ok(())
    }

    async fn look(&self, file: &FileId, key: &ObjectKey) -> Result<Look, Failure> {
        let named = Named { id: file.clone(), key: key.clone() };
        let checked = self.registry.liveness(std::slice::from_ref(&named)).await?;
        let mut liveness = checked.liveness.first().copied().unwrap_or(Liveness::Alive);
        if failpoint::removed("protection::erase_alive_first") {
            liveness = Liveness::Dead;
        }
        let named_by = if liveness == Liveness::Dead { Vec::new() } else { self.who_names(&named).await? };
        let (in_outbox, earlier, (images, warnings)) = try_join!(
            self.db.outbox_holds(file, key),
            self.db.erasures_of(file, key),
            self.images_of(file, key),
        )?;
        let images_kept = self.db.count_images(file, &images).await?;
        let inexact_key = may_be_read_as_another(key) && !self.server().await?.exact_keys;
        let facts = Facts {
            liveness,
            named_by,
            nobody_knows: self.profile == Profile::Events,
            in_outbox,
            inexact_key,
            object: Vec::new(),
            recycle: Vec::new(),
            unfinished_copies: 0,
            images: images_kept,
            past: past(&earlier),
        };
        let mut look = Look { named, checked, facts, copies: Vec::new(), earlier, images, warnings };
        // Under a key that is read inexactly, another file's object would be looked at.
        if !inexact_key {
            self.look_into_buckets(&mut look).await?;
        }
        Ok(look)
    }

    /// Everything that is there, and whether it is protected.
    async fn look_into_buckets(&self, look: &mut Look) -> Result<(), StorageError> {
        let key = &look.named.key;
        let (object, recycle, copies) = try_join!(
            self.storage.stored(Side::Object, key),
            self.storage.stored(Side::Recycle, key),
            self.storage.unfinished_copies(key),
        )?;
        look.facts.unfinished_copies = copies.len();
        (look.facts.object, look.facts.recycle, look.copies) = (object, recycle, copies);
        Ok(())
    }

    /// Only asked for keys that few files have: it writes throw-away objects.
    async fn server(&self) -> Result<Capabilities, StorageError> {
        self.storage.probe().await
    }
}

fn past(earlier: &[Begun]) -> Past {
    if earlier.iter().any(Begun::is_unfinished) {
        Past::CutOff
    } else if earlier.iter().any(|begun| begun.outcome.as_deref() == Some(ERASED)) {
        Past::Erased
    } else {
        Past::None
    }
}
