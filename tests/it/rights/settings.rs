//! The CRM's own settings are read by few columns, where its version has them, and no secret comes along.

use file_recycler::config::OnCaptureError;
use file_recycler::db::Db;
use file_recycler::db::features::{ActiveStorage, CrmSettings, Switch};
use sqlx::Connection as _;

use crate::support::database::{TestDatabase, crm, run};
use crate::support::roles::Roles;

/// What the running role reads with exactly its rights, in a CRM that is changed like this first.
async fn read_after(change: &str) -> (TestDatabase, Roles, CrmSettings) {
    let database = TestDatabase::create().await;
    database.run(change).await;
    let roles = Roles::create(secrecy::ExposeSecret::expose_secret(&database.url())).await;
    database.install(OnCaptureError::Skip).await;
    roles.allow_run(&[]).await;
    let db = Db::connect(&database.url_as(&roles.run)).unwrap();
    let settings = db.crm_settings(&crm()).await.unwrap().expect("it is that CRM");
    db.close().await;
    (database, roles, settings)
}

fn ours() -> ActiveStorage {
    ActiveStorage::Ours("S3_storage".to_owned())
}

#[tokio::test]
async fn of_the_settings_values_none_but_references_can_be_read() {
    let secret = r#"UPDATE "SysSettingsValue" SET "TextValue" = 'a password'"#;
    let (database, roles, settings) = read_after(secret).await;
    assert_eq!((settings.own_listener, settings.active_storage), (Switch::Off, ours()));
    let mut as_run = database.crm_as(&roles.run).await;
    for columns in ["*", r#""TextValue""#, r#""IntegerValue""#, r#""BooleanValue""#] {
        let refused =
            run(&mut as_run, &format!(r#"SELECT {columns} FROM "SysSettingsValue""#)).await.unwrap_err();
        let code = refused.as_database_error().and_then(|error| error.code().map(String::from));
        assert_eq!(code.as_deref(), Some("42501"), "{columns}: {refused}");
    }
    as_run.close().await.unwrap();
    drop(roles);
}

#[tokio::test]
async fn the_file_is_applied_where_the_crm_keeps_its_settings_elsewhere_and_that_is_no_missing_right() {
    for (change, own_listener, active_storage) in [
        (r#"DROP TABLE "AdminUnitFeatureState""#, Switch::Unknown, ours()),
        (r#"DROP TABLE "AdminUnitFeatureState", "Feature""#, Switch::Unknown, ours()),
        (r#"ALTER TABLE "Feature" DROP COLUMN "DefaultState""#, Switch::Unknown, ours()),
        (r#"DROP TABLE "SysSettingsValue", "SysSettings""#, Switch::Off, ActiveStorage::Unknown),
        (
            r#"ALTER TABLE "SysSettingsValue" RENAME COLUMN "GuidValue" TO "Value""#,
            Switch::Off,
            ActiveStorage::Unknown,
        ),
        (
            r#"ALTER TABLE "Feature" RENAME TO "FeatureInDb"; CREATE VIEW "Feature" AS SELECT * FROM "FeatureInDb""#,
            Switch::Off,
            ours(),
        ),
    ] {
        let (_database, _roles, settings) = read_after(change).await;
        assert_eq!(settings, CrmSettings { own_listener, active_storage, denied: None }, "{change}");
    }
}

#[tokio::test]
async fn what_policies_may_hide_is_told_as_denied_and_not_as_something_that_the_version_lacks() {
    let (_database, _roles, settings) =
        read_after(r#"ALTER TABLE "Feature" ENABLE ROW LEVEL SECURITY"#).await;
    assert_eq!((settings.own_listener, settings.active_storage), (Switch::Denied, ours()));
    let denied = settings.denied.expect("why");
    assert!(denied.why.contains("row-level security"), "{denied:?}");
    assert!(denied.advice.contains("docs/rights.md"), "{denied:?}");
}
