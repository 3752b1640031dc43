//! The checker itself: a clean scene passes, and each violation that is planted is named.

use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use recycler_test_chaos::check::{self, Findings};
use recycler_test_chaos::model::{File, Model, Record, content};
use recycler_test_chaos::scene::{Scene, Servers};
use uuid::Uuid;

const LIVING: Uuid = Uuid::from_u128(0xa1);
const DEAD: Uuid = Uuid::from_u128(0xd1);
const SIZE: usize = 100;

/// What the checker reads of the program's own schema, and no more.
const OWN_SCHEMA: &str = "CREATE SCHEMA file_recycler;
    CREATE TABLE file_recycler.outbox (id bigint);
    CREATE TABLE file_recycler.ledger (file_id text, event_id text)";

/// A scene in which a living file and a dead one are where they belong.
async fn clean() -> (Scene, Model) {
    let name = format!("chaos-planted-{}", Uuid::new_v4().simple());
    let scene = Scene::create(Servers::from_environment().unwrap(), name).await.unwrap();
    sqlx::raw_sql(OWN_SCHEMA).execute(&scene.crm).await.unwrap();
    let (connection, channel) = scene.channel().await.unwrap();
    for queue in scene.queues().into_iter().chain([scene.dead_letters()]) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
    let mut model = Model::default();
    for (file, alive) in [(LIVING, true), (DEAD, false)] {
        let owner = Uuid::from_u128(file.as_u128() + 0x100);
        model.records.insert(owner, Record { section: "Contact".to_owned(), alive });
        model.files.insert(file, File { owner, links: Vec::new(), stays: false, size: SIZE });
    }
    put(&scene, &scene.object_bucket(), LIVING, content(LIVING, SIZE)).await;
    put(&scene, &scene.recycle_bucket(), DEAD, content(DEAD, SIZE)).await;
    note(&scene, "event").await;
    (scene, model)
}

async fn note(scene: &Scene, event: &str) {
    let insert = sqlx::query("INSERT INTO file_recycler.ledger VALUES ($1, $2)");
    insert.bind(DEAD.to_string()).bind(event).execute(&scene.crm).await.unwrap();
}

async fn put(scene: &Scene, bucket: &str, id: Uuid, content: Vec<u8>) {
    let put = scene.storage.put_object().bucket(bucket).key(id.to_string());
    put.body(content.into()).send().await.unwrap();
}

async fn take(scene: &Scene, bucket: &str, id: Uuid) {
    scene.storage.delete_object().bucket(bucket).key(id.to_string()).send().await.unwrap();
}

async fn publish(scene: &Scene, queue: &str) {
    let (connection, channel) = scene.channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let options = BasicPublishOptions::default();
    let sent = channel.basic_publish("".into(), queue.into(), options, b"x", BasicProperties::default());
    assert!(sent.await.unwrap().await.unwrap().is_ack());
    connection.close(200, "done".into()).await.unwrap();
}

/// Plants something, and gives what the checker says in the end.
async fn planted(plant: impl AsyncFnOnce(&Scene)) -> Findings {
    let (scene, model) = clean().await;
    plant(&scene).await;
    let findings = check::finally(&scene, &model).await;
    scene.remove().await.unwrap();
    findings.unwrap()
}

/// The names of what is violated.
fn violated(findings: &Findings) -> Vec<&'static str> {
    let broken = findings.invariants.iter().filter(|invariant| invariant.violated > 0);
    broken.map(|invariant| invariant.name).collect()
}

#[tokio::test]
async fn a_clean_scene_passes_and_everything_is_checked_on_something() {
    let findings = planted(async |_| ()).await;
    assert!(findings.holds(), "{findings}");
    assert!(findings.invariants.iter().all(|invariant| invariant.checked > 0), "{findings}");
    assert_eq!((findings.ledger_duplicates, findings.events), (0, 1));
}

