//! Which deleted records still have something hanging on them? One statement for many records, so that
//! the common answer, nothing, costs no transaction for each.

use std::collections::HashSet;

use super::Db;
use super::alive::Questions;
use super::catalog::{Asks, Catalog, FILE_LINK, Mapped};
use super::conditions::Conditions;
use super::error::{Attempted, DbError};
use super::sql::built;
use crate::file::{RecordId, SchemaName};
use sqlx::FromRow;

/// A record by its schema and id.
pub type Record = (SchemaName, RecordId);

#[derive(FromRow)]
struct Answer {
    #[sqlx(flatten)]
    conditions: Conditions,
    schemas: Option<Vec<String>>,
    records: Option<Vec<String>>,
}

impl Db {
    /// For each record, in their order: does a row of a weak table or a link name it?
    pub(super) async fn hanging(
        &self,
        questions: &Questions,
        records: &[Record],
    ) -> Result<(Conditions, Vec<bool>), DbError> {
        let ids = questions.record_ids(records);
        let answer: Answer = sqlx::query_as(built(&questions.hanging))
            .bind(&ids)
            .fetch_one(&self.pool)
            .await
            .attempted("asking what hangs on deleted records")?;
        let schemas = answer.schemas.into_iter().flatten();
        let named: HashSet<(String, String)> = schemas.zip(answer.records.into_iter().flatten()).collect();
        let hangs = records
            .iter()
            .map(|(schema, id)| named.contains(&(schema.as_str().to_owned(), id.as_str().to_owned())));
        Ok((answer.conditions, hangs.collect()))
    }
}

/// The statement for a catalogue.
pub(super) fn statement(catalog: &Catalog) -> String {
    let named = match &catalog.asks {
        Asks::Creatio => by_name_and_id(catalog),
        Asks::Mapping(mapped) => by_columns(mapped),
        Asks::Nothing => Vec::new(),
    };
    let named = if named.is_empty() {
        "SELECT NULL::text AS schema, NULL::text AS id WHERE false".to_owned()
    } else {
        named.join("\n    UNION ")
    };
    format!(
        "SELECT {}, answer.schemas, answer.records
  FROM (SELECT array_agg(schema) AS schemas, array_agg(id) AS records
          FROM (
    {named}
  ) AS named) AS answer",
        Conditions::asked(catalog),
    )
}

/// Rows of a mapped application that name their record in a way that the database does not keep.
fn by_columns(mapped: &Mapped) -> Vec<String> {
    let weak = mapped.tables.iter().filter(|table| table.is_weak());
    weak.filter_map(|table| {
        let (schema, id) = table.parent();
        let names = table.names_record(&schema, "$1")?;
        Some(format!(
            "SELECT {schema} AS schema, {id} AS id FROM {} AS item WHERE {names}",
            table.table.quoted()
        ))
    })
    .collect()
}

fn by_name_and_id(catalog: &Catalog) -> Vec<String> {
    let weak = catalog.file_tables.iter().filter(|file| file.weak).map(|file| file.table.quoted());
    let links = catalog.file_link.is_some().then(|| catalog.named(FILE_LINK).quoted());
    weak.chain(links)
        .map(|table| {
            format!(
                r#"SELECT "RecordSchemaName"::text AS schema, "RecordId"::text AS id FROM {table} WHERE "RecordId" IN (SELECT unnest($1::uuid[]))"#
            )
        })
        .collect()
}
