//! Every grant of `database-run.sql` is necessary: taken away by itself it is named, and something is refused.

use std::time::Duration;

use file_recycler::config::{Crm, DanglingRows, OnCaptureError};
use file_recycler::db::dangling::DeletedRecord;
use file_recycler::db::discarded::Discarded;
use file_recycler::db::environment::{Buckets, NewBinding, Purpose};
use file_recycler::db::erasure::{Erasure, Images};
use file_recycler::db::ledger::LedgerEntry;
use file_recycler::db::low_water::LowWater;
use file_recycler::db::nonce::Nonce;
use file_recycler::db::outbox::Limits;
use file_recycler::db::process::Process;
use file_recycler::db::registry::Registry;
use file_recycler::db::replay::Replayed;
use file_recycler::db::restore::{LedgerOf, RowsOf};
use file_recycler::db::suspect::Mark;
use file_recycler::db::{Db, DbError};
use file_recycler::file::{FileId, Named, ObjectKey, RecordId, SchemaName};
use file_recycler::outcome::{Advice, Dependency, Outcome};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::support::crm::FILE_TYPE;
use crate::support::database::{S3, TestDatabase, actor, crm};
use crate::support::process::eventually;
use crate::support::roles::Roles;

/// Everything that a running process and an operator ask of the database, with something to do for each.
async fn everything(database: &TestDatabase, db: &Db, crm: &Crm) -> Result<(), DbError> {
    memory(db).await?;
    operators(db).await?;
    explain(db, crm).await?;
    restore(db, crm).await?;
    relay(database, db).await?;
    work(database, db, crm).await
}

const SECTIONS: [&str; 6] = ["Account", "Contact", "Opportunity", "Lead", "Case", "Call"];

/// Of each section a record that is gone and had a weak file. The first one has more: a second file, a link, and a file
/// that another record's link keeps.
struct Gone {
    records: Vec<(SchemaName, RecordId)>,
    kept: Uuid,
}

impl Gone {
    async fn new(database: &TestDatabase) -> Self {
        let [file, kept, elsewhere] = [Uuid::new_v4(), Uuid::new_v4(), Uuid::new_v4()];
        let records = SECTIONS.map(|section| (section, Uuid::new_v4()));
        let (section, first) = records[0];
        let weak = |table: &str, id: Uuid, (section, record): (&str, Uuid)| {
            format!(
                r#"INSERT INTO "{table}" ("Id", "TypeId", "SysFileStorageId", "RecordSchemaName", "RecordId")
                   VALUES ('{id}', '{FILE_TYPE}', '{S3}', '{section}', '{record}');"#
            )
        };
        let link = |(section, record): (&str, Uuid), table: &str, file: Uuid| {
            format!(
                r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
                   VALUES ('{section}', '{record}', '{table}', '{file}');"#
            )
        };
        let mut sql: String = records.iter().map(|record| weak("SysFile", Uuid::new_v4(), *record)).collect();
        sql += &weak("FeedFile", file, records[0]);
        sql += &weak("FeedFile", kept, records[0]);
        sql += &link((section, first), "FeedFile", file);
        sql += &link(("Contact", elsewhere), "FeedFile", kept);
        database.run(&sql).await;
        let records =
            records.map(|(section, id)| (SchemaName::try_from(section).unwrap(), RecordId::from(id)));
        Self { records: records.to_vec(), kept }
    }
}

async fn work(database: &TestDatabase, db: &Db, crm: &Crm) -> Result<(), DbError> {
    let registry = Registry::new(db.clone(), crm.clone());
    db.environment().await?;
    db.schema_state().await?;
    db.capture_status(crm, OnCaptureError::Skip).await?;
    db.capture_fingerprint(crm).await?;
    let Gone { records, kept } = Gone::new(database).await;
    let key = ObjectKey::try_from(kept.to_string()).unwrap();
    registry.liveness(&[Named { id: FileId::from(kept), key }]).await?;
    registry.hanging(&records).await?;
    for (schema, id) in &records {
        let record = DeletedRecord { schema, id, event_id: "event", may_delete: true };
        while registry.clear_dangling(record).await?.more {}
    }
    registry.held(&[FileId::from(kept)]).await?;
    registry.note(&[entry(kept)]).await?;
    let catalog = registry.catalog().await?;
    db.some_files(&catalog, 5).await?;
    db.newest_files(&catalog, 5).await?;
    db.count_files(&catalog).await?;
    db.deletion_counts(&catalog).await?;
    Ok(())
}

