//! What a process tells: every line that a test reads from it is looked at, the moment it is read, for secrets, for
//! names of people and files, and for trouble that the test did not announce.

use std::collections::BTreeSet;

use url::Url;

/// A file's name in the CRM of every test.
pub const FILE_NAME: &str = "a secret name.pdf";
/// A record's name in the CRM of every test.
pub const RECORD_NAME: &str = "a secret person";

/// What no line may hold, whoever wrote it: parts of signed addresses and requests, keys, names.
const NEVER: &[&str] = &[
    "X-Amz-Signature",
    "X-Amz-Credential",
    "AWS4-HMAC-SHA256",
    "Signature=",
    "Bearer ",
    "PRIVATE KEY-----",
    FILE_NAME,
    RECORD_NAME,
];
/// A shorter password may be a part of any word, as that of the test's broker is of this program's name: it is looked
/// for where an address has it.
const SHORTEST: usize = 9;

/// The secrets that a process was given.
#[derive(Clone, Debug)]
pub struct Secrets(BTreeSet<String>);

impl Secrets {
    /// Those of its environment, and of the files that it names.
    pub fn of(environment: &[(String, String)]) -> Self {
        let mut secrets = Self(BTreeSet::new());
        for (key, value) in environment {
            let Some(key) = key.strip_prefix("FILE_RECYCLER_") else { continue };
            let read = || std::fs::read_to_string(value).unwrap_or_default();
            if let Some(key) = key.strip_suffix("_FILE") {
                secrets.add(key, read().trim_end());
            } else if key == "CRM__CONNECTION_STRINGS" {
                secrets.add_pairs(&read());
            } else {
                secrets.add(key, value);
            }
        }
        secrets
    }

    fn add(&mut self, key: &str, value: &str) {
        let address = Url::parse(value).ok();
        if let Some((address, password)) = address.as_ref().and_then(|it| Some((it, it.password()?))) {
            self.0.insert(format!(":{password}@"));
            // A user's name may be told, also where it is the password.
            if address.username() != password {
                self.add_word(password);
            }
        }
        if key.ends_with("SECRET_KEY") || key.ends_with("TOKEN") {
            self.add_word(value);
        }
    }

    /// `Password=…;` and `secretAccessKey=…;` of connection strings.
    fn add_pairs(&mut self, text: &str) {
        let pairs = text.split([';', '"']).filter_map(|pair| pair.split_once('='));
        for (key, value) in pairs {
            let key = key.to_lowercase();
            if key.contains("password") || key.contains("secret") {
                self.add_word(value);
            }
            self.add("", value);
        }
        text.split('"').for_each(|value| self.add("", value));
    }

    fn add_word(&mut self, word: &str) {
        if word.len() >= SHORTEST {
            self.0.insert(word.to_owned());
        }
    }

    /// What of this a line holds.
    pub fn told_by(&self, line: &str) -> Vec<String> {
        let never = NEVER.iter().map(|part| (*part).to_owned());
        never.chain(self.0.iter().cloned()).filter(|secret| line.contains(secret.as_str())).collect()
    }

    /// Fails the test where a text holds any.
    #[track_caller]
    pub fn look_through(&self, from: &str, text: &str) {
        for line in text.lines() {
            let told = self.told_by(line);
            assert!(told.is_empty(), "{from} tells {told:?}: {line}");
        }
    }
}

/// Is a line trouble that nobody announced?
pub fn is_unexpected(line: &str, expected: &[&str]) -> bool {
    // As text, and as JSON.
    let troubles = [" WARN ", " ERROR ", "\"level\":\"WARN\"", "\"level\":\"ERROR\"", "panicked"];
    // What was held back is like lines that were written, and those are judged.
    let announced = ["more lines were held back"].iter().chain(expected).any(|text| line.contains(text));
    troubles.iter().any(|trouble| line.contains(trouble)) && !announced
}
