//! What must hold for any bytes. libFuzzer calls these with inputs that it finds, and `tests/it/fuzz.rs` with the corpus and
//! mutations of it: every run of the tests goes through them.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use file_recycler::config::{Config, KEYS, Sources, load};
use file_recycler::event::{Event, IdKind};
use file_recycler::file::{FileId, ObjectKey, SchemaName};
use file_recycler::key_template::KeyTemplate;
use secrecy::ExposeSecret as _;

/// A word that is put where secrets are: it must be told nowhere.
const SECRET: &str = "CANARY5ecret";
/// How the words begin that stand for it in a document, one for each place.
const NUMBERED: &str = "CANARYnumber";

/// A message's body. What is an event comes back the same when it is sent on.
pub fn event(data: &[u8]) {
    for ids in [IdKind::Uuid, IdKind::Text, IdKind::UuidOrText] {
        match Event::decode(data, ids) {
            Ok(event) => assert_eq!(Event::decode(&event.encode(), ids).as_ref(), Ok(&event)),
            Err(malformed) => {
                let told = malformed.to_string();
                assert!(!malformed.path.is_empty() && told.len() < 4096, "{told}");
            }
        }
    }
}

/// A configuration file, and behind a NUL variables as `NAME=VALUE`, one to a line.
pub fn configuration(data: &[u8]) {
    let (document, variables) = halves(data);
    let document = each_its_own(&String::from_utf8_lossy(document));
    let environment = variables.lines().filter_map(|line| line.split_once('='));
    let environment: Vec<(String, String)> = environment.map(variable).collect();
    let sets = environment
        .iter()
        .filter_map(|(name, value)| name.strip_prefix("--set ").map(|key| format!("{key}={value}")));
    let sets = sets.collect();
    let secrets = secrets_in(&document);
    in_a_file("config.toml", document.as_bytes(), |path| {
        let directory = path.parent().expect("it is in a folder").to_owned();
        let sources = Sources { config_file: Some(path.to_owned()), sets, environment, directory };
        let (_, told) = read(&sources);
        assert!(!told.contains(SECRET), "a variable's: {told}");
        for secret in secrets {
            assert!(!told.contains(&secret), "{secret}: {told}");
        }
    });
}

/// The CRM's `ConnectionStrings.config`, as bytes in any encoding.
pub fn xml(data: &[u8]) {
    in_a_file("ConnectionStrings.config", data, |path| {
        read(&from_the_crm(path));
    });
}

/// The three strings of that file, divided by NULs.
pub fn connection_string(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut strings = text.split('\0');
    let mut document = String::from("<connectionStrings>");
    for name in ["s3Connection", "db", "messageBroker"] {
        let escaped: String = strings.next().unwrap_or_default().chars().map(escaped).collect();
        for part in ["<add name=\"", name, "\" connectionString=\"", &escaped, "\"/>"] {
            document.push_str(part);
        }
    }
    document.push_str("</connectionStrings>");
    in_a_file("ConnectionStrings.config", document.as_bytes(), |path| {
        if let (Some(config), _) = read(&from_the_crm(path))
            && let Some(url) = &config.database.url
        {
            let read: url::Url = url.expose_secret().parse().expect("an address that was taken is a URL");
            assert!(matches!(read.scheme(), "postgres" | "postgresql"));
        }
    });
}

/// A template, and behind NULs a file's id and schema.
pub fn key_template(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, '\0');
    let Ok(template) = parts.next().unwrap_or_default().parse::<KeyTemplate>() else { return };
    let id = FileId::try_from(parts.next().unwrap_or_default().to_owned());
    let schema = SchemaName::try_from(parts.next().unwrap_or_default().to_owned());
    for other in template.others() {
        assert_ne!(other, template, "it is no other template");
    }
    let Ok(id) = id else { return };
    let Ok(key) = template.key(&id, schema.as_ref().ok()) else { return };
    assert_eq!(ObjectKey::try_from(key.as_str().to_owned()).as_ref(), Ok(&key), "it is a key");
    // A living file's key must be known for its own, or a message in another file's name could move it.
    if let Some(uuid) = id.as_uuid()
        && id == FileId::from(uuid)
    {
        assert!(
            template.owners(&key).any(|owner| owner == uuid),
            "'{}' is not known to be {uuid}'s",
            key.as_str()
        );
    }
}

