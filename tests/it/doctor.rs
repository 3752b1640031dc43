//! `doctor`: everything that it looks at is broken for real, and it names what was broken.

mod broker;
mod buckets;
mod contents;
mod database;
mod settings;

use std::collections::BTreeMap;

use file_recycler::doctor::Name;
use file_recycler::storage::Side;
use serde_json::Value;

use crate::support::process::{self, Output, eventually};
use crate::support::proxy::{Proxy, Weather};
use crate::support::world::{S3, World, bare_world, world};

/// As an operator sets it, for a doctor that is content.
const BACKUPS: (&str, &str) = ("RETENTION__DATABASE_BACKUPS", "90d");
/// The tests' role, user and keys may do everything, on purpose.
const ALWAYS: [&str; 2] = ["credentials", "database-role"];

/// What `doctor --json` said.
pub struct Said {
    pub ok: bool,
    checks: BTreeMap<String, (String, String, String)>,
}

impl Said {
    fn of(output: &Output) -> Self {
        let document = output.json();
        let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
        let checks = document["checks"].as_array().unwrap();
        let names: Vec<String> = checks.iter().map(|check| text(check, "name")).collect();
        let known: Vec<&str> = Name::ALL.iter().map(|name| name.as_str()).collect();
        assert_eq!(names, known, "every check, in its place");
        for check in checks {
            let [result, advice] = ["result", "advice"].map(|key| text(check, key));
            assert_eq!(result == "ok", advice.is_empty(), "what to do: {check}");
            assert_eq!(text(check, "guide"), format!("docs/doctor.md#{}", text(check, "name")));
        }
        let said = |check| (text(check, "result"), text(check, "message"), text(check, "advice"));
        let checks = checks.iter().map(|check| (text(check, "name"), said(check))).collect();
        let said = Self { ok: document["ok"].as_bool().unwrap(), checks };
        let failed = said.named("fail");
        assert_eq!((said.ok, output.code), (failed.is_empty(), i32::from(!failed.is_empty())), "{failed:?}");
        said
    }

    /// The names of the checks with this result.
    pub fn named(&self, result: &str) -> Vec<&str> {
        let named = self.checks.iter().filter(|(_, check)| check.0 == result);
        named.map(|(name, _)| name.as_str()).collect()
    }

    /// A check's result.
    pub fn result(&self, name: &str) -> &str {
        &self.checks[name].0
    }

    /// Asserts what a check says, and gives its advice.
    #[track_caller]
    pub fn check(&self, name: &str, result: &str, part: &str) -> &str {
        let (is, message, advice) = &self.checks[name];
        assert!(
            is == result && message.contains(part),
            "{name} is {is}, not {result} with '{part}': {message}"
        );
        advice
    }

    /// Asserts which checks warn and fail; everything else is ok.
    #[track_caller]
    pub fn only(&self, failed: &[&str], warned: &[&str]) {
        let mut expected = warned.to_vec();
        expected.extend(ALWAYS);
        expected.sort_unstable();
        assert_eq!(
            (self.named("fail"), self.named("warn")),
            (failed.to_vec(), expected),
            "{:?}",
            self.checks
        );
    }
}

/// Runs it with these settings.
pub async fn doctor(world: &World, settings: &[(&str, &str)]) -> Said {
    Said::of(&process::run(&world.with(&[&[BACKUPS], settings].concat()), &["doctor", "--json"]).await)
}

/// A world where all is well: installed, adopted, with a rule, and a process at work.
pub async fn healthy(s3: S3, test: impl AsyncFnOnce(&World)) {
    world(s3, async |world| {
        let environment = world.with(&[BACKUPS]);
        process::run(&environment, &["retention", "set", "--days", "90", "--apply"]).await.expect(0);
        let service = world.run().await;
        told_of_itself(&world).await;
        test(&world).await;
        drop(service);
    })
    .await;
}

/// A world where all is well, but that nothing runs: nobody repairs what a test breaks.
pub async fn still(s3: S3, test: impl AsyncFnOnce(&World)) {
    world(s3, async |world| {
        world.queues.session().await.close().await;
        process::run(&world.with(&[BACKUPS]), &["retention", "set", "--days", "90", "--apply"])
            .await
            .expect(0);
        doctor(&world, &[]).await.only(&[], &["processes"]);
        test(&world).await;
    })
    .await;
}

async fn told_of_itself(world: &World) {
    eventually("the process is known, and ready", async || {
        let ready = "SELECT count(*) FROM file_recycler.process WHERE ready";
        (world.crm.number(ready).await == 1).then_some(())
    })
    .await;
    let session = world.queues.broker.connect().await.unwrap();
    eventually("its worker consumes", async || {
        let depth = session.depth(&world.queues.topology.work()).await.unwrap();
        depth.filter(|depth| depth.consumers == 1)
    })
    .await;
    session.close().await;
}

