//! What reading the CRM's own settings needs (`features.rs`). Nothing that moves a file rests on them, so nobody asks for these
//! rights before one of them was missed.

use super::{DOING, Right, told};
use crate::config::{Crm, DanglingRows};
use crate::db::Db;
use crate::db::error::{Attempted, DbError};
use crate::db::features::Denied;

/// What is read of each table.
const READ: &[(&str, &[&str])] = &[
    ("Feature", &["Id", "Code", "DefaultState"]),
    ("AdminUnitFeatureState", &["FeatureId", "SysAdminUnitId", "FeatureState"]),
    ("SysSettings", &["Id", "Code"]),
    ("SysSettingsValue", &["SysSettingsId", "SysAdminUnitId", "IsDef", "GuidValue"]),
    ("SysFileContentStorage", &["Id", "Code"]),
];

impl Db {
    /// Why this role may not read the CRM's settings: the rights that it lacks, or else the server's own words.
    pub(in crate::db) async fn lacking_for_settings(
        &self,
        crm: &Crm,
        refusal: &str,
    ) -> Result<Denied, DbError> {
        let needed: Vec<Right> = READ
            .iter()
            .flat_map(|(table, columns)| {
                columns.iter().map(|column| Right::of_column(&crm.schema, table, column, "SELECT"))
            })
            .collect();
        let mut missing = self.missing_outside_tables(&[&crm.schema]).await?;
        missing.extend(self.missing(&needed).await?);
        if missing.is_empty() {
            // Row-level security, say.
            let advice = "docs/rights.md says what this role needs".to_owned();
            return Ok(Denied { why: refusal.to_owned(), advice });
        }
        let (role, database): (String, String) =
            sqlx::query_as("SELECT current_user::text, current_database()::text")
                .fetch_one(&self.pool)
                .await
                .attempted(DOING)?;
        let why = format!("role {} lacks {}", self.role().await?, told(&missing));
        Ok(Denied { why, advice: format!("`{}` grants it", command(crm, &role, &database)) })
    }
}

/// How an administrator grants it: as the configuration has it, so that no right comes along that it does without.
fn command(crm: &Crm, role: &str, database: &str) -> String {
    let mut words = vec!["psql".to_owned(), "-v".to_owned(), word(&format!("run_role={role}"))];
    if crm.schema != "public" {
        words.extend(["-v".to_owned(), word(&format!("crm_schema={}", crm.schema))]);
    }
    if crm.dangling_rows == DanglingRows::Leave {
        words.extend(["-v", "dangling_rows=leave"].map(str::to_owned));
    }
    words.extend(["-f", "deploy/rights/database-run.sql"].map(str::to_owned));
    words.push(word(database));
    words.join(" ")
}

/// As a shell takes it for one word.
fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-.=".contains(c);
    if text.chars().all(is_plain) { text.to_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Profile;

    #[test]
    fn the_command_is_for_this_role_this_database_and_this_configuration() {
        let mut crm = Crm {
            profile: Profile::Creatio,
            schema: "public".to_owned(),
            dangling_rows: DanglingRows::Delete,
            trust_outside_events: false,
            storage_codes: Vec::new(),
        };
        assert_eq!(command(&crm, "run", "crm"), "psql -v run_role=run -f deploy/rights/database-run.sql crm");
        crm.schema = "the crm".to_owned();
        crm.dangling_rows = DanglingRows::Leave;
        assert_eq!(
            command(&crm, "it's", "crm"),
            r"psql -v 'run_role=it'\''s' -v 'crm_schema=the crm' -v dangling_rows=leave -f deploy/rights/database-run.sql crm"
        );
    }
}
