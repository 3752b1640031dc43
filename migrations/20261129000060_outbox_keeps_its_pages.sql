-- VACUUM gives the pages of an emptied table back under a lock against everybody, for as long as it takes to forget them
-- (all of shared_buffers may be looked through). A deletion's trigger waits for no lock longer than a tenth of a second, and
-- what it cannot write is not captured. The pages are used again by the next deletions.
ALTER TABLE file_recycler.outbox SET (vacuum_truncate = false, toast.vacuum_truncate = false);
