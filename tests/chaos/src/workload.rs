//! What the CRM's users do meanwhile: records and files come, are linked, and are deleted, one by one, some together,
//! a whole table, or in a transaction that is rolled back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use sqlx::{AssertSqlSafe, Postgres, Transaction};
use uuid::Uuid;

use crate::Result;
use crate::model::{File, Model, Record, content};
use crate::scene::Scene;
use crate::seed::Seed;

const FILE_TYPE: Uuid = uuid::uuid!("529bc2f8-0ee0-df11-971b-001d60e938c6");
const S3_STORAGE: Uuid = uuid::uuid!("7b1ac6fa-3f43-4d27-9f50-2d6a7a3d9c11");
/// Sections whose file rows go with the record.
const SECTIONS: [(&str, &str); 3] =
    [("Account", "AccountFile"), ("Contact", "ContactFile"), ("Lead", "FileLead")];
/// The section whose file rows outlive the record.
const KEEPING: (&str, &str) = ("Case", "CaseFile");
/// The section that is filled and deleted as a whole.
const WHOLE: (&str, &str) = ("Opportunity", "OpportunityFile");

/// The model, shared with those who check meanwhile.
#[derive(Clone, Debug, Default)]
pub struct Notes(Arc<Mutex<Model>>);

impl Notes {
    /// A copy of this moment.
    pub fn now(&self) -> Model {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Model> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The CRM's users.
#[derive(Debug)]
pub struct Workload {
    scene: Scene,
    seed: Seed,
    notes: Notes,
}

/// A file that is about to be.
struct New {
    id: Uuid,
    size: usize,
    table: &'static str,
    weak: bool,
}

impl Workload {
    /// Users of this scene, whose actions follow from `seed`.
    pub fn new(scene: Scene, seed: Seed, notes: Notes) -> Self {
        Self { scene, seed, notes }
    }

    /// Records and files to begin with.
    ///
    /// # Errors
    /// A server did not answer.
    pub async fn prepare(&mut self, records: usize) -> Result<()> {
        for _ in 0..records {
            self.add().await?;
        }
        Ok(())
    }

    /// The next thing that somebody does.
    ///
    /// # Errors
    /// A server did not answer.
    pub async fn act(&mut self) -> Result<()> {
        match self.seed.below(100) {
            0..40 => self.add().await?,
            40..50 => self.add_to_existing().await?,
            50..60 => self.link().await?,
            60..84 => self.delete(1, true).await?,
            84..92 => {
                let many = self.seed.between(2, 30);
                self.delete(many, true).await?;
            }
            92..99 => {
                let many = self.seed.between(1, 5);
                self.delete(many, false).await?;
            }
            _ => self.whole_table().await?,
        }
        tokio::time::sleep(Duration::from_millis(10 + self.seed.number() % 40)).await;
        Ok(())
    }

    /// A record with hard and weak files.
    async fn add(&mut self) -> Result<()> {
        let (section, table) = match self.seed.below(8) {
            0 => KEEPING,
            other => SECTIONS[other % SECTIONS.len()],
        };
        let record = self.seed.id();
        let (hard, weak) = (self.seed.between(0, 4), self.seed.below(3));
        let mut files: Vec<_> = (0..hard).map(|_| self.file(table, false)).collect();
        files.extend((0..weak).map(|number| self.file(["SysFile", "FeedFile"][number % 2], true)));
        self.save(section, record, true, files).await
    }

    fn file(&mut self, table: &'static str, weak: bool) -> New {
        New { id: self.seed.id(), size: self.seed.between(1, 4_000), table, weak }
    }

    async fn add_to_existing(&mut self) -> Result<()> {
        let Some((section, table)) = self.seed.pick(&SECTIONS).copied() else { return Ok(()) };
        let Some(record) = self.living(Some(section)) else { return Ok(()) };
        let file = self.file(table, false);
        self.save(section, record, false, vec![file]).await
    }

    fn living(&mut self, section: Option<&str>) -> Option<Uuid> {
        let living = self.notes.lock().living(section);
        self.seed.pick(&living).copied()
    }

    /// A file of one record appears on another.
    async fn link(&mut self) -> Result<()> {
        let Some(record) = self.living(None) else { return Ok(()) };
        let (candidates, section) = {
            let model = self.notes.lock();
            let owned = |file: &File| model.records.get(&file.owner).is_some_and(|owner| owner.alive);
            let candidates: Vec<_> =
                model.files.iter().filter(|(_, file)| owned(file)).map(|(id, _)| *id).collect();
            (candidates, model.records.get(&record).map(|record| record.section.clone()))
        };
        let (Some(file), Some(section)) = (self.seed.pick(&candidates).copied(), section) else {
            return Ok(());
        };
        // Which table has the file is of no importance to the program: it asks for the id.
        sqlx::query(
            r#"INSERT INTO "FileLink" ("RecordSchemaName", "RecordId", "FileSchemaName", "FileRecordId")
               VALUES ($1, $2, 'ContactFile', $3)"#,
        )
        .bind(section)
        .bind(record)
        .bind(file)
        .execute(&self.scene.crm)
        .await?;
        if let Some(file) = self.notes.lock().files.get_mut(&file) {
            file.links.push(record);
        }
        Ok(())
    }

    /// Uploads the objects, then commits the rows, as the CRM does.
    async fn save(&mut self, section: &str, record: Uuid, is_new: bool, files: Vec<New>) -> Result<()> {
        let uploads = files.iter().map(|file| self.upload(file));
        try_join_all(uploads).await?;
        let mut transaction = self.scene.crm.begin().await?;
        if is_new {
            let sql = format!(r#"INSERT INTO "{section}" ("Id") VALUES ($1)"#);
            sqlx::query(AssertSqlSafe(sql)).bind(record).execute(&mut *transaction).await?;
        }
        for file in &files {
            insert(&mut transaction, section, record, file).await?;
        }
        transaction.commit().await?;
        let mut model = self.notes.lock();
        model.records.entry(record).or_insert_with(|| Record { section: section.to_owned(), alive: true });
        for file in files {
            let stays = section == KEEPING.0 && !file.weak;
            let noted = File { owner: record, links: Vec::new(), stays, size: file.size };
            model.files.insert(file.id, noted);
        }
        Ok(())
    }

    async fn upload(&self, file: &New) -> Result<()> {
        let body = content(file.id, file.size).into();
        let put = self.scene.storage.put_object().bucket(self.scene.object_bucket());
        put.key(file.id.to_string()).body(body).send().await?;
        Ok(())
    }

    /// Some records of one section go in one statement; or would, but for a rollback.
    async fn delete(&mut self, many: usize, commits: bool) -> Result<()> {
        let Some(first) = self.living(None) else { return Ok(()) };
        let (section, others) = {
            let model = self.notes.lock();
            let Some(record) = model.records.get(&first) else { return Ok(()) };
            (record.section.clone(), model.living(Some(&record.section)))
        };
        let mut doomed = vec![first];
        doomed.extend((1..many).filter_map(|_| self.seed.pick(&others).copied()));
        doomed.sort_unstable();
        doomed.dedup();
        self.delete_these(&section, doomed, commits).await
    }

    async fn delete_these(&mut self, section: &str, doomed: Vec<Uuid>, commits: bool) -> Result<()> {
        if commits {
            // Said before it is done: from its commit on the files may be gone.
            let mut model = self.notes.lock();
            for record in &doomed {
                model.records.entry(*record).and_modify(|record| record.alive = false);
            }
        }
        let mut transaction = self.scene.crm.begin().await?;
        let sql = format!(r#"DELETE FROM "{section}" WHERE "Id" = ANY($1)"#);
        sqlx::query(AssertSqlSafe(sql)).bind(&doomed).execute(&mut *transaction).await?;
        if commits {
            transaction.commit().await?;
            self.notes.lock().deletions += 1;
        } else {
            transaction.rollback().await?;
            self.notes.lock().rolled_back += 1;
        }
        Ok(())
    }

    /// Some hundred records with a file each, and a statement that deletes them all.
    async fn whole_table(&mut self) -> Result<()> {
        let (section, table) = WHOLE;
        for _ in 0..self.seed.between(15, 30) {
            let many: Vec<_> = (0..10).map(|_| (self.seed.id(), self.file(table, false))).collect();
            for (record, file) in many {
                self.save(section, record, true, vec![file]).await?;
            }
        }
        let all = self.notes.lock().living(Some(section));
        self.delete_these(section, all, true).await
    }
}

async fn insert(
    transaction: &mut Transaction<'static, Postgres>,
    section: &str,
    record: Uuid,
    file: &New,
) -> Result<()> {
    let table = file.table;
    let (columns, values) = if file.weak {
        (r#""RecordId", "RecordSchemaName""#.to_owned(), "$5, $6")
    } else {
        (format!(r#""{section}Id", "Notes""#), "$5, $6")
    };
    let sql = format!(
        r#"INSERT INTO "{table}" ("Id", "TypeId", "SysFileStorageId", "Size", {columns})
           VALUES ($1, $2, $3, $4, {values})"#
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(file.id)
        .bind(FILE_TYPE)
        .bind(S3_STORAGE)
        .bind(i32::try_from(file.size)?)
        .bind(record)
        .bind(section)
        .execute(&mut **transaction)
        .await?;
    Ok(())
}
