//! What an operator meets first, and the command that each of it ends with: which is then typed.

use lapin::BasicProperties;
use uuid::Uuid;

use crate::support::broker::put;
use crate::support::process::{self, Output, eventually};
use crate::support::world::{S3, World, bare_world};

/// The command that the last line on standard error names.
fn next(output: &Output) -> String {
    let last = output.stderr.lines().last().unwrap_or_default();
    last.strip_prefix("next:  file-recycler ")
        .unwrap_or_else(|| panic!("it does not lead on: {output:?}"))
        .to_owned()
}

/// Runs a command that ends with `code` and leads on to `expected`, and types that.
async fn leads_on(world: &World, environment: &[(String, String)], line: &str, code: i32, expected: &str) {
    let words: Vec<_> = line.split(' ').collect();
    let output = process::run(environment, &words).await;
    assert_eq!((output.code, next(&output).as_str()), (code, expected), "{line}: {output:?}");
    // What changes something is not typed for a look at one error more; what starts the work does not end by itself.
    // Nor is the report of all checks: it would be the same each time.
    if !["run", "resume", "listener install", "doctor"].contains(&expected) {
        let words: Vec<_> = expected.split(' ').collect();
        let then = world.cli(&words).await;
        assert!(then.code != 2, "{line}, then {expected}: {then:?}");
    }
}

#[tokio::test]
async fn the_errors_that_an_operator_meets_first_end_with_the_next_command() {
    bare_world(S3::Embedded, async |world| {
        let world = &*world;
        let here = world.environment.clone();
        let without = Vec::new();
        for line in ["run", "status", "dlq list", "listener install", "audit"] {
            leads_on(world, &without, line, 2, "config show --sources").await;
        }
        let wrong = [("FILE_RECYCLER_NONSENSE".to_owned(), "1".to_owned())];
        leads_on(world, &wrong, "status", 2, "config show --sources").await;
        for (line, help) in [
            ("dlq list --reason sunshine", "dlq list --help"),
            ("explain nobody", "explain --help"),
            ("restore --file nobody", "restore --help"),
            ("retention set --days 0", "retention set --help"),
            ("listener instal", "listener --help"),
            ("man nonsense", "man --help"),
        ] {
            leads_on(world, &here, line, 2, help).await;
        }
        let nowhere = "127.0.0.1:1";
        let down = world.with(&[("DATABASE__URL", &format!("postgres://a:b@{nowhere}/c"))]);
        for line in ["listener install", "adopt", "pause --why x"] {
            leads_on(world, &down, line, 1, "doctor").await;
        }
        let down = world.with(&[("BROKER__URL", &format!("amqp://a:b@{nowhere}"))]);
        leads_on(world, &down, "dlq list", 1, "doctor").await;
        let down = world.with(&[("STORAGE__SERVICE_URL", &format!("http://{nowhere}"))]);
        leads_on(world, &down, "retention show", 1, "doctor").await;
        let wrong = world.with(&[("STORAGE__RECYCLE_BUCKET_NAME", "nobodys")]);
        leads_on(world, &wrong, "audit", 1, "doctor").await;

        for line in ["adopt", "pause --why x", "restore --deleted-since 1h", "listener status"] {
            leads_on(world, &here, line, 1, "listener install").await;
        }
        world.cli(&["listener", "install"]).await.expect(0);
        world.queues.session().await.close().await;
        for line in ["status", "retention set --days 90 --apply", "restore --deleted-since 1h --apply"] {
            leads_on(world, &here, line, 1, "adopt").await;
        }
        world.cli(&["adopt", "--apply"]).await.expect(0);
        what_is_adopted_leads_on(world).await;
    })
    .await;
}

async fn what_is_adopted_leads_on(world: &World) {
    let here = world.environment.clone();
    // In good health, but not all is well: nobody works, somebody has paused, something could not be done.
    leads_on(world, &here, "status", 0, "run").await;
    world.cli(&["pause", "--why", "a test"]).await.expect(0);
    // Whether the reason of a pause is over, only people know.
    let paused = world.cli(&["status"]).await.expect(0);
    assert!(!paused.stdout.contains("next:") && !paused.stderr.contains("next:"), "{paused:?}");
    world.cli(&["resume"]).await.expect(0);
    leads_on(world, &here, "resume --nonsense", 2, "resume --help").await;

    let nobody = Uuid::new_v4();
    leads_on(world, &here, &format!("dlq show --id {nobody}"), 1, "dlq list").await;
    leads_on(world, &here, &format!("restore --file {nobody}"), 1, &format!("explain {nobody}")).await;
    leads_on(world, &here, &format!("erase --file {nobody} --why x"), 1, &format!("explain {nobody}")).await;
    put(&world.queues.topology.dead(), b"dead", BasicProperties::default()).await;
    let long = world.with(&[("RETENTION__DATABASE_BACKUPS", "90d")]);
    leads_on(world, &long, "retention set --days 5", 1, "retention show").await;

    let (record, _) = world.record_with_files("Contact", "ContactFile", 1).await;
    world.crm.delete("Contact", record).await;
    leads_on(world, &here, "listener uninstall --purge", 1, "run").await;
    let service = world.run().await.expect_log("paused").expect_log("dead letter");
    eventually("the database knows that it is ready", async || {
        let ready = "SELECT count(*) FROM file_recycler.process WHERE ready";
        (world.crm.number(ready).await == 1).then_some(())
    })
    .await;
    leads_on(world, &here, "status", 0, "dlq list").await;
    drop(service);

    // The object bucket is written by a database that is further than this one.
    world
        .crm
        .sql("UPDATE file_recycler.environment SET nonce = gen_random_uuid(), pending_nonce = NULL")
        .await;
    leads_on(world, &here, "restore --deleted-since 1h --apply", 1, "adopt").await;
}

#[tokio::test]
async fn what_a_program_reads_has_no_advice_for_people_in_it() {
    bare_world(S3::Embedded, async |world| {
        let status = world.cli(&["status", "--json"]).await.expect(1);
        assert_eq!(status.json()["healthy"], false);
        assert_eq!(status.stderr, "");
    })
    .await;
}
