//! Objects that are not needed in the object bucket any more: they go the way of all such, into the recycle bucket.

use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Table};
use crate::file::ObjectKey;
use crate::outcome::Outcome;
use crate::storage::ETag;

/// Why an object stays that is alive for a worker.
pub(super) const IN_USE: &str = "its object stays: a link or another row names the file";

impl Migrator {
    /// A row went while its object was written: that is nobody's now, and goes the way of all such.
    pub(super) async fn left_by_the_gone(&self, table: &Table, row: &Candidate, etag: &ETag) -> FileResult {
        let file = self.told(table, row, Migrated::Gone, None);
        let Some(key) = file.key.clone() else { return file };
        self.without_its_object(table, file, &key, etag).await
    }

    /// A file whose object is not needed in the object bucket any more.
    pub(super) async fn without_its_object(
        &self,
        table: &Table,
        file: FileResult,
        key: &ObjectKey,
        etag: &ETag,
    ) -> FileResult {
        let why = match self.put_away(file.file_id, &table.schema, key, etag).await {
            Ok(Some(Outcome::Moved | Outcome::AlreadyMoved | Outcome::Missing)) => return file,
            // That is where it belongs.
            Ok(Some(Outcome::Alive)) => return FileResult { why: Some(IN_USE.to_owned()), ..file },
            Ok(None) if file.result == Migrated::Gone => return file,
            Ok(None) => return written_since(file),
            Ok(Some(other)) => format!("its object stays: {}", other.as_str()),
            Err(failure) => format!("its object stays, `audit` names it: {}", failure.error),
        };
        FileResult { why: Some(why), stays: true, ..file }
    }
}

/// The object is another one than the content came from or went to: somebody has saved the file, and its row does not show
/// that content.
pub(super) fn written_since(file: FileResult) -> FileResult {
    let why = "its object was written again meanwhile and has another content than the row, which gives the one of before: \
               look at both with `explain`";
    FileResult { result: Migrated::Differs, why: Some(why.to_owned()), ..file }
}