/// Reads a configuration; also everything that is told of it.
fn read(sources: &Sources) -> (Option<Config>, String) {
    match load(sources) {
        Ok(loaded) => {
            assert_eq!(loaded.settings.len(), KEYS.len());
            let told = format!("{:?} {:?}", loaded.settings, loaded.config);
            (Some(loaded.config), told)
        }
        Err(errors) => {
            let told = errors.to_string();
            assert!(!told.is_empty(), "an error says something");
            (None, told)
        }
    }
}

/// A variable in which the word stands only where it is a secret: it is told anywhere else, and rightly.
fn variable((name, value): (&str, &str)) -> (String, String) {
    let secret = matches!(name, "FILE_RECYCLER_HTTP__TOKEN" | "FILE_RECYCLER_STORAGE__SECRET_KEY");
    let value = if secret && value == SECRET { value.to_owned() } else { value.replace(SECRET, "word") };
    (name.replace(SECRET, "word"), value)
}

/// The document with another word at each place where the word stands, so that a place is known by what is told of it.
fn each_its_own(document: &str) -> String {
    let document = document.replace(NUMBERED, "word");
    let mut places = document.split(SECRET);
    let before = places.next().unwrap_or_default().to_owned();
    let after = places.enumerate().map(|(number, text)| format!("{NUMBERED}{number:05}{text}"));
    after.fold(before, |numbered, place| numbered + &place)
}

/// Those of the document's words that stand in a secret: in a key's value, or in the password of an address.
fn secrets_in(document: &str) -> Vec<String> {
    let Ok(table) = document.parse::<toml::Table>() else { return Vec::new() };
    let mut secrets = String::new();
    for key in KEYS.iter().filter(|key| key.secret) {
        let (section, name) = key.name.split_once('.').expect("every key has a section");
        let value = table.get(section).and_then(|section| section.get(name)).and_then(toml::Value::as_str);
        let value = value.unwrap_or_default();
        if name == "url" {
            let Ok(address) = value.parse::<url::Url>() else { continue };
            secrets.push_str(address.password().unwrap_or_default());
        } else {
            secrets.push_str(value);
        }
    }
    let words = secrets.split(NUMBERED).skip(1);
    words.map(|rest| format!("{NUMBERED}{}", rest.get(..5).unwrap_or_default())).collect()
}

fn from_the_crm(path: &Path) -> Sources {
    let name = "FILE_RECYCLER_CRM__CONNECTION_STRINGS".to_owned();
    let directory = path.parent().expect("it is in a folder").to_owned();
    Sources {
        config_file: None,
        sets: Vec::new(),
        environment: vec![(name, path.to_string_lossy().into_owned())],
        directory,
    }
}

fn halves(data: &[u8]) -> (&[u8], std::borrow::Cow<'_, str>) {
    let at = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    (&data[..at], String::from_utf8_lossy(data.get(at + 1..).unwrap_or_default()))
}

fn escaped(c: char) -> String {
    match c {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '"' => "&quot;".to_owned(),
        c => c.to_string(),
    }
}

thread_local! {
    /// One folder for each thread.
    static FOLDER: RefCell<Option<PathBuf>> = const { RefCell::new(None) };
}

/// Calls `use_it` with a file that has this content.
fn in_a_file(name: &str, content: &[u8], use_it: impl FnOnce(&Path)) {
    let folder = FOLDER.with_borrow_mut(|folder| {
        folder
            .get_or_insert_with(|| {
                let thread = format!("{:?}", std::thread::current().id());
                let digits: String = thread.chars().filter(char::is_ascii_digit).collect();
                let memory = Path::new("/dev/shm");
                let root = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
                let folder = root.join(format!("file-recycler-fuzz-{}-{digits}", std::process::id()));
                std::fs::create_dir_all(&folder).expect("a folder for inputs");
                folder
            })
            .clone()
    });
    let path = folder.join(name);
    std::fs::write(&path, content).expect("the input is written");
    use_it(&path);
}
