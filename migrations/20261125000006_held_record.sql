-- Deleted records, as our triggers captured them, of which a file's row is left because a link of another record
-- names it. With the file's last link the row goes, too; without this nobody would know any more that it may.
CREATE TABLE file_recycler.held_record (
  record_schema text NOT NULL,
  record_id uuid NOT NULL,
  -- The event of the record's deletion: it is noted with each row's image.
  event_id text NOT NULL,
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (record_schema, record_id)
);
