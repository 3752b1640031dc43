//! The only place where SQL is built: identifiers and literals are quoted here and nowhere else.

use std::fmt::{self, Write};
use std::sync::Arc;

use sqlx::AssertSqlSafe;

/// A name as an identifier: `Contact"File` becomes `"Contact""File"`.
pub(super) fn quote_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Longest identifier, in bytes.
pub(super) const MAX_IDENTIFIER: usize = 63;

/// The beginning of a name that fits into so many bytes, without half a character: what PostgreSQL itself
/// makes of a longer name when a table is created.
pub(super) fn cut(name: &str, bytes: usize) -> &str {
    let mut end = name.len().min(bytes);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
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
        tag.insert(1, 'x');
    }
    format!("{tag}{body}{tag}")
}

/// Bytes as hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
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
        assert_eq!(cut("Договор", 5), "До");
        assert_eq!(cut("Deal", 63), "Deal");
    }
}
