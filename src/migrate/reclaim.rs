//! Rows that say S3 lose the content that a migration left in them: only what their object is proven to have.

use futures_util::stream::{self, StreamExt as _};

use super::groups::SMALL;
use super::proof::{Digest16, Same};
use super::switch::Statement;
use super::{FileResult, Migrated, Migrator};
use crate::db::migrate::{Candidate, Table};
use crate::failpoint;
use crate::outcome::Failure;
use crate::storage::Side;

/// Objects that are looked at at the same time.
const LOOKS: usize = 32;

impl Migrator {
    /// A group of rows.
    pub(super) async fn reclaim(
        &self,
        table: &Table,
        rows: Vec<Candidate>,
    ) -> Result<Vec<FileResult>, Failure> {
        let small: Vec<_> = rows
            .iter()
            .filter(|row| row.length.unwrap_or_default().unsigned_abs() <= SMALL)
            .map(Candidate::version)
            .collect();
        let digests = if small.is_empty() {
            Vec::new()
        } else {
            self.database(|| self.parts.db.digests(table, &small)).await?
        };
        let looks = rows.into_iter().map(|row| {
            let digest = digests.iter().find(|(id, _)| *id == row.id).map(|(_, digest)| *digest);
            async move {
                let proof = self.is_proven(table, &row, digest).await;
                (row, proof)
            }
        });
        let looks: Vec<_> = looks.collect();
        let looks: Vec<_> = stream::iter(looks).buffer_unordered(LOOKS).collect().await;
        let (mut results, mut proven, mut not) = (Vec::new(), Vec::new(), Vec::new());
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
            return Ok(results);
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
        Ok(results)
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
        let head = self.storage(|| self.parts.storage.head(Side::Object, &key)).await??;
        let Some(head) = head else {
            // Some servers say of a bucket that is away what they say of an object.
            self.storage(|| self.parts.storage.check()).await??;
            let why = "its object is not in the object bucket: the row has the only content, and keeps it";
            return Ok(Proof::Not(Migrated::Missing, Some(why.to_owned())));
        };
        if head.archived {
            let why = "its object is in an archive class, and the row keeps the content that can be read";
            return Ok(Proof::Not(Migrated::Archived, Some(why.to_owned())));
        }
        Ok(match self.same(table, row, digest, &key, &head).await? {
            Same::Yes => Proof::Same,
            Same::No => Proof::Not(
                Migrated::Unproven,
                Some("its object has another content than the row, which keeps it".to_owned()),
            ),
            Same::RowChanged | Same::ObjectChanged => Proof::Not(Migrated::Edited, None),
        })
    }
}

/// Has the object the row's content?
enum Proof {
    /// It has.
    Same,
    /// Not, or it is not known.
    Not(Migrated, Option<String>),
}
