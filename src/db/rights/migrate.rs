//! What `migrate` needs beside the rights to run: `deploy/rights/database-migrate.sql`. Who never migrates does without.

use super::{DOING, Right, told};
use crate::db::Db;
use crate::db::catalog::Catalog;
use crate::db::error::{Attempted, DbError};
use crate::db::migrate::{Direction, Migration};

/// Read in every row whose content is to be moved.
const READ: [&str; 4] = ["Data", "ModifiedOn", "xmin", "ctid"];

impl Db {
    /// The rights that this migration needs beside those to run and this role lacks, in a sentence. To look, nothing has to
    /// be written.
    pub async fn lacking_to_migrate(
        &self,
        catalog: &Catalog,
        migration: &Migration,
        direction: Direction,
        apply: bool,
    ) -> Result<Option<String>, DbError> {
        let wanted = |schema| migration.tables().iter().any(|table| table.schema == schema);
        let mut needed = Vec::new();
        for file in catalog.file_tables.iter().filter(|file| wanted(file.schema.clone())) {
            let of =
                |column, privilege| Right::of_column(&catalog.schema, &file.table.name, column, privilege);
            needed.extend(READ.map(|column| of(column, "SELECT")));
            needed.extend(written(direction).iter().filter(|_| apply).map(|column| of(column, "UPDATE")));
        }
        let mut lacks = Vec::new();
        let missing = self.missing(&needed).await?;
        if !missing.is_empty() {
            lacks.push(told(&missing));
        }
        // Large contents come by a temporary table.
        if apply && direction == Direction::ToDatabase && !self.may_make_temporary_tables().await? {
            lacks.push("TEMPORARY on the database".to_owned());
        }
        if lacks.is_empty() {
            return Ok(None);
        }
        let (role, lacks) = (self.role().await?, lacks.join(", "));
        Ok(Some(format!("role {role} lacks {lacks}: apply deploy/rights/database-migrate.sql")))
    }

    async fn may_make_temporary_tables(&self) -> Result<bool, DbError> {
        sqlx::query_scalar("SELECT has_database_privilege(current_database(), 'TEMPORARY')")
            .fetch_one(&self.pool)
            .await
            .attempted(DOING)
    }
}

/// Written where a row is switched over.
const fn written(direction: Direction) -> &'static [&'static str] {
    match direction {
        Direction::ToStorage => &["SysFileStorageId"],
        Direction::Reclaim => &["Data"],
        Direction::ToDatabase => &["SysFileStorageId", "Data"],
    }
}
