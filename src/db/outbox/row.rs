//! One outbox row as the table has it, and as the relay gets it.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::capture::{Captured, CapturedFile, What};
use crate::db::error::{DbError, Problem};
use crate::failpoint;
use crate::file::{FileId, ObjectKey, RecordId, SchemaName};

/// The root of all file schemas: what a file is called whose link names no schema that could be one.
const FILE: &str = "File";

/// The kinds of rows that this version knows. Others are a newer version's, which it leaves to that one's relay.
pub(super) const KINDS: [&str; 2] = ["records", "files"];

/// The server's lowest running transaction, and the first row above `$1` of the kinds `$2`, whoever holds it.
pub(super) const LEFT: &str = "
    SELECT pg_snapshot_xmin(pg_current_snapshot())::text,
           (SELECT id FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2) ORDER BY id LIMIT 1)";

/// Where the outbox stands: the highest id given out, committed or not; the snapshot; and whether any of the first `$3`
/// rows above `$1` is not shown by the snapshot `$4`. A number that is not given out yet came with the row from another
/// server (a restored dump): such a row is older than anything that runs here.
pub(super) const STANDS: &str = "
    SELECT (SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM file_recycler.outbox_id_seq),
           pg_current_snapshot()::text,
           EXISTS (SELECT FROM (SELECT transaction FROM file_recycler.outbox WHERE id > $1 AND kind = ANY($2)
                                 ORDER BY id LIMIT $3) AS first
                    WHERE NOT coalesce(pg_visible_in_snapshot(transaction, $4::text::pg_snapshot), false)
                      AND transaction < pg_snapshot_xmax(pg_current_snapshot()))";

/// The first rows, locked, of those that the snapshot `$5` shows.
pub(super) const NEXT: &str = "
    SELECT id, n FROM file_recycler.outbox
     WHERE id > $1 AND kind = ANY($2)
       AND ($4 OR NOT EXISTS (SELECT FROM file_recycler.environment WHERE paused_at IS NOT NULL))
       AND (pg_visible_in_snapshot(transaction, $5::text::pg_snapshot)
            OR transaction >= pg_snapshot_xmax(pg_current_snapshot()))
     ORDER BY id LIMIT $3
       FOR UPDATE SKIP LOCKED";

/// Rows are handed out although an operator paused: only where a test took that protection away.
pub(super) fn pause_ignored() -> bool {
    failpoint::removed("protection::pause")
}

/// The rows with the ids `$1`, in their order.
pub(super) const SELECT: &str = "
    SELECT id, transaction::text AS transaction, captured_at, kind, schema, ids, text_ids, parent_schema,
           parent_schemas, parents, text_parents, sizes, keys
      FROM file_recycler.outbox WHERE id = ANY($1) ORDER BY id";

/// A row of the table.
#[derive(Debug, Default, sqlx::FromRow)]
pub(super) struct Row {
    id: i64,
    transaction: String,
    captured_at: Option<OffsetDateTime>,
    kind: String,
    schema: String,
    ids: Option<Vec<Option<Uuid>>>,
    text_ids: Option<Vec<Option<String>>>,
    parent_schema: Option<String>,
    parent_schemas: Option<Vec<Option<String>>>,
    parents: Option<Vec<Option<Uuid>>>,
    text_parents: Option<Vec<Option<String>>>,
    sizes: Option<Vec<Option<i64>>>,
    keys: Option<Vec<Option<String>>>,
}

impl Row {
    /// The row as the relay gets it. What cannot be (an id of 300 characters, a schema without a name) is
    /// left out: one odd row of the CRM must not hold up the others.
    pub(super) fn captured(self) -> Result<Captured, DbError> {
        let transaction = transaction_number(&self.transaction)?;
        let at = self.captured_at.ok_or_else(|| broken("a row without a time"))?;
        let (row, schema) = (self.id, SchemaName::try_from(self.schema.as_str()));
        let what = match self.kind.as_str() {
            "records" => What::Records {
                schema: schema.map_err(|error| broken(&format!("a record schema whose name {error}")))?,
                ids: self.texts().into_iter().filter_map(|id| RecordId::try_from(id).ok()).collect(),
            },
            "files" => What::Files {
                schema: schema
                    .or_else(|_| SchemaName::try_from(FILE))
                    .map_err(|error| broken(&format!("a file schema whose name {error}")))?,
                files: self.files(),
            },
            other => return Err(broken(&format!("a row of the kind '{other}', which a newer version made"))),
        };
        Ok(Captured { row, transaction, at, what })
    }

