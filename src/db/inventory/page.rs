//! One page of rows, and where the next one begins.

use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;
use sqlx::{Connection as _, Postgres};
use uuid::Uuid;

use super::{InventoryRow, Order, Raw, Reading};
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::db::sql::built;

/// What a page may take at most, in milliseconds: without an index on the key it reads a whole table.
const PATIENCE_MS: u32 = 600_000;
/// A plan that is made before its values are known takes every range of ids for a two-hundredth of its table, less than
/// a page, and would read and sort what is left of the range for each page. Indexes give the order; where none does, a
/// sort is still made, and then it costs so much by the planner's count that it would be compiled.
pub(in crate::db) const PLANNED_IN_ORDER: &str =
    "SELECT set_config('enable_sort', 'off', true), set_config('jit', 'off', true)";

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first id, where ids give the order.
    id: Uuid,
    /// The key after which it begins, where keys do.
    after: String,
}

/// Rows in the order of their keys.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<InventoryRow>,
    /// Where the next page begins; nothing on the last.
    pub next: Option<Place>,
}

impl Place {
    /// The beginning: the smallest id that may come, or of all keys.
    pub fn first(id: Uuid) -> Self {
        Self { id, after: String::new() }
    }
}

impl Db {
    /// The page of a stream (`group`, of [`Reading::groups`]) that begins at `place`, up to the id `last`. Rows that
    /// share a key are on one page, unless they alone fill it: then those beyond it are left out.
    pub async fn inventory_page(
        &self,
        reading: &Reading,
        group: usize,
        place: &Place,
        last: Uuid,
    ) -> Result<Page, DbError> {
        let Some(group) = reading.groups.get(group) else { return Ok(Page { rows: Vec::new(), next: None }) };
        let query = sqlx::query_as(built(&group.pages));
        let query = match group.order {
            Order::Id => query.bind(&reading.catalog.storages).bind(place.id).bind(last),
            Order::Key => query.bind(&place.after),
        };
        let mut rows = self.read_page(query, group.order).await?;
        let next = (rows.len() >= group.size).then(|| cut(&mut rows, group.order)).flatten();
        Ok(Page { rows: self.with_owners(&reading.catalog, rows).await?, next })
    }

    async fn read_page(
        &self,
        query: QueryAs<'_, Postgres, Raw, PgArguments>,
        order: Order,
    ) -> Result<Vec<Raw>, DbError> {
        const DOING: &str = "reading the rows of files";
        let mut connection = self.pool.acquire().await.attempted(DOING)?;
        let mut tx = connection.begin().await.attempted(DOING)?;
        sqlx::query(PLANNED_IN_ORDER).execute(&mut *tx).await.attempted(DOING)?;
        if order == Order::Key {
            sqlx::query("SELECT set_config('statement_timeout', $1, true)")
                .bind(PATIENCE_MS.to_string())
                .execute(&mut *tx)
                .await
                .attempted(DOING)?;
        }
        let rows = query.fetch_all(&mut *tx).await.attempted(DOING)?;
        tx.rollback().await.attempted(DOING)?;
        Ok(rows)
    }
}

/// Cuts a full page before its last key, whose other rows may be on the next; and where that begins.
fn cut(rows: &mut Vec<Raw>, order: Order) -> Option<Place> {
    let name = |row: &Raw| match order {
        Order::Id => row.id.clone(),
        Order::Key => row.key.clone(),
    };
    let last = name(rows.last()?)?;
    let begins = rows.iter().position(|row| name(row).as_ref() == Some(&last))?;
    if begins > 0 {
        rows.truncate(begins);
    }
    match order {
        Order::Id => {
            let last = Uuid::try_parse(&last).ok()?.as_u128();
            let id = if begins > 0 { last } else { last.checked_add(1)? };
            Some(Place { id: Uuid::from_u128(id), after: String::new() })
        }
        Order::Key => {
            let after = if begins > 0 { name(rows.last()?)? } else { last };
            Some(Place { id: Uuid::nil(), after })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u128, key: &str) -> Raw {
        Raw {
            at: 0,
            id: Some(Uuid::from_u128(id).to_string()),
            key: Some(key.to_owned()),
            in_s3: true,
            size: None,
            data: None,
            parentless: false,
            weak_schema: None,
            weak_id: None,
        }
    }

    #[test]
    fn a_full_page_ends_before_its_last_key_and_the_next_begins_there() {
        for (given, left, id, after) in [
            (vec![(1, "a"), (2, "b"), (3, "c")], 2, 3, "b"),
            (vec![(1, "a"), (2, "b"), (2, "b")], 1, 2, "a"),
            // One key alone: what is beyond the page is left out, or it would never end.
            (vec![(2, "b"), (2, "b")], 2, 3, "b"),
        ] {
            let rows = || given.iter().map(|(id, key)| row(*id, key)).collect::<Vec<_>>();
            let mut by_id = rows();
            let place = cut(&mut by_id, Order::Id).unwrap();
            assert_eq!((by_id.len(), place.id), (left, Uuid::from_u128(id)), "{given:?}");
            let mut by_key = rows();
            let place = cut(&mut by_key, Order::Key).unwrap();
            assert_eq!((by_key.len(), place.after.as_str()), (left, after), "{given:?}");
        }
    }

    #[test]
    fn after_the_highest_id_there_is_no_page() {
        let mut rows = vec![row(u128::MAX, "z")];
        assert_eq!(cut(&mut rows, Order::Id), None);
    }
}