#[tokio::test]
async fn where_all_is_well_every_check_is_ok_and_nothing_is_changed() {
    for s3 in [S3::Embedded, S3::Foreign] {
        healthy(s3, async |world| {
            let (_, files) = world.record_with_files("Contact", "ContactFile", 2).await;
            let objects =
                async || (world.storage.keys(Side::Object).await, world.storage.keys(Side::Recycle).await);
            let before = objects().await;
            let said = doctor(world, &[]).await;
            said.only(&[], &[]);
            said.check("storage-capabilities", "ok", "the fast path");
            said.check("key-template", "ok", "where {file_id} says");
            said.check("retention", "ok", "a file stays 90 days from its last deletion");
            said.check("broker-connection", "ok", "RabbitMQ 3.");
            said.check("queues", "ok", "1 workers consume");
            assert_eq!(objects().await, before, "its own objects are gone again");
            for file in files {
                world.is_untouched(file).await;
            }
        })
        .await;
    }
}

/// Right ones and wrong ones: in what a server answers there may be some, too.
#[tokio::test]
async fn no_password_key_or_token_is_ever_told() {
    healthy(S3::Embedded, async |world| {
        const TOLD_TO_NOBODY: &str = "a-word-told-to-nobody";
        let with_password = |key: &str| {
            let (_, url) = world.environment.iter().find(|(name, _)| name.ends_with(key)).unwrap();
            let mut url = url::Url::parse(url).unwrap();
            url.set_password(Some(TOLD_TO_NOBODY)).unwrap();
            String::from(url)
        };
        let role = format!("fr_doctor_{}", uuid::Uuid::new_v4().simple());
        world.crm.sql(format!("CREATE ROLE {role} LOGIN SUPERUSER PASSWORD '{TOLD_TO_NOBODY}'")).await;
        let mut right = url::Url::parse(&with_password("DATABASE__URL")).unwrap();
        right.set_username(&role).unwrap();
        let wrong = ["DATABASE__URL", "BROKER__URL"].map(|key| (key, with_password(key)));
        let (_, secret_key) = world.storage.credentials();
        let settings = [
            vec![("DATABASE__URL", right.as_str()), ("HTTP__TOKEN", TOLD_TO_NOBODY)],
            wrong
                .iter()
                .map(|(key, url)| (*key, url.as_str()))
                .chain([("STORAGE__SECRET_KEY", TOLD_TO_NOBODY)])
                .collect(),
            vec![
                ("RECYCLE__GRACE", "soon"),
                ("BROKER__URL", TOLD_TO_NOBODY),
                ("DATABASE__URL", TOLD_TO_NOBODY),
            ],
        ];
        let mut codes = Vec::new();
        for settings in settings {
            for arguments in [&["doctor"][..], &["doctor", "--json"]] {
                let output =
                    process::run(&world.with(&[&[BACKUPS], &settings[..]].concat()), arguments).await;
                let all = format!("{}{}", output.stdout, output.stderr);
                assert!(!all.contains(TOLD_TO_NOBODY) && !all.contains(&secret_key), "{output:?}");
                codes.push(output.code);
            }
        }
        assert_eq!(codes, [0, 0, 1, 1, 2, 2], "each of them got as far as that");
        world.crm.sql(format!("DROP ROLE {role}")).await;
    })
    .await;
}

#[tokio::test]
async fn a_person_gets_a_line_for_each_check_and_for_trouble_what_to_do_and_where_to_read() {
    bare_world(S3::Embedded, async |world| {
        let output = world.cli(&["doctor"]).await.expect(1);
        for name in Name::ALL {
            let line =
                output.stdout.lines().filter(|line| line.split_whitespace().nth(1) == Some(name.as_str()));
            assert_eq!(line.count(), 1, "{name}: {}", output.stdout);
        }
        let words: Vec<&str> = output.stdout.split_whitespace().collect();
        assert!(words.join(" ").contains(" do run `file-recycler listener install`"), "{}", output.stdout);
        assert!(output.stdout.contains("docs/doctor.md#own-schema"), "{}", output.stdout);
    })
    .await;
}

