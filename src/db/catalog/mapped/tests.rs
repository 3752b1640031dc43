//! The expressions of a listed table.

use super::*;

fn column(name: &str, kind: ColumnKind) -> Column {
    Column { name: name.to_owned(), kind }
}

fn table(key: Vec<KeyPart>) -> MappedTable {
    let name = TableName { schema: "public".to_owned(), name: "attachment".to_owned() };
    MappedTable {
        schema: SchemaName::try_from("attachment").unwrap(),
        parts: vec![name.clone()],
        table: name,
        id: column("id", ColumnKind::Integer),
        key,
        own_key: true,
        link: None,
        storage: None,
        size: None,
        columns: Vec::new(),
        indexed: false,
        always_holds: false,
    }
}

fn is(name: &str, kind: ColumnKind) -> KeyPart {
    KeyPart::Column(column(name, kind), Form::AsIs)
}

#[test]
fn the_whole_key_decides_and_one_column_is_asked_for_bare() {
    let one = table(vec![KeyPart::Literal("a/".into()), is("stored", ColumnKind::Text)]);
    assert_eq!(one.key(), r#"(('a/'::text || (item."stored"::text COLLATE "C")) COLLATE "C")"#);
    let asked = one.has_key("$1");
    assert!(
        asked.starts_with(
            r#"item."stored" = ANY(ARRAY(SELECT one FROM unnest(ARRAY(SELECT substr(key, 3, length(key) - 2)"#
        ),
        "{asked}"
    );
    assert!(asked.ends_with(&format!(" AND {} = ANY($1)", one.key())), "{asked}");
    for many in [
        table(vec![is("a", ColumnKind::Text), is("b", ColumnKind::Text)]),
        table(vec![is("a", ColumnKind::LooseText)]),
        table(vec![KeyPart::Column(column("id", ColumnKind::Text), Form::Simple)]),
    ] {
        assert_eq!(many.has_key("$1"), format!("{} = ANY($1)", many.key()));
    }
}

#[test]
fn a_row_without_storage_or_with_an_empty_key_has_no_object() {
    let mut one = table(vec![is("stored", ColumnKind::Text)]);
    assert_eq!(
        one.holds(),
        r#"(true AND coalesce((item."stored"::text COLLATE "C") <> '', false) AND (item."id"::text COLLATE "C") IS NOT NULL)"#
    );
    one.storage = Some((column("where", ColumnKind::Text), "s3's".to_owned()));
    assert_eq!(
        one.holds(),
        r#"(coalesce((item."where"::text COLLATE "C") = 's3''s', false) AND coalesce((item."stored"::text COLLATE "C") <> '', false) AND (item."id"::text COLLATE "C") IS NOT NULL)"#
    );
}

#[test]
fn words_that_are_no_tables_names_become_them() {
    let mut one = table(vec![is("stored", ColumnKind::Text)]);
    let models = BTreeMap::from([("res.partner".to_owned(), "res_partner".to_owned())]);
    let (model, id) = (column("model", ColumnKind::Text), column("res_id", ColumnKind::Integer));
    one.link = Some(MappedLink::Weak { model, id, models });
    assert_eq!(
        one.parent().0,
        r#"CASE (item."model"::text COLLATE "C") WHEN 'res.partner' THEN 'res_partner' ELSE (item."model"::text COLLATE "C") END"#
    );
    assert!(one.is_weak());
    assert!(
        one.names_record("$1", "$2")
            .unwrap()
            .starts_with(r#"item."res_id" = ANY(ARRAY(SELECT CASE WHEN one ~"#)
    );
}

#[test]
fn what_has_no_index_is_told_with_the_statement_that_makes_one() {
    let one = |key| Mapped { tables: vec![table(key)], ..Mapped::default() }.hints().remove(0);
    let hint = one(vec![KeyPart::Literal("a/".into()), is("stored", ColumnKind::Text)]);
    assert!(hint.ends_with(r#"CREATE INDEX CONCURRENTLY ON "public"."attachment" ("stored");"#), "{hint}");
    let hint = one(vec![is("a", ColumnKind::Text), is("b", ColumnKind::Text)]);
    assert!(
        hint.ends_with(r#"(("a"::text COLLATE "C") || ("b"::text COLLATE "C")) COLLATE "C"));"#),
        "{hint}"
    );
}
