//! Is `storage.key_template` the right one? A sample of rows tells, where their objects are under it or under another one
//! that is known.

use futures_util::future::join_all;

use crate::db::SampleFile;
use crate::file::ObjectKey;
use crate::key_template::KeyTemplate;
use crate::outcome::Failure;
use crate::storage::{Head, Side, Storage};

/// Looks at the storage at the same time.
const LOOKS: usize = 8;

/// What a sample says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// At least one object of the application's own is where the template says.
    Fits,
    /// Only objects that a migration has put there are, and no other template finds one of the application's.
    Ours,
    /// There is no row in S3 to look for.
    Empty,
    /// No row's object is there, under no known template.
    Nowhere,
    /// Objects are under this one.
    Other(KeyTemplate),
}

/// What an operator is told where objects are under the `right` template.
pub fn wrong_template(template: &KeyTemplate, right: &KeyTemplate) -> String {
    format!(
        "storage.key_template is '{template}', but the objects are under '{right}': set storage.key_template = \"{right}\""
    )
}

/// Looks for the objects of these rows.
pub async fn fit(storage: &Storage, template: &KeyTemplate, rows: &[SampleFile]) -> Result<Fit, Failure> {
    if rows.is_empty() {
        return Ok(Fit::Empty);
    }
    let found = found(storage, template, rows).await?;
    if found == Found::TheApplications {
        return Ok(Fit::Fits);
    }
    // Where columns of the row make the key, no other template can be the right one.
    let rows: Vec<SampleFile> = rows.iter().filter(|file| file.key.is_none()).cloned().collect();
    for other in template.others() {
        if !rows.is_empty() && self::found(storage, &other, &rows).await? == Found::TheApplications {
            return Ok(Fit::Other(other));
        }
    }
    Ok(if found == Found::Ours { Fit::Ours } else { Fit::Nowhere })
}

/// Whose objects are there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    None,
    /// Written by our own migrations alone: they are where this very template said, and prove little.
    Ours,
    TheApplications,
}

async fn found(storage: &Storage, template: &KeyTemplate, rows: &[SampleFile]) -> Result<Found, Failure> {
    let (mut found, mut answered, mut failed) = (Found::None, false, None);
    for portion in rows.chunks(LOOKS) {
        let looks = portion.iter().map(|file| look(storage, file.object_key(template)));
        for look in join_all(looks).await {
            match look {
                Ok(Some(head)) if head.migrated_by().is_none() => return Ok(Found::TheApplications),
                Ok(Some(_)) => (found, answered) = (Found::Ours, true),
                Ok(None) => answered = true,
                // One object that cannot be read says nothing about the others.
                Err(failure) => failed = Some(failure),
            }
        }
    }
    match failed {
        Some(failure) if !answered => Err(failure),
        _ => Ok(found),
    }
}

/// Is there an object? One that the template can give no key to has none.
pub async fn exists<E>(storage: &Storage, key: Result<ObjectKey, E>) -> Result<bool, Failure> {
    Ok(look(storage, key).await?.is_some())
}

async fn look<E>(storage: &Storage, key: Result<ObjectKey, E>) -> Result<Option<Head>, Failure> {
    let Ok(key) = key else { return Ok(None) };
    Ok(storage.head(Side::Object, &key).await?)
}
