-- The ledger grows by time: so small an index is enough to tell the last hour from the rest.
CREATE INDEX ON file_recycler.ledger USING brin (recycled_at);