fn entry(file: Uuid) -> LedgerEntry {
    LedgerEntry {
        file_id: FileId::from(file),
        schema: None,
        record: None,
        key: ObjectKey::try_from(file.to_string()).unwrap(),
        object_bucket: "objects".into(),
        recycle_bucket: "recycle".into(),
        etag: None,
        size: None,
        event_id: "event".into(),
        deleted_at: None,
        recycled_at: OffsetDateTime::now_utc(),
        outcome: Outcome::Moved,
        detail: None,
    }
}

async fn relay(database: &TestDatabase, db: &Db) -> Result<(), DbError> {
    let contact = database.record("Contact").await;
    database.run(&format!(r#"DELETE FROM "Contact" WHERE "Id" = '{contact}'"#)).await;
    db.backlog().await?;
    let mut low_water = LowWater::default();
    db.begin_batch(Limits::default(), &mut low_water, Duration::from_mins(1)).await?;
    // Transactions that run beside this test are waited for.
    let mut batch = eventually("the deletion's turn has come", async || {
        db.begin_batch(Limits::default(), &mut low_water, Duration::ZERO).await.transpose()
    })
    .await?;
    let rows: Vec<i64> = batch.rows().iter().map(|row| row.row).collect();
    batch.delete(&rows).await?;
    batch.commit().await?;
    db.capture_failures().await?;
    db.unseen_capture_failures().await?;
    db.note_silence(1, &[]).await?;
    db.note_silence(2, &[]).await?;
    db.silence().await?;
    db.forget_silence().await
}

async fn memory(db: &Db) -> Result<(), DbError> {
    db.make_partitions().await?;
    let (now, token, fingerprint) = (OffsetDateTime::now_utc(), Uuid::new_v4(), Uuid::new_v4());
    let message = Replayed { token, id: "m".into(), fingerprint, was_reason: None };
    db.replay_begun(&[fingerprint]).await?;
    db.replay_begin(Uuid::new_v4(), &[message], &actor()).await?;
    db.replay_published(&[token], now).await?;
    db.replay_finished(token, None, None, now).await?;
    db.replay_removed(&[token], now).await?;
    db.replay_outcomes(token).await?;
    let discarded = Discarded {
        token,
        fingerprint,
        id: "m".into(),
        reason: None,
        error: None,
        attempts: 1,
        first_failure: None,
        last_failure: None,
        body: Vec::new(),
    };
    db.discard_begun(&[fingerprint]).await?;
    db.keep_discarded(&[discarded], "why", &actor()).await?;
    db.discard_removed(&[token], now).await?;
    let mark = Mark { message: Uuid::new_v4(), trial: token };
    db.mark_suspect(mark, None, "worker", Duration::from_secs(1)).await?;
    db.keep_mark(mark, Duration::from_secs(1)).await?;
    db.unmark_suspect(mark, true).await?;
    db.unmark_worker("worker").await?;
    let process = Process { name: "p".into(), halves: "run".into(), ready: true, why: None };
    db.tell_process(&process).await?;
    db.processes(Duration::from_secs(1)).await?;
    db.forget_process("p").await
}

async fn operators(db: &Db) -> Result<(), DbError> {
    let identity = db.environment().await?.identity;
    let buckets = Buckets { service_url: String::new(), object: "objects".into(), recycle: "recycle".into() };
    let binding = NewBinding {
        id: Uuid::new_v4(),
        identity: &identity,
        buckets: &buckets,
        purpose: Purpose::Work,
        nonce: Uuid::new_v4(),
        advances: 1,
    };
    db.adopt(&binding, &actor()).await?;
    db.propose_nonce(&Nonce::default(), Uuid::new_v4()).await?;
    db.confirm_nonce(Uuid::new_v4()).await?;
    db.pause("why", &actor()).await?;
    db.resume(&actor()).await?;
    db.record_change(&actor(), "test", "").await
}

async fn restore(db: &Db, crm: &Crm) -> Result<(), DbError> {
    let (id, schema) = (FileId::from(Uuid::new_v4()), SchemaName::try_from("Contact").unwrap());
    let ids = [id.to_string()];
    let catalog = db.discover(crm).await?;
    for of in [
        LedgerOf::File(&id),
        LedgerOf::Record(&schema, "r"),
        LedgerOf::DeletedSince(OffsetDateTime::now_utc()),
    ] {
        db.recycled(&of, None).await?;
    }
    db.count_recycled_since(OffsetDateTime::now_utc()).await?;
    db.last_recycled(&id, &ObjectKey::try_from("k").unwrap(), "recycle").await?;
    let readable = db.readable_data(&catalog).await?;
    for of in [RowsOf::Ids(&ids), RowsOf::Record(&schema, id.as_str())] {
        db.restorable_rows(&catalog, &readable, of, None).await?;
    }
    db.row_images(&catalog, &ids).await?;
    db.row_images_of(&catalog, (&schema, "r"), None).await?;
    Ok(())
}

async fn explain(db: &Db, crm: &Crm) -> Result<(), DbError> {
    let (id, messages) = (Uuid::new_v4(), ["m".to_owned()]);
    let catalog = db.discover_all(crm).await?;
    db.rows_of_file(&catalog, id).await?;
    let schemas = catalog.tables.iter().cloned().collect();
    db.files_of_record(&catalog, id, &schemas, None).await?;
    db.rows_of_record(&catalog, id, &schemas, None).await?;
    db.links_of(&catalog, id).await?;
    db.ledger_of(&catalog, id, None).await?;
    db.gone_with("r", None).await?;
    db.images_of(id).await?;
    db.held_of(&[id]).await?;
    db.outbox_of(&[id]).await?;
    db.replays_of(&messages).await?;
    db.discarded_of(id, &messages).await?;
    db.suspects_of(&messages).await?;
    Ok(())
}

async fn erase(db: &Db) -> Result<(), DbError> {
    let file = FileId::from(Uuid::new_v4());
    let key = ObjectKey::try_from(file.to_string()).unwrap();
    db.known_keys(&file).await?;
    db.tables_of_images(&file).await?;
    db.count_images(&file, &Images::All).await?;
    db.outbox_holds(&file, &key).await?;
    db.erasures_of(&file, &key).await?;
    let erasure = Erasure { id: Uuid::new_v4(), file: &file, key: &key, why: "why", actor: &actor() };
    db.begin_erasure(&erasure, &serde_json::json!({})).await?;
    db.give_up_erasure(erasure.id, "failed").await?;
    db.finish_erasure(&erasure, &Images::All, ("objects", "recycle"), 0).await?;
    Ok(())
}

async fn roles_of(database: &TestDatabase, variables: &[(&str, &str)]) -> Roles {
    let roles = Roles::create(secrecy::ExposeSecret::expose_secret(&database.url())).await;
    database.install(OnCaptureError::Skip).await;
    roles.allow_run(variables).await;
    roles
}

/// What the role lacks to read the CRM's settings.
async fn denied_settings(db: &Db) -> Option<String> {
    let settings = db.crm_settings(&crm()).await.unwrap().expect("it is that CRM");
    settings.denied.map(|denied| denied.why)
}

#[tokio::test]
async fn every_grant_of_the_running_role_is_necessary_and_named_when_it_is_missing() {
    let database = TestDatabase::create().await;
    let roles = roles_of(&database, &[]).await;
    database
        .run(r#"CREATE TABLE "UsrSigned" ("Id" uuid PRIMARY KEY, "FileId" uuid REFERENCES "SysFile")"#)
        .await;
    roles.allow_run(&[]).await;
    let grants = roles.grants(&roles.run).await;
    roles.allow_run(&[]).await;
    assert_eq!(roles.grants(&roles.run).await.len(), grants.len(), "a second time changes nothing");
    let db = Db::connect(&database.url_as(&roles.run)).unwrap();
    everything(&database, &db, &crm()).await.expect("with every right everything works");
    assert_eq!(db.lacking(&crm()).await.unwrap(), None);
    assert_eq!(denied_settings(&db).await, None);

    let mut wrong = Vec::new();
    for grant in &grants {
        roles.revoke(grant, &roles.run).await;
        // For the right to connect, one that is not there yet.
        let db = if grant.privilege == "CONNECT" {
            Db::connect(&database.url_as(&roles.run)).unwrap()
        } else {
            db.clone()
        };
        let told = match (db.lacking(&crm()).await, db.lacking_elsewhere(&crm()).await) {
            (Ok(lacking), Ok(elsewhere)) => lacking.or(elsewhere).unwrap_or_default(),
            (Err(error), _) | (_, Err(error)) => error.to_string(),
        };
        let names_it = |told: &str| {
            told.contains(&grant.plain_name())
                && (told.contains(&grant.privilege) || grant.privilege == "CONNECT")
                && grant.column.as_ref().is_none_or(|column| told.contains(&format!(r#""{column}""#)))
        };
        match everything(&database, &db, &crm()).await {
            Ok(()) => {
                // Work does without what only people are told.
                let denied = denied_settings(&db).await.unwrap_or_default();
                if !told.is_empty() || !names_it(&denied) {
                    wrong.push(format!("not necessary: {grant:?}; told: '{told}', '{denied}'"));
                }
            }
            Err(error) if error.advice() != Advice::Outage(Dependency::Database) || !error.is_denied() => {
                wrong.push(format!("{grant:?}: {error}"));
            }
            Err(error) if !names_it(&told) => wrong.push(format!("not named: {grant:?}: '{told}', {error}")),
            Err(_) => {}
        }
        roles.grant(grant, &roles.run).await;
    }
    everything(&database, &db, &crm()).await.expect("with every right again everything works");
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), grants.len(), wrong.join("\n"));
    db.close().await;
    drop(roles);
}

#[tokio::test]
async fn who_leaves_dangling_rows_needs_no_right_to_delete_or_to_lock_them() {
    let database = TestDatabase::create().await;
    let roles = roles_of(&database, &[("dangling_rows", "leave")]).await;
    let db = Db::connect(&database.url_as(&roles.run)).unwrap();
    let leave = Crm { dangling_rows: DanglingRows::Leave, ..crm() };

    everything(&database, &db, &leave).await.unwrap();

    assert_eq!(db.lacking(&leave).await.unwrap(), None);
    let told = db.lacking(&crm()).await.unwrap().expect("to delete them is another matter");
    assert!(told.contains(r#"DELETE on public."FeedFile""#), "{told}");
    let left: i64 = database.value(r#"SELECT count(*) FROM "SysFile""#).await;
    assert_eq!(left, 6, "the rows are only reported");
    let of_the_crm = roles
        .grants(&roles.run)
        .await
        .into_iter()
        .filter(|grant| !grant.object.starts_with("file_recycler."));
    let writes: Vec<_> = of_the_crm
        .filter(|grant| !["SELECT", "USAGE", "CONNECT"].contains(&grant.privilege.as_str()))
        .collect();
    assert_eq!(writes.len(), 0, "nothing of the CRM's may be written: {writes:?}");
    db.close().await;
    drop(roles);
}

#[tokio::test]
async fn with_the_owners_default_privileges_a_new_section_is_read_at_once() {
    for given in [true, false] {
        let database = TestDatabase::create().await;
        let roles = roles_of(&database, &[]).await;
        if given {
            roles.allow_run(&[("table_owner", &roles.owner)]).await;
        }
        let db = Db::connect(&database.url_as(&roles.run)).unwrap();
        let owner = &roles.owner;
        roles
            .sql(&format!(
                "GRANT CREATE ON SCHEMA public TO {owner}; SET ROLE {owner};
                 SELECT make_section('UsrDeal', 'CASCADE'); RESET ROLE"
            ))
            .await;

        let lacking = db.lacking(&crm()).await.unwrap();

        assert_eq!(lacking.is_none(), given, "{lacking:?}");
        assert!(lacking.is_none_or(|told| told.contains(r#"public."UsrDealFile""#)));
        db.close().await;
        drop(roles);
    }
}

#[tokio::test]
async fn who_erases_needs_a_file_of_its_own_and_who_does_not_works_without() {
    let database = TestDatabase::create().await;
    let roles = roles_of(&database, &[]).await;
    let db = Db::connect(&database.url_as(&roles.run)).unwrap();
    assert_eq!(db.lacking(&crm()).await.unwrap(), None, "nobody has to erase");
    let lacking = db.lacking_to_erase().await.unwrap().expect("something is missing");
    for part in ["DELETE on file_recycler.\"image\"", "erasure", "deploy/rights/database-erase.sql"] {
        assert!(lacking.contains(part), "{lacking}");
    }
    assert!(erase(&db).await.is_err());
    roles.allow_erase().await;
    assert_eq!(db.lacking_to_erase().await.unwrap(), None);
    erase(&db).await.expect("with these rights a file is erased");
    db.close().await;
    drop(roles);
}
