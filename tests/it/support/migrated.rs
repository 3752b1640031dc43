//! What a migration leaves of a file, made by hand: content in rows, objects with its mark.

use file_recycler::storage::Side;
use uuid::Uuid;

use super::crm::{DATABASE_STORAGE, S3_STORAGE};
use super::world::World;

impl World {
    /// A file whose content, its id, is in its row; the row says that it is in the database.
    pub async fn file_in_database(&self) -> Uuid {
        let record = self.crm.record("Contact").await;
        let file = self.crm.hard_file("ContactFile", "Contact", record).await;
        self.fill_row(file).await;
        self.say_where(file, DATABASE_STORAGE).await;
        file
    }

    /// Puts the content of a file into its row.
    pub async fn fill_row(&self, file: Uuid) {
        self.crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "Size" = 36, "Data" = convert_to('{file}', 'UTF8') WHERE "Id" = '{file}'"#
            ))
            .await;
    }

    /// As `--reclaim` leaves it.
    pub async fn clear_row(&self, file: Uuid) {
        self.crm.sql(format!(r#"UPDATE "ContactFile" SET "Data" = NULL WHERE "Id" = '{file}'"#)).await;
    }

    /// Has the row say that its content is in this storage.
    pub async fn say_where(&self, file: Uuid, storage: &str) {
        self.crm
            .sql(format!(
                r#"UPDATE "ContactFile" SET "SysFileStorageId" = '{storage}' WHERE "Id" = '{file}'"#
            ))
            .await;
    }

    /// The object that a migration of this environment writes.
    pub async fn upload_migrated(&self, file: Uuid) {
        let environment: String = sqlx::query_scalar("SELECT id::text FROM file_recycler.environment")
            .fetch_one(&self.crm.pool)
            .await
            .unwrap();
        self.upload_with_mark(file, &environment).await;
    }

    /// An object with the mark of the migration of some environment.
    pub async fn upload_with_mark(&self, file: Uuid, environment: &str) {
        let object =
            self.storage.client.put_object().bucket(self.storage.bucket(Side::Object)).key(file.to_string());
        let object = object.metadata("fr-migrated", environment).body(file.to_string().into_bytes().into());
        object.send().await.unwrap();
    }

    /// A file as it is once it was migrated to the storage; its content is left in its row.
    pub async fn migrate(&self, file: Uuid) {
        self.upload_migrated(file).await;
        self.say_where(file, S3_STORAGE).await;
    }
}
