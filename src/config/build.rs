//! From merged values to the typed configuration: every check that one value, or two, must pass.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::error::Problem;
use super::load::{Layer, Sources};
use super::read::Reader;
use super::validate as check;
use super::value::Value;
use super::{
    Broker, Config, Credentials, Crm, DanglingRows, Database, Http, Listener, Mode, OnCaptureError,
    PathStyle, Profile, Recycling, Retry, Storage, Worker, database_url, mapping,
};
use crate::file::Bucket;

const DAY: Duration = Duration::from_hours(24);

/// The configuration; nothing where a problem was found (and kept).
pub(super) fn build(
    layer: &Layer,
    Sources { directory, environment, .. }: &Sources,
    problems: &mut Vec<Problem>,
) -> Option<Config> {
    let reader = &mut Reader::new(layer, directory, problems);
    // Each section is read before the first missing one ends this: all problems at once.
    let mut crm = crm(reader);
    let database =
        Database { url: reader.secret("database.url", |url| database_url::check(url, environment)) };
    let broker = broker(reader);
    let storage = storage(reader);
    if let (Some(Crm { profile: Profile::Mapping(tables), .. }), Some(storage)) = (&mut crm, &storage) {
        for table in tables {
            table.template = storage.key_template.clone();
        }
    }
    let recycle = recycle(reader);
    let prefetch = reader.get("worker.prefetch", |value| value.number(1, u64::from(u16::MAX)));
    let delays = reader.get("retry.delays", |value| value.list().and_then(check::delays));
    let retention_database_backups = reader.duration("retention.database_backups", DAY);
    let listener = listener(reader);
    let shutdown_timeout = reader.duration("shutdown_timeout", Duration::ZERO);
    let http = http(reader);
    Some(Config {
        crm: crm?,
        database,
        broker: broker?,
        storage: storage?,
        recycle: recycle?,
        worker: Worker { prefetch: u16::try_from(prefetch?).ok()? },
        retry: Retry { delays: delays? },
        retention_database_backups,
        listener: listener?,
        shutdown_timeout: shutdown_timeout?,
        http: http?,
    })
}

/// The three words of `crm.profile`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ProfileWord {
    Creatio,
    Mapping,
    Events,
}

fn crm(reader: &mut Reader<'_>) -> Option<Crm> {
    use ProfileWord::{Creatio, Events, Mapping};
    reader.text("crm.connection_strings", |_| Ok(()));
    let word = reader.word("crm.profile", &[("creatio", Creatio), ("mapping", Mapping), ("events", Events)]);
    let tables = reader.source("crm.file_table").is_some();
    let trust_outside_events = reader.get("crm.trust_outside_events", Value::boolean);
    let profile = match word {
        Some(Mapping) if !tables => {
            reader.wrong("crm.profile", "is mapping, and no [[crm.file_table]] lists a table");
            None
        }
        Some(Mapping) => mapping::file_tables(reader).map(Profile::Mapping),
        Some(Creatio | Events) if tables => {
            reader.wrong("crm.file_table", "is listed, and crm.profile is not mapping");
            None
        }
        Some(Events) if trust_outside_events == Some(false) => {
            reader.wrong("crm.profile", "is events, which needs crm.trust_outside_events = true");
            None
        }
        Some(Events) => Some(Profile::Events),
        Some(Creatio) => Some(Profile::Creatio),
        None => None,
    };
    let schema = reader.text("crm.schema", check::identifier);
    let storage_codes = reader.get("crm.storage_codes", |value| {
        let codes = value.list()?;
        if codes.is_empty() { Err("names no storage".to_owned()) } else { Ok(codes) }
    });
    let dangling_rows =
        reader.word("crm.dangling_rows", &[("delete", DanglingRows::Delete), ("leave", DanglingRows::Leave)]);
    Some(Crm {
        profile: profile?,
        schema: schema?,
        dangling_rows: dangling_rows?,
        trust_outside_events: trust_outside_events?,
        storage_codes: storage_codes?,
    })
}

fn broker(reader: &mut Reader<'_>) -> Option<Broker> {
    reader.together("broker.client_certificate_file", "broker.client_key_file");
    let certificate = reader.file("broker.client_certificate_file");
    let key = reader.file("broker.client_key_file");
    let url = reader.secret("broker.url", check::broker_url);
    let ca_file = reader.file("broker.ca_file");
    let prefix = reader.text("broker.prefix", check::prefix);
    if url.as_ref().is_some_and(|url| is_plain(url.expose_secret())) {
        for key in ["broker.ca_file", "broker.client_certificate_file"] {
            needs_tls(reader, key, "broker.url does not begin with amqps://");
        }
    }
    Some(Broker { url, prefix: prefix?, ca_file, client_certificate: certificate.zip(key) })
}

/// Schemes are the same in capitals.
fn is_plain(url: &str) -> bool {
    url.split(':').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("amqp"))
}

/// A certificate with an address without TLS: whoever set it believes that the connection is encrypted.
fn needs_tls(reader: &mut Reader<'_>, key: &str, but: &str) {
    if reader.source(key).is_some() {
        reader.wrong(key, format!("is set, and {but}: it would be of no use, and nothing encrypted"));
    }
}

