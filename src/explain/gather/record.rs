//! A record's part: its rows, its files, and what hangs on it.

use std::collections::BTreeSet;

use super::super::found::{Found, Hanging, Row};
use super::super::named::{gone, record_schemas};
use super::{Explainer, Question, part};
use crate::db::catalog::Catalog;
use crate::file::{RecordId, SchemaName};

impl Explainer {
    /// The record's own rows, its files, and what hangs on it.
    pub(super) async fn ask_record(&self, found: &mut Found, catalog: &Catalog, question: &Question) {
        let (id, only) = (question.id, question.schema.as_ref());
        if let Some(only) = only.filter(|only| !catalog.knows(only)) {
            found.notes.push(format!("the database has no table of the schema '{only}'"));
        }
        let named = record_schemas(found, only);
        let rows = part(self.db.rows_of_record(catalog, id, &named, only)).await;
        let Some(rows) = found.take("records", rows) else { return };
        let schemas: BTreeSet<String> = rows.iter().map(|row| row.schema.clone()).chain(named).collect();
        // Where the files' rows could not be asked, this part is nothing as a whole: half of it would read as all of it.
        if let Some(all) = &mut found.rows {
            all.extend(rows.into_iter().map(Row::Record));
        }
        let files = part(self.db.files_of_record(catalog, id, &schemas, only)).await;
        if let Some(files) = found.take("files", files) {
            found.files_total = files.total;
            note_the_rest(found, "files", files.items.len(), files.total);
            found.files = Some(files.items);
        }
        for (schema, record) in gone(found, &schemas) {
            let Ok(name) = SchemaName::try_from(schema.as_str()) else { continue };
            let asked = part(self.prospect.hanging_on(&name, &RecordId::from(record))).await;
            if let Some(report) = found.take("hanging", asked).filter(|report| !report.record_exists) {
                found.hanging.push(Hanging {
                    schema,
                    record_id: record,
                    free: report.left_reported,
                    linked: report.left_linked,
                    referenced: report.left_referenced,
                    elsewhere: report.left_elsewhere,
                });
            }
        }
    }
}

/// Says how many there are, where not all are listed.
pub(super) fn note_the_rest(found: &mut Found, what: &str, listed: usize, total: u64) {
    if (listed as u64) < total {
        found.notes.push(format!("{listed} of {total} {what} are listed"));
    }
}
