-- The count of capture failures that an operator has taken note of: what comes after it turns health red.
CREATE TABLE file_recycler.capture_seen (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  failures bigint NOT NULL CHECK (failures >= 0),
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  who text NOT NULL,
  host text NOT NULL
);
-- What an older version has counted is not news.
INSERT INTO file_recycler.capture_seen (failures, who, host)
SELECT CASE WHEN is_called THEN last_value ELSE 0 END, 'migration', '' FROM file_recycler.capture_failures;
