//! What a page's commands find when they run: a world of its own, and what its comments arrange in it.

use std::os::unix::fs::symlink;

use file_recycler::broker::{Outgoing, Target};
use file_recycler::event::{Deleted, Event};
use file_recycler::file::{FileId, FileRef};
use file_recycler::storage::Side;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::process::Command as Process;
use uuid::Uuid;

use super::page::{Page, Step};
use super::root;
use crate::drill::set_back;
use crate::support::crm::{Crm, DATABASE_STORAGE, FILE_TYPE, S3_STORAGE};
use crate::support::folder::Folder;
use crate::support::process::{Service, eventually};
use crate::support::tools::Dump;
use crate::support::world::{S3, World, bare_world};

/// What a page says that installs by itself; on it the addresses are the CRM's own.
const NOTHING_YET: &str = "nothing is installed";
/// Folders of the machine that a page may name; in the page's folder they are its own.
const FOLDERS: &[&str] = &["/etc/", "/opt/", "/run/", "/usr/local/", "/var/lib/"];
/// What the token is, where a page says `$TOKEN`.
const TOKEN: &str = "the-token-of-this-page";

/// A page's world while its commands run.
pub struct Scene {
    world: std::sync::Arc<World>,
    pub folder: Folder,
    pub environment: Vec<(String, String)>,
    /// Where `http.listen` of the last that was started is.
    pub http: String,
    pub services: Vec<(String, Service)>,
    /// The file that was arranged last.
    file: Option<Uuid>,
    /// When the database was backed up, else when the page began.
    moment: String,
    dump: Option<Dump>,
}

/// Runs `test` in the world that a page begins in.
pub async fn of(page: &Page, test: impl AsyncFnOnce(Scene)) {
    let installs = page.steps.contains(&Step::Arrange(NOTHING_YET.to_owned()));
    bare_world(S3::Embedded, async |world| {
        if !installs {
            for line in ["listener install", "adopt --apply", "retention set --days 90 --apply"] {
                let words: Vec<_> = line.split(' ').collect();
                world.cli(&words).await.expect(0);
            }
            world.queues.session().await.close().await;
        }
        test(Scene::new(world, installs)).await;
    })
    .await;
}

impl Scene {
    fn new(world: std::sync::Arc<World>, installs: bool) -> Self {
        let folder = Folder::create();
        let inside = |path: &str| folder.path().join(path.trim_start_matches('/'));
        for path in [
            "bin",
            "etc/file-recycler",
            "etc/bash_completion.d",
            "opt/creatio",
            "var/lib/file-recycler",
            "usr/local/share/man/man1",
            "run/secrets",
            ".zfunc",
            ".config/fish/completions",
        ] {
            std::fs::create_dir_all(inside(path)).unwrap();
        }
        symlink(env!("CARGO_BIN_EXE_file-recycler"), inside("bin/file-recycler")).unwrap();
        for path in ["deploy", "docs", "bench", "migrations"] {
            symlink(root().join(path), inside(path)).unwrap();
        }
        std::fs::write(inside("opt/creatio/ConnectionStrings.config"), connection_strings(&world)).unwrap();
        let mut environment = if installs {
            let known =
                |name: &str| ["BROKER__PREFIX", "RETRY__DELAYS"].iter().any(|key| name.ends_with(key));
            world.environment.iter().filter(|(name, _)| known(name)).cloned().collect()
        } else {
            world.with(&[("RETENTION__DATABASE_BACKUPS", "90d"), ("HTTP__TOKEN", TOKEN)])
        };
        let path = std::env::var("PATH").unwrap_or_default();
        for (name, value) in [
            ("PATH", format!("{}:{path}", inside("bin").display())),
            ("HOME", folder.path().display().to_string()),
            ("USER", "operator".to_owned()),
            ("TOKEN", TOKEN.to_owned()),
        ] {
            environment.push((name.to_owned(), value));
        }
        let moment = now();
        Self {
            world,
            folder,
            environment,
            http: "127.0.0.1:8077".to_owned(),
            services: Vec::new(),
            file: None,
            moment,
            dump: None,
        }
    }

    pub fn save(&self, name: &str, content: &str) {
        std::fs::write(self.folder.path().join(name.trim_start_matches('/')), self.filled_in(content))
            .unwrap();
    }

