//! `--record SCHEMA:ID`, for each command that has it.

use super::super::output::Failed;
use crate::file::SchemaName;

/// The schema, and the id as it was typed: what an id may be depends on the CRM's profile.
pub(in crate::cli) fn record(text: &str) -> Result<(SchemaName, &str), Failed> {
    let (schema, id) = text.split_once(':').ok_or_else(|| {
        Failed::usage("--record: is not SCHEMA:ID, as in Contact:7c9e6679-7425-40de-944b-e07fc1f90ae7")
    })?;
    let schema = SchemaName::try_from(schema.trim())
        .map_err(|error| Failed::usage(format!("--record: the schema {error}")))?;
    Ok((schema, id.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_a_schema_and_an_id() {
        let read = |text| record(text).map(|(schema, id)| format!("{schema}/{id}")).ok();
        assert_eq!(read(" Contact : 7 ").as_deref(), Some("Contact/7"));
        assert_eq!(read("Contact:a:b").as_deref(), Some("Contact/a:b"));
        for wrong in ["Contact", "", ":7"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
