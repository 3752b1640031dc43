//! How a file's id becomes the key of its object, and back.

use crate::file::{FileId, NameError, ObjectKey, SchemaName};

/// `storage.key_template`: literal text around one form of the file's id, with the schema if wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTemplate {
    parts: Vec<Part>,
    text: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(String),
    Id(IdForm),
    Schema,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IdForm {
    AsIs,
    Upper,
    Simple,
}

/// Why a text is no key template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder that does not exist.
    #[error("{{{0}}} is not known; use {{file_id}}, {{file_id:upper}}, {{file_id:simple}} or {{schema}}")]
    Unknown(String),
    /// A brace that is not closed, or closes nothing.
    #[error("has a brace without its partner")]
    Brace,
    /// Every file would get the same key.
    #[error("has no {{file_id}} in it: all files would share one key")]
    NoId,
    /// The literal text makes no key.
    #[error("makes keys that cannot be: the key {0}")]
    Key(NameError),
}

impl std::str::FromStr for KeyTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let close = rest[open..].find('}').map(|close| open + close);
            let Some(close) = close.filter(|close| *close > open) else { return Err(TemplateError::Brace) };
            if open > 0 {
                parts.push(Part::Literal(rest[..open].to_owned()));
            }
            parts.push(match &rest[open + 1..close] {
                "file_id" => Part::Id(IdForm::AsIs),
                "file_id:upper" => Part::Id(IdForm::Upper),
                "file_id:simple" => Part::Id(IdForm::Simple),
                "schema" => Part::Schema,
                other => return Err(TemplateError::Unknown(other.to_owned())),
            });
            rest = &rest[close + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        let template = Self { parts, text: text.to_owned() };
        if !template.parts.iter().any(|part| matches!(part, Part::Id(_))) {
            return Err(TemplateError::NoId);
        }
        let sample = FileId::from(uuid::Uuid::nil());
        let schema = SchemaName::try_from("ContactFile").ok();
        template.key(&sample, schema.as_ref()).map_err(|error| match error {
            KeyError::Name(error) => TemplateError::Key(error),
            KeyError::NoSchema => TemplateError::NoId,
        })?;
        Ok(template)
    }
}

impl Default for KeyTemplate {
    fn default() -> Self {
        Self { parts: vec![Part::Id(IdForm::AsIs)], text: "{file_id}".to_owned() }
    }
}

impl std::fmt::Display for KeyTemplate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// A piece of the template, for whoever makes an expression of another language from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Text that is the same in all keys.
    Literal(&'a str),
    /// The file's schema.
    Schema,
    /// The id as it is.
    Id,
    /// The id in capitals.
    IdUpper,
    /// The id without hyphens.
    IdSimple,
}

/// Why a file has no key under the template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The template needs the file's schema, and it is not known.
    #[error("the key template needs the file's schema, which is not known")]
    NoSchema,
    /// What comes out is no key.
    #[error("the key {0}")]
    Name(NameError),
}

impl KeyTemplate {
    /// Does the template need the file's schema?
    pub fn needs_schema(&self) -> bool {
        self.parts.contains(&Part::Schema)
    }

