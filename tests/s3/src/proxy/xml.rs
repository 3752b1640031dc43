//! The entries of a DeleteObjects, asked or answered, and taking some out; all else stays as it is.

use std::ops::Range;

use quick_xml::escape::{escape, unescape};
use quick_xml::events::Event;
use quick_xml::{Error, Reader};

use crate::ending::MADE;

/// A key, and its version if one is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Id {
    pub(super) key: String,
    pub(super) version: Option<String>,
}

/// An entry and where it stands.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: Id,
    pub(super) span: Range<usize>,
}

/// The entries of this name in the order in which they stand.
pub(super) fn entries(xml: &str, name: &str) -> Result<Vec<Entry>, Error> {
    let mut reader = Reader::from_str(xml);
    let mut found = Vec::new();
    let mut open: Option<(usize, Id)> = None;
    let mut before = 0;
    loop {
        match reader.read_event()? {
            Event::Eof => return Ok(found),
            Event::Start(tag) if tag.local_name().as_ref() == name => {
                open = Some((before, Id { key: String::new(), version: None }));
            }
            Event::Start(tag) => {
                if let Some((_, id)) = &mut open {
                    let inner = reader.read_text(tag.name())?;
                    let text = || unescape(&inner).map(std::borrow::Cow::into_owned);
                    match tag.local_name().as_ref() {
                        "Key" => id.key = text()?,
                        "VersionId" => id.version = Some(text()?),
                        _ => {}
                    }
                }
            }
            Event::End(tag) if tag.local_name().as_ref() == name => {
                if let Some((start, id)) = open.take() {
                    found.push(Entry { id, span: start..position(&reader) });
                }
            }
            _ => {}
        }
        before = position(&reader);
    }
}

/// The text without these entries, and with something more before its last closing tag.
pub(super) fn without<'a>(xml: &str, gone: impl IntoIterator<Item = &'a Entry>, more: &str) -> String {
    let mut text = String::with_capacity(xml.len() + more.len());
    let end = xml.rfind("</").unwrap_or(xml.len());
    let mut from = 0;
    for entry in gone {
        text.push_str(&xml[from..entry.span.start]);
        from = entry.span.end;
    }
    text.push_str(&xml[from..end]);
    text.push_str(more);
    text.push_str(&xml[end..]);
    text
}

/// An entry for a key that was not deleted.
pub(super) fn error(id: &Id, code: &str) -> String {
    let (key, code) = (escape(id.key.as_str()), escape(code));
    let version = id.version.as_ref().map(|it| format!("<VersionId>{}</VersionId>", escape(it.as_str())));
    let version = version.unwrap_or_default();
    format!("<Error><Key>{key}</Key>{version}<Code>{code}</Code><Message>{MADE}</Message></Error>")
}

fn position(reader: &Reader<&[u8]>) -> usize {
    usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<?xml version=\"1.0\"?>\n<DeleteResult xmlns=\"u\"> <Deleted><Key>a&amp;b</Key>\
        </Deleted><Deleted><Key>c</Key><VersionId>v</VersionId></Deleted><Error><Key>d</Key></Error>\n\
        </DeleteResult>";

    #[test]
    fn entries_are_found_with_their_keys_as_they_are() {
        let found = entries(ANSWER, "Deleted").expect("well-formed");
        let ids: Vec<_> = found.iter().map(|it| (it.id.key.as_str(), it.id.version.as_deref())).collect();
        assert_eq!(ids, [("a&b", None), ("c", Some("v"))]);
        assert_eq!(&ANSWER[found[0].span.clone()], "<Deleted><Key>a&amp;b</Key></Deleted>");
        assert!(entries("<Delete><Object><Key>a</Object>", "Object").is_err());
    }

    #[test]
    fn what_is_not_taken_out_stays_byte_for_byte() {
        let found = entries(ANSWER, "Deleted").expect("well-formed");
        let rest = without(ANSWER, [&found[0]], "<Error/>");
        let expected = ANSWER.replace("<Deleted><Key>a&amp;b</Key></Deleted>", "");
        assert_eq!(rest, expected.replace("\n</DeleteResult>", "\n<Error/></DeleteResult>"));
    }

    #[test]
    fn an_error_is_escaped() {
        let id = Id { key: "<&>".to_owned(), version: Some("v".to_owned()) };
        let text = error(&id, "InternalError");
        let found = entries(&format!("<R>{text}</R>"), "Error").expect("well-formed");
        assert_eq!(found[0].id, id);
    }
}
