//! Deleting sources: many at once, each only if it is still what was copied.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures_util::future::join_all;

use super::error::Asked;
use super::{Capabilities, ETag, Kind, Operation, Side, Storage, StorageError, Support};
use crate::failpoint;
use crate::file::ObjectKey;

/// Most keys of one DeleteObjects request.
pub const MAX_KEYS: usize = 1_000;
/// Keys that are looked at before they are deleted, where the server does not keep the condition itself.
const LOOKED_AT: usize = 32;

/// What became of an object that was to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// The server says that it is gone; in a versioned bucket, that a delete marker hides it.
    Gone,
    /// It was not there any more.
    WasAbsent,
}

type Answers<'a> = HashMap<&'a str, Result<Deleted, StorageError>>;

impl Storage {
    /// Deletes objects of the object bucket, each only if its content is still the one with this ETag;
    /// answers in the order of `sources`.
    ///
    /// A source that was written again is [`Kind::PreconditionFailed`] and stays. Where the server does
    /// not keep the condition, a HEAD right before the deletion stands in for it.
    pub async fn delete_sources(
        &self,
        sources: &[(ObjectKey, ETag)],
        server: &Capabilities,
    ) -> Vec<Result<Deleted, StorageError>> {
        let mut results = Vec::with_capacity(sources.len());
        for sources in sources.chunks(MAX_KEYS) {
            let mut etags: HashMap<&str, &ETag> = HashMap::new();
            for (key, etag) in sources {
                etags.entry(key.as_str()).or_insert(etag);
            }
            let answers = match server.delete_if_match {
                Support::Honoured => {
                    let conditional = !failpoint::removed("protection::etag_on_delete");
                    self.delete_each(&etags, conditional).await
                }
                Support::Ignored | Support::Refused => self.look_and_delete(&etags).await,
            };
            results.extend(sources.iter().map(|(key, etag)| match etags.get(key.as_str()) {
                Some(asked) if *asked == etag => answer(&answers, key.as_str()),
                // One key under two ETags: at least one of them is of the past.
                _ => Err(StorageError::new(about(key.as_str()), Kind::PreconditionFailed, "two ETags")),
            }));
        }
        results
    }

    /// Removes a copy from the recycle bucket, only if it is still the one with this ETag. For an operator who asked for
    /// it, with the content proven to be in the object bucket: the worker removes nothing there.
    pub async fn remove_copy(
        &self,
        key: &ObjectKey,
        etag: &ETag,
        server: &Capabilities,
    ) -> Result<Deleted, StorageError> {
        let (side, key) = (Side::Recycle, key.as_str());
        let asked = Asked { operation: Operation::DeleteObjects, side, key: Some(key) };
        let conditional = server.delete_if_match == Support::Honoured;
        if !conditional {
            match self.head_raw(side, key).await? {
                None => return Ok(Deleted::WasAbsent),
                Some(head) if head.etag == *etag => {}
                Some(_) => {
                    return Err(StorageError::new(asked, Kind::PreconditionFailed, "by a HEAD right before"));
                }
            }
        }
        let only = HashMap::from([(key, etag)]);
        let answers = self.delete_keys(side, &only, conditional).await.map_err(|error| error.about(key))?;
        let none = || Err(StorageError::new(asked, Kind::BadAnswer, "which says nothing about the key"));
        answers.get(key).cloned().unwrap_or_else(none)
    }

    /// Without the server's help: looks at each object, and deletes at once those that are unchanged, in
    /// small portions, so that little time passes between the look and the delete.
    async fn look_and_delete<'a>(&self, etags: &HashMap<&'a str, &'a ETag>) -> Answers<'a> {
        let mut answers = Answers::new();
        let mut portions = vec![HashMap::new()];
        for (key, etag) in etags {
            if portions.last().is_none_or(|portion: &HashMap<_, _>| portion.len() == LOOKED_AT) {
                portions.push(HashMap::new());
            }
            portions.last_mut().map(|portion| portion.insert(*key, *etag));
        }
        for portion in portions {
            answers.extend(self.look_and_delete_portion(&portion).await);
        }
        answers
    }

    async fn look_and_delete_portion<'a>(&self, etags: &HashMap<&'a str, &'a ETag>) -> Answers<'a> {
        let looks = pairs(etags).map(|(key, etag)| async move {
            let answer = match self.head_raw(Side::Object, key).await {
                Ok(Some(head)) if head.etag == *etag => None,
                Ok(Some(_)) => {
                    let changed = "by a HEAD right before";
                    Some(Err(StorageError::new(about(key), Kind::PreconditionFailed, changed)))
                }
                Ok(None) => Some(Ok(Deleted::WasAbsent)),
                Err(error) => Some(Err(error)),
            };
            (key, answer)
        });
        let mut answers = Answers::new();
        let mut unchanged = HashMap::new();
        for (key, answer) in join_all(looks).await {
            match answer {
                Some(answer) => drop(answers.insert(key, answer)),
                None => drop(unchanged.insert(key, etags[key])),
            }
        }
        if !unchanged.is_empty() {
            answers.extend(self.delete_each(&unchanged, false).await);
        }
        answers
    }

