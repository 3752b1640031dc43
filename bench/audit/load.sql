-- The rows of files.py's files, in the CRM miniature: two fifths in SysFile, a fifth in ContactFile, the rest spread over
-- all file tables that name their record by a foreign key. Variables: rows, tables, first_linked, last_linked.
\set file_type '529bc2f8-0ee0-df11-971b-001d60e938c6'
\set s3 '7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11'
\set elsewhere '38ab9812-9bba-4eb8-86d0-8f352cd0229c'
SET work_mem = '256MB';

-- The miniature has eight file tables.
SELECT count(make_section('Section' || n, CASE n % 3 WHEN 0 THEN 'SET NULL' ELSE 'CASCADE' END))
  FROM generate_series(9, :tables) AS n;
INSERT INTO "Account" ("Id", "Name") SELECT md5('account ' || n)::uuid, 'account' FROM generate_series(0, 9999) AS n;

-- File tables by number: 0 is SysFile, 1 ContactFile, then the others.
CREATE TEMPORARY TABLE place AS
  SELECT row_number() OVER (ORDER BY f.relname <> 'ContactFile', f.relname) AS at, f.relname AS files,
         p.relname AS section, a.attname AS parent
    FROM pg_constraint AS c
    JOIN pg_class AS f ON f.oid = c.conrelid
    JOIN pg_class AS p ON p.oid = c.confrelid
    JOIN pg_attribute AS a ON a.attrelid = f.oid AND a.attnum = c.conkey[1]
   WHERE c.contype = 'f' AND p.relname <> 'FileType'
     AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = f.oid AND attname = 'SysFileStorageId');
CREATE TEMPORARY TABLE file AS
  SELECT n, md5('audit ' || n)::uuid AS id, n % 5 AS kind, n / 5 % 1000 AS step,
         CASE n % 5 WHEN 0 THEN 0 WHEN 1 THEN 0 WHEN 2 THEN 1
              ELSE 2 + (n / 5 * 2 + n % 5) % (SELECT count(*) - 1 FROM place) END AS at
    FROM generate_series(0, :rows - 1) AS n;
CREATE INDEX ON file (at, n);
ANALYZE file;

INSERT INTO "SysFile" ("Id", "Name", "TypeId", "SysFileStorageId", "Size", "RecordSchemaName", "RecordId")
  SELECT id, 'a name of a usual length.docx', :'file_type', :'s3', 20480, 'Account',
         -- Records that are not there: dangling.
         md5(CASE WHEN kind = 0 AND step = 3 THEN 'nobody ' || n ELSE 'account ' || n % 10000 END)::uuid
    FROM file WHERE at = 0 ORDER BY n;
CREATE TEMPORARY TABLE setting AS
  SELECT :'file_type'::uuid AS file_type, :'s3'::uuid AS s3, :'elsewhere'::uuid AS elsewhere;
DO $$
DECLARE
  one record;
BEGIN
  FOR one IN SELECT * FROM place ORDER BY at LOOP
    IF one.section <> 'Account' THEN
      EXECUTE format('INSERT INTO %I ("Name") SELECT ''record'' FROM generate_series(1, 500)', one.section);
    END IF;
    EXECUTE format($insert$
      INSERT INTO %I ("Id", "Name", "TypeId", "SysFileStorageId", "Size", %I)
      SELECT id, 'a name of a usual length.docx', file_type,
             CASE WHEN kind > 2 AND step = 3 THEN elsewhere ELSE s3 END, 20480,
             -- Without a record: parentless.
             CASE WHEN kind = 2 AND step = 3 THEN NULL ELSE records.ids[1 + n %% 500] END
        FROM file, setting, (SELECT array_agg("Id") AS ids FROM (SELECT "Id" FROM %I LIMIT 500) AS one) AS records
       WHERE at = %s ORDER BY n$insert$, one.files, one.parent, one.section, one.at);
  END LOOP;
END $$;
-- Links on files that live, as many as bench/large has, and on files without a row.
INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
  SELECT 'Account', md5('account ' || n % 10000)::uuid, 'SysFile', id FROM file WHERE at = 0 AND n < :rows / 10
  UNION ALL
  SELECT 'Account', md5('account 0')::uuid, 'ContactFile', md5('audit ' || n)::uuid
    FROM generate_series(:first_linked::bigint, :last_linked::bigint) AS n;
DROP TABLE file;
VACUUM ANALYZE;
CHECKPOINT;
