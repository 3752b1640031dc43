//! The CRM's `ConnectionStrings.config`: the named strings in it, and nothing that it points to.

use std::collections::BTreeMap;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use secrecy::zeroize::Zeroizing;

/// Deepest nesting of elements; the real file has two levels.
const MAX_DEPTH: usize = 32;
/// The element that holds the strings.
const SECTION: &str = "connectionStrings";

/// The connection strings of a document by their names, in lower case: .NET compares them so.
///
/// The error never quotes the document, which holds passwords. No entity but the five predefined ones
/// and character references is known, and a document type is refused.
pub(super) fn connection_strings(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = Zeroizing::new(decode(bytes)?);
    let mut reader = Reader::from_str(&text);
    reader.config_mut().expand_empty_elements = true;
    let mut open: Vec<String> = Vec::new();
    let mut roots = 0;
    let mut strings = BTreeMap::new();
    loop {
        let event = reader.read_event();
        let wrong = |position: u64, problem: &str| {
            let before = usize::try_from(position).unwrap_or(usize::MAX);
            let line = 1 + text.as_bytes().iter().take(before).filter(|byte| **byte == b'\n').count();
            format!("{problem} (line {line})")
        };
        let here = reader.buffer_position();
        match event {
            Err(_) => return Err(wrong(reader.error_position(), "is not well-formed XML")),
            Ok(Event::DocType(_)) => {
                return Err(wrong(here, "has a document type, which may name other files"));
            }
            Ok(Event::Start(element)) => {
                if open.len() >= MAX_DEPTH {
                    return Err(wrong(here, "nests its elements too deeply"));
                }
                roots += usize::from(open.is_empty());
                let name = element.name().local_name().into_inner().to_owned();
                if open.last().is_some_and(|parent| parent == SECTION) {
                    apply(&name, &element, &mut strings).map_err(|problem| wrong(here, &problem))?;
                } else if name == SECTION {
                    refuse_encryption(&element).map_err(|problem| wrong(here, &problem))?;
                }
                open.push(name);
            }
            Ok(Event::End(_)) => drop(open.pop()),
            Ok(Event::Eof) if !open.is_empty() || roots != 1 => {
                return Err(wrong(here, "is not well-formed XML: it needs one whole element"));
            }
            Ok(Event::Eof) => return Ok(strings),
            Ok(_) => {}
        }
    }
}

/// UTF-8, or UTF-16 by its byte order mark or its first character.
fn decode(bytes: &[u8]) -> Result<String, String> {
    let utf16 = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    let text = match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [b'<', 0, ..] => utf16(bytes, u16::from_le_bytes),
        [0, b'<', ..] => utf16(bytes, u16::from_be_bytes),
        [0xEF, 0xBB, 0xBF, rest @ ..] => std::str::from_utf8(rest).ok().map(str::to_owned),
        _ => std::str::from_utf8(bytes).ok().map(str::to_owned),
    };
    text.ok_or_else(|| "is neither UTF-8 nor UTF-16".to_owned())
}

/// `add`, `remove` and `clear`, as .NET reads them; other elements are left alone.
fn apply(name: &str, element: &BytesStart<'_>, strings: &mut BTreeMap<String, String>) -> Result<(), String> {
    let mut attributes = attributes(element)?;
    let named = attributes.remove("name").map(|name| name.to_lowercase());
    match (name, named) {
        ("add", Some(named)) => {
            let string = attributes
                .remove("connectionString")
                .ok_or("has an <add> without a connectionString attribute")?;
            if strings.insert(named, string).is_some() {
                return Err("has two connection strings of one name".to_owned());
            }
        }
        ("add", None) => return Err("has an <add> without a name attribute".to_owned()),
        ("remove", Some(named)) => drop(strings.remove(&named)),
        ("clear", _) => strings.clear(),
        _ => {}
    }
    Ok(())
}

fn refuse_encryption(element: &BytesStart<'_>) -> Result<(), String> {
    if attributes(element)?.contains_key("configProtectionProvider") {
        return Err("is encrypted; give the values in this program's own configuration".to_owned());
    }
    Ok(())
}