    /// The template's pieces in their order.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        self.parts.iter().map(|part| match part {
            Part::Literal(text) => Piece::Literal(text),
            Part::Schema => Piece::Schema,
            Part::Id(IdForm::AsIs) => Piece::Id,
            Part::Id(IdForm::Upper) => Piece::IdUpper,
            Part::Id(IdForm::Simple) => Piece::IdSimple,
        })
    }

    /// The key of a file.
    pub fn key(&self, id: &FileId, schema: Option<&SchemaName>) -> Result<ObjectKey, KeyError> {
        let mut key = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => key.push_str(text),
                Part::Id(form) => key.push_str(&form.apply(id)),
                Part::Schema => key.push_str(schema.ok_or(KeyError::NoSchema)?.as_str()),
            }
        }
        ObjectKey::try_from(key).map_err(KeyError::Name)
    }

    /// Other templates that installations are known to use, to be looked under where this one finds nothing: this one
    /// with the id in another form, and the usual ones.
    pub fn others(&self) -> Vec<Self> {
        const USUAL: [&str; 6] = [
            "{file_id}",
            "{file_id:upper}",
            "{file_id:simple}",
            "{schema}/{file_id}",
            "{schema}/{file_id:upper}",
            "{schema}/{file_id:simple}",
        ];
        let ids = ["{file_id}", "{file_id:upper}", "{file_id:simple}"];
        let mut texts: Vec<String> = Vec::new();
        for from in ids {
            texts.extend(ids.iter().map(|to| self.text.replace(from, to)));
        }
        texts.extend(USUAL.map(str::to_owned));
        let mut seen = std::collections::HashSet::from([self.text.clone()]);
        texts.retain(|text| seen.insert(text.clone()));
        texts.iter().filter_map(|text| text.parse().ok()).collect()
    }

    /// The UUIDs of all files that the template could give this key to, in whatever letter case and under whatever
    /// schema; none where the key does not have the template's form. A UUID that merely stands in it owns nothing.
    ///
    /// It errs on the side of finding owners: a key that could be a living file's must not be moved in
    /// another file's name.
    pub fn owners<'a>(&'a self, key: &'a ObjectKey) -> impl Iterator<Item = uuid::Uuid> + 'a {
        let folded = folded(key.as_str());
        uuids_in(key.as_str()).filter(move |id| self.could_give(&folded, *id))
    }

    /// Is the key, without regard to letter case, what the template makes of this id and some schema?
    fn could_give(&self, folded_key: &str, id: uuid::Uuid) -> bool {
        let id = FileId::from(id);
        // What stands before, between and behind the schemas.
        let mut fixed = vec![String::new()];
        for part in &self.parts {
            match (part, fixed.last_mut()) {
                (Part::Literal(text), Some(last)) => last.push_str(&folded(text)),
                (Part::Id(form), Some(last)) => last.push_str(&folded(&form.apply(&id))),
                (Part::Schema, _) | (_, None) => fixed.push(String::new()),
            }
        }
        is_made_of(folded_key, &fixed)
    }
}

impl IdForm {
    fn apply(self, id: &FileId) -> String {
        match self {
            Self::AsIs => id.as_str().to_owned(),
            Self::Upper => id.as_str().to_uppercase(),
            Self::Simple => id.as_str().replace('-', ""),
        }
    }
}

/// In small letters, one by one: what a letter becomes must not depend on its neighbours, which are others in a piece of
/// the text than in the whole.
fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Do these pieces make the text, with one character or more between each two of them?
fn is_made_of(text: &str, pieces: &[String]) -> bool {
    let [first, middle @ .., last] = pieces else { return pieces.first().is_some_and(|only| only == text) };
    let Some(mut rest) = text.strip_prefix(first.as_str()) else { return false };
    let skip_one = |text: &str| text.chars().next().map_or(0, char::len_utf8);
    // Each at its first place: whatever follows has the more room.
    for piece in middle {
        let from = skip_one(rest);
        let Some(at) = rest[from..].find(piece.as_str()).filter(|_| from > 0) else { return false };
        rest = &rest[from + at + piece.len()..];
    }
    let between = rest.strip_suffix(last.as_str());
    between.is_some_and(|between| !between.is_empty())
}

