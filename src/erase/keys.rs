//! Under which keys are the objects of a file? A pure function over what the database remembers of it.

use std::collections::BTreeSet;

use crate::config::Profile;
use crate::file::{FileId, ObjectKey, SchemaName};
use crate::key_template::KeyTemplate;

/// What is known of a file.
#[derive(Clone, Debug, Default)]
pub struct Remembered {
    /// Keys by the ledger, and by mapping those of rows, too.
    pub keys: Vec<String>,
    /// Its schemas, as rows, ledger and images have them.
    pub schemas: Vec<String>,
    /// Every file schema that there is.
    pub all_schemas: Vec<String>,
}

/// The keys of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// All of these are its own.
    These(Vec<ObjectKey>),
    /// They are of several files with the same id: one has to be chosen.
    OneOf(Vec<String>),
    /// The key that was given is none of these, which are known.
    NotAmong(Vec<String>),
    /// None is known.
    Unknown,
}

/// Chooses. `given` is `--key`, which the CRM's files have no use for: their id says which file is meant.
pub fn keys(
    profile: &Profile,
    template: &KeyTemplate,
    file: &FileId,
    given: Option<&ObjectKey>,
    remembered: &Remembered,
) -> Keys {
    match profile {
        Profile::Creatio => of_the_crm(template, file, remembered),
        Profile::Mapping(_) => chosen(given, known(remembered)),
        // Where nobody remembers one, the template's is what an event without a key means.
        Profile::Events => match chosen(given, known(remembered)) {
            Keys::Unknown => template.key(file, None).map_or(Keys::Unknown, |key| Keys::These(vec![key])),
            keys => keys,
        },
    }
}

fn known(remembered: &Remembered) -> BTreeSet<ObjectKey> {
    remembered.keys.iter().filter_map(|key| ObjectKey::try_from(key.as_str()).ok()).collect()
}

fn chosen(given: Option<&ObjectKey>, known: BTreeSet<ObjectKey>) -> Keys {
    let texts = |known: &BTreeSet<ObjectKey>| known.iter().map(ToString::to_string).collect();
    match given {
        Some(given) if known.is_empty() || known.contains(given) => Keys::These(vec![given.clone()]),
        Some(_) => Keys::NotAmong(texts(&known)),
        None if known.len() > 1 => Keys::OneOf(texts(&known)),
        None if known.is_empty() => Keys::Unknown,
        None => Keys::These(known.into_iter().collect()),
    }
}

/// What the template gives under each schema that the file may have, and what the ledger has; less keys that the template
/// gives to other files.
fn of_the_crm(template: &KeyTemplate, file: &FileId, remembered: &Remembered) -> Keys {
    let schemas = if remembered.schemas.is_empty() && template.needs_schema() {
        &remembered.all_schemas
    } else {
        &remembered.schemas
    };
    let by_schema = schemas.iter().filter_map(|schema| SchemaName::try_from(schema.as_str()).ok());
    let by_schema = by_schema.filter_map(|schema| template.key(file, Some(&schema)).ok());
    let mut keys: BTreeSet<ObjectKey> = template.key(file, None).ok().into_iter().chain(by_schema).collect();
    let id = file.as_uuid();
    keys.extend(known(remembered).into_iter().filter(|key| {
        let mut owners = template.owners(key).peekable();
        owners.peek().is_none() || owners.any(|owner| Some(owner) == id)
    }));
    if keys.is_empty() { Keys::Unknown } else { Keys::These(keys.into_iter().collect()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ONE: &str = "aaaaaaaa-1111-4111-8111-111111111111";
    const OTHER: &str = "22222222-2222-4222-8222-222222222222";

    fn these(keys: &[&str]) -> Keys {
        Keys::These(keys.iter().map(|key| ObjectKey::try_from(*key).unwrap()).collect())
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_file_of_the_crm_has_the_templates_keys_and_the_ledgers_but_never_another_files() {
        let file = FileId::from(Uuid::parse_str(ONE).unwrap());
        let upper = ONE.to_uppercase();
        for (template, keys_known, schemas, all, expected) in [
            ("{file_id}", vec![], vec![], vec!["A"], vec![ONE.to_owned()]),
            ("{file_id}", vec!["odd"], vec![], vec![], vec![ONE.to_owned(), "odd".to_owned()]),
            ("{file_id}", vec![OTHER], vec![], vec![], vec![ONE.to_owned()]),
            ("{file_id}", vec![upper.as_str()], vec![], vec![], vec![ONE.to_owned(), upper.clone()]),
            ("{schema}/{file_id}", vec![], vec!["A"], vec!["A", "B"], vec![format!("A/{ONE}")]),
            (
                "{schema}/{file_id}",
                vec![],
                vec![],
                vec!["A", "B"],
                vec![format!("A/{ONE}"), format!("B/{ONE}")],
            ),
        ] {
            let remembered =
                Remembered { keys: texts(&keys_known), schemas: texts(&schemas), all_schemas: texts(&all) };
            let found = keys(&Profile::Creatio, &template.parse().unwrap(), &file, None, &remembered);
            let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
            expected.sort_unstable();
            assert_eq!(found, these(&expected), "{template} {keys_known:?}");
        }
    }

    #[test]
    fn where_files_are_known_by_key_one_has_to_be_named() {
        let file = FileId::try_from("42").unwrap();
        let template = KeyTemplate::default();
        let (one, two) = (vec!["store/a"], vec!["store/a", "store/b"]);
        for (events, known, given, expected) in [
            (false, one.clone(), None, these(&["store/a"])),
            (false, two.clone(), None, Keys::OneOf(texts(&two))),
            (false, two.clone(), Some("store/b"), these(&["store/b"])),
            (false, two.clone(), Some("store/c"), Keys::NotAmong(texts(&two))),
            (false, vec![], Some("store/c"), these(&["store/c"])),
            (false, vec![], None, Keys::Unknown),
            (true, vec![], None, these(&["42"])),
            (true, two.clone(), None, Keys::OneOf(texts(&two))),
        ] {
            let profile = if events { Profile::Events } else { Profile::Mapping(Vec::new()) };
            let remembered = Remembered { keys: texts(&known), ..Remembered::default() };
            let given = given.map(|key| ObjectKey::try_from(key).unwrap());
            assert_eq!(
                keys(&profile, &template, &file, given.as_ref(), &remembered),
                expected,
                "{known:?} {given:?}"
            );
        }
    }
}
