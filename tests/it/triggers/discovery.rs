//! Which tables are found, and what the CRM's own settings say.

use file_recycler::db::catalog::{Catalog, OnDelete};
use file_recycler::db::features::{ActiveStorage, CrmSettings, Switch};

use crate::support::database::{TestDatabase, crm};
use crate::support::process::eventually_within;
use crate::support::world::{S3, world};

async fn catalog(database: &TestDatabase) -> Catalog {
    database.db().discover_all(&crm()).await.unwrap()
}

fn files(catalog: &Catalog) -> Vec<&str> {
    catalog.file_tables.iter().map(|file| file.schema.as_str()).collect()
}

#[tokio::test]
async fn file_tables_are_those_of_heirs_at_any_depth_by_whichever_replacement_and_whatever_their_names() {
    let database = TestDatabase::create().await;
    database
        .run(
            r#"SELECT make_schema('UsrPapers', 'SysFile'), make_schema('UsrScans', 'FeedFile');
               SELECT make_schema('UsrOldScans', 'UsrScans');
               -- A child of the second row of a replaced schema, and a replacement of a replacement.
               INSERT INTO "SysSchema" ("UId", "Name", "ParentId")
                 SELECT uuid_generate_v4(), 'UsrOfReplaced', "Id" FROM "SysSchema" WHERE "Name" = 'ContactFile' AND "ExtendParent";
               INSERT INTO "SysSchema" ("UId", "Name", "ParentId", "ExtendParent")
                 SELECT uuid_generate_v4(), 'ContactFile', "Id", true FROM "SysSchema" WHERE "Name" = 'ContactFile' AND "ExtendParent";
               -- Neither of another manager nor of another parent, whatever they are called.
               INSERT INTO "SysSchema" ("UId", "Name", "ManagerName", "ParentId")
                 SELECT uuid_generate_v4(), 'PageFile', 'ClientUnitSchemaManager', "Id" FROM "SysSchema" WHERE "Name" = 'File';
               SELECT make_schema('NoFile', 'BaseEntity'), make_schema('UsrNoTable', 'SysFile');
               SELECT make_file_table(name, '"RecordSchemaName" varchar(250), "RecordId" uuid')
                 FROM unnest(ARRAY['UsrPapers', 'UsrScans', 'UsrOldScans', 'UsrOfReplaced', 'PageFile', 'NoFile']) AS name"#,
        )
        .await;

    let catalog = catalog(&database).await;

    let expected = [
        "AccountFile",
        "CallFile",
        "CaseFile",
        "ContactFile",
        "FeedFile",
        "FileLead",
        "OpportunityFile",
        "SysFile",
        "UsrOfReplaced",
        "UsrOldScans",
        "UsrPapers",
        "UsrScans",
    ];
    assert_eq!(files(&catalog), expected);
    assert_eq!(catalog.remarks, Vec::<String>::new());
    let rules: Vec<_> = catalog
        .file_tables
        .iter()
        .filter_map(|file| Some((file.schema.as_str(), file.parent.as_ref()?.on_delete)))
        .collect();
    assert_eq!(
        rules,
        [
            ("AccountFile", Some(OnDelete::Cascade)),
            ("CallFile", Some(OnDelete::Refuse)),
            ("CaseFile", Some(OnDelete::SetNull)),
            ("ContactFile", Some(OnDelete::Cascade)),
            ("FileLead", Some(OnDelete::Cascade)),
            ("OpportunityFile", Some(OnDelete::Cascade)),
        ]
    );
}

#[tokio::test]
async fn a_lookup_without_a_foreign_key_and_a_foreign_key_without_a_lookup_are_told() {
    world(S3::Embedded, async |world| {
        world
            .crm
            .sql(
                r#"ALTER TABLE "ContactFile" DROP CONSTRAINT "ContactFile_ContactId_fkey";
                   DELETE FROM "SysEntitySchemaReference" WHERE "ColumnName" = 'AccountId';
                   UPDATE "SysEntitySchemaReference" SET "ReferenceSchemaId" = (SELECT "Id" FROM "SysSchema" WHERE "Name" = 'Lead')
                    WHERE "ColumnName" = 'CaseId'"#,
            )
            .await;
        let status = world.cli(&["listener", "status", "--json"]).await.expect(0).json();
        let told = [
            "AccountFile: AccountId is a foreign key to Account that is not among the CRM's lookups",
            "CaseFile: CaseId is a foreign key to Case, and a lookup to Lead",
            "ContactFile: ContactId is a lookup to Contact without a foreign key: when a record goes, the database \
             leaves its files' rows",
        ];
        assert_eq!(status["remarks"], serde_json::json!(told), "{status}");
        let text = world.cli(&["listener", "status"]).await.expect(0).stdout;
        assert!(told.iter().all(|line| text.contains(line)), "{text}");
    })
    .await;
}