#[tokio::test]
async fn at_first_contact_it_tells_the_next_command_to_type() {
    bare_world(S3::Embedded, async |world| {
        let said = doctor(&world, &[]).await;
        let unchecked =
            ["capture-failures", "environment", "outbox", "pause", "processes", "silence", "triggers"];
        let warned = [&unchecked[..], &["broker-topology", "retention"]].concat();
        said.only(&["own-schema"], &warned);
        assert!(
            said.check("own-schema", "fail", "is not there").contains("`file-recycler listener install`")
        );
        said.check("triggers", "warn", "not checked, since the own schema is not installed");
        assert!(said.check("broker-topology", "warn", "declared yet").contains("`file-recycler run`"));
        assert_eq!(
            world.queues.broker.connect().await.unwrap().depth(&world.queues.topology.work()).await.unwrap(),
            None
        );

        world.cli(&["listener", "install"]).await.expect(0);
        let said = doctor(&world, &[]).await;
        said.only(&["environment"], &["broker-topology", "processes", "retention"]);
        assert!(said.check("environment", "fail", "never adopted").contains("--apply"));

        world.cli(&["adopt", "--apply"]).await.expect(0);
        let said = doctor(&world, &[]).await;
        said.only(&[], &["broker-topology", "processes", "retention"]);
        assert!(said.check("processes", "warn", "no process").contains("`file-recycler run`"));
    })
    .await;
}

/// A server's checks by their names, those of others that need it, and the one that tells that it is down.
fn needs(server: &str) -> (&'static str, Vec<&'static str>) {
    match server {
        "database" => (
            "database-connection",
            vec![
                "capture-failures",
                "crm-profile",
                "crm-settings",
                "database-primary",
                "database-rights",
                "database-role",
                "environment",
                "file-contents",
                "key-template",
                "outbox",
                "own-schema",
                "pause",
                "processes",
                "silence",
                "triggers",
            ],
        ),
        "broker" => (
            "broker-connection",
            vec![
                "broker-alarm",
                "broker-policies",
                "broker-rights",
                "broker-topology",
                "dead-letters",
                "queues",
            ],
        ),
        _ => (
            "storage-connection",
            vec![
                "archive-classes",
                "encryption",
                "environment",
                "key-template",
                "object-lock",
                "retention",
                "storage-capabilities",
                "storage-rights",
                "versioning",
            ],
        ),
    }
}

#[tokio::test]
async fn a_server_that_is_down_fails_once_and_what_needs_it_is_not_checked() {
    healthy(S3::Embedded, async |world| {
        for (server, key) in
            [("database", "DATABASE__URL"), ("broker", "BROKER__URL"), ("storage", "STORAGE__SERVICE_URL")]
        {
            let (_, url) = world.environment.iter().find(|(name, _)| name.ends_with(key)).unwrap();
            let mut url = url::Url::parse(url).unwrap();
            let address = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
            let proxy = Proxy::to(address).await;
            url.set_port(Some(proxy.address().port())).unwrap();
            for weather in [Weather::Cut, Weather::BlackHole] {
                proxy.set(weather);
                let said = doctor(world, &[(key, url.as_str())]).await;
                let (cause, rest) = needs(server);
                if (server, weather) == ("storage", Weather::BlackHole) {
                    // Of itself, a request would be waited for three times as long.
                    said.check(cause, "fail", "the storage did not answer within 12 s");
                }
                assert_eq!(said.named("fail"), [cause], "{server}, {weather:?}");
                for name in rest {
                    let does_not = format!("not checked, since the {server} does not answer");
                    let advice = said.check(name, "warn", &does_not);
                    assert!(advice.contains(cause), "{name}: {advice}");
                }
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_configuration_that_lacks_something_or_cannot_be_used_is_told_by_key() {
    healthy(S3::Embedded, async |world| {
        let mut environment = world.with(&[BACKUPS]);
        environment.retain(|(key, _)| !key.ends_with("BROKER__URL"));
        let said = Said::of(&process::run(&environment, &["doctor", "--json"]).await);
        assert_eq!(said.named("fail"), ["configuration"]);
        said.check("configuration", "fail", "broker.url is not set: give it as FILE_RECYCLER_BROKER__URL");
        assert!(said.check("broker-connection", "warn", "broker.url is not set").contains("configuration"));
        said.check("dead-letters", "warn", "not checked");

        // Red whatever the storage says, or does not say.
        let away = [("STORAGE__SERVICE_URL", "http://127.0.0.1:1")];
        let said = Said::of(&process::run(&world.with(&away), &["doctor", "--json"]).await);
        assert_eq!(said.named("fail"), ["retention", "storage-connection"]);

        let environment = world.with(&[("RECYCLE__GRACE", "soon")]);
        let output = process::run(&environment, &["doctor", "--json"]).await.expect(2);
        let document = output.json();
        assert_eq!((&document["ok"], &document["checks"][0]["result"]), (&false.into(), &"fail".into()));
        assert!(document["checks"][0]["message"].as_str().unwrap().contains("recycle.grace"), "{document}");

        doctor(world, &[("RECYCLE__MODE", "observe")]).await.check("configuration", "warn", "nothing moves");
    })
    .await;
}

#[test]
fn the_guide_explains_every_check_under_its_own_anchor() {
    let guide = include_str!("../../docs/doctor.md");
    let headings: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, Name::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>());
}
