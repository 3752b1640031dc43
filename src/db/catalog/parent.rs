//! Which column of a file table names the record that a file belongs to.

use crate::db::sql::{MAX_IDENTIFIER, cut};
use crate::file::SchemaName;

/// A column that names the record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentLink {
    /// The column.
    pub column: String,
    /// The record's schema.
    pub schema: SchemaName,
    /// What the foreign key does; `None`: a lookup without a foreign key.
    pub on_delete: Option<OnDelete>,
}

/// What a foreign key does when the record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDelete {
    /// The file's row goes too.
    Cascade,
    /// The file's row stays without a parent.
    SetNull,
    /// The record cannot go.
    Refuse,
}

impl OnDelete {
    /// From `pg_constraint.confdeltype`.
    pub(super) fn of(letter: &str) -> Self {
        match letter {
            "c" => Self::Cascade,
            "n" | "d" => Self::SetNull,
            _ => Self::Refuse,
        }
    }
}

/// Columns that name a person, a type or a storage, never the record.
const NEVER: [&str; 7] =
    ["CreatedById", "ModifiedById", "LockedById", "TypeId", "SysFileStorageId", "FileGroupId", "Id"];

/// Chooses the parent among all references of a file table: the one that the table is named after, then a
/// cascade, then a section, then the first by name.
pub(super) fn choose(
    file_schema: &str,
    candidates: Vec<ParentLink>,
    is_section: impl Fn(&SchemaName) -> bool,
) -> Option<ParentLink> {
    let rank = |link: &ParentLink| {
        let target = link.schema.as_str();
        let named_after = file_schema.strip_suffix("File").or_else(|| file_schema.strip_prefix("File"));
        (
            named_after != Some(target),
            link.column.strip_suffix("Id") != Some(target),
            link.on_delete != Some(OnDelete::Cascade),
            !is_section(&link.schema),
            // One column may be both: what a foreign key does is known, what a lookup does is not.
            link.on_delete.is_none(),
            link.column.clone(),
        )
    };
    candidates.into_iter().filter(|link| !NEVER.contains(&link.column.as_str())).min_by_key(rank)
}

/// Where the CRM's own list of lookups and the database's foreign keys do not say the same of the column that names
/// the record: for an operator to look at, nothing rests on it.
pub(super) fn doubts(
    file_schema: &str,
    parent: Option<&ParentLink>,
    candidates: &[ParentLink],
) -> Vec<String> {
    let Some(parent) = parent else {
        return vec![format!(
            "{file_schema}: no column names a record; its files are found by their own deletion only"
        )];
    };
    let of_column = || candidates.iter().filter(|link| link.column == parent.column);
    let name = format!("{file_schema}: {}", parent.column);
    let key = of_column().find(|link| link.on_delete.is_some()).map(table_of);
    let lookups: Vec<&str> = of_column().filter(|link| link.on_delete.is_none()).map(table_of).collect();
    match key {
        None => vec![format!(
            "{name} is a lookup to {} without a foreign key: when a record goes, the database leaves its files' rows",
            parent.schema
        )],
        Some(key) if lookups.is_empty() => {
            vec![format!("{name} is a foreign key to {key} that is not among the CRM's lookups")]
        }
        Some(key) => lookups
            .into_iter()
            .filter(|lookup| *lookup != key)
            .map(|lookup| format!("{name} is a foreign key to {key}, and a lookup to {lookup}"))
            .collect(),
    }
}

/// The name of the table that a link leads to.
fn table_of(link: &ParentLink) -> &str {
    cut(link.schema.as_str(), MAX_IDENTIFIER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(column: &str, schema: &str, on_delete: Option<OnDelete>) -> ParentLink {
        ParentLink { column: column.into(), schema: SchemaName::try_from(schema).unwrap(), on_delete }
    }

    #[test]
    fn the_parent_is_the_record_and_not_who_made_or_locked_the_file() {
        let refuse = Some(OnDelete::Refuse);
        let cascade = Some(OnDelete::Cascade);
        for (schema, candidates, parent) in [
            (
                "ContactFile",
                vec![link("CreatedById", "Contact", refuse), link("ContactId", "Contact", cascade)],
                Some("ContactId"),
            ),
            (
                "FileLead",
                vec![link("AccountId", "Account", cascade), link("LeadId", "Lead", None)],
                Some("LeadId"),
            ),
            (
                "UsrPapers",
                vec![link("UsrKindId", "UsrKind", refuse), link("UsrDealId", "UsrDeal", cascade)],
                Some("UsrDealId"),
            ),
            (
                "SysFile",
                vec![link("LockedById", "Contact", refuse), link("TypeId", "FileType", refuse)],
                None,
            ),
        ] {
            let chosen = choose(schema, candidates, |_| false);
            assert_eq!(chosen.map(|link| link.column).as_deref(), parent, "{schema}");
        }
    }
    #[test]
    fn of_a_column_that_is_a_foreign_key_and_a_lookup_the_foreign_key_is_taken() {
        let null = Some(OnDelete::SetNull);
        for candidates in [
            vec![link("CaseId", "Case", None), link("CaseId", "Case", null)],
            vec![link("CaseId", "Case", null), link("CaseId", "Case", None)],
        ] {
            assert_eq!(choose("CaseFile", candidates, |_| true).unwrap().on_delete, null);
        }
    }

    #[test]
    fn lookups_and_foreign_keys_that_differ_are_told() {
        let cascade = Some(OnDelete::Cascade);
        for (candidates, told) in [
            (vec![link("DealId", "Deal", cascade), link("DealId", "Deal", None)], vec![]),
            (
                vec![link("DealId", "Deal", None)],
                vec![
                    "DealFile: DealId is a lookup to Deal without a foreign key: when a record goes, the database leaves its files' rows",
                ],
            ),
            (
                vec![link("DealId", "Deal", cascade)],
                vec!["DealFile: DealId is a foreign key to Deal that is not among the CRM's lookups"],
            ),
            (
                vec![link("DealId", "Deal", cascade), link("DealId", "Lead", None)],
                vec!["DealFile: DealId is a foreign key to Deal, and a lookup to Lead"],
            ),
            (
                vec![],
                vec!["DealFile: no column names a record; its files are found by their own deletion only"],
            ),
        ] {
            let parent = choose("DealFile", candidates.clone(), |_| false);
            assert_eq!(doubts("DealFile", parent.as_ref(), &candidates), told);
        }
    }
}