    fn texts(&self) -> Vec<String> {
        match &self.ids {
            // In their places; one that is none is no id.
            Some(ids) => {
                ids.iter().map(|id| id.map(|id| id.hyphenated().to_string()).unwrap_or_default()).collect()
            }
            None => self.text_ids.iter().flatten().map(|id| id.clone().unwrap_or_default()).collect(),
        }
    }

    fn files(&self) -> Vec<CapturedFile> {
        let file = |(position, id): (usize, String)| {
            Some(CapturedFile {
                id: FileId::try_from(id).ok()?,
                size: at(self.sizes.as_deref(), position).and_then(|size| u64::try_from(size).ok()),
                key: at(self.keys.as_deref(), position).and_then(|key| ObjectKey::try_from(key).ok()),
                parent: self.parent(position),
            })
        };
        self.texts().into_iter().enumerate().filter_map(file).collect()
    }

    fn parent(&self, position: usize) -> Option<(SchemaName, RecordId)> {
        let schema = at(self.parent_schemas.as_deref(), position).or_else(|| self.parent_schema.clone())?;
        let id = match at(self.parents.as_deref(), position) {
            Some(id) => RecordId::from(id),
            None => RecordId::try_from(at(self.text_parents.as_deref(), position)?).ok()?,
        };
        Some((SchemaName::try_from(schema).ok()?, id))
    }
}

fn at<T: Clone>(column: Option<&[Option<T>]>, position: usize) -> Option<T> {
    column?.get(position).cloned().flatten()
}

/// A transaction number (`xid8`), which travels as text.
pub(super) fn transaction_number(text: &str) -> Result<u64, DbError> {
    text.parse().map_err(|_| broken(&format!("a transaction number that is none: '{text}'")))
}

fn broken(why: &str) -> DbError {
    DbError::new("reading the outbox", Problem::Internal(why.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: &str) -> Row {
        Row {
            id: 7,
            transaction: "12".into(),
            captured_at: Some(OffsetDateTime::UNIX_EPOCH),
            kind: kind.into(),
            schema: "SysFile".into(),
            ids: Some(vec![Some(Uuid::from_u128(1)), Some(Uuid::from_u128(2))]),
            ..Row::default()
        }
    }

    #[test]
    fn parents_come_from_one_schema_or_from_one_for_each_file() {
        let contact = SchemaName::try_from("Contact").unwrap();
        let parent = Some((contact, RecordId::from(Uuid::from_u128(9))));
        let shared = Row {
            parent_schema: Some("Contact".into()),
            parents: Some(vec![Some(Uuid::from_u128(9)), None]),
            ..row("files")
        };
        let weak = Row {
            parent_schemas: Some(vec![Some("Contact".into()), Some(String::new())]),
            parents: Some(vec![Some(Uuid::from_u128(9)), Some(Uuid::from_u128(9))]),
            ..row("files")
        };
        for row in [shared, weak] {
            let What::Files { files, .. } = row.captured().unwrap().what else { panic!() };
            assert_eq!(
                files.iter().map(|file| file.parent.clone()).collect::<Vec<_>>(),
                [parent.clone(), None]
            );
        }
    }

    #[test]
    fn an_odd_value_of_the_crm_is_left_out_and_holds_up_nobody() {
        let odd = Row { schema: String::new(), sizes: Some(vec![Some(-1), None]), ..row("files") };
        let What::Files { schema, files } = odd.captured().unwrap().what else { panic!() };
        assert_eq!((schema.as_str(), files.len(), files[0].size), ("File", 2, None));

        // A link of which a trigger of an older version noted no file.
        let odd = Row { ids: Some(vec![None, Some(Uuid::from_u128(2))]), ..row("files") };
        let What::Files { files, .. } = odd.captured().unwrap().what else { panic!() };
        assert_eq!(
            files.iter().map(|file| file.id.as_uuid()).collect::<Vec<_>>(),
            [Some(Uuid::from_u128(2))]
        );

        let texts = Some(vec![None, Some("42".to_owned()), Some("x".repeat(300))]);
        let odd = Row { ids: None, text_ids: texts, ..row("records") };
        let What::Records { ids, .. } = odd.captured().unwrap().what else { panic!() };
        assert_eq!(ids, [RecordId::try_from("42").unwrap()]);
    }
}
