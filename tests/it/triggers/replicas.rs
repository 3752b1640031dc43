//! Replicas, by streaming and logical: what is captured where, and that no replica answers for the primary.

use file_recycler::db::Db;
use file_recycler::db::registry::Registry;
use file_recycler::outcome::{Advice, Dependency};

use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::database::{actor, crm, ids};
use crate::support::process::{self, Service, eventually};
use crate::support::world::{S3, bare_world, world};

#[tokio::test]
async fn case_37_a_read_replica_is_refused_by_the_guard_and_by_every_question() {
    bare_world(S3::Embedded, async |world| {
        let primary = Cluster::start().await;
        let original = Crm::on(&primary.url()).await;
        let environment = world.with(&[("DATABASE__URL", &original.url)]);
        for command in [&["listener", "install"][..], &["adopt", "--apply"]] {
            process::run(&environment, command).await.expect(0);
        }
        let record = original.record("Contact").await;
        let file = original.hard_file("ContactFile", "Contact", record).await;
        world.upload(file).await;
        let mut standby = primary.standby_of().await;
        standby.run().await;
        let replica = Crm::of(&standby.url(), &original.name).await;
        let of_replica = world.with(&[("DATABASE__URL", &replica.url)]);
        let service = Service::start(&of_replica, &["run"])
            .await
            .expect_log("not well")
            .expect_log("read-only")
            .expect_log("recovery");
        service.guard_says("the database is a replica").await;
        original.delete("Contact", record).await;
        eventually("the replica has followed", async || {
            (replica.number("SELECT count(*) FROM file_recycler.outbox").await == 2).then_some(())
        })
        .await;
        let refused = process::run(&of_replica, &["listener", "install"]).await;
        process::run(&of_replica, &["status"]).await.expect(1);
        assert_eq!(refused.code, 0, "everything is in place already: nothing is written");
        world.is_untouched(file).await;
        drop(service);
        for database in [replica, original] {
            database.pool.close().await;
        }
    })
    .await;
}

#[tokio::test]
async fn case_45_a_question_that_a_pooler_sends_to_a_replica_is_not_answered() {
    let primary = Cluster::start().await;
    let original = Crm::on(&primary.url()).await;
    let db = Db::connect(&original.url.as_str().into()).unwrap();
    db.install(&crm(), file_recycler::config::OnCaptureError::Skip, &actor()).await.unwrap();
    let mut standby = primary.standby_of().await;
    standby.run().await;
    let replica = Crm::of(&standby.url(), &original.name).await;
    // As behind a pooler: everything else was asked of the primary, and this one question comes here.
    let registry = Registry::new(Db::connect(&replica.url.as_str().into()).unwrap(), crm());

    let error = registry.liveness(&ids(&[uuid::Uuid::new_v4()])).await.unwrap_err();

    assert_eq!(error.advice(), Advice::Outage(Dependency::Database));
    assert!(error.to_string().contains("this server is a replica"), "{error}");
    for database in [replica, original] {
        database.pool.close().await;
    }
    db.close().await;
}

/// Tables without a key of their own could be published, but not changed.
#[tokio::test]
async fn a_publication_of_all_tables_is_no_hindrance_to_our_own() {
    world(S3::Embedded, async |world| {
        world.crm.sql("CREATE PUBLICATION everything FOR ALL TABLES").await;
        let service = world.run().await;
        let (record, files) = world.record_with_files("Contact", "ContactFile", 1).await;
        let weak = world.crm.weak_file("SysFile", "Contact", record).await;
        world.upload(weak).await;
        world.crm.delete("Contact", record).await;
        for file in [files[0], weak] {
            world.recycled(file).await;
        }
        world.quiet(&service).await;
        world.cli(&["pause", "--why", "x"]).await.expect(0);
        let service = service.expect_log("paused by an operator");
        world.cli(&["resume"]).await.expect(0);
        drop(service);
    })
    .await;
}

/// A subscriber has the CRM's tables, and may have our triggers on them.
#[tokio::test]
async fn a_logical_subscriber_captures_no_deletion_a_second_time() {
    let cluster = Cluster::with(&["wal_level=logical"]).await;
    let (publisher, subscriber) = (Crm::on(&cluster.url()).await, Crm::on(&cluster.url()).await);
    for database in [&publisher, &subscriber] {
        let db = Db::connect(&database.url.as_str().into()).unwrap();
        db.install(&crm(), file_recycler::config::OnCaptureError::Skip, &actor()).await.unwrap();
        db.close().await;
    }
    let tables = r#""Contact", "ContactFile""#;
    publisher.sql(format!("CREATE PUBLICATION crm FOR TABLE {tables}")).await;
    publisher.sql("SELECT pg_create_logical_replication_slot('crm', 'pgoutput')").await;
    let port = cluster.url().port().unwrap();
    subscriber
        .sql(format!(
            "CREATE SUBSCRIPTION crm CONNECTION 'host=127.0.0.1 port={port} dbname={} user=crm password=crm'
             PUBLICATION crm WITH (create_slot = false, slot_name = 'crm', copy_data = false)",
            publisher.name
        ))
        .await;
    let captured = async |database: &Crm| database.number("SELECT count(*) FROM file_recycler.outbox").await;
    let follows = async |contacts: i64| {
        eventually("the subscriber has followed", async || {
            (subscriber.number(r#"SELECT count(*) FROM "Contact""#).await == contacts).then_some(())
        })
        .await;
    };

    let record = publisher.record("Contact").await;
    publisher.hard_file("ContactFile", "Contact", record).await;
    follows(1).await;
    publisher.delete("Contact", record).await;
    follows(0).await;
    eventually("its file has gone there, too", async || {
        (subscriber.number(r#"SELECT count(*) FROM "ContactFile""#).await == 0).then_some(())
    })
    .await;
    assert_eq!(
        (captured(&publisher).await, captured(&subscriber).await),
        (2, 0),
        "statements fire, copied rows do not"
    );

    // A TRUNCATE is the one thing that fires on both sides.
    publisher.record("Contact").await;
    follows(1).await;
    publisher.sql(format!("TRUNCATE {tables}")).await;
    follows(0).await;
    assert_eq!((captured(&publisher).await, captured(&subscriber).await), (3, 1));

    subscriber.sql("ALTER SUBSCRIPTION crm DISABLE").await;
    for database in [publisher, subscriber] {
        database.pool.close().await;
    }
}
