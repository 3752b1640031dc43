-- The rights of the role that `file-recycler run`, `listen` and `work` connect as, and every other command but
-- `listener install` and `listener uninstall`. Each line is necessary; the tests take each away and see what misses it.
--
--   psql -v run_role=file_recycler_run [-v crm_schema=public] [-v dangling_rows=leave] [-v table_owner=crm] \
--        -f database-run.sql DATABASE
--
-- Run it after `listener install`, as a superuser or as the role that installed; and again after an update of
-- file-recycler, and when the CRM has a new section or a new column of SysFile. A second time changes nothing.
-- The role itself is yours to make: CREATE ROLE file_recycler_run LOGIN PASSWORD '…';
-- To begin anew (after a change to dangling_rows=leave, say): DROP OWNED BY file_recycler_run; then this file again.
\set ON_ERROR_STOP on
\if :{?crm_schema}
\else
  \set crm_schema public
\endif
\if :{?dangling_rows}
\else
  \set dangling_rows delete
\endif

BEGIN;
-- PUBLIC has this by default; where it was taken away, it is needed.
GRANT CONNECT ON DATABASE :"DBNAME" TO :"run_role";

-- Own schema. Nothing here is the CRM's.
GRANT USAGE ON SCHEMA file_recycler TO :"run_role";
-- Is the schema of this version?
GRANT SELECT ON file_recycler._sqlx_migrations TO :"run_role";
-- The relay locks rows (which wants UPDATE of some column), notes when it saw them, and deletes what is published.
GRANT SELECT, UPDATE (seen_at), DELETE ON file_recycler.outbox TO :"run_role";
GRANT SELECT ON SEQUENCE file_recycler.outbox_id_seq TO :"run_role";
-- Deletions that could not be captured: counted, and which of them an operator has seen.
GRANT SELECT ON SEQUENCE file_recycler.capture_failures TO :"run_role";
GRANT SELECT ON file_recycler.capture_seen TO :"run_role";
-- What became of each file, and images of deleted rows: added, read by `explain`, never changed.
GRANT SELECT, INSERT ON file_recycler.ledger, file_recycler.image TO :"run_role";
GRANT EXECUTE ON FUNCTION file_recycler.make_partitions(integer) TO :"run_role";
-- Binding, pause and nonce.
GRANT SELECT, INSERT, UPDATE ON file_recycler.environment TO :"run_role";
-- Who changed what: written, never changed by us.
GRANT INSERT ON file_recycler.trail TO :"run_role";
-- Replays of the dead-letter queue, and what was discarded from it.
GRANT SELECT, INSERT, UPDATE ON file_recycler.replay, file_recycler.discarded TO :"run_role";
-- Messages over which a worker died; the silence detector; the running processes.
GRANT SELECT, INSERT, UPDATE, DELETE ON file_recycler.suspect, file_recycler.silence, file_recycler.process TO :"run_role";
-- Deleted records of which links keep files.
GRANT SELECT, INSERT, DELETE ON file_recycler.held_record TO :"run_role";

-- The CRM's tables, column by column: no file's content ("Data") and, in tables of records, nothing but ids.
GRANT USAGE ON SCHEMA :"crm_schema" TO :"run_role";
-- Another application's tables (crm.profile = "mapping") are not known here: docs/mapping.md has what they need.
SELECT to_regclass(format('%I.%I', :'crm_schema', 'SysSchema')) IS NOT NULL AS is_creatio \gset
\if :is_creatio
-- Which schemas are files, which are sections, and what refers to what; xmin tells when that changes.
GRANT SELECT ("Id", "UId", "Name", "ManagerName", "ParentId", xmin) ON :"crm_schema"."SysSchema" TO :"run_role";
GRANT SELECT ("SysModuleEntityId") ON :"crm_schema"."SysModule" TO :"run_role";
GRANT SELECT ("Id", "SysEntitySchemaUId") ON :"crm_schema"."SysModuleEntity" TO :"run_role";
GRANT SELECT ("SysSchemaId", "ReferenceSchemaId", "ColumnName") ON :"crm_schema"."SysEntitySchemaReference" TO :"run_role";
-- Which storages are ours.
GRANT SELECT ("Id", "Code") ON :"crm_schema"."SysFileContentStorage" TO :"run_role";

-- The tables of files as the program finds them: by inheritance from the schema File.
WITH RECURSIVE below AS (
  SELECT "Name"::text AS name FROM :"crm_schema"."SysSchema"
   WHERE "UId" = '556c5867-60a7-4456-aae1-a57a122bef70' AND "ManagerName" = 'EntitySchemaManager'
  UNION
  SELECT child."Name"::text FROM below
    JOIN :"crm_schema"."SysSchema" AS parent ON parent."Name" = below.name AND parent."ManagerName" = 'EntitySchemaManager'
    JOIN :"crm_schema"."SysSchema" AS child ON child."ParentId" = parent."Id" AND child."ManagerName" = 'EntitySchemaManager'),
tables AS (
  SELECT c.oid, c.relname::text AS name, format('%I.%I', n.nspname, c.relname) AS quoted, c.relispartition
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname = :'crm_schema' AND c.relkind IN ('r', 'p')),
columns AS (
  SELECT attrelid, attname::text AS name, atttypid = 'uuid'::regtype AS is_id
    FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped),