    /// Every key with an answer of its own, also where the server refuses the request as a whole: one bad
    /// key among a thousand must not keep the others.
    async fn delete_each<'a>(&self, etags: &HashMap<&'a str, &'a ETag>, conditional: bool) -> Answers<'a> {
        let error = match self.delete_keys(Side::Object, etags, conditional).await {
            Ok(answers) => return answers,
            Err(error) => error,
        };
        let singles_out = etags.len() > 1 && error.refuses() && self.control().await.is_ok();
        if !singles_out {
            let everybodys = |key: &&'a str| {
                self.bear_witness(about(key), key, Some(&error));
                (*key, Err(error.clone().about(key)))
            };
            return etags.keys().map(everybodys).collect();
        }
        let singles = pairs(etags).map(|(key, etag)| async move {
            let single = HashMap::from([(key, etag)]);
            match self.delete_keys(Side::Object, &single, conditional).await {
                Ok(answers) => (key, answer(&answers, key)),
                Err(error) => (key, Err(error.about(key))),
            }
        });
        join_all(singles).await.into_iter().collect()
    }

    /// One DeleteObjects request; every key has an answer of its own.
    pub(super) async fn delete_keys<'a>(
        &self,
        side: Side,
        etags: &HashMap<&'a str, &'a ETag>,
        conditional: bool,
    ) -> Result<Answers<'a>, StorageError> {
        let asked = Asked { operation: Operation::DeleteObjects, side, key: None };
        let objects = etags.iter().map(|(key, etag)| {
            let etag = conditional.then(|| etag.as_sent().to_owned());
            ObjectIdentifier::builder().key(*key).set_e_tag(etag).build()
        });
        let delete = objects
            .collect::<Result<Vec<_>, _>>()
            .and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(false).build())
            .map_err(|_| StorageError::new(asked, Kind::BadRequest, "cannot be built"))?;
        let began = Instant::now();
        let request = self.client().delete_objects().bucket(self.bucket(side)).delete(delete);
        // Of a request for many keys, what is missing is the bucket.
        let output = self.send(asked, || request.send()).await.map_err(StorageError::of_bucket)?;
        let deleted: HashSet<&str> = output.deleted().iter().filter_map(|object| object.key()).collect();
        let codes = output.errors().iter().filter_map(|error| Some((error.key()?, error.code())));
        let errors: HashMap<&str, &str> = codes.map(|(key, code)| (key, code.unwrap_or_default())).collect();
        let answers: Answers<'a> = etags
            .keys()
            .map(|key| {
                let asked = Asked { operation: Operation::DeleteObjects, side, key: Some(key) };
                let answer = told(asked, deleted.contains(key), errors.get(key).copied());
                self.bear_witness(asked, key, answer.as_ref().err());
                (*key, answer)
            })
            .collect();
        if answers.values().any(|answer| answer.as_ref().is_err_and(|error| error.kind == Kind::SlowDown)) {
            self.slow_down(began);
        }
        Ok(answers)
    }
}

/// What the server's answer says about one key: whether it is among the deleted, and the code of its error.
fn told(asked: Asked<'_>, deleted: bool, error: Option<&str>) -> Result<Deleted, StorageError> {
    if failpoint::removed("protection::errors_per_key") {
        return Ok(Deleted::Gone);
    }
    match error.map(|code| StorageError::for_key(asked, Some(code))) {
        Some(error) if error.kind == Kind::NotFound => Ok(Deleted::WasAbsent),
        Some(error) => Err(error),
        None if deleted => Ok(Deleted::Gone),
        // A success that does not name the key is none.
        None => Err(StorageError::new(asked, Kind::BadAnswer, "which says nothing about the key")),
    }
}

fn about(key: &str) -> Asked<'_> {
    Asked { operation: Operation::DeleteObjects, side: Side::Object, key: Some(key) }
}

/// The pairs themselves, not references into the map: those would tie the futures to a borrow of it.
fn pairs<'a>(etags: &HashMap<&'a str, &'a ETag>) -> impl Iterator<Item = (&'a str, &'a ETag)> {
    etags.iter().map(|(key, etag)| (*key, *etag)).collect::<Vec<_>>().into_iter()
}

fn answer(answers: &Answers<'_>, key: &str) -> Result<Deleted, StorageError> {
    let none = || Err(StorageError::new(about(key), Kind::BadAnswer, "which says nothing about the key"));
    answers.get(key).cloned().unwrap_or_else(none)
}