#[tokio::test]
async fn a_section_made_later_is_told_within_a_minute_and_installed_without_a_restart() {
    world(S3::Embedded, async |world| {
        let service = world.run().await.expect_log("drift");
        world.crm.sql("SELECT make_section('UsrDeal', 'CASCADE', 'UsrPapers')").await;
        let minute = std::time::Duration::from_mins(1);
        eventually_within(minute, "the new section is told", async || {
            let answer = service.readyz().await?;
            answer["listener"]["message"].as_str()?.contains("UsrPapers").then_some(())
        })
        .await;
        world.cli(&["listener", "install"]).await.expect(0);
        let deal = world.crm.record("UsrDeal").await;
        let file = world.crm.hard_file("UsrPapers", "UsrDeal", deal).await;
        world.upload(file).await;
        world.crm.delete("UsrDeal", deal).await;
        world.recycled(file).await;
    })
    .await;
}

#[tokio::test]
async fn the_crms_own_settings_are_read_and_what_another_version_lacks_is_unknown() {
    let database = TestDatabase::create().await;
    let settings = async || database.db().crm_settings(&crm()).await.unwrap().unwrap();
    let ours = || ActiveStorage::Ours("S3_storage".to_owned());
    let is = |own_listener, active_storage| CrmSettings { own_listener, active_storage, denied: None };
    assert_eq!(settings().await, is(Switch::Off, ours()));

    let everybody = "a29a3ba5-4b0d-de11-9a51-005056c00008";
    let state = |unit: &str, state: i32| {
        format!(
            r#"INSERT INTO "AdminUnitFeatureState" ("FeatureId", "SysAdminUnitId", "FeatureState")
               SELECT "Id", '{unit}', {state} FROM "Feature""#
        )
    };
    for (change, own_listener, active_storage) in [
        (state("b29a3ba5-4b0d-de11-9a51-005056c00008", 1), Switch::Off, ours()),
        (state(everybody, 1), Switch::On, ours()),
        (
            r#"UPDATE "SysSettingsValue" SET "GuidValue" = '38ab9812-9bba-4eb8-86d0-8f352cd0229c'"#
                .to_owned(),
            Switch::On,
            ActiveStorage::Other("Database".to_owned()),
        ),
        (
            r#"UPDATE "SysSettingsValue" SET "GuidValue" = uuid_generate_v4()"#.to_owned(),
            Switch::On,
            ActiveStorage::Unknown,
        ),
        (
            r#"DELETE FROM "AdminUnitFeatureState"; DELETE FROM "Feature""#.to_owned(),
            Switch::Unknown,
            ActiveStorage::Unknown,
        ),
        (
            r#"DROP TABLE "AdminUnitFeatureState", "SysSettingsValue""#.to_owned(),
            Switch::Unknown,
            ActiveStorage::Unknown,
        ),
        (
            r#"ALTER TABLE "Feature" RENAME COLUMN "Code" TO "Kode""#.to_owned(),
            Switch::Unknown,
            ActiveStorage::Unknown,
        ),
    ] {
        database.run(&change).await;
        assert_eq!(settings().await, is(own_listener, active_storage), "{change}");
    }
}

#[tokio::test]
async fn the_crms_own_settings_are_in_the_listeners_status() {
    world(S3::Embedded, async |world| {
        world.crm.sql(r#"UPDATE "Feature" SET "DefaultState" = 1"#).await;
        let status = world.cli(&["listener", "status", "--json"]).await.expect(0).json();
        let expected =
            serde_json::json!({ "own_listener": "on", "active_storage": { "is": "ours", "code": "S3_storage" } });
        assert_eq!(status["crm"], expected);
        let text = world.cli(&["listener", "status"]).await.expect(0).stdout;
        assert!(text.contains("UseBaseEntityFileDeleteListener) is on: files that it has moved itself"), "{text}");
        assert!(text.contains("the CRM puts new files into S3_storage"), "{text}");
    })
    .await;
}