fn storage(reader: &mut Reader<'_>) -> Option<Storage> {
    let service_url = reader.text("storage.service_url", check::service_url);
    let positive = Duration::from_millis(1);
    reader.together("storage.access_key", "storage.secret_key");
    let access_key = reader.secret("storage.access_key", |text| Ok(text.to_owned()));
    let secret_key = reader.secret("storage.secret_key", |text| Ok(text.to_owned()));
    let credentials = access_key.zip(secret_key).map_or(Credentials::DefaultChain, |keys| {
        let (access_key, secret_key) = keys;
        Credentials::Keys { access_key, secret_key }
    });
    let buckets = buckets(reader);
    let region = reader.text("storage.region", check::word);
    let path_style = reader.get("storage.path_style", path_style);
    let key_template = reader.text("storage.key_template", |text| {
        text.parse().map_err(|error: crate::key_template::TemplateError| error.to_string())
    });
    let recycle_class = reader.text("storage.recycle_class", check::word);
    let connect_timeout = reader.duration("storage.connect_timeout", positive);
    let attempt_timeout = reader.duration("storage.attempt_timeout", positive);
    let operation_timeout = reader.duration("storage.operation_timeout", positive);
    let ca_file = reader.file("storage.ca_file");
    if service_url.as_ref().is_some_and(|url: &url::Url| url.scheme() == "http") {
        needs_tls(reader, "storage.ca_file", "storage.service_url does not begin with https://");
    }
    Some(Storage {
        service_url,
        credentials,
        buckets,
        region: region?,
        path_style: path_style?,
        key_template: key_template?,
        recycle_class,
        connect_timeout: connect_timeout?,
        attempt_timeout: attempt_timeout?,
        operation_timeout: operation_timeout?,
        ca_file,
    })
}

type Buckets = (Bucket<crate::file::Object>, Bucket<crate::file::Recycle>);

fn buckets(reader: &mut Reader<'_>) -> Option<Buckets> {
    const OBJECT: &str = "storage.object_bucket_name";
    const RECYCLE: &str = "storage.recycle_bucket_name";
    reader.together(OBJECT, RECYCLE);
    let object = reader.text(OBJECT, |text| check::bucket_name(text.trim()));
    let recycle = reader.text(RECYCLE, |text| check::bucket_name(text.trim()));
    let (object, recycle) = object.zip(recycle)?;
    // Many servers tell letter cases apart, some do not: names this close are a slip in any case.
    if object.eq_ignore_ascii_case(&recycle) {
        let other = reader.source(OBJECT).map_or(String::new(), ToString::to_string);
        reader.wrong(RECYCLE, format!("is '{recycle}', the same bucket as {OBJECT} ({other})"));
        return None;
    }
    Some((Bucket::new(object), Bucket::new(recycle)))
}

/// The words, and `true` and `false` as many S3 clients have it.
fn path_style(value: &Value) -> Result<PathStyle, String> {
    if let Value::Boolean(path) = value {
        return Ok(if *path { PathStyle::Path } else { PathStyle::VirtualHost });
    }
    match value.text()? {
        "auto" => Ok(PathStyle::Auto),
        "path" | "true" => Ok(PathStyle::Path),
        "virtual_host" | "false" => Ok(PathStyle::VirtualHost),
        other => Err(format!("is {}, not one of: auto, path, virtual_host", super::value::shown(other))),
    }
}

fn recycle(reader: &mut Reader<'_>) -> Option<Recycling> {
    const MAX_CONCURRENCY: u64 = 4_096;
    let mode = reader.word("recycle.mode", &[("move", Mode::Move), ("observe", Mode::Observe)]);
    let grace = reader.duration("recycle.grace", Duration::ZERO);
    let brake = reader.get("recycle.brake", |value| value.number(0, u64::MAX));
    let concurrency = reader.get("recycle.concurrency", |value| value.number(1, MAX_CONCURRENCY));
    Some(Recycling {
        grace: grace?,
        mode: mode?,
        brake: brake?,
        concurrency: usize::try_from(concurrency?).ok()?,
    })
}

fn listener(reader: &mut Reader<'_>) -> Option<Listener> {
    let auto_install = reader.get("listener.auto_install", Value::boolean);
    let on_capture_error = reader
        .word("listener.on_capture_error", &[("skip", OnCaptureError::Skip), ("fail", OnCaptureError::Fail)]);
    let poll = reader.duration("listener.poll", Duration::from_millis(20));
    Some(Listener { auto_install: auto_install?, on_capture_error: on_capture_error?, poll: poll? })
}

fn http(reader: &mut Reader<'_>) -> Option<Http> {
    let listen = reader.get("http.listen", |value| match value {
        Value::Plain(text) | Value::Text(text) if text.is_empty() => Ok(None),
        _ => {
            let text = value.text()?;
            text.parse().map(Some).map_err(|_| {
                let shown = super::value::shown(text);
                format!("is {shown}, not an address with a port as in 127.0.0.1:8077 (empty: off)")
            })
        }
    });
    let token = reader.secret("http.token", check::token);
    Some(Http { listen: listen?, token })
}
