//! Which deleted records still have something hanging on them? One statement for many records, so that
//! the common answer, nothing, costs no transaction for each.

use std::collections::HashSet;

use sqlx::FromRow;
use uuid::Uuid;

use super::Db;
use super::alive::Questions;
use super::catalog::{Catalog, FILE_LINK, fingerprint_expression};
use super::error::{Attempted, DbError};
use super::registry::Conditions;
use super::sql::built;
use crate::file::{RecordId, SchemaName};

/// A record by its schema and id.
pub type Record = (SchemaName, RecordId);

#[derive(FromRow)]
struct Answer {
    is_primary: bool,
    fingerprint: String,
    schemas: Option<Vec<String>>,
    records: Option<Vec<Uuid>>,
}

impl Db {
    /// For each record, in their order: does a row of a weak table or a link name it?
    pub(super) async fn hanging(
        &self,
        questions: &Questions,
        records: &[Record],
    ) -> Result<(Conditions, Vec<bool>), DbError> {
        let ids: Vec<Uuid> = records.iter().filter_map(|(_, id)| id.as_uuid()).collect();
        let answer: Answer = sqlx::query_as(built(&questions.hanging))
            .bind(&ids)
            .fetch_one(&self.pool)
            .await
            .attempted("asking what hangs on deleted records")?;
        let schemas = answer.schemas.into_iter().flatten();
        let named: HashSet<(String, Uuid)> = schemas.zip(answer.records.into_iter().flatten()).collect();
        let hangs = records.iter().map(|(schema, id)| {
            id.as_uuid().is_some_and(|id| named.contains(&(schema.as_str().to_owned(), id)))
        });
        Ok((Conditions { primary: answer.is_primary, fingerprint: answer.fingerprint }, hangs.collect()))
    }
}

/// The statement for a catalogue.
pub(super) fn statement(catalog: &Catalog) -> String {
    let weak = catalog.file_tables.iter().filter(|file| file.weak).map(|file| file.table.quoted());
    let links = catalog.file_link.is_some().then(|| catalog.named(FILE_LINK).quoted());
    let named: Vec<String> = weak
        .chain(links)
        .map(|table| {
            format!(r#"SELECT "RecordSchemaName"::text AS schema, "RecordId" AS id FROM {table} WHERE "RecordId" = ANY($1)"#)
        })
        .collect();
    let named = if named.is_empty() {
        "SELECT NULL::text AS schema, unnest($1::uuid[]) AS id LIMIT 0".to_owned()
    } else {
        named.join("\n    UNION ")
    };
    format!(
        "SELECT NOT pg_is_in_recovery() AS is_primary, {} AS fingerprint, answer.schemas, answer.records
  FROM (SELECT array_agg(schema) AS schemas, array_agg(id) AS records
          FROM (
    {named}
  ) AS named) AS answer",
        fingerprint_expression(&catalog.schema),
    )
}