    /// The line with what is true here in the place of what no page can know.
    pub fn filled_in(&self, line: &str) -> String {
        let mut line = line.replace("127.0.0.1:8077", &self.http);
        for folder in FOLDERS {
            for before in [" ", "=", "'", "\"", ">", "<"] {
                line = line.replace(
                    &format!("{before}{folder}"),
                    &format!("{before}{}{folder}", self.folder.path().display()),
                );
            }
        }
        let words = line.split(' ').map(|word| {
            let (name, value) = word.split_once('=').map_or(("", word), |(name, value)| (name, value));
            let value = if value.starts_with("postgres://") {
                self.world.crm.url.clone()
            } else if OffsetDateTime::parse(value, &Rfc3339).is_ok() {
                self.moment.clone()
            } else if value == "ID" {
                self.file.expect("a file has been arranged before `ID`").to_string()
            } else {
                return word.to_owned();
            };
            if name.is_empty() { value } else { format!("{name}={value}") }
        });
        words.collect::<Vec<_>>().join(" ")
    }

    /// What was said, with the names that a page gives things.
    pub fn as_in_the_guide(&self, text: &str) -> String {
        let storage = &self.world.storage;
        text.replace(&storage.object, "crm-files")
            .replace(&storage.recycle, "crm-recycle")
            .replace(&self.world.crm.name, "crm")
            .replace(&self.world.queues.topology.prefix, "file-recycler")
            .replace(&self.http, "127.0.0.1:8077")
            .replace(&format!("{}/", self.folder.path().display()), "/")
    }

    /// Variables that hold for the commands after it.
    pub async fn export(&mut self, line: &str) {
        let output = Process::new("bash")
            .args(["-c", &format!("{line}; env -0")])
            .env_clear()
            .envs(self.environment.iter().cloned())
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let pairs = text.split('\0').filter_map(|pair| pair.split_once('='));
        self.environment = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    }

    /// One sentence of `<!-- guide: … -->`.
    pub async fn arrange(&mut self, sentence: &str) {
        let id = |text: &str| text.parse::<Uuid>().unwrap_or_else(|_| panic!("{sentence}: {text} is no id"));
        let words: Vec<&str> = sentence.split(' ').collect();
        match words[..] {
            ["nothing", "is", "installed"] => {}
            ["run"] => self.begin("run", &["run"]).await,
            ["stop"] => self.end().await,
            ["file", file, "of", section, record, "is", "living"] => {
                self.file(id(file), section, id(record)).await;
                self.world.upload(id(file)).await;
            }
            ["file", file, "of", section, record, "is", "in", "the", "database"] => {
                self.file(id(file), section, id(record)).await;
                self.world
                    .crm
                    .sql(format!(
                        r#"UPDATE "{section}File" SET "SysFileStorageId" = '{DATABASE_STORAGE}', "Data" = '{file}',
                                  "ModifiedOn" = timezone('utc', now()) - interval '1 day'
                            WHERE "Id" = '{file}'"#
                    ))
                    .await;
            }
            ["file", file, "of", section, record, "is", "in", "the", "recycle", "bucket", "alone"] => {
                self.file(id(file), section, id(record)).await;
                self.world.storage.put(Side::Recycle, file, file.as_bytes()).await;
            }
            ["file", file, "of", section, record, "is", "recycled"] => {
                self.file(id(file), section, id(record)).await;
                self.world.upload(id(file)).await;
                self.delete(section, id(record)).await;
                self.is_worked_off(id(file)).await;
            }
            ["file", file, "of", section, record, "stays", "for", other_section, other] => {
                self.record(section, id(record)).await;
                self.record(other_section, id(other)).await;
                self.weak(id(file), section, id(record)).await;
                self.world.crm.link(other_section, id(other), "SysFile", id(file)).await;
                self.delete(section, id(record)).await;
                self.until_remembered(id(record)).await;
            }
            ["Contact", record, "is", "deleted"] => {
                self.delete("Contact", id(record)).await;
                let file = self.file.expect("it has a file");
                self.is_worked_off(file).await;
            }
            ["dead", "letter", letter, "is", "a", "conflict", "of", "file", file] => {
                self.conflict(letter, id(file)).await;
            }
            ["the", "conflict", "of", "file", file, "is", "mended"] => {
                self.world.storage.delete(Side::Recycle, file).await;
            }
            ["the", "database", "is", "backed", "up"] => {
                self.dump = Some(Dump::of(&self.world.crm.url, &[]).await);
                // By the second, as storages tell time: what comes now is written later than the backup.
                self.moment = now();
                eventually("the next second", async || (now() > self.moment).then_some(())).await;
            }
            ["the", "database", "is", "set", "back"] => {
                self.end().await;
                let dump = self.dump.take().expect("it was backed up before");
                set_back(&self.world, &dump).await.pool.close().await;
            }
            _ => panic!("'{sentence}' is no sentence that guide/scene.rs knows"),
        }
    }

