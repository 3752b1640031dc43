-- The processes of this environment and how each is, so that one look from anywhere sees all of them.
CREATE TABLE file_recycler.process (
  name text PRIMARY KEY,
  halves text NOT NULL,
  started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  ready boolean NOT NULL,
  why text
);
