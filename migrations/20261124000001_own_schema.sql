-- Own schema: the outbox, the ledger, and what operators decided. The schema itself and the table of
-- applied migrations are made by the migrator, before this runs.
REVOKE ALL ON SCHEMA file_recycler FROM PUBLIC;

-- What the triggers captured and the relay has not published yet.
CREATE TABLE file_recycler.outbox (
  -- First, because defaults are computed in this order: a transaction has its number before its rows
  -- have theirs. The low-water mark of the relay relies on that.
  transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  captured_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When a relay first saw it: recycle.grace counts from here.
  seen_at timestamptz,
  kind text NOT NULL CHECK (kind IN ('records', 'files')),
  schema text NOT NULL,
  -- How many ids, so that a relay can bound what it takes without reading it.
  n integer NOT NULL CHECK (n > 0),
  ids uuid[],
  -- In place of ids, where they are no UUIDs.
  text_ids text[],
  -- The parents' schema, where all rows share it; else one for each id.
  parent_schema text,
  parent_schemas text[],
  parents uuid[],
  text_parents text[],
  sizes bigint[],
  keys text[],
  CHECK ((ids IS NULL) <> (text_ids IS NULL))
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 1);
-- Random ids do not compress; trying costs the CRM time.
ALTER TABLE file_recycler.outbox ALTER COLUMN ids SET STORAGE EXTERNAL,
                                 ALTER COLUMN parents SET STORAGE EXTERNAL;

-- Deletions that could not be captured. A sequence, because a rollback does not undo it.
CREATE SEQUENCE file_recycler.capture_failures;

-- One row for each file that was moved: memory for people, never a condition of safety.
CREATE TABLE file_recycler.ledger (
  recycled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  file_id text NOT NULL,
  schema text,
  record_schema text,
  record_id text,
  key text NOT NULL,
  object_bucket text,
  recycle_bucket text,
  etag text,
  size bigint,
  event_id text NOT NULL,
  deleted_at timestamptz,
  outcome text NOT NULL,
  detail text
) PARTITION BY RANGE (recycled_at);
CREATE INDEX ON file_recycler.ledger (file_id, event_id);
CREATE INDEX ON file_recycler.ledger (record_schema, record_id);
CREATE INDEX ON file_recycler.ledger (deleted_at);
CREATE TABLE file_recycler.ledger_default PARTITION OF file_recycler.ledger DEFAULT;

-- Rows that we deleted because their record was gone, without their content.
CREATE TABLE file_recycler.image (
  recycled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  table_name text NOT NULL,
  row_id text NOT NULL,
  record_schema text NOT NULL,
  record_id text NOT NULL,
  event_id text NOT NULL,
  row jsonb NOT NULL
) PARTITION BY RANGE (recycled_at);
CREATE INDEX ON file_recycler.image (row_id);
CREATE TABLE file_recycler.image_default PARTITION OF file_recycler.image DEFAULT;

-- Makes this month's partitions and those of the coming months. A month whose rows are already in the
-- default partition stays there.
CREATE FUNCTION file_recycler.make_partitions(months integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
  parent text;
  part text;
  first timestamptz;
  made integer := 0;
BEGIN
  FOREACH parent IN ARRAY ARRAY['ledger', 'image'] LOOP
    FOR m IN 0 .. least(months, 120) LOOP
      first := date_trunc('month', now()) + make_interval(months => m);
      part := parent || to_char(first, '_YYYY_MM');
      CONTINUE WHEN to_regclass('file_recycler.' || part) IS NOT NULL;
      BEGIN
        EXECUTE format('CREATE TABLE file_recycler.%I PARTITION OF file_recycler.%I FOR VALUES FROM (%L) TO (%L)',
          part, parent, first, first + interval '1 month');
        made := made + 1;
      EXCEPTION WHEN check_violation OR duplicate_table THEN
        NULL;
      END;
    END LOOP;
  END LOOP;
  RETURN made;
END $$;
REVOKE ALL ON FUNCTION file_recycler.make_partitions FROM PUBLIC;

-- What became of each message of each replay.
-- Ids do not tell them apart: one event can be dead for two reasons, in two messages.
CREATE TABLE file_recycler.replay (
  token uuid PRIMARY KEY,
  replay uuid NOT NULL,
  message_id text NOT NULL,
  selected_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  published_at timestamptz,
  finished_at timestamptz,
  outcome text,
  error text,
  who text NOT NULL,
  host text NOT NULL
);
CREATE INDEX ON file_recycler.replay (replay);

-- Which database and which buckets belong together, and whether an operator stopped everything.
CREATE TABLE file_recycler.environment (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  id uuid NOT NULL DEFAULT gen_random_uuid(),
  system_identifier text,
  database_oid bigint,
  database_name text,
  service_url text,
  object_bucket text,
  recycle_bucket text,
  adopted_at timestamptz,
  adopted_by text,
  adopted_from text,
  paused_at timestamptz,
  paused_by text,
  paused_from text,
  paused_why text
);

-- Who changed what, from where and when.
CREATE TABLE file_recycler.trail (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  host text NOT NULL,
  action text NOT NULL,
  detail text NOT NULL
);

SELECT file_recycler.make_partitions(3);
