//! The database is away: nothing is lost, nothing is condemned, no try is used up, and it goes on by itself.

use std::time::Duration;

use file_recycler::storage::Side;
use uuid::Uuid;

use crate::support::process::{Service, eventually, eventually_within};
use crate::support::proxy::{Proxy, Weather};
use crate::support::world::{S3, World, world};

/// A proxy between the service and the database, and the environment that goes through it.
async fn proxied(world: &World, more: &[(&str, &str)]) -> (Proxy, Vec<(String, String)>) {
    let mut url: url::Url = world.crm.url.parse().unwrap();
    let proxy = Proxy::to(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432))).await;
    url.set_port(Some(proxy.address().port())).unwrap();
    let url = url.to_string();
    let settings: Vec<_> = more.iter().copied().chain([("DATABASE__URL", url.as_str())]).collect();
    (proxy, world.with(&settings))
}

/// Records with two files each.
async fn records(world: &World, count: usize) -> Vec<(Uuid, Vec<Uuid>)> {
    let mut made = Vec::new();
    for _ in 0..count {
        made.push(world.record_with_files("Contact", "ContactFile", 2).await);
    }
    made
}

/// Everything is recycled and noted once, no letter is dead, and no try was used up.
async fn nothing_was_lost(world: &World, service: &Service, made: &[(Uuid, Vec<Uuid>)]) {
    for file in made.iter().flat_map(|(_, files)| files) {
        world.recycled(*file).await;
    }
    world.quiet(service).await;
    let expected = made.len() as u64;
    eventually("every event was acknowledged", async || {
        let done = service.metric(r#"file_recycler_events_total{type="crm.record.deleted.v1"}"#).await;
        (done >= expected).then_some(())
    })
    .await;
    for file in made.iter().flat_map(|(_, files)| files) {
        noted_once(world, *file).await;
    }
    assert_eq!(world.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"], 0);
    let log = service.log();
    let used: Vec<_> = log.iter().filter(|line| line.contains("tried again later")).collect();
    assert!(used.is_empty(), "tries were used up: {used:?}");
}

async fn noted_once(world: &World, file: Uuid) {
    let rows = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
    eventually("the file is in the ledger", async || (world.crm.number(&rows).await > 0).then_some(())).await;
    assert_eq!(world.crm.number(&rows).await, 1, "{file}");
}

/// For how long the database is away.
enum Away {
    For(Duration),
    /// Until the service says so.
    UntilTold,
}

/// Deletes half of the records, takes the database away from the service in the midst of it for so long, and
/// deletes the others meanwhile.
async fn away_for(outage: Away, weather: Weather) {
    world(S3::Embedded, async move |world| {
        let (proxy, environment) = proxied(&world, &[("RECYCLE__CONCURRENCY", "4")]).await;
        let service = away(Service::start(&environment, &["run"]).await.ready().await);
        let made = records(&world, 60).await;
        world.storage.control().set_latency(Duration::from_millis(50));
        for (record, _) in &made[..40] {
            world.crm.delete("Contact", *record).await;
        }
        some_are_moved(&world).await;
        proxy.set(weather);
        for (record, _) in &made[40..] {
            world.crm.delete("Contact", *record).await;
        }
        match outage {
            Away::For(outage) => tokio::time::sleep(outage).await,
            Away::UntilTold => is_told(&service).await,
        }
        proxy.set(Weather::Fair);
        world.storage.control().set_latency(Duration::ZERO);
        nothing_was_lost(&world, &service, &made).await;
        eventually("it is well again", async || {
            service.readyz().await.filter(|answer| answer["ready"] == true)
        })
        .await;
    })
    .await;
}

async fn is_told(service: &Service) {
    eventually("it is told", async || {
        let answer = service.readyz().await?;
        (answer["dependencies"]["database"]["ok"] == false).then_some(())
    })
    .await;
}

async fn some_are_moved(world: &World) {
    eventually("some files are moved", async || {
        (!world.storage.control().keys(&world.storage.recycle).is_empty()).then_some(())
    })
    .await;
}

/// What a service may say while its database is away.
fn away(service: Service) -> Service {
    service
        .expect_log("not well")
        .expect_log("relaying was interrupted")
        .expect_log("the outcome of a replayed message could not be recorded")
}

#[tokio::test]
async fn case_28_the_database_is_cut_off_for_400_milliseconds() {
    away_for(Away::For(Duration::from_millis(400)), Weather::Cut).await;
}

/// Four tries in a delivery wait five seconds each for a connection: this is longer.
#[tokio::test]
async fn case_28_the_database_is_cut_off_for_longer_than_a_delivery_tries() {
    away_for(Away::For(Duration::from_secs(25)), Weather::Cut).await;
}

#[tokio::test]
async fn case_28_the_database_is_silent_for_longer_than_a_connection_may_take() {
    away_for(Away::UntilTold, Weather::BlackHole).await;
}

/// Whoever writes the ledger waits until [`go_on`].
async fn hold_the_ledger(world: &World) {
    world
        .crm
        .sql(
            "CREATE TABLE public.may_go_on ();
             CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS
               $$ BEGIN
                    WHILE NOT EXISTS (SELECT FROM public.may_go_on) LOOP PERFORM pg_sleep(0.1); END LOOP;
                    RETURN NULL;
                  END $$;
             CREATE TRIGGER slowly AFTER INSERT ON file_recycler.ledger
               FOR EACH STATEMENT EXECUTE FUNCTION slowly()",
        )
        .await;
}

async fn the_ledger_is_written(world: &World) {
    let writes = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event = 'PgSleep'";
    eventually("the ledger is written", async || (world.crm.number(writes).await > 0).then_some(())).await;
}

async fn go_on(world: &World) {
    world.crm.sql("INSERT INTO public.may_go_on DEFAULT VALUES").await;
}

/// Its machine goes without a word, and another takes its place: who waits for an answer on an old connection waits for ever.
#[tokio::test]
async fn case_28_every_connection_is_lost_without_a_word() {
    world(S3::Embedded, async |world| {
        hold_the_ledger(&world).await;
        let (proxy, environment) = proxied(&world, &[]).await;
        let service = away(Service::start(&environment, &["run"]).await.ready().await);
        let made = records(&world, 30).await;
        for (record, _) in &made[..20] {
            world.crm.delete("Contact", *record).await;
        }
        the_ledger_is_written(&world).await;
        proxy.lose();
        go_on(&world).await;
        world.crm.sql("DROP FUNCTION slowly CASCADE").await;
        for (record, _) in &made[20..] {
            world.crm.delete("Contact", *record).await;
        }
        eventually_within(Duration::from_mins(6), "every file is recycled", async || {
            let left = world.storage.control().keys(&world.storage.object);
            let settled = world.queues.unfinished().await == 0;
            (settled && left.iter().all(|key| key.starts_with(".file-recycler/"))).then_some(())
        })
        .await;
        nothing_was_lost(&world, &service, &made).await;
    })
    .await;
}

#[tokio::test]
async fn case_28_the_server_lets_nobody_in() {
    world(S3::Embedded, async |world| {
        let service = away(Service::start(&world.environment, &["run"]).await.ready().await);
        let made = records(&world, 10).await;
        let name = world.crm.name.clone();
        // The CRM's own connection stays, and deletes.
        let mut crm = world.crm.pool.acquire().await.unwrap();
        // Committed before anybody is thrown out, who would come back at once.
        world.crm.sql_from_outside(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS false")).await;
        let throw_out = format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
              WHERE datname = '{name}' AND application_name = 'file-recycler'"
        );
        world.crm.sql_from_outside(throw_out.as_str()).await;
        let ids: Vec<Uuid> = made.iter().map(|(record, _)| *record).collect();
        sqlx::query(r#"DELETE FROM "Contact" WHERE "Id" = ANY($1)"#)
            .bind(&ids)
            .execute(&mut *crm)
            .await
            .unwrap();
        drop(crm);
        eventually("it is told", async || {
            // Again and again: one that was on its way in was none of them yet.
            world.crm.sql_from_outside(throw_out.as_str()).await;
            let answer = service.readyz().await?;
            (answer["dependencies"]["database"]["ok"] == false).then_some(())
        })
        .await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        world.crm.sql_from_outside(format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true")).await;
        nothing_was_lost(&world, &service, &made).await;
    })
    .await;
}

/// Stops or starts the private cluster in the folder that `PRIVATE_CLUSTER` names; gives what was printed.
async fn private_cluster(folder: &std::path::Path, what: &str) -> String {
    let servers = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/local/lib/servers.sh");
    let script = format!(". {} && INSTANCE={} && {what}", servers.display(), folder.display());
    let ended = tokio::process::Command::new("bash").args(["-euo", "pipefail", "-c", &script]).output();
    let output = ended.await.unwrap();
    assert!(output.status.success(), "{what}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const PRIVATE_CLUSTER: &str = "FILE_RECYCLER_TEST_PRIVATE_CLUSTER";

/// A whole world on a cluster of its own, which is stopped in the midst of the work and started again.
#[tokio::test]
#[ignore = "started by the test below, with the address of its own cluster"]
async fn on_a_private_cluster() {
    let folder = std::path::PathBuf::from(std::env::var(PRIVATE_CLUSTER).unwrap());
    world(S3::Embedded, async move |world| {
        let environment = world.with(&[("RECYCLE__CONCURRENCY", "4")]);
        let service = away(Service::start(&environment, &["run"]).await.ready().await);
        let made = records(&world, 40).await;
        world.storage.control().set_latency(Duration::from_millis(50));
        for (record, _) in &made {
            world.crm.delete("Contact", *record).await;
        }
        some_are_moved(&world).await;
        private_cluster(&folder, "postgres_stop").await;
        is_told(&service).await;
        private_cluster(&folder, "postgres_start").await;
        world.storage.control().set_latency(Duration::ZERO);
        nothing_was_lost(&world, &service, &made).await;
    })
    .await;
}

#[tokio::test]
async fn case_28_the_server_is_stopped_and_started_again() {
    let folder = std::env::temp_dir().join(format!("file-recycler-outage-{}", Uuid::new_v4().simple()));
    std::fs::create_dir(&folder).unwrap();
    // The server runs as another user, who must be able to come here.
    private_cluster(&folder, "chmod 711 $INSTANCE && postgres_start >&2").await;
    let url = private_cluster(&folder, "postgres_url").await;
    let mut inner = tokio::process::Command::new(std::env::current_exe().unwrap());
    inner
        .args(["--exact", "outage_database::on_a_private_cluster", "--ignored"])
        .env("FILE_RECYCLER_TEST_DATABASE_URL", url)
        .env(PRIVATE_CLUSTER, &folder)
        .kill_on_drop(true);
    let ended = inner.output().await.unwrap();
    private_cluster(&folder, "postgres_stop").await;
    std::fs::remove_dir_all(&folder).unwrap();
    let said = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success() && said.contains("1 passed"), "{said}");
}

/// How long a file stays at a failpoint: longer than this test may be kept from what it does meanwhile.
#[cfg(feature = "failpoints")]
const ASLEEP_MS: u64 = 8_000;

/// The connections die and the database is away right after `failpoint` was reached by the file.
#[cfg(feature = "failpoints")]
async fn dies_after(failpoint: &str, reached: impl AsyncFn(&World, Uuid) -> bool + Send) {
    world(S3::Embedded, async move |world| {
        let (proxy, mut environment) = proxied(&world, &[]).await;
        environment.push(("FAILPOINTS".to_owned(), format!("{failpoint}=1*sleep({ASLEEP_MS})")));
        let service = away(Service::start(&environment, &["run"]).await.ready().await);
        // One file: another would go past the point while the first one sleeps there.
        let made = vec![world.record_with_files("Contact", "ContactFile", 1).await];
        let file = made[0].1[0];
        world.crm.delete("Contact", made[0].0).await;
        eventually("it is there", async || reached(&world, file).await.then_some(())).await;
        let noted = format!("SELECT count(*) FROM file_recycler.ledger WHERE file_id = '{file}'");
        assert_eq!(world.crm.number(noted).await, 0, "not noted yet");
        proxy.set(Weather::Cut);
        eventually("the outage is seen", async || {
            let answer = service.readyz().await?;
            (answer["dependencies"]["database"]["ok"] == false).then_some(())
        })
        .await;
        // It wakes up while the database is away.
        tokio::time::sleep(Duration::from_millis(ASLEEP_MS)).await;
        proxy.set(Weather::Fair);
        nothing_was_lost(&world, &service, &made).await;
    })
    .await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_29_the_connection_dies_between_the_delete_and_the_ledger_write() {
    dies_after("recycle::after_delete", async |world, file| world.object(Side::Object, file).await.is_none())
        .await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_29_the_connection_dies_between_the_alive_check_and_the_copy() {
    dies_after("recycle::after_check", async |world, _| {
        world.crm.number("SELECT count(*) FROM file_recycler.outbox").await == 0
    })
    .await;
}

#[cfg(feature = "failpoints")]
#[tokio::test]
async fn case_29_the_connection_dies_between_the_copy_and_the_check_before_the_delete() {
    dies_after("recycle::after_copy", async |world, file| world.object(Side::Recycle, file).await.is_some())
        .await;
}

#[tokio::test]
async fn case_29_the_answer_to_the_ledger_write_is_lost() {
    world(S3::Embedded, async |world| {
        // The server writes on although its client is gone: as soon as it may.
        hold_the_ledger(&world).await;
        let (proxy, environment) = proxied(&world, &[]).await;
        let service = away(Service::start(&environment, &["run"]).await.ready().await);
        // One file: two might be written by two statements, and the second one would not be sent any more.
        let made = vec![world.record_with_files("Contact", "ContactFile", 1).await];
        world.crm.delete("Contact", made[0].0).await;
        the_ledger_is_written(&world).await;
        proxy.set(Weather::Cut);
        go_on(&world).await;
        eventually("the write is committed", async || {
            let rows = world.crm.number("SELECT count(*) FROM file_recycler.ledger").await;
            (rows == 1).then_some(())
        })
        .await;
        world.crm.sql("DROP FUNCTION slowly CASCADE").await;
        proxy.set(Weather::Fair);
        nothing_was_lost(&world, &service, &made).await;
    })
    .await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_told_with_where_it_was_looked_for_and_why_there_is_none() {
    world(S3::Embedded, async |world| {
        // Nobody is given this port, as one that is free now may be.
        let nobody = "127.0.0.1:1";
        let url = format!("postgres://somebody:secret-word@{nobody}/crm");
        let environment = world.with(&[("DATABASE__URL", &url)]);
        let service = Service::start(&environment, &["run"]).await.expect_log("not well");
        let told = eventually("it says why", async || {
            let answer = service.readyz().await?;
            let message = answer["dependencies"]["database"]["message"].as_str()?.to_owned();
            message.contains("refused").then_some(message)
        })
        .await;
        assert!(told.contains(nobody), "{told}");
        assert!(!told.contains("secret-word"), "{told}");
    })
    .await;
}
