//! Objects back from the recycle bucket to the object bucket: for each file the truth, and nothing newer overwritten.
//!
//! Whoever wants files back makes a stream of [`Wanted`]; [`Restorer::run`] works on it, and gives one [`FileResult`]
//! for each. What is to be done with one is decided in [`decision`]: pure.

pub mod decision;
mod file;
mod listed;
mod matching;
mod origin;
mod removal;
mod result;
mod run;
#[cfg(test)]
mod tests;

use time::OffsetDateTime;

use crate::file::{FileId, ObjectKey, SchemaName};
use crate::storage::{Listed, Tier};

pub use crate::db::restore::RowImage;
pub use file::{Parts, Restorer};
pub use matching::all_files;
pub use result::{Count, Estimate, FileResult, Restored, Summary};

/// One file that somebody wants back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The file.
    pub id: FileId,
    /// Its schema, where it is known.
    pub schema: Option<SchemaName>,
    /// Its object's key, the same in both buckets.
    pub key: ObjectKey,
    /// What its row says; nothing where there is none.
    pub row: Option<RowFacts>,
    /// What a listing of the buckets has told already; nothing where nobody has listed them.
    pub listed: Option<ListedFacts>,
    /// The image of its row, which went with its record and is to come back with the object.
    pub image: Option<RowImage>,
}

impl Wanted {
    /// A file of which nothing but id and key is known.
    pub fn new(id: FileId, key: ObjectKey) -> Self {
        Self { id, schema: None, key, row: None, listed: None, image: None }
    }
}

/// A file that somebody wants back, and that has no key to look for: it fails, and the others go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyless {
    /// The file.
    pub id: FileId,
    /// Its schema, where it is known.
    pub schema: Option<SchemaName>,
    /// Why it has none.
    pub why: String,
}

/// One file of a source.
pub type Found = Result<Wanted, Keyless>;

/// What a file's row says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowFacts {
    /// Its content is in S3.
    pub in_s3: bool,
    /// Size in bytes, where the row tells one. Zero tells none: it is what an empty column says, too.
    pub size: Option<u64>,
    /// Bytes of content that are in the row itself, as far as is known.
    pub data: u64,
}

/// What a listing said of the key. A file that is present by it needs no request; a small one that is away is copied
/// without a look where the server keeps what the listing said as conditions; everything else is looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedFacts {
    /// In the object bucket.
    pub object: Option<Listed>,
    /// In the recycle bucket.
    pub copy: Option<Listed>,
}

/// Which buckets have old versions to read, also where they keep no new ones any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldVersions {
    /// The object bucket.
    pub object: bool,
    /// The recycle bucket.
    pub recycle: bool,
}

/// How files are brought back.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Does it; otherwise it is only found out what would be done.
    pub apply: bool,
    /// Also files without a row.
    pub force: bool,
    /// The moment of the database backup that the rows are of.
    pub backup_time: Option<OffsetDateTime>,
    /// Removes the copy, once the object is proven to be the same.
    pub remove_copy: bool,
    /// How objects are asked back out of an archive.
    pub archive: Archive,
    /// Most files in work at the same time.
    pub concurrency: usize,
}

/// How objects are asked back out of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Archive {
    /// How fast.
    pub tier: Tier,
    /// For how many days the readable copy stays.
    pub days: u16,
}
