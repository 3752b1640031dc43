-- The rights of the role that `file-recycler restore --with-rows` connects as, beside those of database-run.sql, which has to
-- be applied for it, too. Nothing else needs them, and the running role must not have them: it never inserts a file.
--
--   psql -v run_role=file_recycler_restore -f database-run.sql DATABASE
--   psql -v restore_role=file_recycler_restore [-v crm_schema=public] -f database-restore.sql DATABASE
--
-- Run it as a superuser or as the owner of the CRM's tables; again when SysFile has a new column. A second time changes
-- nothing. Another application's tables (crm.profile = "mapping") are not known here: GRANT INSERT on those that are listed.
\set ON_ERROR_STOP on
\if :{?crm_schema}
\else
  \set crm_schema public
\endif

BEGIN;
SELECT to_regclass(format('%I.%I', :'crm_schema', 'SysSchema')) IS NOT NULL AS is_creatio \gset
\if :is_creatio
-- Rows that hang on their record by name and id alone: only of these there are images. Never their content ("Data").
WITH RECURSIVE below AS (
  SELECT "Name"::text AS name FROM :"crm_schema"."SysSchema"
   WHERE "UId" = '556c5867-60a7-4456-aae1-a57a122bef70' AND "ManagerName" = 'EntitySchemaManager'
  UNION
  SELECT child."Name"::text FROM below
    JOIN :"crm_schema"."SysSchema" AS parent ON parent."Name" = below.name AND parent."ManagerName" = 'EntitySchemaManager'
    JOIN :"crm_schema"."SysSchema" AS child ON child."ParentId" = parent."Id" AND child."ManagerName" = 'EntitySchemaManager'),
weak AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS quoted
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname = :'crm_schema' AND c.relkind IN ('r', 'p') AND c.relname::text IN (SELECT name::name::text FROM below)
     AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'RecordSchemaName' AND NOT attisdropped)
     AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'RecordId' AND NOT attisdropped))
SELECT format('GRANT INSERT (%s) ON %s TO %I', string_agg(quote_ident(a.attname), ', '), w.quoted, :'restore_role')
  FROM weak AS w JOIN pg_attribute AS a ON a.attrelid = w.oid AND a.attnum > 0 AND NOT a.attisdropped
 WHERE a.attname <> 'Data' AND a.attgenerated = '' GROUP BY w.quoted
\gexec
\endif
COMMIT;