#[tokio::test]
async fn a_living_file_that_moved_is_named() {
    let findings = planted(async |scene| {
        put(scene, &scene.recycle_bucket(), LIVING, content(LIVING, SIZE)).await;
        take(scene, &scene.object_bucket(), LIVING).await;
    })
    .await;
    assert_eq!(violated(&findings), ["no living file moved"]);
}

#[tokio::test]
async fn a_dead_file_that_was_left_is_named() {
    let findings = planted(async |scene| {
        put(scene, &scene.object_bucket(), DEAD, content(DEAD, SIZE)).await;
    })
    .await;
    assert_eq!(violated(&findings), ["every dead file is recycled"]);
}

#[tokio::test]
async fn an_object_that_was_purged_is_named() {
    let findings = planted(async |scene| take(scene, &scene.recycle_bucket(), DEAD).await).await;
    assert_eq!(violated(&findings), ["every dead file is recycled", "nothing is purged"]);
}

#[tokio::test]
async fn a_content_that_changed_is_named_in_either_bucket() {
    for (living, id) in [(true, LIVING), (false, DEAD)] {
        let findings = planted(async |scene| {
            let bucket = if living { scene.object_bucket() } else { scene.recycle_bucket() };
            let mut other = content(id, SIZE);
            other[SIZE - 1] ^= 1;
            put(scene, &bucket, id, other).await;
        })
        .await;
        assert_eq!(violated(&findings), ["every content is what was uploaded"]);
    }
}

#[tokio::test]
async fn an_outbox_row_that_was_left_is_named() {
    let findings = planted(async |scene| {
        sqlx::raw_sql("INSERT INTO file_recycler.outbox VALUES (7)").execute(&scene.crm).await.unwrap();
    })
    .await;
    assert_eq!(violated(&findings), ["the outbox is empty"]);
}

#[tokio::test]
async fn a_message_that_was_left_in_any_queue_is_named() {
    let findings = planted(async |scene| {
        for queue in scene.queues() {
            publish(scene, &queue).await;
        }
    })
    .await;
    assert_eq!(violated(&findings), ["work and wait queues are empty"]);
    let left = findings.invariants.iter().find(|invariant| invariant.violated > 0).unwrap();
    assert_eq!(left.violated, left.checked, "one in each");
}

#[tokio::test]
async fn a_dead_letter_is_named() {
    let findings = planted(async |scene| publish(scene, &scene.dead_letters()).await).await;
    assert_eq!(violated(&findings), ["the dead-letter queue is empty"]);
}

#[tokio::test]
async fn a_dead_file_without_a_note_is_named_and_a_second_note_is_counted() {
    let findings = planted(async |scene| {
        sqlx::raw_sql("DELETE FROM file_recycler.ledger").execute(&scene.crm).await.unwrap();
    })
    .await;
    assert_eq!(violated(&findings), ["the ledger has every dead file"]);
    let findings = planted(async |scene| note(scene, "event").await).await;
    assert!(findings.holds());
    assert_eq!(findings.ledger_duplicates, 1);
}

#[tokio::test]
async fn an_object_that_nobody_uploaded_is_named() {
    let findings = planted(async |scene| {
        put(scene, &scene.recycle_bucket(), Uuid::from_u128(5), Vec::new()).await;
    })
    .await;
    assert_eq!(violated(&findings), ["there are no other objects"]);
}

#[tokio::test]
async fn meanwhile_a_purged_object_and_a_moved_living_one_are_named() {
    let (scene, model) = clean().await;
    let clean = check::meanwhile(&scene, || model.clone()).await.unwrap();
    take(&scene, &scene.object_bucket(), LIVING).await;
    take(&scene, &scene.recycle_bucket(), DEAD).await;
    let broken = check::meanwhile(&scene, || model.clone()).await.unwrap();
    scene.remove().await.unwrap();
    assert_eq!(clean.map(|invariant| (invariant.checked, invariant.violated)), [(2, 0), (1, 0)]);
    assert_eq!(broken.map(|invariant| (invariant.checked, invariant.violated)), [(2, 2), (1, 1)]);
}