    async fn record(&self, section: &str, record: Uuid) {
        self.world
            .crm
            .sql(format!(r#"INSERT INTO "{section}" ("Id") VALUES ('{record}') ON CONFLICT DO NOTHING"#))
            .await;
    }

    async fn file(&mut self, file: Uuid, section: &str, record: Uuid) {
        self.record(section, record).await;
        self.file = Some(file);
        self.world
            .crm
            .sql(format!(
                r#"INSERT INTO "{section}File" ("Id", "TypeId", "Size", "SysFileStorageId", "{section}Id")
                   VALUES ('{file}', '{FILE_TYPE}', 36, '{S3_STORAGE}', '{record}')"#
            ))
            .await;
    }

    async fn weak(&mut self, file: Uuid, section: &str, record: Uuid) {
        self.file = Some(file);
        self.world.upload(file).await;
        self.world
            .crm
            .sql(format!(
                r#"INSERT INTO "SysFile" ("Id", "TypeId", "Size", "SysFileStorageId", "RecordSchemaName", "RecordId")
                   VALUES ('{file}', '{FILE_TYPE}', 36, '{S3_STORAGE}', '{section}', '{record}')"#
            ))
            .await;
    }

    /// Deletes a record as the CRM does; somebody has to be at work for anything to come of it.
    async fn delete(&mut self, section: &str, record: Uuid) {
        if self.services.is_empty() {
            self.begin("run", &["run"]).await;
        }
        self.world.crm.delete(section, record).await;
    }

    /// Waits until the file is recycled, and its move is noted and its message gone: which come later than its object.
    async fn is_worked_off(&self, file: Uuid) {
        self.world.recycled(file).await;
        let (_, service) = self.services.last().expect("somebody is at work");
        self.world.quiet(service).await;
    }

    /// Waits until this process has told the database that it is ready, which is what `status` reads.
    pub async fn is_told_of(&self, service: &Service) {
        let told = format!(
            "SELECT count(*) FROM file_recycler.process WHERE ready AND name LIKE '%:{}'",
            service.id()
        );
        // The database may have been set back, and the connections to the one before are closed.
        let crm = Crm::of(&self.world.crm.url.parse().unwrap(), &self.world.crm.name).await;
        eventually("it has told that it is ready", async || (crm.number(&told).await == 1).then_some(()))
            .await;
        crm.pool.close().await;
    }

    async fn until_remembered(&self, record: Uuid) {
        let count = format!("SELECT count(*) FROM file_recycler.held_record WHERE record_id = '{record}'");
        eventually("the record is remembered", async || {
            (self.world.crm.number(&count).await > 0).then_some(())
        })
        .await;
    }

    /// A dead letter with this id: the recycle bucket has something else under its file's key.
    async fn conflict(&mut self, letter: &str, file: Uuid) {
        if self.services.is_empty() {
            self.begin("run", &["run"]).await;
        }
        self.file = Some(file);
        self.world.upload(file).await;
        self.world.storage.put(Side::Recycle, &file.to_string(), b"of somebody else").await;
        let size = Some(file.to_string().len() as u64);
        let named = FileRef { file_id: FileId::from(file), schema: None, size, key: None };
        let data = Deleted::Files { files: vec![named] };
        let event = Event::new(letter.to_owned(), "/crm".to_owned(), OffsetDateTime::now_utc(), None, data);
        let session = self.world.queues.session().await;
        let publisher = self.world.queues.publisher(&session).await;
        publisher.publish(Target::Event(event.event_type()), Outgoing::fresh_event(&event)).await.unwrap();
        drop(publisher);
        session.close().await;
        let dead = self.world.queues.topology.dead();
        eventually("it is a dead letter", async || {
            let session = self.world.queues.session().await;
            let depth = session.depth(&dead).await.unwrap().expect("the queue is there").messages;
            session.close().await;
            (depth > 0).then_some(())
        })
        .await;
    }
}

fn now() -> String {
    OffsetDateTime::now_utc().replace_nanosecond(0).unwrap().format(&Rfc3339).unwrap()
}

/// The addresses as the CRM has them.
fn connection_strings(world: &World) -> String {
    let (access, secret) = world.storage.credentials();
    let database: url::Url = world.crm.url.parse().unwrap();
    let broker = crate::support::broker::broker_url();
    format!(
        r#"<?xml version="1.0" encoding="utf-8"?>
<connectionStrings>
  <add name="db" connectionString="Server={};Port={};Database={};User ID={};Password={};Timeout=500;" />
  <add name="messageBroker" connectionString="{broker}" />
  <add name="s3Connection" connectionString="ServiceUrl={}; AccessKey={access}; SecretKey={secret}; ObjectBucketName={}; RecycleBucketName={};" />
</connectionStrings>
"#,
        database.host_str().unwrap(),
        database.port().unwrap_or(5432),
        world.crm.name,
        database.username(),
        database.password().unwrap_or_default(),
        world.storage.endpoint(),
        world.storage.object,
        world.storage.recycle,
    )
}
