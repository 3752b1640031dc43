//! What the database remembers of a file: its keys, who names it, the images of its row.

use std::collections::BTreeSet;

use super::keys::{Keys, Remembered, keys};
use super::{BucketNames, Ended, Eraser, NAMED, Order, Receipt, Versions};
use crate::config::Profile;
use crate::db::DbError;
use crate::db::catalog::Catalog;
use crate::db::erasure::Images;
use crate::db::explain::KeyedBy;
use crate::file::{FileId, Named, ObjectKey};
use crate::outcome::Failure;

impl Eraser {
    pub(super) async fn keys_of(&self, order: &Order<'_>) -> Result<Keys, Failure> {
        let catalog = self.registry.catalog().await?;
        let known = self.db.known_keys(order.file).await?;
        let mut remembered = Remembered {
            schemas: known.iter().filter_map(|one| one.schema.clone()).collect(),
            keys: known.into_iter().map(|one| one.key).collect(),
            all_schemas: catalog.file_tables.iter().map(|file| file.schema.to_string()).collect(),
        };
        if let (Profile::Creatio, Some(id)) = (&self.profile, order.file.as_uuid()) {
            let rows = self.db.rows_of_file(&catalog, id).await?;
            remembered.schemas.extend(rows.into_iter().map(|row| row.schema));
            remembered.schemas.extend(self.db.tables_of_images(order.file).await?);
        } else {
            let rows = self.db.keyed_rows(&catalog, KeyedBy::Id(order.file.as_str()), None).await?;
            remembered.keys.extend(rows.into_iter().filter_map(|row| row.key));
        }
        Ok(keys(&self.profile, &self.template, order.file, order.key, &remembered))
    }

    /// Rows and links that name a file.
    pub(super) async fn who_names(&self, named: &Named) -> Result<Vec<String>, DbError> {
        let catalog = self.registry.catalog().await?;
        let creatio = self.profile == Profile::Creatio;
        let mut rows = if let Some(id) = named.id.as_uuid().filter(|_| creatio) {
            self.rows_and_links(&catalog, id).await?
        } else {
            let keys = [named.key.to_string()];
            let rows = self.db.keyed_rows(&catalog, KeyedBy::Keys(&keys), None).await?;
            rows.into_iter().map(|row| format!("row {} of {}", row.id, row.schema)).collect()
        };
        if rows.len() > NAMED {
            let more = rows.len() - NAMED;
            rows.truncate(NAMED);
            rows.push(format!("and {more} more"));
        }
        Ok(rows)
    }

    async fn rows_and_links(&self, catalog: &Catalog, id: uuid::Uuid) -> Result<Vec<String>, DbError> {
        let rows = self.db.rows_of_file(catalog, id).await?;
        let links = self.db.links_of(catalog, id).await?.items;
        let rows = rows.iter().map(|row| format!("row {} of {}", row.id, row.table));
        let links = links.iter().filter(|link| link.file_id == id);
        let links =
            links.map(|link| format!("link {} of {} {}", link.id, link.record_schema, link.record_id));
        Ok(rows.chain(links).collect())
    }

    /// Which images are this file's. By mapping, files of two tables may have one id: then only those of the table that
    /// the ledger names with the key.
    pub(super) async fn images_of(
        &self,
        file: &FileId,
        key: &ObjectKey,
    ) -> Result<(Images, Vec<String>), DbError> {
        if self.profile == Profile::Creatio {
            return Ok((Images::All, Vec::new()));
        }
        let tables = self.db.tables_of_images(file).await?;
        if tables.len() < 2 {
            return self.images_of_one_table(file, key, tables).await;
        }
        let ours = self.tables_of_key(file, key).await?;
        let others: Vec<&str> =
            tables.iter().filter(|table| !ours.contains(*table)).map(String::as_str).collect();
        let warning = format!(
            "images of rows with this id in {} are kept: whether they are this file's is not known",
            others.join(", ")
        );
        let warnings = if others.is_empty() { Vec::new() } else { vec![warning] };
        Ok((Images::OfTables(ours.into_iter().collect()), warnings))
    }

    /// They are this file's where no other file with the id is known.
    async fn images_of_one_table(
        &self,
        file: &FileId,
        key: &ObjectKey,
        tables: Vec<String>,
    ) -> Result<(Images, Vec<String>), DbError> {
        let known: BTreeSet<String> = self.db.known_keys(file).await?.into_iter().map(|it| it.key).collect();
        if tables.is_empty() || known.iter().all(|one| one == key.as_str()) {
            return Ok((Images::OfTables(tables), Vec::new()));
        }
        let ours = self.tables_of_key(file, key).await?;
        Ok((Images::OfTables(tables.into_iter().filter(|table| ours.contains(table)).collect()), Vec::new()))
    }

    /// Names of the tables that the ledger has with this key.
    async fn tables_of_key(&self, file: &FileId, key: &ObjectKey) -> Result<BTreeSet<String>, DbError> {
        let known = self.db.known_keys(file).await?.into_iter().filter(|one| one.key == key.as_str());
        let schemas = known.filter_map(|one| one.schema);
        Ok(schemas.map(|schema| schema.rsplit('.').next().unwrap_or(&schema).to_owned()).collect())
    }

    /// A receipt with nothing found.
    pub(super) fn receipt(&self, order: &Order<'_>, key: Option<&ObjectKey>, result: Ended) -> Receipt {
        Receipt {
            result,
            file_id: order.file.clone(),
            key: key.cloned(),
            erasure: None,
            environment: None,
            at: self.clock.now(),
            who: order.actor.who.clone(),
            host: order.actor.host.clone(),
            why: order.why.to_owned(),
            buckets: BucketNames {
                object: self.buckets.object.clone(),
                recycle: self.buckets.recycle.clone(),
            },
            versions: Versions::default(),
            unfinished_copies: 0,
            images: 0,
            earlier: Vec::new(),
            message: None,
            named_by: Vec::new(),
            keys: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(super) fn failed(&self, order: &Order<'_>, key: Option<&ObjectKey>, failure: Failure) -> Receipt {
        Receipt { message: Some(failure.error), ..self.receipt(order, key, Ended::Failed) }
    }
}
