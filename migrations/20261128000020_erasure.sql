-- Erasures of single files. A row is written before anything is removed, with what was there: one that is cut off is
-- finished by the next, with a whole receipt.
CREATE TABLE file_recycler.erasure (
  id uuid PRIMARY KEY,
  file_id text NOT NULL,
  key text NOT NULL,
  begun_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  host text NOT NULL,
  why text NOT NULL,
  -- The versions of both buckets when it began.
  planned jsonb NOT NULL,
  ended_at timestamptz,
  -- erased, refused or failed; nothing where it was cut off.
  outcome text
);
CREATE INDEX ON file_recycler.erasure (file_id, key);
