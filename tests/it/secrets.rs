//! Every secret of the configuration, from every place it may come from: in no text that the program can give of itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use file_recycler::broker::Broker;
use file_recycler::config::{self, Config, KEYS, Sources, load};
use file_recycler::db::Db;
use file_recycler::storage::Storage;
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::support::process::{self, Service, eventually, get};
use crate::support::world::{S3, World, bare_world};

/// What each secret is set to, and the part of it that is to be told nowhere.
const SECRETS: [(&str, &str, &str); 5] = [
    ("database.url", "postgres://u:CANARYdatabase@127.0.0.1:1/d", "CANARYdatabase"),
    ("broker.url", "amqp://u:CANARYbroker@127.0.0.1:1/v", "CANARYbroker"),
    ("storage.access_key", "CANARYaccess", "CANARYaccess"),
    ("storage.secret_key", "CANARYsecret", "CANARYsecret"),
    ("http.token", "CANARYtoken", "CANARYtoken"),
];
const BUCKETS: [(&str, &str); 3] = [
    ("storage.service_url", "http://127.0.0.1:1"),
    ("storage.object_bucket_name", "files"),
    ("storage.recycle_bucket_name", "gone"),
];

struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("file-recycler-secrets-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, text: &str) -> String {
        std::fs::write(self.0.join(name), text).unwrap();
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn variable(key: &str) -> String {
    format!("FILE_RECYCLER_{}", key.replace('.', "__").to_uppercase())
}

fn buckets() -> Vec<(String, String)> {
    BUCKETS.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect()
}

fn sources(directory: &Path, environment: Vec<(String, String)>, file: Option<String>) -> Sources {
    let config_file = file.map(PathBuf::from);
    Sources { config_file, sets: Vec::new(), environment, directory: directory.to_owned() }
}

/// The same secrets by variables, by files that variables name, by the configuration file, and by the CRM's strings.
fn every_place(folder: &Folder) -> [Sources; 4] {
    let by_variable = SECRETS.iter().map(|(key, value, _)| (variable(key), (*value).to_owned()));
    let by_file = SECRETS
        .iter()
        .map(|(key, value, _)| (variable(key) + "_FILE", folder.write(key, &format!("{value}\n"))));
    let line = |(key, value): (&str, &str)| format!("{key} = \"{value}\"\n");
    let document: String =
        SECRETS.iter().map(|(key, value, _)| line((key, value))).chain(BUCKETS.map(line)).collect();
    let strings = folder.write(
        "ConnectionStrings.config",
        r#"<connectionStrings>
             <add name="db" connectionString="Server=127.0.0.1;Port=1;Database=d;User ID=u;Password=CANARYdatabase"/>
             <add name="messageBroker" connectionString="amqp://u:CANARYbroker@127.0.0.1:1/v"/>
             <add name="s3Connection" connectionString="ServiceUrl=http://127.0.0.1:1;AccessKey=CANARYaccess;SecretKey=CANARYsecret;ObjectBucketName=files;RecycleBucketName=gone"/>
           </connectionStrings>"#,
    );
    let by_crm = [
        (variable("crm.connection_strings"), strings),
        // The CRM knows nothing of this one.
        (variable("http.token"), "CANARYtoken".to_owned()),
    ];
    [
        sources(&folder.0, by_variable.chain(buckets()).collect(), None),
        sources(&folder.0, by_file.chain(buckets()).collect(), None),
        sources(&folder.0, Vec::new(), Some(folder.write("config.toml", &document))),
        sources(&folder.0, by_crm.into(), None),
    ]
}

/// Its secrets; a field of another type than `SecretString` does not compile here.
fn typed(config: &Config) -> [(&'static str, Option<&SecretString>); 5] {
    let keys = match &config.storage.credentials {
        config::Credentials::Keys { access_key, secret_key } => (Some(access_key), Some(secret_key)),
        config::Credentials::DefaultChain => (None, None),
    };
    [
        ("database.url", config.database.url.as_ref()),
        ("broker.url", config.broker.url.as_ref()),
        ("storage.access_key", keys.0),
        ("storage.secret_key", keys.1),
        ("http.token", config.http.token.as_ref()),
    ]
}

#[track_caller]
fn tells_nothing(text: &str) {
    for (key, _, secret) in SECRETS {
        assert!(!text.contains(secret), "{key} is told in: {text}");
    }
}

#[tokio::test]
async fn every_secret_of_every_place_is_kept_by_its_type_and_told_by_nothing() {
    let keys: Vec<&str> = KEYS.iter().filter(|key| key.secret).map(|key| key.name).collect();
    assert_eq!(keys, SECRETS.map(|(key, _, _)| key), "a new secret is to be looked for here, too");
    let folder = Folder::new();
    for sources in every_place(&folder) {
        let loaded = load(&sources).unwrap();
        for ((key, kept), (expected, _, secret)) in typed(&loaded.config).into_iter().zip(SECRETS) {
            assert_eq!(key, expected);
            assert!(kept.unwrap().expose_secret().contains(secret), "{key} is read");
        }
        tells_nothing(&format!("{loaded:?} {:#?}", loaded.config));
        let shown: Vec<String> =
            loaded.settings.iter().map(|setting| format!("{} {:?}", setting.key, setting.value)).collect();
        tells_nothing(&shown.join("\n"));
        // What is made of them.
        let config = &loaded.config;
        let db = Db::connect(config.database.url.as_ref().unwrap()).unwrap();
        let broker = Broker::new(&config.broker).unwrap();
        let storage = Storage::connect(&config.storage, &config.recycle, Arc::new(|_, _| ())).await.unwrap();
        tells_nothing(&format!("{db:?} {broker:?} {storage:?}"));
        // And what they say when nobody answers.
        let errors = [
            format!("{0} {0:?}", db.ping().await.unwrap_err()),
            format!("{0} {0:?}", broker.connect().await.map(drop).unwrap_err()),
            format!("{0} {0:?}", storage.check().await.unwrap_err()),
        ];
        tells_nothing(&errors.join("\n"));
    }
}

/// Real servers, to which the passwords are sent and which refuse them.
fn refused_everywhere(world: &World) -> Vec<(String, String)> {
    let with_password = |key: &str, password: &str| {
        let name = variable(key);
        let value = &world.environment.iter().find(|(known, _)| *known == name).unwrap().1;
        let mut url = url::Url::parse(value).unwrap();
        url.set_password(Some(password)).unwrap();
        String::from(url)
    };
    let mut environment = world.with(&[
        ("DATABASE__URL", &with_password("database.url", "CANARYdatabase")),
        ("BROKER__URL", &with_password("broker.url", "CANARYbroker")),
        ("STORAGE__ACCESS_KEY", "CANARYaccess"),
        ("STORAGE__SECRET_KEY", "CANARYsecret"),
        ("HTTP__TOKEN", "CANARYtoken"),
    ]);
    environment.retain(|(name, _)| name != "RUST_LOG");
    environment.push(("RUST_LOG".to_owned(), "trace".to_owned()));
    environment
}

#[tokio::test]
async fn a_process_tells_none_of_them_at_its_most_talkative() {
    bare_world(S3::Embedded, async |world| {
        let environment = refused_everywhere(&world);
        let mut service = Service::start(&environment, &["run"])
            .await
            .expect_log("not well")
            .expect_log("probed")
            .expect_log("lapin::");
        eventually("the broker and the storage have refused", async || {
            let answer = service.readyz().await?;
            let has_refused = |name| {
                let told = &answer["dependencies"][name];
                told["ok"] == false
                    && told["message"].as_str().is_some_and(|message| message != "not checked yet")
            };
            ["broker", "storage"].into_iter().all(has_refused).then_some(())
        })
        .await;
        for path in ["/readyz", "/metrics", "/healthz"] {
            tells_nothing(&get(service.http, path).await.unwrap().1);
        }
        assert_eq!(service.stop().await, Some(0));
        let log = service.log_to_its_end().join("\n");
        assert!(log.contains("DEBUG"), "it is talkative: {log}");
        tells_nothing(&log);
        for arguments in [
            &["config", "show", "--sources"][..],
            &["config", "show", "--sources", "--json"],
            &["doctor", "--json"],
            &["status", "--json"],
            &["--help"],
            &["run", "--help"],
        ] {
            let said =
                process::run_that_warns(&environment, arguments, &["lapin::", "not well", "probed"]).await;
            assert!(!said.stdout.is_empty(), "{said:?}");
            tells_nothing(&format!("{}{}", said.stdout, said.stderr));
        }
    })
    .await;
}
