-- Deletes the obsolete records as an application or an administrator would; prints how many, a line for each statement.
\pset tuples_only on
\pset format unaligned
-- Many in one statement; the file rows go by their foreign keys.
WITH gone AS (DELETE FROM "Account" WHERE "Name" LIKE 'Obsolete%' RETURNING 1) SELECT count(*) FROM gone;
WITH gone AS (DELETE FROM "Opportunity" WHERE "Name" LIKE 'Obsolete%' RETURNING 1) SELECT count(*) FROM gone;
WITH gone AS (DELETE FROM "Lead" WHERE "Name" LIKE 'Obsolete%' RETURNING 1) SELECT count(*) FROM gone;
-- A case does not take its file rows along: both are deleted, in one transaction.
BEGIN;
DELETE FROM "CaseFile" WHERE "CaseId" IN (SELECT "Id" FROM "Case" WHERE "Name" LIKE 'Obsolete%');
WITH gone AS (DELETE FROM "Case" WHERE "Name" LIKE 'Obsolete%' RETURNING 1) SELECT count(*) FROM gone;
COMMIT;
-- One transaction for each contact. The contacts' SysFile rows stay behind, dangling: finding them is the worker's part.
SELECT format('WITH gone AS (DELETE FROM "Contact" WHERE "Id" = %L RETURNING 1) SELECT count(*) FROM gone', "Id")
FROM "Contact" WHERE "Name" LIKE 'Obsolete%' \gexec
