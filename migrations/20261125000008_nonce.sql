-- The rolling nonce: what tells a database from its physical copies and from its own past.
ALTER TABLE file_recycler.environment
  ADD COLUMN nonce uuid,
  -- Written before the marker is: after a crash in between, either is right.
  ADD COLUMN pending_nonce uuid,
  -- How often it was advanced; never set back but by a backup.
  ADD COLUMN advances bigint NOT NULL DEFAULT 0,
  ADD COLUMN advanced_at timestamptz,
  ADD COLUMN only_restore boolean NOT NULL DEFAULT false;
