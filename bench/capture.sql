-- What capturing costs the CRM: deletes 10,000 records with 20,000 cascading files in one statement, and
-- 300 records one by one, with and without our triggers, in turns, and rolls everything back.
--
--   file-recycler listener install    (on a database with nothing else going on)
--   psql -X -q -v ON_ERROR_STOP=1 -f bench/capture.sql "$DATABASE_URL"
--
-- Result on PostgreSQL 15.18 (2 cores, shared with other work; fsync off), three runs:
--   without 147, 113, 223 ms; with 177, 152, 281 ms; best against best 1.21, 1.35, 1.26; the goal is 1.5.
BEGIN;
INSERT INTO "Contact" ("Name") SELECT 'capture bench' FROM generate_series(1, 10000);
INSERT INTO "ContactFile" ("TypeId", "SysFileStorageId", "Size", "ContactId")
  SELECT '529bc2f8-0ee0-df11-971b-001d60e938c6',
         (SELECT "Id" FROM "SysFileContentStorage" WHERE "Code" = 'S3_storage' LIMIT 1), 20480, "Id"
    FROM "Contact", generate_series(1, 2) WHERE "Name" = 'capture bench';
ANALYZE "Contact", "ContactFile";
CREATE TEMPORARY TABLE round (captured boolean, milliseconds float8) ON COMMIT DROP;

DO $$
DECLARE
  began timestamptz;
  took float8;
  captured boolean;
  rows bigint;
BEGIN
  FOR n IN 1 .. 14 LOOP
    captured := n % 2 = 0;
    EXECUTE format('ALTER TABLE "Contact" %s TRIGGER file_recycler_records_delete', CASE WHEN captured THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END);
    EXECUTE format('ALTER TABLE "ContactFile" %s TRIGGER file_recycler_files_delete', CASE WHEN captured THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END);
    BEGIN
      began := clock_timestamp();
      DELETE FROM "Contact" WHERE "Name" = 'capture bench';
      took := 1000 * extract(epoch FROM clock_timestamp() - began);
      SELECT coalesce(sum(outbox.n), 0) INTO rows FROM file_recycler.outbox WHERE transaction = pg_current_xact_id();
      IF rows <> (CASE WHEN captured THEN 30000 ELSE 0 END) THEN
        RAISE EXCEPTION 'captured % rows', rows;
      END IF;
      RAISE division_by_zero;
    EXCEPTION WHEN division_by_zero THEN
      NULL;
    END;
    -- The first two warm up.
    IF n > 2 THEN
      INSERT INTO round VALUES (captured, took);
    END IF;
  END LOOP;
END $$;

CREATE TEMPORARY TABLE single (captured boolean, milliseconds float8) ON COMMIT DROP;
DO $$
DECLARE
  began timestamptz;
  captured boolean;
  victim uuid;
BEGIN
  FOR n IN 1 .. 600 LOOP
    captured := (n / 50) % 2 = 1;
    IF n % 50 = 0 THEN
      EXECUTE format('ALTER TABLE "Contact" %s TRIGGER file_recycler_records_delete', CASE WHEN captured THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END);
      EXECUTE format('ALTER TABLE "ContactFile" %s TRIGGER file_recycler_files_delete', CASE WHEN captured THEN 'ENABLE ALWAYS' ELSE 'DISABLE' END);
    END IF;
    SELECT "Id" INTO victim FROM "Contact" LIMIT 1;
    began := clock_timestamp();
    DELETE FROM "Contact" WHERE "Id" = victim;
    -- The first of a turn plans anew.
    IF n >= 50 AND n % 50 > 5 THEN
      INSERT INTO single VALUES (captured, 1000 * extract(epoch FROM clock_timestamp() - began));
    END IF;
  END LOOP;
END $$;

SELECT round(min(milliseconds) FILTER (WHERE NOT captured)) AS without_ms,
       round(min(milliseconds) FILTER (WHERE captured)) AS with_ms,
       round((min(milliseconds) FILTER (WHERE captured) / min(milliseconds) FILTER (WHERE NOT captured))::numeric, 2) AS ratio_of_best,
       round((percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE captured)
            / percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE NOT captured))::numeric, 2) AS ratio_of_medians,
       (SELECT round((percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE captured)
            - percentile_cont(0.5) WITHIN GROUP (ORDER BY milliseconds) FILTER (WHERE NOT captured))::numeric, 3)
          FROM single) AS single_record_added_ms
  FROM round;
ROLLBACK;
