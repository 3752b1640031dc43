//! Every file that the database names, with what the buckets' listings say of it: for a restore that makes the buckets
//! match the database.

use futures_util::stream::{self, Stream, StreamExt as _};

use super::{Found, ListedFacts, RowFacts, Wanted};
use crate::file::{FileId, ObjectKey};
use crate::inventory::{Entries, Entry, Inventory, RANGES_AT_ONCE};
use crate::outcome::Failure;

/// All of them, from ranges of keys that are walked side by side; in no order. Where a range cannot be walked on, the
/// stream has its failure in place of the rest.
pub fn all_files(inventory: Inventory) -> impl Stream<Item = Result<Found, Failure>> {
    let walks = stream::iter(inventory.ranges()).map(move |range| Box::pin(walk(inventory.entries(&range))));
    walks.flatten_unordered(RANGES_AT_ONCE)
}

fn walk(entries: Entries) -> impl Stream<Item = Result<Found, Failure>> {
    stream::try_unfold(entries, async |mut entries| {
        while let Some(entry) = entries.next().await? {
            if let Some(wanted) = wanted(entry) {
                return Ok(Some((Ok(wanted), entries)));
            }
        }
        Ok(None)
    })
}

/// The file of an entry; nothing where no row says that its content is in S3.
fn wanted(entry: Entry) -> Option<Wanted> {
    let key = ObjectKey::try_from(entry.key).ok()?;
    let rows = || entry.rows.iter().filter(|row| row.in_s3);
    let first = rows().next()?;
    // A row whose id no event could carry names an object all the same.
    let id = rows().find_map(|row| row.id.clone()).or_else(|| FileId::try_from(key.as_str()).ok())?;
    Some(Wanted {
        schema: Some(first.schema.clone()),
        row: Some(RowFacts {
            in_s3: true,
            size: rows().find_map(|row| row.size),
            data: rows().filter_map(|row| row.data).max().unwrap_or_default(),
        }),
        listed: Some(ListedFacts { object: entry.object, copy: entry.copy }),
        ..Wanted::new(id, key)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::inventory::{InventoryRow, Owner};
    use crate::file::SchemaName;

    fn row(id: Option<&str>, in_s3: bool, size: Option<u64>) -> InventoryRow {
        InventoryRow {
            id: id.map(|id| FileId::try_from(id).unwrap()),
            schema: SchemaName::try_from("ContactFile").unwrap(),
            key: None,
            in_s3,
            size,
            data: size,
            owner: Owner::Fine,
        }
    }

    fn of(rows: Vec<InventoryRow>) -> Option<Wanted> {
        wanted(Entry { key: "key".to_owned(), rows, object: None, copy: None })
    }

    #[test]
    fn a_file_is_wanted_where_a_row_has_its_content_in_s3() {
        assert_eq!(of(Vec::new()), None);
        assert_eq!(of(vec![row(Some("a"), false, Some(1))]), None);
        let file =
            of(vec![row(Some("a"), false, Some(1)), row(Some("b"), true, None), row(None, true, Some(3))]);
        let file = file.unwrap();
        assert_eq!((file.id.as_str(), file.row.unwrap().size), ("b", Some(3)));
        assert_eq!(file.row.unwrap().data, 3, "of the rows that say that it is in S3");
        assert_eq!(of(vec![row(None, true, None)]).unwrap().id.as_str(), "key");
    }
}
