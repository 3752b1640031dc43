-- `restore --record` asks for images of the rows that went with a record.
CREATE INDEX ON file_recycler.image (record_id);
