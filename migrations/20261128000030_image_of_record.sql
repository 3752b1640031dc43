-- `restore --record` asks for images of the rows that went with a record.
CREATE INDEX IF NOT EXISTS image_record_id_idx ON file_recycler.image (record_id);
