//! `iam-run.json` against the embedded server, which evaluates policies as Amazon documents it.

use std::collections::BTreeSet;

use file_recycler::config::{Credentials, Mode};
use file_recycler::file::ObjectKey;
use file_recycler::outcome::{Advice, Dependency};
use file_recycler::storage::{Capabilities, Kind, Over, Side, Storage, StorageError};
use recycler_test_s3::{Options, Policy};
use serde_json::{Value, json};

use crate::support::parts;
use crate::support::process::{Service, eventually};
use crate::support::storage::{TestStorage, client, connect};
use crate::support::weed::Weed;
use crate::support::world::{S3, World, bare_world, world};

const FILE: &str = include_str!("../../../deploy/rights/iam-run.json");
pub(super) const KEYS: (&str, &str) = ("worker", "worker-secret");

/// The file for these buckets.
fn document(object: &str, recycle: &str) -> Value {
    let text = FILE.replace("OBJECT-BUCKET", object).replace("RECYCLE-BUCKET", recycle);
    serde_json::from_str(&text).unwrap()
}

/// One action of one statement.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    statement: usize,
    pub(super) sid: String,
    pub(super) action: String,
}

impl Grant {
    pub(super) fn is_optional(&self) -> bool {
        self.sid.starts_with("Optional")
    }
}

fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::String(one) => vec![one.clone()],
        more => serde_json::from_value(more.clone()).unwrap(),
    }
}

/// All of the file, so that none is forgotten.
pub(super) fn grants(document: &Value) -> Vec<Grant> {
    let statements = document["Statement"].as_array().unwrap().iter().enumerate();
    statements
        .flat_map(|(statement, it)| {
            let sid = it["Sid"].as_str().unwrap().to_owned();
            actions(it).into_iter().map(move |action| Grant { statement, sid: sid.clone(), action })
        })
        .collect()
}

/// The policy without these.
pub(super) fn without(document: &Value, taken: &[&Grant]) -> Value {
    let mut document = document.clone();
    let mut left = document["Statement"].as_array().unwrap().clone();
    for (number, statement) in left.iter_mut().enumerate() {
        let is_left =
            |action: &String| !taken.iter().any(|it| it.statement == number && it.action == *action);
        statement["Action"] = json!(actions(statement).into_iter().filter(is_left).collect::<Vec<_>>());
    }
    left.retain(|statement| statement["Action"] != json!([]));
    document["Statement"] = json!(left);
    document
}

fn parsed(policy: &Value) -> Policy {
    Policy::parse(&policy.to_string()).unwrap()
}

pub(super) fn set(storage: &TestStorage, policy: &Value) {
    storage.control().user(KEYS.0, KEYS.1, parsed(policy));
}

/// The storage under test, by a user's keys.
pub(super) async fn as_user(storage: &TestStorage, user: &str) -> Storage {
    let mut settings = storage.settings();
    let (access_key, secret_key) = (user.to_owned().into(), format!("{user}-secret").into());
    settings.credentials = Credentials::Keys { access_key, secret_key };
    connect(&settings, Mode::Move).await
}

/// Two objects with tags, one of them of two parts, where living files are and nowhere else.
async fn arrange(storage: &TestStorage, part: usize) -> [ObjectKey; 2] {
    let keys = ["whole", "in-parts"];
    for key in keys {
        storage.delete(Side::Recycle, key).await;
    }
    let put = storage.client.put_object().bucket(&storage.object).key(keys[0]).tagging("a=b");
    put.body(b"content".to_vec().into()).send().await.unwrap();
    parts::put_in_parts(storage, keys[1], &[vec![1; part], vec![2; 1]]).await;
    keys.map(|key| ObjectKey::try_from(key).unwrap())
}

