-- The rights of the role that `file-recycler erase` connects as, beside those of database-run.sql, which has to be applied
-- for it, too. Nothing else needs them; a running worker without them works as ever.
--
--   psql -v run_role=file_recycler_erase -f database-run.sql DATABASE
--   psql -v erase_role=file_recycler_erase -f database-erase.sql DATABASE
--
-- Run it as a superuser or as the owner of the schema file_recycler. A second time changes nothing.
\set ON_ERROR_STOP on
BEGIN;
-- The images of an erased file's row go with it.
GRANT DELETE ON file_recycler.image TO :"erase_role";
-- Who erased what, and why.
GRANT SELECT, INSERT, UPDATE ON file_recycler.erasure TO :"erase_role";
COMMIT;
