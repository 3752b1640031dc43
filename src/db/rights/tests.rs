//! What a person is told of missing rights.

use super::*;

fn missing(schema: &str, name: Option<&str>, column: Option<&str>, privilege: &str) -> Missing {
    Missing {
        schema: schema.to_owned(),
        name: name.map(str::to_owned),
        column: column.map(str::to_owned),
        privilege: privilege.to_owned(),
    }
}

#[test]
fn a_sentence_names_privilege_columns_and_object() {
    let file = |column| missing("public", Some("ContactFile"), Some(column), "SELECT");
    let rights = [file("Id"), file("Size"), missing("public", Some("SysFile"), None, "DELETE")];
    for (missing, sentence) in [
        (&rights[..], r#"SELECT ("Id", "Size") on public."ContactFile", DELETE on public."SysFile""#),
        (&[missing("public", None, None, "USAGE")], r#"USAGE on schema "public""#),
        (&[missing("s", Some("f()"), None, "EXECUTE")], "EXECUTE on function s.f()"),
    ] {
        assert_eq!(told(missing), sentence);
    }
    let wide: Vec<_> = ('a'..='f').map(|c| missing("s", Some("t"), Some(&c.to_string()), "SELECT")).collect();
    assert_eq!(told(&wide), r#"SELECT ("a", "b", "c", "d" and 2 more) on s."t""#);
    let many: Vec<_> = ('a'..='f').map(|c| missing("s", Some(&c.to_string()), None, "SELECT")).collect();
    assert!(told(&many).ends_with(" and 2 more"), "{}", told(&many));
}
