-- The ledger grows by time: so small an index is enough to tell the last hour from the rest.
CREATE INDEX IF NOT EXISTS ledger_recycled_at_idx ON file_recycler.ledger USING brin (recycled_at);
