-- Rows of files that vanished while nothing was captured: what the listeners counted, for `status`. A hint,
-- no proof.
CREATE TABLE file_recycler.silence (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  since timestamptz NOT NULL DEFAULT clock_timestamp(),
  deletions bigint NOT NULL CHECK (deletions > 0),
  tables text[] NOT NULL
);
