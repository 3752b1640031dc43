//! The questions to a mapped application's database: by key, never blind, never by an old description.

use std::collections::BTreeMap;

use file_recycler::config::{Crm as Settings, DanglingRows, FileTable, Profile, RecordLink};
use file_recycler::db::catalog::mapped::MappedLink;
use file_recycler::db::registry::Registry;
use file_recycler::db::{Db, DbError};
use file_recycler::file::{FileId, Named, ObjectKey, RecordId, SchemaName};
use file_recycler::key_template::KeyTemplate;
use file_recycler::outcome::{Advice, Dependency, Liveness};
use uuid::Uuid;

use crate::support::crm::Crm;
use crate::support::database::actor;
use crate::support::mapped::TABLES;

fn listed(table: &str, id: &str, key: Option<&str>) -> FileTable {
    FileTable {
        table: table.to_owned(),
        id: id.to_owned(),
        record: None,
        key: key.map(str::to_owned),
        template: KeyTemplate::default(),
        storage: None,
        size: None,
    }
}

fn settings(tables: Vec<FileTable>) -> Settings {
    Settings {
        profile: Profile::Mapping(tables),
        schema: "public".to_owned(),
        dangling_rows: DanglingRows::Delete,
        trust_outside_events: false,
        storage_codes: Vec::new(),
    }
}

async fn installed(tables: Vec<FileTable>) -> (Crm, Db, Settings) {
    let crm = Crm::with(TABLES).await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let settings = settings(tables);
    db.install(&settings, file_recycler::config::OnCaptureError::Fail, &actor()).await.unwrap();
    (crm, db, settings)
}

fn named(keys: &[&str]) -> Vec<Named> {
    let name =
        |key: &&str| Named { id: FileId::try_from("1").unwrap(), key: ObjectKey::try_from(*key).unwrap() };
    keys.iter().map(name).collect()
}

fn outage(error: &DbError) -> bool {
    error.advice() == Advice::Outage(Dependency::Database)
}

async fn end(crm: Crm, db: Db) {
    db.close().await;
    crm.drop_database().await;
}

#[tokio::test]
async fn a_key_is_the_same_whoever_makes_it() {
    use Liveness::{Alive, Dead};
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    for (column, id, template) in [
        ("uuid", uuid, "{file_id}"),
        ("uuid", uuid, "a/{file_id:upper}"),
        ("uuid", uuid, "{schema}/{file_id:simple}.bin"),
        ("bigint", "-9223372036854775808", "{file_id}"),
        ("smallint", "42", "x{file_id:upper}y"),
        ("integer", "-42", "{file_id:simple}"),
        ("text", "ж/É a'b\\c\"%-", "{file_id}"),
        ("varchar(40)", "ж/É-b", "ж{file_id:simple}"),
        ("char(12)", "ab-c", "{schema}{file_id}"),
    ] {
        let template: KeyTemplate = template.parse().unwrap();
        let row = FileTable { template: template.clone(), ..listed("made", "id", None) };
        let crm = Crm::with(TABLES).await;
        crm.sql(format!(
            "CREATE TABLE made (id {column} PRIMARY KEY); INSERT INTO made VALUES ('{}')",
            id.replace('\'', "''")
        ))
        .await;
        let db = Db::connect(&crm.url.as_str().into()).unwrap();
        let settings = settings(vec![row]);
        db.install(&settings, file_recycler::config::OnCaptureError::Fail, &actor()).await.unwrap();
        let schema = SchemaName::try_from("made").unwrap();
        let key = template.key(&FileId::try_from(id).unwrap(), Some(&schema)).unwrap();
        let question = named(&[key.as_str(), &format!("{key}x"), &format!("0{key}")]);
        let registry = Registry::new(db.clone(), settings);
        let answer = registry.liveness(&question).await.unwrap();
        assert_eq!(answer.liveness, [Alive, Dead, Dead], "{column} {id} {template}");
        crm.sql("DELETE FROM made").await;
        let captured = sqlx::query_scalar::<_, String>("SELECT keys[1] FROM file_recycler.outbox")
            .fetch_one(&crm.pool)
            .await
            .unwrap();
        assert_eq!(captured, key.as_str());
        assert_eq!(registry.liveness(&question).await.unwrap().liveness, [Dead, Dead, Dead]);
        end(crm, db).await;
    }
}