/// Everything that is asked of the storage: the probe, the moves, a file brought back, the sweep.
async fn everything(
    storage: &Storage,
    keys: &[ObjectKey],
    server: &Capabilities,
) -> Result<(), StorageError> {
    storage.check().await?;
    storage.probe().await?;
    storage.marker().await?;
    storage.abort_leftovers(time::OffsetDateTime::now_utc()).await?;
    for key in keys {
        let source = storage.head(Side::Object, key).await?.expect("it is there");
        let copied = storage.copy_to_recycle(key, &source, &Over::Nothing, server).await?;
        storage.delete_sources(&[(key.clone(), source.etag.clone())], server).await.remove(0)?;
        let copy = storage.head(Side::Recycle, key).await?.expect("it was copied");
        assert_eq!(copy.etag, copied.etag);
        storage.copy_back(key, &copy, server).await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_action_of_the_policy_is_necessary_and_named_or_said_to_be_optional() {
    let world = TestStorage::embedded(Options { min_part_size: 1, ..Options::default() }).await;
    let document = document(&world.object, &world.recycle);
    let grants = grants(&document);
    set(&world, &without(&document, &[]));
    let storage = as_user(&world, KEYS.0).await;
    let server = storage.probe().await.unwrap();
    let keys = arrange(&world, 1).await;
    everything(&storage, &keys, &server).await.expect("with the whole policy everything works");

    let mut wrong = Vec::new();
    for grant in &grants {
        let keys = arrange(&world, 1).await;
        set(&world, &without(&document, &[grant]));
        let bucket =
            if grant.sid.contains("Recycle") || grant.sid.contains("Copies") || grant.sid.contains("Here") {
                Side::Recycle
            } else {
                Side::Object
            };
        let named = format!("{} on the {bucket} bucket", grant.action);
        match everything(&storage, &keys, &server).await {
            Ok(()) if grant.is_optional() => {}
            Ok(()) => wrong.push(format!("not necessary: {grant:?}")),
            Err(error) if grant.is_optional() => wrong.push(format!("not optional: {grant:?}: {error}")),
            Err(error) => {
                let told = error.to_string();
                let lists = grant.action == "s3:ListBucket" && told.contains(&grant.action);
                if error.kind != Kind::AccessDenied || !(told.contains(&named) || lists) {
                    wrong.push(format!("{grant:?}: {told}"));
                }
                if error.advice() != Advice::Outage(Dependency::Storage) {
                    wrong.push(format!("{grant:?} is everybody's trouble: {:?}", error.advice()));
                }
            }
        }
        for key in &keys {
            let (object, recycle) =
                (world.get(Side::Object, key.as_str()).await, world.get(Side::Recycle, key.as_str()).await);
            assert!(object.is_some() || recycle.is_some(), "{grant:?}: '{key}' is lost");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let keys = arrange(&world, 1).await;
    let optional: Vec<&Grant> = grants.iter().filter(|grant| grant.is_optional()).collect();
    set(&world, &without(&document, &optional));
    everything(&storage, &keys, &server).await.expect("nothing that is optional is needed");
}

#[tokio::test]
async fn the_policy_deletes_no_file_in_the_recycle_bucket() {
    let world = TestStorage::embedded(Options::default()).await;
    let policy = parsed(&document(&world.object, &world.recycle));
    let resource = |bucket: &str, key: &str| format!("arn:aws:s3:::{bucket}/{key}");
    for action in
        ["s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutLifecycleConfiguration", "s3:DeleteBucket"]
    {
        for key in ["a-file", "x/.file-recycler/y", ".file-recycle"] {
            assert!(!policy.allows(action, &resource(&world.recycle, key)), "{action} {key}");
        }
    }
    assert!(policy.allows("s3:DeleteObject", &resource(&world.recycle, ".file-recycler/probe-1")));
}

fn environment(world: &World) -> Vec<(String, String)> {
    world.with(&[("STORAGE__ACCESS_KEY", KEYS.0), ("STORAGE__SECRET_KEY", KEYS.1)])
}

#[tokio::test]
async fn with_exactly_the_policy_files_move_and_without_one_action_nothing_moves_and_it_is_named() {
    bare_world(S3::Embedded, async |world| {
        let document = document(&world.storage.object, &world.storage.recycle);
        let grants = grants(&document);
        set(&world.storage, &without(&document, &[]));
        let environment = environment(&world);
        let cli = async |arguments: &[&str]| crate::support::process::run(&environment, arguments).await;
        cli(&["listener", "install"]).await.expect(0);
        cli(&["adopt", "--apply"]).await.expect(0);
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        let tagged =
            world.storage.client.put_object_tagging().bucket(&world.storage.object).key(files[0].to_string());
        let tag = aws_sdk_s3::types::Tag::builder().key("a").value("b").build().unwrap();
        let tags = aws_sdk_s3::types::Tagging::builder().tag_set(tag).build().unwrap();
        tagged.tagging(tags).send().await.unwrap();
        world.crm.delete("Contact", record).await;
        // What only a living file that is brought back needs cannot be found out beforehand.
        let only_back = [
            "OwnObjectsAndLivingOnesBroughtBack s3:PutObjectTagging",
            "CopiesAreReadToProveAndBringBack s3:GetObjectTagging",
        ];
        let is_found = |grant: &&Grant| {
            !grant.is_optional() && !only_back.contains(&format!("{} {}", grant.sid, grant.action).as_str())
        };
        let mut told = BTreeSet::new();
        for grant in grants.iter().filter(is_found) {
            set(&world.storage, &without(&document, &[grant]));
            let service = Service::start(&environment, &["run"])
                .await
                .expect_log("not well")
                .expect_log("could not be probed");
            eventually(&format!("{grant:?} is named"), async || {
                let answer = service.readyz().await?;
                let message = answer["dependencies"]["storage"]["message"].as_str()?;
                (answer["ready"] == false && message.contains(&grant.action)).then_some(())
            })
            .await;
            told.insert(grant.action.clone());
            for file in &files {
                world.is_untouched(*file).await;
            }
        }
        assert_eq!(told.len(), 6, "{told:?}");
        set(&world.storage, &without(&document, &[]));
        let service = Service::start(&environment, &["run"]).await.ready().await.expect_log("not well");
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(&service).await;
        revoked_while_it_runs(&world, &document, &grants, &service).await;
        assert_eq!(cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
        // After an outage the service is well a moment after its first file has moved, and tells the database then.
        eventually("all is well", async || (cli(&["status"]).await.code == 0).then_some(())).await;
    })
    .await;
}

/// Also those that only a living file needs that is brought back, and those that `doctor` alone looks with.
#[tokio::test]
async fn doctor_names_every_action_that_is_missing_before_any_file_misses_it() {
    world(S3::Embedded, async |world| {
        let document = document(&world.storage.object, &world.storage.recycle);
        set(&world.storage, &without(&document, &[]));
        let mut environment = environment(&world);
        environment.push(("FILE_RECYCLER_RETENTION__DATABASE_BACKUPS".into(), "90d".into()));
        let doctor = async || crate::support::process::run(&environment, &["doctor", "--json"]).await.json();
        let of = |report: &Value, result: &str| -> Vec<Value> {
            let checks = report["checks"].as_array().unwrap();
            checks.iter().filter(|check| check["result"] == result).cloned().collect()
        };
        let whole = doctor().await;
        let deletes = "the storage's keys may delete files in the recycle bucket";
        let credentials = |report: &Value| {
            let checks = report["checks"].as_array().unwrap();
            checks.iter().find(|check| check["name"] == "credentials").unwrap().to_string()
        };
        assert!(!credentials(&whole).contains(deletes), "{whole}");
        let almighty = crate::support::process::run(&world.environment, &["doctor", "--json"]).await.json();
        assert!(credentials(&almighty).contains(deletes), "{almighty}");
        assert_eq!((&whole["ok"], of(&whole, "fail").len()), (&true.into(), 0), "{whole}");
        let warned = of(&whole, "warn").len();
        let mut wrong = Vec::new();
        for grant in grants(&document) {
            set(&world.storage, &without(&document, &[&grant]));
            let report = doctor().await;
            let (failed, more) = (of(&report, "fail"), of(&report, "warn"));
            let told = if failed.is_empty() { &more } else { &failed };
            let named = told.iter().any(|check| check["message"].to_string().contains(&grant.action));
            // The rules are needed to know whether they cover the backups; everything else optional is a warning.
            let red = !grant.is_optional()
                || grant.sid.contains("RecycleBucket") && grant.action.contains("Lifecycle");
            if !named || red == failed.is_empty() || (!red && more.len() <= warned) {
                wrong.push(format!("{grant:?}: {told:?}"));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    })
    .await;
}

async fn revoked_while_it_runs(world: &World, document: &Value, grants: &[Grant], service: &Service) {
    for (sid, action) in [("CopiesAreWritten", "s3:PutObject"), ("ObjectsMoveAway", "s3:DeleteObject")] {
        let grant = grants.iter().find(|it| it.sid == sid && it.action == action).expect("the policy has it");
        set(&world.storage, &without(document, &[grant]));
        let (record, files) = world.record_with_files("Contact", "ContactFile", 3).await;
        world.crm.delete("Contact", record).await;
        eventually(&format!("{grant:?} is named"), async || {
            let answer = service.readyz().await?;
            let message = answer["dependencies"]["storage"]["message"].as_str()?;
            (answer["ready"] == false && message.contains(action)).then_some(())
        })
        .await;
        for file in &files {
            let object = world.object(Side::Object, *file).await;
            assert!(object.is_some(), "{grant:?}: a source is gone");
        }
        set(&world.storage, &without(document, &[]));
        for file in &files {
            world.recycled(*file).await;
        }
        world.quiet(service).await;
    }
}

/// What SeaweedFS does not ask for, by statement and action: its own reading of policies, not ours.
const NOT_ASKED_BY_SEAWEEDFS: &[&str] = &["OwnObjectsAndLivingOnesBroughtBack s3:PutObjectTagging"];

#[tokio::test]
async fn a_server_that_others_wrote_reads_the_policy_alike() {
    let buckets = TestStorage::bucket_names();
    let document = document(&buckets.0, &buckets.1);
    let grants = grants(&document);
    let mut users = vec![("whole".to_owned(), document.clone())];
    users.extend(
        grants.iter().enumerate().map(|(n, grant)| (format!("user{n}"), without(&document, &[grant]))),
    );
    let weed = Weed::start(&users).await;
    let world = TestStorage::named(&weed.server, buckets).await;
    let whole = as_user(&world, "whole").await;
    let server = whole.probe().await.unwrap();
    let keys = arrange(&world, 5 << 20).await;
    everything(&whole, &keys, &server).await.expect("with the whole policy everything works");
    assert_eq!(whole.may_delete_copies().await, Ok(Some(false)));
    assert_eq!(world.storage.may_delete_copies().await, Ok(Some(true)));
    world.put(Side::Recycle, "a-file", b"content").await;
    let client = client(world.endpoint(), &("whole".to_owned(), "whole-secret".to_owned()));
    let refused = client.delete_object().bucket(&world.recycle).key("a-file").send().await.unwrap_err();
    assert_eq!(refused.raw_response().map(|answer| answer.status().as_u16()), Some(403), "{refused:?}");
    assert!(world.get(Side::Recycle, "a-file").await.is_some());
    let mut wrong = Vec::new();
    for (grant, (user, _)) in grants.iter().zip(&users[1..]) {
        let keys = arrange(&world, 5 << 20).await;
        let told = everything(&as_user(&world, user).await, &keys, &server).await;
        let name = format!("{} {}", grant.sid, grant.action);
        let is_asked = !grant.is_optional() && !NOT_ASKED_BY_SEAWEEDFS.contains(&name.as_str());
        let named = told.as_ref().is_err_and(|error| {
            error.kind == Kind::AccessDenied && error.to_string().contains(&grant.action)
        });
        if is_asked != named || !is_asked && told.is_err() {
            wrong.push(format!("{name}: {told:?}"));
        }
        for key in &keys {
            let (object, recycle) =
                (world.get(Side::Object, key.as_str()).await, world.get(Side::Recycle, key.as_str()).await);
            assert!(object.is_some() || recycle.is_some(), "{grant:?}: '{key}' is lost");
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