files AS (
  SELECT t.*, EXISTS (SELECT FROM columns AS c WHERE c.attrelid = t.oid AND c.name = 'RecordSchemaName')
          AND EXISTS (SELECT FROM columns AS c WHERE c.attrelid = t.oid AND c.name = 'RecordId' AND c.is_id) AS weak
    FROM tables AS t WHERE t.name IN (SELECT name::name::text FROM below)),
links AS (SELECT * FROM tables WHERE name = 'FileLink'),
wanted (table_name, columns) AS (
  -- A deleted record is looked for in its own table, whichever that is: ids alone.
  SELECT t.quoted, '"Id"' FROM tables AS t JOIN columns AS c ON c.attrelid = t.oid AND c.name = 'Id' AND c.is_id
   WHERE NOT t.relispartition
  UNION ALL
  -- Of a file: what it is, where its content is, whose it is, how large and how old; in which partition (`explain`).
  SELECT f.quoted, string_agg(quote_ident(c.name), ', ') || ', tableoid' FROM files AS f JOIN columns AS c ON c.attrelid = f.oid
   WHERE c.name IN ('Size', 'CreatedOn', 'RecordSchemaName')
      OR c.is_id AND c.name NOT IN ('CreatedById', 'ModifiedById', 'LockedById', 'FileGroupId')
   GROUP BY f.quoted
  UNION ALL
  -- Rows that hang on a deleted record are kept as an image before they go: all of them but the content.
  SELECT f.quoted, string_agg(quote_ident(c.name), ', ') FROM files AS f JOIN columns AS c ON c.attrelid = f.oid
   WHERE f.weak AND c.name <> 'Data' AND :'dangling_rows' = 'delete' GROUP BY f.quoted
  UNION ALL
  SELECT quoted, '"Id", "RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId"' FROM links
  UNION ALL
  -- A row that a foreign key points at is never deleted; but for the CRM's own record rights, which go with it.
  SELECT k.conrelid::regclass::text, string_agg(quote_ident(a.attname), ', ')
    FROM pg_constraint AS k JOIN files AS f ON f.oid = k.confrelid AND f.weak
    JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)
    JOIN pg_class AS c ON c.oid = k.conrelid
   WHERE k.contype = 'f' AND k.conparentid = 0
     AND NOT (k.confdeltype = 'c' AND c.relname ~ '^Sys.+Right$'
          AND ARRAY(SELECT r.attname::text FROM pg_attribute AS r
                     WHERE r.attrelid = k.conrelid AND r.attnum = ANY (k.conkey)) = ARRAY['RecordId']
          AND EXISTS (SELECT FROM pg_attribute AS r
                       WHERE r.attrelid = k.conrelid AND r.attname = 'SysAdminUnitId' AND NOT r.attisdropped))
   GROUP BY k.oid, k.conrelid
  UNION ALL
  -- OPTIONAL, for `doctor` and `listener status`, where this version of the CRM has it: does the CRM's own listener recycle
  -- files, and where do new ones go? Of the settings' values nothing but references to rows ("GuidValue"): no text, and so
  -- no password.
  SELECT format('%I.%I', n.nspname, c.relname), string_agg(quote_ident(a.attname), ', ')
    FROM (VALUES ('Feature', 'Id'), ('Feature', 'Code'), ('Feature', 'DefaultState'),
                 ('AdminUnitFeatureState', 'FeatureId'), ('AdminUnitFeatureState', 'SysAdminUnitId'),
                 ('AdminUnitFeatureState', 'FeatureState'), ('SysSettings', 'Id'), ('SysSettings', 'Code'),
                 ('SysSettingsValue', 'SysSettingsId'), ('SysSettingsValue', 'SysAdminUnitId'),
                 ('SysSettingsValue', 'IsDef'), ('SysSettingsValue', 'GuidValue')) AS setting (table_name, name)
    JOIN pg_namespace AS n ON n.nspname = :'crm_schema'
    JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = setting.table_name AND c.relkind IN ('r', 'p', 'v')
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = setting.name AND a.attnum > 0 AND NOT a.attisdropped
   GROUP BY n.nspname, c.relname)
SELECT format('GRANT SELECT (%s) ON %s TO %I', columns, table_name, :'run_role') FROM wanted
UNION ALL
-- OPTIONAL, not with crm.dangling_rows = "leave": rows that hang on a deleted record are locked (which wants UPDATE of
-- some column; none is ever changed) and deleted.
SELECT format('GRANT DELETE, UPDATE ("Id") ON %s TO %I', quoted, :'run_role')
  FROM (SELECT quoted FROM files WHERE weak UNION ALL SELECT quoted FROM links) AS dangling
 WHERE :'dangling_rows' = 'delete'
\gexec
\endif

-- OPTIONAL, with -v table_owner=ROLE: tables that this role makes from now on are readable at once, so that a new section
-- of the CRM stops nothing until this file is applied again. It is more than is needed: all columns of all new tables.
\if :{?table_owner}
  ALTER DEFAULT PRIVILEGES FOR ROLE :"table_owner" IN SCHEMA :"crm_schema" GRANT SELECT ON TABLES TO :"run_role";
\endif
COMMIT;