#[tokio::test]
async fn a_row_with_the_key_keeps_it_byte_for_byte_whatever_its_id() {
    use Liveness::{Alive, Dead, Elsewhere};
    let storage = Some(("kind".to_owned(), "binary".to_owned()));
    let table = FileTable { storage, ..listed("attachment", "id", Some("a/{store_name}.x")) };
    let both = FileTable { record: None, ..listed("page_scan", "code", Some("{code}-{object_name}")) };
    let (crm, db, settings) = installed(vec![table, both]).await;
    crm.sql(
        "INSERT INTO attachment (id, store_name, kind) VALUES (1, 'One', 'binary'), (2, 'two', 'url'), (3, '', 'binary'),
                (4, NULL, 'binary'), (5, 'both', 'url'), (6, 'both', 'binary');
         INSERT INTO document VALUES ('d'); INSERT INTO page_scan VALUES ('p', 'd', 'q', 1)",
    )
    .await;
    let keys = ["a/One.x", "a/one.x", "One", "a/two.x", "a/both.x", "p-q", "p-", "a/.", "1", "x"];
    let answer = Registry::new(db.clone(), settings).liveness(&named(&keys)).await.unwrap();
    assert_eq!(answer.liveness, [Alive, Dead, Dead, Elsewhere, Alive, Alive, Dead, Dead, Dead, Dead]);
    end(crm, db).await;
}

#[tokio::test]
async fn an_index_on_the_column_serves_the_question() {
    let (crm, db, settings) = installed(vec![listed("attachment", "id", Some("a/{store_name}"))]).await;
    crm.sql("INSERT INTO attachment (store_name) SELECT 'k' || n FROM generate_series(1, 20000) AS n; ANALYZE attachment").await;
    crm.sql("SELECT pg_stat_reset()").await;
    let answer = Registry::new(db.clone(), settings).liveness(&named(&["a/k7", "a/none"])).await.unwrap();
    assert_eq!(answer.liveness, [Liveness::Alive, Liveness::Dead]);
    // The server counts when the session ends.
    db.close().await;
    crate::support::process::eventually("the index was scanned, and the table was not", async || {
        let scans = "SELECT coalesce(sum(idx_scan) - 100 * sum(seq_scan), 0)::bigint FROM pg_stat_user_tables
                      WHERE relname = 'attachment'";
        (crm.number(scans).await > 0).then_some(())
    })
    .await;
    end(crm, db).await;
}

#[tokio::test]
async fn a_check_that_would_be_blind_is_an_outage() {
    let (crm, db, settings) = installed(vec![listed("attachment", "id", Some("{store_name}"))]).await;
    let role = format!("role_{}", Uuid::new_v4().simple());
    crm.sql(format!(
        "CREATE ROLE {role} LOGIN PASSWORD '{role}'; GRANT USAGE ON SCHEMA file_recycler TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA file_recycler TO {role};
         GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}"
    ))
    .await;
    let mut url: url::Url = crm.url.parse().unwrap();
    url.set_username(&role).unwrap();
    url.set_password(Some(&role)).unwrap();
    let theirs = Db::connect(&String::from(url).into()).unwrap();
    let registry = Registry::new(theirs.clone(), settings);
    let files = named(&["x"]);
    assert_eq!(registry.liveness(&files).await.unwrap().liveness, [Liveness::Dead], "it sees everything");
    for (blinding, undo) in [
        (
            "ALTER TABLE attachment ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE attachment DISABLE ROW LEVEL SECURITY",
        ),
        (
            &*format!("REVOKE SELECT ON attachment FROM {role}"),
            &*format!("GRANT SELECT ON attachment TO {role}"),
        ),
        ("ALTER TABLE attachment RENAME store_name TO y", "ALTER TABLE attachment RENAME y TO store_name"),
        ("ALTER TABLE attachment RENAME TO z", "ALTER TABLE z RENAME TO attachment"),
    ] {
        crm.sql(blinding).await;
        let error = registry.liveness(&files).await.unwrap_err();
        assert!(outage(&error), "{blinding}: {error}");
        crm.sql(undo).await;
        assert_eq!(registry.liveness(&files).await.unwrap().liveness, [Liveness::Dead], "after {undo}");
    }
    crm.sql("ALTER TABLE attachment DROP COLUMN store_name").await;
    let error = registry.liveness(&files).await.unwrap_err();
    assert!(outage(&error) && error.to_string().contains("names the column 'store_name'"), "{error}");
    theirs.close().await;
    crm.sql(format!("DROP OWNED BY {role}; DROP ROLE {role}")).await;
    end(crm, db).await;
}