/// The element's attributes without a namespace, by name.
fn attributes(element: &BytesStart<'_>) -> Result<BTreeMap<String, String>, String> {
    element
        .attributes()
        .map(|attribute| {
            let attribute = attribute.map_err(|_| "has an attribute that is not well-formed")?;
            let value = attribute
                .normalized_value(XmlVersion::Implicit1_0)
                .map_err(|_| "has an attribute with a character or an entity that is not known")?;
            Ok((attribute.key.into_inner().to_owned(), value.into_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<!-- <add name="db" connectionString="not this one" /> -->
<connectionStrings>
  <clear/>
  <add name="db" connectionString="Server=db;Password=&quot;a;b&quot;&amp;&#x41;" />
  <add connectionString='x' name='MessageBroker' providerName="y"></add>
  <other><add name="deep" connectionString="no"/></other><![CDATA[ <add name="cdata"/> ]]>
</connectionStrings>"#;

    fn expected() -> BTreeMap<String, String> {
        [("db", "Server=db;Password=\"a;b\"&A"), ("messagebroker", "x")]
            .map(|(name, string)| (name.to_owned(), string.to_owned()))
            .into()
    }

    #[test]
    fn the_strings_are_read_from_every_encoding_and_every_place() {
        let utf16 = |unit: fn(u16) -> [u8; 2]| FILE.encode_utf16().flat_map(unit).collect::<Vec<u8>>();
        let (little, big) = (utf16(u16::to_le_bytes), utf16(u16::to_be_bytes));
        for bytes in [
            FILE.as_bytes().to_vec(),
            [b"\xEF\xBB\xBF", FILE.as_bytes()].concat(),
            [b"\xFF\xFE", little.as_slice()].concat(),
            [b"\xFE\xFF", big.as_slice()].concat(),
            little,
            big,
        ] {
            assert_eq!(connection_strings(&bytes), Ok(expected()));
        }
        let inner = FILE.split_once("-->").unwrap().1;
        let nested = format!("<configuration xmlns:x='urn:x'>{inner}<x:more/></configuration>");
        assert_eq!(connection_strings(nested.as_bytes()), Ok(expected()));
        let prefixed = "<c:connectionStrings xmlns:c='urn:c'><c:add name='db' connectionString='a'/></c:connectionStrings>";
        assert_eq!(connection_strings(prefixed.as_bytes()).unwrap()["db"], "a");
    }

    #[test]
    fn what_is_not_plainly_that_file_is_refused_without_quoting_it() {
        for (document, problem) in [
            ("", "is not well-formed XML: it needs one whole element (line 1)"),
            ("<connectionStrings>", "is not well-formed XML: it needs one whole element (line 1)"),
            ("<a/><b/>", "is not well-formed XML: it needs one whole element (line 1)"),
            ("<a>\n<b></a>", "is not well-formed XML (line 2)"),
            ("<a>\n</a", "is not well-formed XML (line 2)"),
            (
                "<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a/>",
                "has a document type, which may name other files (line 1)",
            ),
            (
                "<connectionStrings><add name='db' connectionString='&x;'/></connectionStrings>",
                "has an attribute with a character or an entity that is not known (line 1)",
            ),
            (
                "<connectionStrings>\n<add name='db' name='db'/></connectionStrings>",
                "has an attribute that is not well-formed (line 2)",
            ),
            (
                "<connectionStrings><add name='db'/></connectionStrings>",
                "has an <add> without a connectionString attribute (line 1)",
            ),
            (
                "<connectionStrings><add connectionString='a'/></connectionStrings>",
                "has an <add> without a name attribute (line 1)",
            ),
            (
                "<connectionStrings><add name='db' connectionString='a'/><add name='DB' connectionString='b'/></connectionStrings>",
                "has two connection strings of one name (line 1)",
            ),
            (
                "<connectionStrings configProtectionProvider='x'/>",
                "is encrypted; give the values in this program's own configuration (line 1)",
            ),
        ] {
            assert_eq!(connection_strings(document.as_bytes()), Err(problem.to_owned()), "{document}");
        }
        assert_eq!(connection_strings(b"<a\xFF/>"), Err("is neither UTF-8 nor UTF-16".to_owned()));
        let deep = "<a>".repeat(40) + &"</a>".repeat(40);
        assert_eq!(
            connection_strings(deep.as_bytes()),
            Err("nests its elements too deeply (line 1)".to_owned())
        );
    }
}