/// Every UUID, with or without hyphens, that stands somewhere in the text.
fn uuids_in(text: &str) -> impl Iterator<Item = uuid::Uuid> + '_ {
    let starts = text.char_indices().map(|(start, _)| start);
    starts.flat_map(move |start| {
        [36, 32].into_iter().filter_map(move |length| {
            text.get(start..start + length).and_then(|part| uuid::Uuid::try_parse(part).ok())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";

    fn key(template: &str) -> String {
        let template: KeyTemplate = template.parse().unwrap();
        let schema = SchemaName::try_from("ContactFile").unwrap();
        template.key(&FileId::try_from(ID).unwrap(), Some(&schema)).unwrap().as_str().to_owned()
    }

    #[test]
    fn other_templates_are_this_one_with_another_form_and_the_usual_ones() {
        let others = |text: &str| -> Vec<String> {
            text.parse::<KeyTemplate>().unwrap().others().iter().map(ToString::to_string).collect()
        };
        let usual = ["{file_id:upper}", "{file_id:simple}", "{schema}/{file_id}"];
        assert_eq!(others("{file_id}")[..3], usual);
        assert_eq!(others("{file_id}").len(), 5);
        let own = others("crm/{file_id:upper}");
        assert_eq!(own[..2], ["crm/{file_id}", "crm/{file_id:simple}"]);
        assert_eq!(own.len(), 8);
    }

    #[test]
    fn every_form_of_the_id_becomes_a_key() {
        assert_eq!(key("{file_id}"), ID);
        assert_eq!(key("{file_id:upper}"), "0F8FAD5B-D9CB-469F-A165-70867728950E");
        assert_eq!(
            key("files/{schema}/{file_id:simple}.bin"),
            "files/ContactFile/0f8fad5bd9cb469fa16570867728950e.bin"
        );
    }

    #[test]
    fn a_template_that_cannot_tell_files_apart_is_refused() {
        for (text, error) in [
            ("", TemplateError::NoId),
            ("files/{schema}", TemplateError::NoId),
            ("{file_id", TemplateError::Brace),
            ("file_id}", TemplateError::Brace),
            ("{id}", TemplateError::Unknown("id".into())),
            (".file-recycler/{file_id}", TemplateError::Key(NameError::Own)),
        ] {
            assert_eq!(text.parse::<KeyTemplate>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_keys_owner_is_found_in_any_letter_case() {
        let id = uuid::Uuid::try_parse(ID).unwrap();
        for (template, key) in [
            ("{file_id}", ID.to_owned()),
            ("{file_id}", ID.to_uppercase()),
            ("{file_id:upper}", ID.to_owned()),
            ("p/{schema}/{file_id:simple}", format!("p/x/{}", ID.replace('-', ""))),
            ("P/{schema}/{file_id}.Bin", format!("p/a/b/{ID}.bin")),
            ("{file_id}/{schema}", format!("{ID}/{ID}")),
            ("{schema}{file_id}{schema}-{file_id:simple}", format!("ж{ID}ж-{}", ID.replace('-', ""))),
            ("ΑΣ{file_id}", format!("ΑΣ{ID}")),
            ("f{file_id:simple}", format!("f{}", ID.replace('-', ""))),
        ] {
            let template: KeyTemplate = template.parse().unwrap();
            assert!(
                template.owners(&ObjectKey::try_from(key).unwrap()).any(|owner| owner == id),
                "{template}"
            );
        }
        // Under either schema it is another file's.
        let template: KeyTemplate = "{schema}/{file_id}{schema}".parse().unwrap();
        let other = "550e8400-e29b-41d4-a716-446655440000";
        let key = ObjectKey::try_from(format!("a/{ID}/{other}b")).unwrap();
        assert_eq!(template.owners(&key).count(), 2);
    }

    #[test]
    fn a_key_that_the_template_could_not_give_is_nobodys_whatever_uuids_stand_in_it() {
        let simple = ID.replace('-', "");
        for (template, key) in [
            ("{file_id}", "invoices/2026.pdf".to_owned()),
            ("{file_id}", format!("{ID}.pdf")),
            ("{file_id}", format!("invoices/{ID}")),
            ("{file_id}", simple.clone()),
            ("{file_id:simple}", format!("0{simple}")),
            ("files/{file_id}", format!("other/files/{ID}")),
            ("files/{file_id}", format!("{ID}files/")),
            ("{schema}/{file_id}", format!("/{ID}")),
            ("{schema}/{file_id}", format!("a/{ID}.bin")),
            ("{file_id}{schema}", ID.to_owned()),
            ("{file_id}/{schema}/{file_id}", format!("{ID}/a/550e8400-e29b-41d4-a716-446655440000")),
            ("{schema}-{schema}/{file_id}", format!("a-/{ID}")),
        ] {
            let template: KeyTemplate = template.parse().unwrap();
            let key = ObjectKey::try_from(key).unwrap();
            assert_eq!(template.owners(&key).next(), None, "{template} {key}");
        }
    }
}