#[tokio::test]
async fn whatever_does_not_fit_is_told_by_its_name() {
    let crm = Crm::with(TABLES).await;
    crm.sql("CREATE TABLE odd (id timestamptz, data bytea, word text, flag boolean); CREATE VIEW seen AS SELECT * FROM attachment").await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let weak = |word: &str, table: &str| RecordLink::Weak {
        model: "res_model".to_owned(),
        id: "res_id".to_owned(),
        models: BTreeMap::from([(word.to_owned(), table.to_owned())]),
    };
    let upper: KeyTemplate = "{file_id:upper}".parse().unwrap();
    for (table, told) in [
        (
            listed("nobody", "id", None),
            "crm.file_table[0].table is 'nobody', and the schema 'public' has no such table",
        ),
        (listed("seen", "id", None), "has no such table"),
        (
            listed("attachment", "nr", None),
            "crm.file_table[0].id names the column 'nr', which the table does not have",
        ),
        (listed("odd", "id", None), "names the column 'id' of type timestamptz, not uuid, integer or text"),
        (
            listed("odd", "word", Some("{data}")),
            "crm.file_table[0].key names the column 'data' of type bytea",
        ),
        (
            FileTable { size: Some("kind".into()), ..listed("attachment", "id", None) },
            "of type text, not integer",
        ),
        (
            FileTable { storage: Some(("data".into(), "x".into())), ..listed("attachment", "id", None) },
            "compares 'data', which is no text, number, boolean or enum",
        ),
        (
            FileTable { storage: Some(("flag".into(), "t".into())), ..listed("odd", "word", None) },
            "compares the boolean 'flag' with 't', and its text is true or false",
        ),
        (
            FileTable { record: Some(weak("x", "nobody")), ..listed("attachment", "id", None) },
            "crm.file_table[0].models says that 'x' is the table 'nobody'",
        ),
        (
            FileTable {
                record: Some(RecordLink::Column { column: "id".into(), table: "odd".into() }),
                ..listed("attachment", "id", None)
            },
            "crm.file_table[0].record names the table 'odd'",
        ),
        (
            FileTable { template: upper, ..listed("page_scan", "code", None) },
            "is for ids that are UUIDs or numbers",
        ),
    ] {
        let error = db.discover(&settings(vec![table.clone()])).await.unwrap_err();
        assert!(error.to_string().contains(told), "{table:?}: {error}");
        assert!(outage(&error));
    }
    end(crm, db).await;
}

#[tokio::test]
async fn a_foreign_key_that_leads_elsewhere_is_refused_by_name() {
    let crm = Crm::with(TABLES).await;
    crm.sql(
        "CREATE TABLE person (id bigint PRIMARY KEY, nr bigint UNIQUE); CREATE TABLE family (id bigint PRIMARY KEY);
         CREATE SCHEMA other; CREATE TABLE other.person (id bigint PRIMARY KEY);
         CREATE TABLE era (id bigint PRIMARY KEY) PARTITION BY RANGE (id);
         CREATE TABLE era_1 PARTITION OF era FOR VALUES FROM (0) TO (10);
         CREATE TABLE photo (id bigint PRIMARY KEY, by_nr bigint REFERENCES person (nr), by_family bigint REFERENCES family,
                by_other bigint REFERENCES other.person, unproven bigint, fits bigint REFERENCES person,
                several bigint REFERENCES family REFERENCES person, free bigint, late bigint, in_era bigint REFERENCES era);
         ALTER TABLE photo ADD FOREIGN KEY (unproven) REFERENCES person (nr) NOT VALID;
         ALTER TABLE photo ADD FOREIGN KEY (late) REFERENCES person NOT VALID",
    )
    .await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let discovered = async |column: &str, table: &str| {
        let record = RecordLink::Column { column: column.to_owned(), table: table.to_owned() };
        db.discover(&settings(vec![FileTable { record: Some(record), ..listed("photo", "id", None) }])).await
    };
    for (column, told) in [
        ("by_nr", "its foreign key leads to the column 'nr' of public.person"),
        ("by_family", "its foreign key leads to the column 'id' of public.family"),
        ("by_other", "its foreign key leads to the column 'id' of other.person"),
        ("unproven", "its foreign key leads to the column 'nr' of public.person"),
    ] {
        let error = discovered(column, "person").await.unwrap_err();
        let told = format!(
            "crm.file_table[0].record says that 'photo.{column}' has the primary key of public.person, and {told}"
        );
        assert!(outage(&error) && error.to_string().contains(&told), "{error}");
    }
    for (column, table, kept) in [
        ("fits", "person", true),
        ("several", "person", true),
        ("in_era", "era", true),
        ("free", "person", false),
        ("late", "person", false),
    ] {
        let catalog = discovered(column, table).await.unwrap();
        let Some(MappedLink::Column { foreign_key, .. }) = &catalog.mapped().unwrap().tables[0].link else {
            panic!("{column} names the record")
        };
        assert_eq!(*foreign_key, kept, "{column}");
    }
    end(crm, db).await;
}

