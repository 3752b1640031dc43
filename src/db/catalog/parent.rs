//! Which column of a file table names the record that a file belongs to.

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
            link.column.clone(),
        )
    };
    candidates.into_iter().filter(|link| !NEVER.contains(&link.column.as_str())).min_by_key(rank)
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
}
