-- The rights of the role that `file-recycler migrate` connects as, beside those of database-run.sql, which has to be applied
-- for it, too. Nothing else needs them, and the running role must not have them: it reads no file's content.
--
--   psql -v run_role=file_recycler_migrate -f database-run.sql DATABASE
--   psql -v migrate_role=file_recycler_migrate [-v crm_schema=public] -f database-migrate.sql DATABASE
--
-- Run it as a superuser, or as the owner of the CRM's tables; again when the CRM has a new table of files. A second time
-- changes nothing. When all is migrated, take it away again: DROP OWNED BY file_recycler_migrate.
\set ON_ERROR_STOP on
\if :{?crm_schema}
\else
  \set crm_schema public
\endif

BEGIN;
SELECT to_regclass(format('%I.%I', :'crm_schema', 'SysSchema')) IS NOT NULL AS is_creatio \gset
\if :is_creatio
-- Of each table of files with contents: the content, when and in which version the row was changed last, and where the row
-- is; written are the content and the word where it is, and nothing else.
WITH RECURSIVE below AS (
  SELECT "Name"::text AS name FROM :"crm_schema"."SysSchema"
   WHERE "UId" = '556c5867-60a7-4456-aae1-a57a122bef70' AND "ManagerName" = 'EntitySchemaManager'
  UNION
  SELECT child."Name"::text FROM below
    JOIN :"crm_schema"."SysSchema" AS parent ON parent."Name" = below.name AND parent."ManagerName" = 'EntitySchemaManager'
    JOIN :"crm_schema"."SysSchema" AS child ON child."ParentId" = parent."Id" AND child."ManagerName" = 'EntitySchemaManager'),
columns AS (
  SELECT attrelid, attname::text AS name FROM pg_attribute WHERE attnum > 0 AND NOT attisdropped),
files AS (
  SELECT c.oid, format('%I.%I', n.nspname, c.relname) AS quoted,
         EXISTS (SELECT FROM columns AS m WHERE m.attrelid = c.oid AND m.name = 'ModifiedOn') AS modified
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
   WHERE n.nspname = :'crm_schema' AND c.relkind IN ('r', 'p') AND c.relname::text IN (SELECT name::name::text FROM below)
     AND EXISTS (SELECT FROM columns AS d WHERE d.attrelid = c.oid AND d.name = 'Data')
     AND EXISTS (SELECT FROM columns AS s WHERE s.attrelid = c.oid AND s.name = 'SysFileStorageId'))
SELECT format('GRANT SELECT ("Data"%s, xmin, ctid), UPDATE ("SysFileStorageId", "Data") ON %s TO %I',
              CASE WHEN modified THEN ', "ModifiedOn"' END, quoted, :'migrate_role') FROM files
\gexec
\endif

-- Contents above 1 MiB come back to the database by a temporary table. PUBLIC has this by default.
GRANT TEMPORARY ON DATABASE :"DBNAME" TO :"migrate_role";

-- OPTIONAL: what others do is seen, so that the CRM's own work and the replicas are waited for. A superuser has to grant it.
SELECT pg_has_role(:'migrate_role', 'pg_read_all_stats', 'MEMBER') AS sees,
       rolsuper OR pg_has_role(rolname, 'pg_read_all_stats', 'USAGE WITH ADMIN OPTION') AS may_show
  FROM pg_roles WHERE rolname = current_user \gset
\if :sees
\elif :may_show
  GRANT pg_read_all_stats TO :"migrate_role";
\else
  \warn 'NOT granted, only a superuser may: GRANT pg_read_all_stats'
\endif
COMMIT;
