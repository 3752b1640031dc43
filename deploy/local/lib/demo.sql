-- The demo's records and files in the CRM miniature: :files objects in S3 and one web link, two files to a record.
-- Prints the plan, a line for each file: id, size, table, and its fate.
--   moves     its record will be deleted
--   lives     its record stays
--   shared    its record will be deleted, but a FileLink shows the file on a living record
--   database  its record will be deleted; the row says 'Database', the object was left behind by a migration
--   link      a web link: there is no content at all
CREATE TEMP TABLE plan AS
WITH files AS (
  SELECT n, md5('demo file ' || n)::uuid AS id,
    CASE WHEN n IN (1, 2) THEN 'shared' WHEN n = 3 THEN 'database' WHEN n = 0 THEN 'link'
         WHEN n % 15 = 7 THEN 'lives' ELSE 'moves' END AS fate,
    CASE WHEN n = 0 OR n % 20 IN (1, 3, 5, 6, 7, 8) THEN 'ContactFile' WHEN n % 20 IN (2, 11, 12) THEN 'SysFile'
         WHEN n % 20 = 4 THEN 'FeedFile' WHEN n % 20 IN (16, 17, 18) THEN 'OpportunityFile'
         WHEN n % 20 = 19 THEN 'FileLead' WHEN n % 20 = 0 THEN 'CaseFile' ELSE 'AccountFile' END AS file_table,
    -- 1 byte to 64 KiB, most of them small.
    CASE WHEN n = 5 THEN 1 WHEN n = 6 THEN 65536 ELSE 1 + (n * 7919 % 256) * (n * 104729 % 257) END AS size
  FROM generate_series(0, :files) n),
owned AS (
  SELECT *, CASE file_table WHEN 'ContactFile' THEN 'Contact' WHEN 'SysFile' THEN 'Contact' WHEN 'OpportunityFile' THEN 'Opportunity'
                            WHEN 'FileLead' THEN 'Lead' WHEN 'CaseFile' THEN 'Case' ELSE 'Account' END AS section,
    CASE fate WHEN 'lives' THEN 'Kept' ELSE 'Obsolete' END AS kind
  FROM files)
SELECT *, md5(section || kind || (row_number() OVER (PARTITION BY section, kind ORDER BY n) + 1) / 2)::uuid AS record_id FROM owned;

SELECT format('INSERT INTO %I ("Id", "Name") SELECT DISTINCT record_id, kind || '' '' || record_id FROM plan WHERE section = %L',
              section, section) FROM (SELECT DISTINCT section FROM plan) s \gexec

SELECT format($$INSERT INTO %I ("Id", "Name", "TypeId", "Size", "SysFileStorageId", "Data", %s)
  SELECT id, 'file ' || n || '.bin',
    CASE fate WHEN 'link' THEN '539bc2f8-0ee0-df11-971b-001d60e938c6' ELSE '529bc2f8-0ee0-df11-971b-001d60e938c6' END::uuid, size,
    CASE fate WHEN 'link' THEN NULL WHEN 'database' THEN '38ab9812-9bba-4eb8-86d0-8f352cd0229c'
              ELSE '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11' END::uuid,
    CASE fate WHEN 'database' THEN '\x00'::bytea END, %s FROM plan WHERE file_table = %L$$,
  file_table,
  CASE WHEN file_table IN ('SysFile', 'FeedFile') THEN '"RecordSchemaName", "RecordId"' ELSE quote_ident(section || 'Id') END,
  CASE WHEN file_table IN ('SysFile', 'FeedFile') THEN 'section, record_id' ELSE 'record_id' END,
  file_table) FROM (SELECT DISTINCT file_table, section FROM plan) t \gexec

WITH living AS (INSERT INTO "Account" ("Name") VALUES ('Kept, shows files of a deleted contact') RETURNING "Id")
INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
  SELECT 'Account', "Id", file_table, id FROM living, plan WHERE fate = 'shared';

\pset format unaligned
\pset fieldsep '\t'
\pset tuples_only on
SELECT id, size, file_table, fate FROM plan ORDER BY n;
