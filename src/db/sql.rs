//! The only place where SQL is built: identifiers and literals are quoted here and nowhere else.

use std::fmt;
use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// A name as an identifier: `Contact"File` becomes `"Contact""File"`.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a literal, whatever `standard_conforming_strings` says.
pub(super) fn quote_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if text.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A function's body in dollar quotes that it does not contain itself.
pub(super) fn quote_body(body: &str) -> String {
    let mut tag = "$file_recycler$".to_owned();
    while body.contains(&tag) {
        tag.insert_str(1, "x");
    }
    format!("{tag}{body}{tag}")
}

/// SQL that was built from constants and from what the functions above return: nothing else may be
/// handed in here.
pub(super) fn built(sql: &Arc<str>) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(sql))
}

/// The name of a table with its schema.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableName {
    /// PostgreSQL schema.
    pub schema: String,
    /// The table.
    pub name: String,
}

impl TableName {
    /// `"schema"."table"`
    pub(super) fn quoted(&self) -> String {
        format!("{}.{}", quote_identifier(&self.schema), quote_identifier(&self.name))
    }
}

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_quotes() {
        assert_eq!(quote_identifier("Файл\"; DROP TABLE x"), "\"Файл\"\"; DROP TABLE x\"");
        assert_eq!(quote_literal("O'Neil"), "'O''Neil'");
        assert_eq!(quote_literal(r"a\' OR 1=1 --"), r"E'a\\'' OR 1=1 --'");
        assert_eq!(quote_body("a$file_recycler$b"), "$xfile_recycler$a$file_recycler$b$xfile_recycler$");
    }
}
