//! Rows that say S3 lose the content that a migration left in them: only what their object is proven to have.

use futures_util::stream::{self, StreamExt as _};
use uuid::Uuid;

use super::groups::SMALL;
use super::proof::{Digest16, Same};
use super::switch::Statement;
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Table};
use crate::failpoint;
use crate::outcome::Failure;
use crate::storage::Head;

/// Objects that are looked at at the same time.
const LOOKS: usize = 32;

impl Migrator {
    /// A group of rows.
    pub(super) async fn reclaim(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
        results: &mut Vec<FileResult>,
    ) -> Result<(), Failure> {
        let look = |row: Candidate, digest| async move {
            let proof = self.is_proven(table, &row, digest).await;
            (row, proof)
        };
        let looks = self.looks(table, rows, look).await?;
        let (mut proven, mut not) = (Vec::new(), Vec::new());
        for (row, proof) in looks {
            match proof {
                Ok(Proof::Same) => proven.push((row, ())),
                Ok(Proof::Not(what, why)) => not.push((row, what, why)),
                Err(failure) => results.push(self.failed(table, &row, &failure)),
            }
        }
        results.extend(self.not(table, not).await?);
        failpoint::reach("migrate::content_proven");
        if proven.is_empty() {
            return Ok(());
        }
        let cleared = self.in_one_statement(table, Statement::Clear, proven).await?;
        failpoint::reach("migrate::content_cleared");
        let mut left = Vec::new();
        for (row, (), end) in cleared {
            match end {
                Ok(true) => results.push(self.told(table, &row, Migrated::Reclaimed, None)),
                Ok(false) => left.push(row),
                Err(failure) => results.push(self.failed(table, &row, &failure)),
            }
        }
        results.extend(self.left(table, left).await?);
        Ok(())
    }

    /// Looks at these rows' objects, some at the same time; with each row the digest of its content, where it is small.
    pub(super) async fn looks<T, F: Future<Output = T>>(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
        look: impl Fn(Candidate, Option<Digest16>) -> F,
    ) -> Result<Vec<T>, Failure> {
        let digests = self.digests(table, &rows).await?;
        let looks = rows.into_iter().map(|row| {
            let digest = digests.iter().find(|(id, _)| *id == row.id).map(|(_, digest)| *digest);
            look(row, digest)
        });
        let looks: Vec<_> = looks.collect();
        Ok(stream::iter(looks).buffer_unordered(LOOKS).collect().await)
    }

    /// The MD5s of what the small ones of these rows have, which the database's server computes.
    async fn digests(&self, table: &Table, rows: &[Candidate]) -> Result<Vec<(Uuid, Digest16)>, Failure> {
        let small: Vec<_> = rows
            .iter()
            .filter(|row| row.length.unwrap_or_default().unsigned_abs() <= SMALL)
            .map(Candidate::version)
            .collect();
        if small.is_empty() {
            return Ok(Vec::new());
        }
        self.database(|| self.parts.db.digests(table, &small)).await
    }

    async fn is_proven(
        &self,
        table: &Table,
        row: &Candidate,
        digest: Option<Digest16>,
    ) -> Result<Proof, Failure> {
        if failpoint::removed("protection::proof_of_reclaim") {
            return Ok(Proof::Same);
        }
        let key = self.key(row.id, &table.schema)?;
        let Some(head) = self.object(&key).await? else {
            let why = "its object is not in the object bucket: the row has the only content, and keeps it";
            return Ok(Proof::Not(Migrated::Missing, Some(why.to_owned())));
        };
        if head.archived {
            let why = "its object is in an archive class, and the row keeps the content that can be read";
            return Ok(Proof::Not(Migrated::Archived, Some(why.to_owned())));
        }
        Ok(match self.same(table, row, digest, &key, &head).await? {
            Same::Yes => Proof::Same,
            Same::No => Proof::Not(Migrated::Unproven, Some(unlike(row, &head, self.is_ours(&head)))),
            Same::RowChanged | Same::ObjectChanged => Proof::Not(Migrated::Edited, None),
        })
    }
}

/// The row has a content, and its object another one: which of them is of before?
fn unlike(row: &Candidate, head: &Head, is_ours: bool) -> String {
    let size = row.size.and_then(|size| u64::try_from(size).ok());
    let written_since = !is_ours && size == Some(head.size) && row.size != row.length;
    if written_since {
        "its object has another content than the row, which keeps it; the row's size is that of the object, which we have not \
         written: the file was edited since, and what the row keeps is of before (docs/migrate.md, \"Edited since\")"
            .to_owned()
    } else {
        "its object has another content than the row, which keeps it: look at both with `explain` (docs/migrate.md, \"Edited \
         since\")"
            .to_owned()
    }
}

/// Has the object the row's content?
enum Proof {
    /// It has.
    Same,
    /// Not, or it is not known.
    Not(Migrated, Option<String>),
}
