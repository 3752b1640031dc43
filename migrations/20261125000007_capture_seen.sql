-- The count of capture failures that an operator has taken note of: what comes after it turns health red.
CREATE TABLE file_recycler.capture_seen (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  failures bigint NOT NULL CHECK (failures >= 0),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  host text NOT NULL
);
