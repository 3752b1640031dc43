-- The rights of the role that `file-recycler listener install` and `listener uninstall` connect as. It needs them
-- only then: take them away afterwards if you like (the triggers' functions run as this role, so that it must keep
-- owning them and belonging to the owner of the CRM's tables, but it needs no LOGIN).
--
--   psql -v install_role=file_recycler_install -v table_owner=crm -f database-install.sql DATABASE
--
-- Run it as a superuser. A second time changes nothing.
-- The role itself is yours to make: CREATE ROLE file_recycler_install LOGIN PASSWORD '…';
-- Without such a role: `listener install --dry-run` prints the SQL, which an administrator applies by hand.
\set ON_ERROR_STOP on

BEGIN;
-- PUBLIC has this by default; where it was taken away, it is needed.
GRANT CONNECT ON DATABASE :"DBNAME" TO :"install_role";
-- For the schema file_recycler. Once it is there, this is not needed any more.
GRANT CREATE ON DATABASE :"DBNAME" TO :"install_role";
-- For triggers that fire always (ALTER TABLE … ENABLE ALWAYS TRIGGER), and to drop them: only a table's owner may.
GRANT :"table_owner" TO :"install_role";
COMMIT;
