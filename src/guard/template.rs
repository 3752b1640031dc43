//! Is `storage.key_template` the right one? A sample of rows tells, where their objects are under it or under another one
//! that is known.

use futures_util::future::join_all;

use crate::db::SampleFile;
use crate::file::ObjectKey;
use crate::key_template::KeyTemplate;
use crate::outcome::Failure;
use crate::storage::{Side, Storage};

/// Looks at the storage at the same time.
const LOOKS: usize = 8;

/// What a sample says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fit {
    /// At least one object is where the template says.
    Fits,
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
    if finds_any(storage, template, rows).await? {
        return Ok(Fit::Fits);
    }
    // Where columns of the row make the key, no other template can be the right one.
    let rows: Vec<SampleFile> = rows.iter().filter(|file| file.key.is_none()).cloned().collect();
    for other in template.others() {
        if !rows.is_empty() && finds_any(storage, &other, &rows).await? {
            return Ok(Fit::Other(other));
        }
    }
    Ok(Fit::Nowhere)
}

async fn finds_any(storage: &Storage, template: &KeyTemplate, rows: &[SampleFile]) -> Result<bool, Failure> {
    let (mut answered, mut failed) = (false, None);
    for portion in rows.chunks(LOOKS) {
        let looks = portion.iter().map(|file| exists(storage, file.object_key(template)));
        for look in join_all(looks).await {
            match look {
                Ok(true) => return Ok(true),
                Ok(false) => answered = true,
                // One object that cannot be read says nothing about the others.
                Err(failure) => failed = Some(failure),
            }
        }
    }
    match failed {
        Some(failure) if !answered => Err(failure),
        _ => Ok(false),
    }
}

/// Is there an object? One that the template can give no key to has none.
pub async fn exists<E>(storage: &Storage, key: Result<ObjectKey, E>) -> Result<bool, Failure> {
    let Ok(key) = key else { return Ok(false) };
    Ok(storage.head(Side::Object, &key).await?.is_some())
}
