//! An outage is not a failure: work waits, no try is used up, nobody is condemned, and it goes on by itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use file_recycler::storage::Side;
use recycler_test_s3::{Action, Operation, Rule, When};
use serde_json::Value;
use url::Url;

use crate::support::broker::broker_url;
use crate::support::process::{Service, eventually, eventually_within};
use crate::support::proxy::{Proxy, Weather};
use crate::support::world::{S3, World, world};

fn status(status: u16, code: &str) -> Action {
    Action::Status { status, code: code.to_owned(), when: When::Before }
}

impl World {
    /// Deletes all contacts, each in a statement of its own: as many messages as records.
    pub async fn delete_one_by_one(&self) {
        self.crm
            .sql(
                r#"DO $$ DECLARE id uuid; BEGIN
                     FOR id IN SELECT "Id" FROM "Contact" LOOP DELETE FROM "Contact" WHERE "Id" = id; END LOOP;
                   END $$"#,
            )
            .await;
    }

    /// Waits until these files, and no others, are recycled, each noted once, and nobody is dead.
    pub async fn all_recycled(&self, service: &Service, ids: &[String]) {
        let control = self.storage.control();
        let expected: BTreeSet<_> = ids.iter().cloned().collect();
        eventually_within(Duration::from_mins(3), "every file is recycled", async || {
            let arrived: BTreeSet<_> = control.keys(&self.storage.recycle).into_iter().collect();
            let left = control.keys(&self.storage.object);
            (arrived.is_superset(&expected) && left.iter().all(|key| key.starts_with(".file-recycler/")))
                .then_some(())
        })
        .await;
        self.quiet(service).await;
        eventually("every file is in the ledger, once", async || {
            let noted = self.crm.number("SELECT count(*) FROM file_recycler.ledger").await;
            (noted == i64::try_from(ids.len()).unwrap()).then_some(())
        })
        .await;
        assert_eq!(self.dead().await, 0);
    }

    pub async fn dead(&self) -> u64 {
        self.cli(&["dlq", "list", "--json"]).await.expect(0).json()["total"].as_u64().unwrap()
    }

    async fn storage_is(&self, service: &Service, ok: bool) -> Value {
        eventually(&format!("the storage is well: {ok}"), async || {
            let answer = service.readyz().await?;
            (answer["dependencies"]["storage"]["ok"] == ok).then_some(answer)
        })
        .await
    }
}

async fn proxy_to(url: &Url, port: u16) -> Proxy {
    Proxy::to(format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(port))).await
}

fn through(url: &Url, proxy: &Proxy) -> String {
    let mut url = url.clone();
    url.set_port(Some(proxy.address().port())).unwrap();
    url.to_string()
}

/// There is no later try at all, so whatever counted this one would have to give it up.
#[tokio::test]
async fn a_message_that_meets_an_outage_goes_back_uncounted() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("RETRY__DELAYS", "[]")]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            .expect_log("dead-lettered")
            .expect_log("could not be");
        let control = world.storage.control();
        let ids = world.many(3).await;
        // The storage was probed by then: what meets the outage is a message.
        let takes = || service.log().iter().any(|line| line.contains("taking messages"));
        eventually("it takes messages", async || takes().then_some(())).await;
        control.fault(Rule::new(Operation::CopyObject, status(403, "InvalidAccessKeyId")));
        world.delete_one_by_one().await;
        eventually("it met the outage", async || {
            let answer = service.readyz().await?;
            let down = answer["dependencies"]["storage"]["ok"] == false;
            (down || world.dead().await > 0).then_some(())
        })
        .await;
        assert_eq!(world.dead().await, 0);
        control.clear_faults();
        world.all_recycled(&service, &ids).await;
    })
    .await;
}

