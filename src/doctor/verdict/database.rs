//! The database and its role.

use crate::db::schema::SchemaState;
use crate::db::server::{Powers, ServerInfo};
use crate::doctor::check::Finding;

/// The oldest PostgreSQL that is supported.
const OLDEST: i32 = 15;

pub(in crate::doctor) fn database_connection(info: &ServerInfo, host: &str) -> Finding {
    let told = format!("PostgreSQL {} at {host}", info.version);
    if info.version_number / 10_000 < OLDEST {
        return Finding::fail(
            format!("{told} is older than {OLDEST}, the oldest that is supported"),
            "upgrade the server; until then nobody has tried what happens",
        );
    }
    if !info.ignored.is_empty() {
        return Finding::warn(
            format!(
                "{told} is behind a pooler that ignores what a connection asks for: {}",
                info.ignored.join(", ")
            ),
            "connect past it, or give the role these settings by ALTER ROLE (docs/limits.md says what depends on them)",
        );
    }
    Finding::ok(told)
}

pub(in crate::doctor) fn database_away(error: &str) -> Finding {
    Finding::fail(
        error,
        "start the server, or correct database.url (`file-recycler config show --sources` says where it was set); work \
         waits meanwhile, and nothing is lost",
    )
}

pub(in crate::doctor) fn primary(is_primary: bool) -> Finding {
    if is_primary {
        return Finding::ok("it takes writes");
    }
    Finding::fail(
        "the database is a replica: what is alive can only be asked of the primary, so nothing moves",
        "point database.url at the primary, and past a pooler that sends reads elsewhere",
    )
}

pub(in crate::doctor) fn own_schema(state: SchemaState, newer: bool) -> Finding {
    match state {
        SchemaState::Current if newer => Finding::warn(
            "the own schema file_recycler is of a newer version of this program, with which this one works, too",
            "bring this program up to that version; while you roll back on purpose, nothing is to be done (docs/upgrade.md)",
        ),
        SchemaState::Current => Finding::ok("it is as this version wants it"),
        SchemaState::Missing => Finding::fail(
            "the own schema file_recycler is not there: nothing is captured",
            "run `file-recycler listener install` (with --dry-run first, to see the SQL)",
        ),
        SchemaState::Behind => Finding::fail(
            "the own schema file_recycler is of an older version of this program",
            "run `file-recycler listener install`",
        ),
    }
}

pub(in crate::doctor) fn database_rights(lacking: Option<String>, elsewhere: Option<String>) -> Finding {
    const ADVICE: &str = "apply deploy/rights/database-run.sql as an administrator (docs/rights.md)";
    match (lacking, elsewhere) {
        (Some(lacking), _) => Finding::fail(lacking, ADVICE),
        (None, Some(elsewhere)) => Finding::warn(elsewhere, ADVICE),
        (None, None) => Finding::ok("the role has every right that it needs"),
    }
}

pub(in crate::doctor) fn database_role(powers: &Powers) -> Finding {
    let mut more = Vec::new();
    if powers.superuser {
        more.push("is a superuser".to_owned());
    }
    if powers.owned_tables > 0 {
        more.push(format!("may do as the owner of {} of the application's tables does", powers.owned_tables));
    }
    if powers.makes_roles && !powers.superuser {
        more.push("may make other roles".to_owned());
    }
    if more.is_empty() {
        return Finding::ok(format!("the role {} has no powers that it does not need", powers.role));
    }
    Finding::warn(
        format!(
            "the role {} {}: whoever gets its password can do anything to them",
            powers.role,
            more.join(" and ")
        ),
        "run with a role of its own that has the rights of deploy/rights/database-run.sql and no more (docs/rights.md)",
    )
}
