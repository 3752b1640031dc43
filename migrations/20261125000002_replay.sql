-- A replay can be cut between its publication and the removal from the dead-letter queue: what is noted here lets
-- the next one finish it. The fingerprint tells one death of a message from its next.
ALTER TABLE file_recycler.replay
  ADD COLUMN fingerprint uuid,
  ADD COLUMN was_reason text,
  ADD COLUMN reason text,
  ADD COLUMN removed_at timestamptz;
CREATE INDEX ON file_recycler.replay (fingerprint) WHERE removed_at IS NULL;

-- Messages that an operator took out of the dead-letter queue for good, whole: the ledger of what is not done.
CREATE TABLE file_recycler.discarded (
  token uuid PRIMARY KEY,
  fingerprint uuid NOT NULL,
  message_id text NOT NULL,
  reason text,
  error text,
  attempts bigint NOT NULL,
  first_failure timestamptz,
  last_failure timestamptz,
  body bytea NOT NULL,
  who text NOT NULL,
  host text NOT NULL,
  why text NOT NULL,
  discarded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When it was gone from the queue; nothing where that was cut off, and the next discard finishes it.
  removed_at timestamptz
);
CREATE INDEX ON file_recycler.discarded (fingerprint) WHERE removed_at IS NULL;
CREATE INDEX ON file_recycler.discarded (message_id);
