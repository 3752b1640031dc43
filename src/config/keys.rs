//! The table of all keys: the one place that knows their names, defaults and meanings.

/// One key of the configuration.
#[derive(Debug)]
pub struct Key {
    /// Its name, with dots.
    pub name: &'static str,
    /// Its default, written as in the environment; nothing where there is none.
    pub default: Option<&'static str>,
    /// Is it never shown, and refused on the command line?
    pub secret: bool,
    /// What it means, for the operator's guide.
    pub meaning: &'static str,
}

/// All environment variables of the configuration begin with it.
pub(super) const PREFIX: &str = "FILE_RECYCLER_";
/// What the name of a secret's variable ends with when it names a file.
pub(super) const FILE_SUFFIX: &str = "_FILE";

impl Key {
    /// The environment variable that sets the key.
    pub fn variable(&self) -> String {
        format!("{PREFIX}{}", self.name.replace('.', "__").to_ascii_uppercase())
    }
}

/// The key of that name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Is it the name of a section, such as `storage`?
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| key.name.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')))
}

/// What an error says about a key that does not exist.
pub(super) fn unknown(name: &str) -> String {
    match nearest(name) {
        Some(key) => format!("is not a key of this program; did you mean {}?", key.name),
        None => "is not a key of this program; `config show` lists them all".to_owned(),
    }
}

/// The key that a mistyped name most likely means.
pub(super) fn nearest(name: &str) -> Option<&'static Key> {
    const MAX_CHARS: usize = 64;
    if name.len() > MAX_CHARS {
        return None;
    }
    let last = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let same_end = KEYS.iter().find(|key| last(key.name) == last(name));
    let close = || KEYS.iter().map(|key| (distance(key.name, name), key)).min_by_key(|(far, _)| *far);
    match same_end {
        Some(key) => Some(key),
        None => close().filter(|(far, _)| *far <= 3).map(|(_, key)| key),
    }
}

/// How many characters must be added, taken away or changed to get from one text to the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (index, a) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = index + 1;
        for (column, b) in to.iter().enumerate() {
            let changed = diagonal + usize::from(a != *b);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}

const fn key(name: &'static str, default: Option<&'static str>, meaning: &'static str) -> Key {
    Key { name, default, secret: false, meaning }
}

const fn secret(name: &'static str, meaning: &'static str) -> Key {
    Key { name, default: None, secret: true, meaning }
}

