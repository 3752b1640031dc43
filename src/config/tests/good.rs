//! What is right, from every source.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::*;

/// Each key with a value as in the environment, the same in TOML, and what else it needs.
const SAMPLES: &[(&str, &str, &str, &[&str])] = &[
    ("crm.profile", "events", "'events'", &["crm.trust_outside_events=true"]),
    ("crm.schema", "crm", "'crm'", &[]),
    ("crm.storage_codes", r#"["S3", "S4"]"#, "['S3', 'S4']", &[]),
    ("crm.dangling_rows", "leave", "'leave'", &[]),
    ("crm.trust_outside_events", "true", "true", &[]),
    ("database.url", "postgres://u:p@h/d", "'postgres://u:p@h/d'", &[]),
    ("broker.url", "amqp://u:p@h/v", "'amqp://u:p@h/v'", &[]),
    ("broker.prefix", "p.q", "'p.q'", &[]),
    ("broker.ca_file", "pem", "'pem'", &[]),
    ("broker.client_certificate_file", "pem", "'pem'", &["broker.client_key_file=pem"]),
    ("broker.client_key_file", "pem", "'pem'", &["broker.client_certificate_file=pem"]),
    ("storage.service_url", "http://s3:9000", "'http://s3:9000'", &[]),
    ("storage.object_bucket_name", "files", "'files'", &["storage.recycle_bucket_name=gone"]),
    ("storage.recycle_bucket_name", "gone", "'gone'", &["storage.object_bucket_name=files"]),
    ("storage.region", "eu-west-1", "'eu-west-1'", &[]),
    ("storage.path_style", "virtual_host", "'virtual_host'", &[]),
    ("storage.key_template", "f/{file_id:upper}", "'f/{file_id:upper}'", &[]),
    ("storage.recycle_class", "STANDARD_IA", "'STANDARD_IA'", &[]),
    ("storage.connect_timeout", "5s", "'5s'", &[]),
    ("storage.attempt_timeout", "6s", "'6s'", &[]),
    ("storage.operation_timeout", "7m", "'7m'", &[]),
    ("storage.ca_file", "pem", "'pem'", &[]),
    ("recycle.mode", "observe", "'observe'", &[]),
    ("recycle.grace", "15m", "'15m'", &[]),
    ("recycle.brake", "1000", "1_000", &[]),
    ("recycle.concurrency", "4096", "4096", &[]),
    ("worker.prefetch", "65535", "0xffff", &[]),
    ("retry.delays", r#"["1s", "500ms"]"#, "['1s', '500ms']", &[]),
    ("retention.database_backups", "90d", "'90d'", &[]),
    ("listener.auto_install", "true", "true", &[]),
    ("listener.on_capture_error", "fail", "'fail'", &[]),
    ("listener.poll", "20ms", "'20ms'", &[]),
    ("shutdown_timeout", "0s", "'0s'", &[]),
    ("http.listen", "0.0.0.0:1", "'0.0.0.0:1'", &[]),
];

fn place(needs: &[&str]) -> Place {
    let place = needs.iter().fold(Place::new(), |place, need| place.set(need));
    place.write("pem", "x");
    place
}

fn variable(key: &str) -> String {
    KEYS.iter().find(|known| known.name == key).unwrap().variable()
}

#[test]
fn every_key_is_in_the_samples() {
    let elsewhere = [
        "crm.connection_strings",
        "crm.file_table",
        "storage.access_key",
        "storage.secret_key",
        "http.token",
    ];
    for key in KEYS {
        let sampled = SAMPLES.iter().any(|(name, ..)| *name == key.name) || elsewhere.contains(&key.name);
        assert!(sampled, "{}", key.name);
    }
}

#[test]
fn every_key_comes_from_flag_environment_and_file() {
    for (key, plain, toml, needs) in SAMPLES {
        let secret = KEYS.iter().any(|known| known.name == *key && known.secret);
        let value = |place: &Place| {
            let (value, source) = place.shown(key);
            assert!(
                secret || value.as_deref() == Some(*plain) || *key == "worker.prefetch",
                "{key} {value:?}"
            );
            source
        };
        if !secret {
            assert_eq!(value(&place(needs).set(&format!("{key}={plain}"))), "--set");
        }
        let by_environment = place(needs).env(&variable(key), plain);
        assert_eq!(value(&by_environment), format!("environment {}", variable(key)));
        let by_file = place(needs).file(&format!("# first line\n{key} = {toml}\n"));
        assert_eq!(value(&by_file), "DIR/file-recycler.toml line 2");
    }
}

#[test]
fn each_layer_hides_the_ones_below() {
    let place = Place::new().connection_strings(&[("s3Connection", "ServiceUrl=http://strings")]);
    let url = |place: &Place| place.shown("storage.service_url");
    let is = |url: &str, source: &str| (Some(url.to_owned()), source.to_owned());
    assert_eq!(Place::new().shown("storage.service_url"), (None, "default".to_owned()));
    assert_eq!(url(&place), is("http://strings", "s3Connection in DIR/cs.config"));
    let place = place.file("[storage]\nservice_url = \"http://file\"");
    assert_eq!(url(&place), is("http://file", "DIR/file-recycler.toml line 2"));
    let place = place.env("FILE_RECYCLER_STORAGE__SERVICE_URL", "http://env");
    assert_eq!(url(&place), is("http://env", "environment FILE_RECYCLER_STORAGE__SERVICE_URL"));
    let place = place.set("storage.service_url=http://flag").set("storage.service_url=http://last");
    assert_eq!(url(&place), is("http://last", "--set"));
}

#[test]
fn a_named_file_is_taken_instead_of_the_one_in_the_directory() {
    let mut place = Place::new().file("storage.region = 'here'");
    place.write("named.toml", "\u{FEFF}storage.region = 'named'");
    assert_eq!(place.shown("storage.region").0.as_deref(), Some("here"));
    place.sources.config_file = Some("named.toml".into());
    assert_eq!(place.shown("storage.region").0.as_deref(), Some("named"));
}

#[test]
fn the_connection_strings_give_everything_that_they_know() {
    let place = Place::new().connection_strings(&[
        ("S3Connection", "ServiceUrl=https://s3.example; AccessKey=id; SecretKey=\"a=b;c\"; ObjectBucketName=files; RecycleBucketName=gone;"),
        ("db", "Server=pg;Port=6432;Database=crm;User ID=app;password=p/w;Timeout=500;"),
        ("messageBroker", " amqp://u:p@mq:5672/v "),
        ("redis", "host=x;nonsense"),
    ]);
    let config = place.loaded().config;
    assert_eq!(
        config.database.url.unwrap().expose_secret(),
        "postgres://app:p%2Fw@pg:6432/crm?sslmode=prefer"
    );
    assert_eq!(config.broker.url.unwrap().expose_secret(), "amqp://u:p@mq:5672/v");
    assert_eq!(config.storage.service_url.unwrap().as_str(), "https://s3.example/");
    let Credentials::Keys { access_key, secret_key } = config.storage.credentials else { panic!() };
    assert_eq!((access_key.expose_secret(), secret_key.expose_secret()), ("id", "a=b;c"));
    let (object, recycle) = config.storage.buckets.unwrap();
    assert_eq!((object.as_str(), recycle.as_str()), ("files", "gone"));
    let (shown, source) = place.shown("database.url");
    assert_eq!(shown.as_deref(), Some("postgres://app:hidden@pg:6432/crm"));
    assert_eq!(source, "db in DIR/cs.config");
}

#[test]
fn a_connection_string_that_nobody_needs_may_be_anything() {
    let strings = [("db", "Data Source=mssql"), ("s3Connection", "ZW5jcnlwdGVk"), ("messageBroker", "")];
    let given = Place::new()
        .connection_strings(&strings)
        .env("FILE_RECYCLER_DATABASE__URL", "postgres://h/d")
        .env("FILE_RECYCLER_STORAGE__ACCESS_KEY", "a")
        .env("FILE_RECYCLER_STORAGE__SECRET_KEY", "b")
        .set("storage.service_url=http://s3")
        .set("storage.object_bucket_name=files")
        .set("storage.recycle_bucket_name=gone");
    assert!(given.loaded().config.broker.url.is_none());
    // Where no CRM database can be asked, its string is not ours: ours is a PostgreSQL of its own.
    let events = Place::new()
        .connection_strings(&strings[..1])
        .set("crm.profile=events")
        .set("crm.trust_outside_events=true");
    assert!(events.loaded().config.database.url.is_none());
}

#[test]
fn secrets_come_from_variables_and_from_files_and_are_always_text() {
    let plain = ["storage.access_key", "storage.secret_key", "http.token"];
    for key in KEYS.iter().filter(|key| plain.contains(&key.name)) {
        let other =
            if key.name == "storage.access_key" { "storage.secret_key" } else { "storage.access_key" };
        for (content, secret) in [("12345\n", "12345"), ("true\r\n", "true"), (" a b", " a b")] {
            if key.name == "http.token" && secret.contains(' ') {
                continue;
            }
            let mut place = Place::new().env(&format!("{}_FILE", key.variable()), "secret");
            if key.name.starts_with("storage.") {
                place = place.env(&variable(other), "x");
            }
            place.write("secret", content);
            let config = place.loaded().config;
            let read = match (key.name, &config.storage.credentials) {
                ("http.token", _) => config.http.token.as_ref().unwrap(),
                ("storage.access_key", Credentials::Keys { access_key, .. }) => access_key,
                (_, Credentials::Keys { secret_key, .. }) => secret_key,
                _ => panic!(),
            };
            assert_eq!(read.expose_secret(), secret, "{}", key.name);
            assert_eq!(place.shown(key.name).0.as_deref(), Some(HIDDEN));
            assert!(place.shown(key.name).1.ends_with("_FILE, file DIR/secret"));
        }
    }
    let place = Place::new().env("FILE_RECYCLER_DATABASE__URL_FILE", "url");
    place.write("url", "postgres://h/d\n");
    assert_eq!(place.loaded().config.database.url.unwrap().expose_secret(), "postgres://h/d?sslmode=prefer");
}

#[test]
fn nothing_at_all_gives_the_defaults() {
    let config = Place::new().loaded().config;
    assert_eq!(config.crm.profile, Profile::Creatio);
    assert_eq!(config.crm.storage_codes, ["S3_storage"]);
    assert!(matches!(config.storage.credentials, Credentials::DefaultChain));
    assert_eq!(config.storage.region, "us-east-1");
    assert_eq!(config.http.listen, Some("127.0.0.1:8077".parse().unwrap()));
    let delays: Vec<&str> = config.retry.delays.iter().map(|delay| delay.text.as_str()).collect();
    assert_eq!(delays, ["10s", "1m", "10m", "1h", "6h"]);
    assert_eq!(config.recycle.concurrency, 64);
    assert_eq!(config.shutdown_timeout, Duration::from_secs(30));
    assert_eq!(config.retention_database_backups, None);
}

#[test]
fn an_empty_listen_address_is_off_and_an_empty_list_of_delays_is_none() {
    let off = [
        Place::new().env("FILE_RECYCLER_HTTP__LISTEN", ""),
        Place::new().set("http.listen="),
        Place::new().file("http.listen = ''"),
    ];
    assert!(off.iter().all(|place| place.loaded().config.http.listen.is_none()));
    assert!(Place::new().set("retry.delays=[]").loaded().config.retry.delays.is_empty());
}

#[test]
fn variables_that_are_not_ours_are_left_alone() {
    let names =
        ["FILE_RECYCLER_TEST_X", "FILE_RECYCLER_LOCAL", "FILE_RECYCLER_BIN", "FILE_RECYCLER_PORT", "PATH"];
    names.iter().fold(Place::new(), |place, name| place.env(name, "x")).loaded();
}

#[test]
fn a_mapping_lists_its_file_tables() {
    let place = Place::new().file(
        r#"
        [crm]
        profile = "mapping"
        [[crm.file_table]]
        table = "ir_attachment"
        id = "id"
        record = "res_model, res_id"
        key = "{store_fname}"
        storage = "type = binary"
        size = "file_size"
        [crm.file_table.models]
        "res.partner" = "res_partner"
        [[crm.file_table]]
        table = "attachment"
        id = "uuid"
        record = "document_id -> document"
        "#,
    );
    let Profile::Mapping(tables) = place.loaded().config.crm.profile else { panic!() };
    assert_eq!(tables.len(), 2);
    assert_eq!(tables[0].storage, Some(("type".to_owned(), "binary".to_owned())));
    assert_eq!(
        tables[0].record,
        Some(RecordLink::Weak {
            model: "res_model".to_owned(),
            id: "res_id".to_owned(),
            models: [("res.partner".to_owned(), "res_partner".to_owned())].into(),
        })
    );
    assert_eq!(
        tables[1].record,
        Some(RecordLink::Column { column: "document_id".to_owned(), table: "document".to_owned() })
    );
    assert_eq!(place.shown("crm.file_table").0.as_deref(), Some("(2 tables)"));
}

#[test]
fn the_operators_guide_lists_exactly_the_keys_of_the_program() {
    let mut table = "| key | default | environment | meaning |\n|---|---|---|---|\n".to_owned();
    for key in KEYS {
        let default = key.default.map_or(String::new(), |default| format!("`{default}`"));
        let file = if key.secret { " (or `…_FILE`)" } else { "" };
        let variable =
            if key.name == "crm.file_table" { String::new() } else { format!("`{}`{file}", key.variable()) };
        table += &["| `", key.name, "` | ", &default, " | ", &variable, " | ", key.meaning, " |\n"].concat();
    }
    let guide = include_str!("../../../docs/configuration.md");
    assert!(guide.contains(&table), "docs/configuration.md must contain:\n\n{table}");
}

#[test]
fn what_the_databases_address_leaves_open_comes_from_postgresqls_own_variables() {
    let place =
        Place::new().env("FILE_RECYCLER_DATABASE__URL", "postgres://h/d").env("PGSSLMODE", "verify-full");
    let url = place.loaded().config.database.url.unwrap();
    assert_eq!(url.expose_secret(), "postgres://h/d?sslmode=verify-full");
}
