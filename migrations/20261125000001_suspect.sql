-- Messages over which a worker may have died. One is tried alone, under a mark that says who tries it; a mark
-- that outlives its worker is a crash. Rows go when their message is settled.
CREATE TABLE file_recycler.suspect (
  -- Made from the message's body: not every message has an id of its own.
  message uuid PRIMARY KEY,
  message_id text,
  crashes integer NOT NULL DEFAULT 0,
  -- The try that is under way; nothing when none is.
  trial uuid,
  worker text,
  -- The worker moves it on while it lives.
  alive_until timestamptz,
  seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