/// Every key, in the order of the operator's guide.
pub const KEYS: &[Key] = &[
    key(
        "crm.connection_strings",
        None,
        "path of the CRM's `ConnectionStrings.config`; gives `s3Connection`, `db` and `messageBroker`",
    ),
    key(
        "crm.profile",
        Some("creatio"),
        "`creatio`: file tables are discovered; `mapping`: they are listed as `[[crm.file_table]]`; `events`: no database of the CRM's can be asked (events.md)",
    ),
    key("crm.file_table", None, "the file tables of `crm.profile = \"mapping\"`, below; only in the file"),
    key("crm.schema", Some("public"), "PostgreSQL schema of the CRM's tables"),
    key("crm.storage_codes", Some("[\"S3_storage\"]"), "which storages of the CRM are ours"),
    key(
        "crm.dangling_rows",
        Some("delete"),
        "`delete`: rows of files that hang on a deleted record are deleted; `leave`: they are only reported",
    ),
    key(
        "crm.trust_outside_events",
        Some("false"),
        "may an event that our triggers did not capture have dangling rows deleted",
    ),
    secret(
        "database.url",
        "`postgres://user:password@host:port/database`, with `?sslmode=…` (or `db` of the CRM)",
    ),
    secret(
        "broker.url",
        "`amqp://…` or `amqps://user:password@host:port/vhost` (or `messageBroker` of the CRM)",
    ),
    key("broker.prefix", Some("file-recycler"), "what the names of exchange and queues begin with"),
    key("broker.ca_file", None, "certificate authorities (PEM) for `amqps`, besides the system's"),
    key("broker.client_certificate_file", None, "client certificate (PEM) for `amqps`"),
    key("broker.client_key_file", None, "private key (PEM) of the client certificate"),
    key("storage.service_url", None, "endpoint of the S3 server; default: AWS of the region"),
    secret("storage.access_key", "access key id; without both keys the AWS default chain holds (IAM roles)"),
    secret("storage.secret_key", "secret access key"),
    key("storage.object_bucket_name", None, "the bucket of living files"),
    key("storage.recycle_bucket_name", None, "the bucket of deleted files; must be another one"),
    key("storage.region", Some("us-east-1"), "region"),
    key(
        "storage.path_style",
        Some("auto"),
        "how buckets are addressed: `auto` (virtual host for AWS, path otherwise), `path` or `virtual_host`",
    ),
    key(
        "storage.key_template",
        Some("{file_id}"),
        "key of a file's object: `{file_id}`, `{file_id:upper}` or `{file_id:simple}` (no hyphens), and `{schema}`",
    ),
    key("storage.recycle_class", None, "storage class of the copy; default: as the source"),
    key("storage.connect_timeout", Some("3s"), "time to connect to the storage"),
    key("storage.attempt_timeout", Some("30s"), "time for one try of a request"),
    key(
        "storage.operation_timeout",
        Some("120s"),
        "time for a request with all its tries; a part of a multipart copy is one request",
    ),
    key("storage.ca_file", None, "certificate authorities (PEM) of the storage, besides the system's"),
    key("recycle.mode", Some("move"), "`move`, or `observe`: everything but the copy and the delete"),
    key("recycle.grace", Some("0s"), "how long after its deletion was seen a file may move at the earliest"),
    key("recycle.brake", Some("0"), "files an hour above which the worker pauses itself; 0: none"),
    key("recycle.concurrency", Some("64"), "requests in flight to the storage, 1 to 4096"),
    key("worker.prefetch", Some("256"), "messages in flight, 1 to 65535"),
    key(
        "retry.delays",
        Some("[\"10s\", \"1m\", \"10m\", \"1h\", \"6h\"]"),
        "the wait queues, one try after each, then the dead-letter queue; `[]`: no later try",
    ),
    key("retention.database_backups", None, "age of the oldest database backup that may ever be restored"),
    key(
        "listener.auto_install",
        Some("false"),
        "`run` and `listen` install and repair triggers by themselves",
    ),
    key(
        "listener.on_capture_error",
        Some("skip"),
        "what a deletion does that cannot be captured: `skip`: it goes through and is counted; `fail`: it fails",
    ),
    key("listener.poll", Some("1s"), "slowest pace of the relay's poll, at least 20ms"),
    key("shutdown_timeout", Some("30s"), "how long a stop waits for what is in flight"),
    key("http.listen", Some("127.0.0.1:8077"), "address of health, metrics and events; empty: off"),
    secret("http.token", "bearer token for everything that changes something; without one those answer 403"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_key_is_told_what_it_was_meant_to_be() {
        for (typed, meant) in [
            ("storage.servce_url", Some("storage.service_url")),
            ("worker.concurrency", Some("recycle.concurrency")),
            ("recycle.prefetch", Some("worker.prefetch")),
            ("database", None),
            ("nothing.alike", None),
        ] {
            assert_eq!(nearest(typed).map(|key| key.name), meant, "{typed}");
        }
    }

    #[test]
    fn no_key_is_listed_twice_and_no_two_share_a_variable() {
        let mut variables: Vec<String> = KEYS.iter().map(Key::variable).collect();
        variables.extend(KEYS.iter().filter(|key| key.secret).map(|key| key.variable() + FILE_SUFFIX));
        let count = variables.len();
        variables.sort();
        variables.dedup();
        assert_eq!(variables.len(), count);
    }
}