/// Everything that the program depends on is cut off in turn while 1,500 records are deleted, for a hundred times
/// as long as all later tries of a message take together.
#[tokio::test]
async fn an_outage_of_each_server_uses_up_no_tries_and_ends_by_itself() {
    world(S3::Embedded, async |world| {
        let storage = Url::parse(world.storage.endpoint()).unwrap();
        let database = Url::parse(&world.crm.url).unwrap();
        let mut broker = broker_url();
        broker.set_query(Some("heartbeat=1"));
        let proxies =
            [proxy_to(&storage, 80).await, proxy_to(&database, 5432).await, proxy_to(&broker, 5672).await];
        let environment = world.with(&[
            ("STORAGE__SERVICE_URL", &through(&storage, &proxies[0])),
            ("DATABASE__URL", &through(&database, &proxies[1])),
            ("BROKER__URL", &through(&broker, &proxies[2])),
            ("RETRY__DELAYS", r#"["10ms"]"#),
        ]);
        crate::support::process::run(&environment, &["adopt", "--apply"]).await.expect(0);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            .expect_log("interrupted")
            .expect_log("could not be");
        let mut ids = world.many(1_500).await;
        for (proxy, name) in proxies.iter().zip(["storage", "database", "broker"]) {
            proxy.set(Weather::Cut);
            if name == "storage" {
                world.delete_one_by_one().await;
            } else {
                ids = [ids, world.many(50).await].concat();
                world.delete_one_by_one().await;
            }
            eventually(&format!("the {name} is seen to be out"), async || {
                let answer = service.readyz().await?;
                (answer["dependencies"][name]["ok"] == false && answer["ready"] == false).then_some(())
            })
            .await;
            assert_eq!(service.metric(&format!("file_recycler_dependency_up{{name=\"{name}\"}}")).await, 0);
            // The outage lasts: that nothing is used up meanwhile is what this is about.
            tokio::time::sleep(Duration::from_secs(3)).await;
            proxy.set(Weather::Fair);
            eventually(&format!("the {name} is back"), async || {
                let up =
                    service.metric(&format!("file_recycler_dependency_up{{name=\"{name}\"}}")).await == 1;
                (up && service.readyz().await?["dependencies"][name]["ok"] == true).then_some(())
            })
            .await;
        }
        ids.sort();
        ids.dedup();
        world.all_recycled(&service, &ids).await;
    })
    .await;
}

/// Our own object works all the while, and the first messages of the queue are bad ones: their turn comes when
/// others have been served.
#[tokio::test]
async fn after_an_outage_some_bad_files_at_the_head_of_the_queue_keep_nobody_waiting() {
    world(S3::Embedded, async |world| {
        let service =
            world.run().await.expect_log("not well").expect_log("dead-lettered").expect_log("could not be");
        let control = world.storage.control();
        let ids = world.many(40).await;
        for id in &ids {
            control.fault(Rule::new(Operation::CopyObject, status(403, "AccessDenied")).key(id));
        }
        let bad: Vec<String> = sqlx::query_scalar(r#"SELECT f."Id"::text FROM "ContactFile" f LIMIT 6"#)
            .fetch_all(&world.crm.pool)
            .await
            .unwrap();
        // The bad ones first, so that they are at the head; and together, since one that fails alone is condemned.
        let of = format!(r#"SELECT "ContactId" FROM "ContactFile" WHERE "Id" IN ('{}')"#, bad.join("', '"));
        world.crm.sql(format!(r#"DELETE FROM "Contact" WHERE "Id" IN ({of})"#)).await;
        world.storage_is(&service, false).await;
        world.delete_one_by_one().await;
        eventually("the rest is in the queue", async || {
            (world.queues.unfinished().await >= 40).then_some(())
        })
        .await;
        assert_eq!(world.dead().await, 0, "as long as nobody is served, nobody is condemned");
        assert_eq!(world.storage_is(&service, false).await["ready"], false);
        control.clear_faults();
        for id in &bad {
            control.fault(Rule::new(Operation::CopyObject, status(403, "AccessDenied")).key(id));
        }
        eventually("the bad ones are dead", async || {
            // Somebody is served now and then: only then a bad one is known to be one.
            let (record, _) = world.record_with_files("Account", "AccountFile", 1).await;
            world.crm.delete("Account", record).await;
            (world.dead().await == bad.len() as u64).then_some(())
        })
        .await;
        eventually("the good ones are recycled", async || {
            let left = control.keys(&world.storage.object);
            let left = left.iter().filter(|key| !key.starts_with(".file-recycler/")).count();
            (left == bad.len()).then_some(())
        })
        .await;
        let letters = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
        for letter in letters["messages"].as_array().unwrap() {
            assert_eq!(letter["reason"], "forbidden", "{letter}");
            assert!(bad.contains(&letter["files"][0].as_str().unwrap().to_owned()), "{letter}");
        }
        world.storage_is(&service, true).await;
    })
    .await;
}

/// One line when it begins, one when it ends, however often it is looked at in between; and it is down until
/// a file has been served, although our own object works.
#[tokio::test]
async fn an_outage_that_only_files_meet_is_one_line_and_ends_with_a_file_that_is_served() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("not well").expect_log("could not be");
        let control = world.storage.control();
        let ids = world.many(20).await;
        for id in &ids {
            control.fault(Rule::new(Operation::CopyObject, status(403, "AccessDenied")).key(id));
        }
        world.delete_one_by_one().await;
        world.storage_is(&service, false).await;
        let trials = async || {
            let log = service.log();
            log.iter().filter(|line| line.contains("serves none of them")).count()
        };
        eventually("waiting files are tried again and again", async || (trials().await >= 3).then_some(()))
            .await;
        let answer = service.readyz().await.unwrap();
        assert_eq!(answer["dependencies"]["storage"]["ok"], false, "{answer}");
        // What the process says of itself comes by way of the database, a moment later.
        let status = eventually("the process's trouble is told", async || {
            let said = world.cli(&["status", "--json"]).await;
            let status = said.json();
            let told = status["processes"][0]["why"].to_string().contains("CopyObject");
            (told && said.code == 1).then_some(status)
        })
        .await;
        assert_eq!(status["dependencies"]["storage"]["ok"], true, "our own object can be read: {status}");
        control.clear_faults();
        world.all_recycled(&service, &ids).await;
        world.storage_is(&service, true).await;
        let lines = |text: &str| {
            let of_storage = |line: &&String| line.contains(text) && line.contains("storage");
            service.log().iter().filter(of_storage).count()
        };
        assert_eq!(lines("not well"), 1, "{:?}", service.log());
        eventually("nobody is in trouble", async || (world.cli(&["status"]).await.code == 0).then_some(()))
            .await;
    })
    .await;
}

/// Nineteen of twenty files fail and the others work, so each one's trouble looks like its own.
#[tokio::test]
async fn tries_that_mostly_fail_are_an_outage_though_some_work() {
    world(S3::Embedded, async |world| {
        let world = Arc::clone(&world);
        let environment = world.with(&[("RETRY__DELAYS", r#"["3s","3001ms","3002ms","3003ms"]"#)]);
        let service = Service::start(&environment, &["run"])
            .await
            .ready()
            .await
            .expect_log("not well")
            .expect_log("could not be");
        let control = world.storage.control();
        let ids = world.many(200).await;
        for (number, id) in ids.iter().enumerate() {
            if number % 20 != 0 {
                control.fault(Rule::new(Operation::CopyObject, status(500, "InternalError")).key(id));
            }
        }
        world.delete_one_by_one().await;
        let answer = world.storage_is(&service, false).await;
        assert_eq!(answer["ready"], false);
        let said = answer["dependencies"]["storage"]["message"].as_str().unwrap();
        assert!(said.contains("messages failed") || said.contains("CopyObject"), "{said}");
        control.clear_faults();
        world.all_recycled(&service, &ids).await;
        assert!(world.storage.get(Side::Recycle, &ids[0]).await.is_some());
    })
    .await;
}
