//! A database that nobody may touch: no trigger, nothing but SELECT on the application's tables, and copies of it.

use serde_json::json;
use uuid::Uuid;

use super::{OLD, audit_in, counts, of};
use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::process::{self, Output};
use crate::support::roles::Roles;
use crate::support::world::{S3, World, bare_world};

type Environment = Vec<(String, String)>;

const TRIGGERS: &str = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal";

/// Every orphan counts as old.
async fn fix(environment: &Environment) -> Output {
    let fix = ["--fix", "orphans", "--max-percent", "100", "--apply"];
    audit_in(environment.clone(), &[OLD], &fix).await
}

/// The running role with its rights, in a database in which a role made the own schema that may do nothing else.
async fn read_only(world: &World) -> (Roles, Environment) {
    let roles = Roles::create(&world.crm.url).await;
    let (install, name) = (&roles.install, &world.crm.name);
    roles.sql(&format!("GRANT CONNECT, CREATE ON DATABASE {name} TO {install}")).await;
    let as_install = world.with(&[("DATABASE__URL", &roles.url_as(install))]);
    let line = ["listener", "install", "--schema-only", "--json"];
    let made = process::run(&as_install, &line).await.expect(0).json();
    assert_eq!(made, json!({ "applied": true, "schema": true, "tables": [] }));
    let again = process::run(&as_install, &line).await.expect(0).json();
    assert_eq!(again["schema"], false, "a second time it changes nothing");
    roles.allow_run(&[("dangling_rows", "leave")]).await;
    let url = roles.url_as(&roles.run);
    (roles, world.with(&[("DATABASE__URL", &url), ("CRM__DANGLING_ROWS", "leave")]))
}

#[tokio::test]
async fn with_nothing_but_select_and_without_a_trigger_files_of_deleted_records_move() {
    bare_world(S3::Embedded, async |world| {
        let (roles, as_run) = read_only(&world).await;
        process::run(&as_run, &["adopt", "--apply"]).await.expect(0);
        for grant in roles.grants(&roles.run).await.iter().filter(|it| it.object.contains('"')) {
            assert_eq!(grant.privilege, "SELECT", "of the application's: {grant:?}");
        }
        assert_eq!(world.crm.number(TRIGGERS).await, 0);
        let (record, files) = world.record_with_files("Contact", "ContactFile", 2).await;
        let (_, living) = world.record_with_files("Account", "AccountFile", 1).await;
        let linked = world.crm.record("Account").await;
        world.crm.link("Account", linked, "ContactFile", files[1]).await;
        world.crm.delete("Contact", record).await;

        let done = fix(&as_run).await.expect(0).json();
        assert_eq!(done["fix"]["outcomes"], json!({ "moved": 1 }), "{done}");
        world.recycled(files[0]).await;
        for file in [files[1], living[0]] {
            world.is_untouched(file).await;
        }
        let done = fix(&as_run).await.expect(0).json();
        assert_eq!(
            counts(&done),
            of(&[("ok", 1), ("linked", 1), ("recycled", 1)]),
            "the next night has nothing to do: {done}"
        );
        assert_eq!(world.crm.number(TRIGGERS).await, 0);
        drop(roles);
    })
    .await;
}

#[tokio::test]
async fn the_own_schema_alone_is_made_by_sql_by_hand_too() {
    bare_world(S3::Embedded, async |world| {
        let printed =
            world.cli(&["listener", "install", "--schema-only", "--dry-run"]).await.expect(0).stdout;
        assert!(!printed.contains("CREATE TRIGGER"), "{printed}");
        let ours = "SELECT count(*) FROM pg_namespace WHERE nspname = 'file_recycler'";
        assert_eq!(world.crm.number(ours).await, 0, "nothing is changed");
        world.crm.sql(printed).await;
        let made = world.cli(&["listener", "install", "--schema-only", "--json"]).await.expect(0).json();
        assert_eq!(made["schema"], false, "{made}");
        assert_eq!(world.crm.number(TRIGGERS).await, 0);
        let status = world.cli(&["listener", "status", "--json"]).await.expect(1).json();
        assert_eq!(status["state"], "not installed", "{status}");
    })
    .await;
}

/// No worker runs in such an environment: whoever audits advances the nonce.
#[tokio::test]
async fn case_41_a_clone_of_a_database_that_is_only_audited_moves_no_orphan() {
    bare_world(S3::Embedded, async |world| {
        let original = Cluster::start().await;
        let crm = Crm::on(&original.url()).await;
        let environment = world.with(&[("DATABASE__URL", &crm.url)]);
        for line in [&["listener", "install", "--schema-only"][..], &["adopt", "--apply"]] {
            process::run(&environment, line).await.expect(0);
        }
        let mut clone = original.clone_of().await;
        clone.run().await;
        // A night on which there is nothing to do.
        let done = fix(&environment).await.expect(0).json();
        assert_eq!(done["fix"]["orphans"], 0, "{done}");

        // Of production it knows nothing: each file that came since looks like an orphan to it.
        let copy = Crm::of(&clone.url(), &crm.name).await;
        let file = with_a_file(&world, &crm).await;
        let of_clone = world.with(&[("DATABASE__URL", &copy.url)]);
        let refused = fix(&of_clone).await.expect(1);
        assert!(
            refused.stderr.contains("is not the one that wrote the object bucket's marker"),
            "{refused:?}"
        );
        world.is_untouched(file).await;
        let orphan = Uuid::new_v4();
        world.upload(orphan).await;
        let done = fix(&environment).await.expect(0).json();
        assert_eq!(done["fix"]["outcomes"], json!({ "moved": 1 }), "{done}");
        assert_eq!(counts(&done), of(&[("ok", 1), ("orphan", 1)]), "{done}");
        copy.pool.close().await;
        crm.pool.close().await;
    })
    .await;
}

/// A living file of a database that is not the world's own.
async fn with_a_file(world: &World, crm: &Crm) -> Uuid {
    let record = crm.record("Contact").await;
    let file = crm.hard_file("ContactFile", "Contact", record).await;
    world.upload(file).await;
    file
}
