//! Whatever the configuration is, reading it ends with values or errors, never with a panic.

use percent_encoding::percent_decode_str;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Pieces that documents and strings are made of, so that a random mix gets past the first character.
const XML: &[&str] = &[
    "<",
    ">",
    "/>",
    "</",
    "<connectionStrings>",
    "</connectionStrings>",
    "<add ",
    "name='db'",
    "connectionString=\"",
    "\"",
    "'",
    "=",
    " ",
    "\n",
    "&amp;",
    "&#x41;",
    "&#0;",
    "&#xD800;",
    "&x;",
    "&",
    ";",
    "<!--",
    "-->",
    "<![CDATA[",
    "]]>",
    "<?xml version='1.0'?>",
    "<!DOCTYPE a [",
    "]>",
    "x:",
    "\u{FEFF}",
    "é",
    "\0",
];
const ADO: &[&str] =
    &["Server", "Password", "User ID", "=", "==", ";", "\"", "'", "''", " ", "\t", "\n", "{", "}", "é", "\0"];
const VALUES: &[&str] = &[
    "",
    "0",
    "-1",
    "1s",
    "18446744073709551615d",
    "9",
    "true",
    "[",
    "]",
    "[\"1s\"]",
    "{",
    "}",
    "{file_id}",
    "é",
    "%",
    "://",
    "postgres",
    "amqp",
    "h",
    "@",
    ":",
    "/",
    "?",
    "#",
    "[::1]",
    "sslmode=",
    ".",
    "..",
    "\0",
    "\u{FFFD}",
    "\"",
    "\n",
    "=",
    "'",
];

fn mix(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    vec(select(pieces), 0..24).prop_map(|pieces| pieces.concat())
}

/// Texts in quotation marks as .NET writes them.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_the_xml_parser_panic(bytes in vec(any::<u8>(), 0..200), text in mix(XML)) {
        let _ = xml::connection_strings(&bytes);
        let _ = xml::connection_strings(text.as_bytes());
        let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let _ = xml::connection_strings(&utf16);
        let _ = xml::connection_strings(&[b"\xFF\xFE", utf16.as_slice(), b"x"].concat());
    }

    #[test]
    fn no_text_makes_the_parser_of_connection_strings_panic(any in any::<String>(), text in mix(ADO)) {
        let _ = ado::parse(&any);
        let _ = ado::parse(&text);
    }

    #[test]
    fn names_and_passwords_of_any_characters_arrive_in_the_database_url(
        user in any::<String>(), password in any::<String>(), database in any::<String>(),
    ) {
        prop_assume!(!user.is_empty() && !["", ".", ".."].contains(&database.as_str()));
        let string = format!(
            "Server=h;User ID={};Password={};Database={}", quoted(&user), quoted(&password), quoted(&database)
        );
        let url = connection_strings::database_url(&ado::parse(&string).unwrap()).unwrap();
        prop_assert!(super::super::database_url::check(&url, &[]).is_ok());
        let url = url::Url::parse(&url).unwrap();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        prop_assert_eq!(decoded(url.username()), user);
        prop_assert_eq!(decoded(url.password().unwrap_or_default()), password);
        prop_assert_eq!(decoded(&url.path()[1..]), database);
    }

    #[test]
    fn no_value_of_any_key_makes_loading_panic(key in 0..KEYS.len(), value in mix(VALUES), any in any::<String>()) {
        for value in [&value, &any] {
            let environment = Sources {
                environment: vec![(KEYS[key].variable(), value.clone())],
                directory: "/nonexistent".into(),
                ..Sources::default()
            };
            let _ = load(&environment).map_err(|errors| errors.to_string());
            let flag = Sources {
                sets: vec![format!("{}={value}", KEYS[key].name), value.clone()],
                directory: "/nonexistent".into(),
                ..Sources::default()
            };
            let _ = load(&flag).map_err(|errors| errors.to_string());
        }
    }

    #[test]
    fn no_file_makes_loading_panic(key in 0..KEYS.len(), value in mix(VALUES), any in any::<String>()) {
        let place = Place::new().file(&format!("{} = {value}\n", KEYS[key].name));
        let _ = load(&place.sources);
        place.write("file-recycler.toml", any);
        let _ = load(&place.sources);
    }
}
