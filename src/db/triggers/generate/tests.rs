//! The text of the triggers.

use super::*;
use crate::db::catalog::{OnDelete, ParentLink};
use crate::file::SchemaName;

fn table(name: &str) -> TableName {
    TableName { schema: "public".into(), name: name.into() }
}

fn file(name: &str, weak: bool, parent: Option<&str>) -> FileTable {
    FileTable {
        schema: SchemaName::try_from(name).unwrap(),
        table: table(name),
        parts: vec![table(name)],
        weak,
        tells_storage: true,
        sized: true,
        parent: parent.map(|schema| ParentLink {
            column: format!("{schema}Id"),
            schema: SchemaName::try_from(schema).unwrap(),
            on_delete: Some(OnDelete::Cascade),
        }),
        columns: Vec::new(),
    }
}

fn catalog() -> Catalog {
    let contact = SchemaName::try_from("Contact").unwrap();
    Catalog {
        fingerprint_sql: String::new(),
        asks: crate::db::catalog::Asks::Creatio,
        fingerprint: String::new(),
        schema: "public".into(),
        storage_codes: vec!["S3_storage".into()],
        storages: Vec::new(),
        file_tables: vec![
            file("ContactFile", false, Some("Contact")),
            FileTable { tells_storage: false, ..file("Old\"File", false, None) },
            file("SysFile", true, None),
        ],
        record_tables: vec![RecordTable {
            schema: contact,
            parts: vec![table("Contact"), table("Contact_1")],
        }],
        file_link: Some(vec![table("FileLink")]),
        tables: std::collections::BTreeSet::default(),
        remarks: Vec::new(),
    }
}

#[test]
fn each_table_and_each_part_gets_its_triggers_but_no_table_that_cannot_tell_what_is_in_s3() {
    let made: Vec<String> = captures(&catalog(), OnCaptureError::Skip)
        .iter()
        .map(|capture| {
            format!("{} {}", capture.table.name, capture.kind.trigger().trim_start_matches("file_recycler_"))
        })
        .collect();
    assert_eq!(
        made,
        [
            "ContactFile files_delete",
            "ContactFile files_truncate",
            "SysFile files_delete",
            "SysFile files_truncate",
            "Contact records_delete",
            "Contact records_truncate",
            "Contact_1 records_delete",
            "Contact_1 records_truncate",
            "FileLink links_delete",
            "FileLink links_update",
            "FileLink links_truncate",
        ]
    );
}

#[test]
fn a_file_trigger_is_one_insert_that_keeps_its_errors_to_itself() {
    let captures = captures(&catalog(), OnCaptureError::Skip);
    assert_eq!(
        captures[0].sql(),
        r#"CREATE OR REPLACE FUNCTION file_recycler."files_delete_ContactFile_HASH"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off SET lock_timeout = '100ms'
AS $file_recycler$
BEGIN
  IF NOT EXISTS (SELECT FROM gone) THEN
    RETURN NULL;
  END IF;
  IF current_setting('file_recycler.impatient', true) = 'on' THEN
    PERFORM set_config('lock_timeout', '1ms', true);
  END IF;
  INSERT INTO file_recycler.outbox (kind, schema, n, ids, parent_schema, parent_schemas, parents, sizes)
  SELECT 'files', 'ContactFile', count(*), array_agg("Id"), 'Contact', NULL::text[], array_agg("ContactId"), array_agg("Size"::bigint)
    FROM (SELECT "Id", "Size", "ContactId", row_number() OVER () - 1 AS position FROM gone
           WHERE "TypeId" = '529bc2f8-0ee0-df11-971b-001d60e938c6'
             AND "SysFileStorageId" IN (SELECT "Id" FROM "public"."SysFileContentStorage" WHERE "Code" IN ('S3_storage'))) AS file
   GROUP BY position / 1000;
  RETURN NULL;
EXCEPTION WHEN undefined_column OR datatype_mismatch OR cannot_coerce OR data_exception THEN
  BEGIN
  INSERT INTO file_recycler.outbox (kind, schema, n, ids, parent_schema, parent_schemas, parents, sizes)
  SELECT 'files', 'ContactFile', count(*), array_agg("Id"), NULL, NULL::text[], NULL::uuid[], NULL::bigint[]
    FROM (SELECT "Id", row_number() OVER () - 1 AS position FROM gone
           WHERE "TypeId" = '529bc2f8-0ee0-df11-971b-001d60e938c6'
             AND "SysFileStorageId" IN (SELECT "Id" FROM "public"."SysFileContentStorage" WHERE "Code" IN ('S3_storage'))) AS file
   GROUP BY position / 1000;
  RETURN NULL;
  EXCEPTION WHEN OTHERS THEN
  BEGIN
    PERFORM set_config('file_recycler.impatient', 'on', true);
    PERFORM nextval('file_recycler.capture_failures');
    RAISE LOG 'file_recycler: a deletion from % was not captured: % (SQLSTATE %)', TG_RELID::regclass, SQLERRM, SQLSTATE;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN NULL;
  END;
WHEN OTHERS THEN
  BEGIN
    PERFORM set_config('file_recycler.impatient', 'on', true);
    PERFORM nextval('file_recycler.capture_failures');
    RAISE LOG 'file_recycler: a deletion from % was not captured: % (SQLSTATE %)', TG_RELID::regclass, SQLERRM, SQLSTATE;
  EXCEPTION WHEN OTHERS THEN
    NULL;
  END;
  RETURN NULL;
END
$file_recycler$;
REVOKE ALL ON FUNCTION file_recycler."files_delete_ContactFile_HASH"() FROM PUBLIC;
CREATE OR REPLACE TRIGGER file_recycler_files_delete AFTER DELETE ON "public"."ContactFile" REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION file_recycler."files_delete_ContactFile_HASH"();
ALTER TABLE "public"."ContactFile" ENABLE ALWAYS TRIGGER file_recycler_files_delete;"#
            .replace("HASH", captures[0].function.rsplit('_').next().unwrap())
    );
}

#[test]
fn each_kind_reads_what_it_must() {
    let captures = captures(&catalog(), OnCaptureError::Fail);
    for (position, part) in [
        (1, r#"FROM ONLY "public"."ContactFile""#),
        (2, r#"NULL, array_agg("RecordSchemaName"::text), array_agg("RecordId")"#),
        (4, "SELECT 'records', 'Contact', count(*)"),
        (7, r#"FROM ONLY "public"."Contact_1""#),
        (9, "IS DISTINCT FROM"),
        (10, r#"FROM ONLY "public"."FileLink""#),
    ] {
        assert!(captures[position].body.contains(part), "{}", captures[position].body);
        assert!(!captures[position].body.contains("OTHERS"), "with fail no error is kept from the CRM");
    }
}

#[test]
fn function_names_are_unique_and_fit() {
    let long = |end: &str| table(&format!("{}{end}", "Ж".repeat(31)));
    let (a, b) =
        (function_name(&long("a"), Kind::RecordsTruncate), function_name(&long("b"), Kind::RecordsTruncate));
    assert_ne!(a, b);
    assert!(a.len() <= MAX_IDENTIFIER && b.len() <= MAX_IDENTIFIER, "{a}");
}
