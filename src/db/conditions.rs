//! What an answer of the database has to fulfil to be worth anything. It is asked in the same statement, or in the same
//! snapshot, so that no answer can be older than its conditions.

use sqlx::FromRow;

use super::catalog::Catalog;
use super::error::{DbError, Problem};
use super::sql::quote_literal;
use crate::failpoint;

/// What an answer has to fulfil, as [`Conditions::asked`] asks for it.
#[derive(Clone, Debug, PartialEq, Eq, FromRow)]
pub(super) struct Conditions {
    /// This server takes writes: it is no replica.
    is_primary: bool,
    /// See [`sees_every_row`].
    sees_every_row: bool,
    /// What the tables look like.
    fingerprint: String,
}

impl Conditions {
    /// The columns of a statement by this catalogue.
    pub(super) fn asked(catalog: &Catalog) -> String {
        format!(
            "NOT pg_is_in_recovery() AS is_primary, {} AS sees_every_row, {} AS fingerprint",
            sees_every_row(catalog),
            catalog.fingerprint_sql
        )
    }

    /// Do the tables still look as they did to the catalogue? Where they do not, the answer is worthless, and a new
    /// catalogue may help.
    ///
    /// # Errors
    /// [`Problem::NotReady`] where no catalogue would help: this server is a replica, or rows may be hidden.
    pub(super) fn fit(&self, catalog: &Catalog, doing: &str) -> Result<bool, DbError> {
        if !self.is_primary && !failpoint::removed("protection::primary_asked") {
            let why = "this server is a replica: only the primary knows what is alive";
            return Err(DbError::new(doing, Problem::NotReady(why.to_owned())));
        }
        every_row(self.sees_every_row, doing)?;
        Ok(self.fingerprint == catalog.fingerprint || failpoint::removed("protection::catalogue_fits"))
    }

    /// Refuses an answer that does not fulfil them.
    ///
    /// # Errors
    /// As [`Conditions::fit`], and [`Problem::Unsettled`] where the tables are no longer the catalogue's.
    pub(super) fn insist(&self, catalog: &Catalog, doing: &str) -> Result<(), DbError> {
        if self.fit(catalog, doing)? { Ok(()) } else { Err(DbError::new(doing, Problem::Unsettled)) }
    }
}

/// No policy of the CRM's tables hides a row from this session. `row_security = off` is asked for when a connection begins,
/// and makes a policy that would hide rows an error; a pooler that ignores what is asked for there leaves it on, and then a
/// table with such a policy looks as if it had fewer rows. Tables are looked at only where the setting is not in force.
pub(super) fn sees_every_row(catalog: &Catalog) -> String {
    format!(
        "(CASE WHEN current_setting('row_security') = 'off' THEN true ELSE NOT EXISTS (
         SELECT FROM pg_class WHERE relrowsecurity AND row_security_active(oid)
            AND relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {})) END)",
        quote_literal(&catalog.schema)
    )
}

/// Refuses an answer of a session that policies may hide rows from.
pub(super) fn every_row(is_seen: bool, doing: &str) -> Result<(), DbError> {
    if is_seen || failpoint::removed("protection::rows_hidden") {
        return Ok(());
    }
    let why = "policies may hide rows from this role, and the session's row_security is on: a pooler ignores the options of \
               a connection (docs/limits.md); connect past it, or ALTER ROLE … SET row_security = off";
    Err(DbError::new(doing, Problem::NotReady(why.to_owned())))
}