#[tokio::test]
async fn a_half_loaded_restore_and_a_part_beside_its_root_are_refused_by_name() {
    let (crm, db, known) = installed(vec![listed("attachment", "id", Some("{store_name}"))]).await;
    crm.sql("ALTER TABLE attachment DROP CONSTRAINT attachment_pkey").await;
    crm.sql("DROP INDEX attachment_store_name_idx, attachment_res_id_idx").await;
    let error = Registry::new(db.clone(), known).liveness(&named(&["x"])).await.unwrap_err();
    assert!(
        outage(&error) && error.to_string().contains("a restore of the database seems to be under way"),
        "{error}"
    );
    end(crm, db).await;

    let crm = Crm::with(TABLES).await;
    crm.sql(
        "CREATE TABLE made (id bigint PRIMARY KEY, stored text); CREATE TABLE heir (PRIMARY KEY (id)) INHERITS (made)",
    )
    .await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let tables = ["made", "heir"].map(|table| listed(table, "id", Some("{stored}"))).to_vec();
    let error = db.discover(&settings(tables)).await.unwrap_err();
    assert!(error.to_string().contains("public.heir, which is a part of public.made"), "{error}");
    end(crm, db).await;
}

#[tokio::test]
async fn a_row_without_an_id_or_with_another_type_of_size_stops_no_capture() {
    let table =
        FileTable { size: Some("file_size".to_owned()), ..listed("made", "legacy", Some("{store_name}")) };
    let crm = Crm::with(TABLES).await;
    crm.sql("CREATE TABLE made (n serial PRIMARY KEY, legacy uuid, store_name text, file_size bigint)").await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let settings = settings(vec![table]);
    db.install(&settings, file_recycler::config::OnCaptureError::Fail, &actor()).await.unwrap();
    crm.sql(
        "INSERT INTO made (legacy, store_name, file_size) VALUES (NULL, 'a', 1), (gen_random_uuid(), 'b', 2);
         ALTER TABLE made ALTER COLUMN file_size TYPE text USING 'large'; DELETE FROM made",
    )
    .await;
    let keys: Vec<String> = sqlx::query_scalar("SELECT unnest(keys) FROM file_recycler.outbox")
        .fetch_all(&crm.pool)
        .await
        .unwrap();
    assert_eq!(keys, ["b"]);
    end(crm, db).await;
}

#[tokio::test]
async fn columns_of_several_collations_are_asked_together() {
    let weak = |table: &str| FileTable {
        record: Some(RecordLink::Weak {
            model: "model".to_owned(),
            id: "record".to_owned(),
            models: BTreeMap::new(),
        }),
        ..listed(table, "id", Some("{id}-{stored}"))
    };
    let crm = Crm::with(TABLES).await;
    crm.sql(
        r#"CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
           CREATE TABLE one (id text COLLATE "C" PRIMARY KEY, model text COLLATE "C", record text, stored text COLLATE "POSIX");
           CREATE TABLE two (id text COLLATE loose PRIMARY KEY, model text COLLATE "POSIX", record text COLLATE loose, stored text);
           INSERT INTO one VALUES ('a', 'one', 'gone', 'x'); INSERT INTO two VALUES ('a', 'one', 'gone', 'y')"#,
    )
    .await;
    let db = Db::connect(&crm.url.as_str().into()).unwrap();
    let settings = settings(vec![weak("one"), weak("two")]);
    db.install(&settings, file_recycler::config::OnCaptureError::Fail, &actor()).await.unwrap();
    let registry = Registry::new(db.clone(), settings);
    let record = (SchemaName::try_from("one").unwrap(), RecordId::try_from("gone").unwrap());
    assert_eq!(registry.hanging(&[record]).await.unwrap(), [true]);
    let answer = registry.liveness(&named(&["a-x", "a-y", "A-y"])).await.unwrap();
    assert_eq!(answer.liveness, [Liveness::Alive, Liveness::Alive, Liveness::Dead]);
    crm.sql("DELETE FROM two").await;
    assert_eq!(crm.number("SELECT count(*) FROM file_recycler.outbox").await, 1);
    end(crm, db).await;
}
