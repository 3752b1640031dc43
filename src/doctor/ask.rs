//! Which check asks what: every name has one.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::check::{Finding, Name};
use super::examine::Examination;
use super::reach::{Away, Database, Queues, Reached};
use super::verdict::{self, Powers};
use crate::db::schema::SchemaState;
use crate::db::{Db, DbError};
use crate::storage::{Kind, Storage, StorageError};

/// What a check says; as an error, where it could not get to its question.
pub(super) type Judged = Result<Finding, Finding>;

impl Examination<'_> {
    pub(super) fn ask(&self, name: Name) -> BoxFuture<'_, Judged> {
        match name {
            Name::Configuration => ready(Ok(verdict::configuration(self.config))),
            Name::Credentials => self.credentials().boxed(),
            Name::Transport => ready(Ok(verdict::transport(&self.config.unprotected()))),
            Name::DatabaseConnection => ready(Ok(self.database.finding.clone())),
            Name::BrokerConnection => ready(Ok(self.broker.finding.clone())),
            Name::StorageConnection => ready(Ok(self.storage.finding.clone())),
            Name::DatabasePrimary => ready(self.primary()),
            Name::DatabaseRights => self.database_rights().boxed(),
            Name::DatabaseRole => self.database_role().boxed(),
            Name::OwnSchema => self.own_schema().boxed(),
            Name::CrmProfile => self.crm_profile().boxed(),
            Name::CrmSettings => self.crm_settings().boxed(),
            Name::FileContents => self.file_contents().boxed(),
            Name::Triggers => self.triggers().boxed(),
            Name::CaptureFailures => self.capture_failures().boxed(),
            Name::Silence => self.silence().boxed(),
            Name::Outbox => self.outbox().boxed(),
            Name::Processes => self.processes().boxed(),
            Name::Pause => self.pause().boxed(),
            Name::Environment => self.environment().boxed(),
            Name::KeyTemplate => self.key_template().boxed(),
            Name::Clocks => self.clocks().boxed(),
            Name::BrokerRights => self.broker_rights().boxed(),
            Name::BrokerTopology => self.broker_topology().boxed(),
            Name::BrokerPolicies => ready(self.broker_policies()),
            Name::BrokerAlarm => self.broker_alarm().boxed(),
            Name::Queues => self.queues().boxed(),
            Name::DeadLetters => self.dead_letters().boxed(),
            Name::StorageRights => self.storage_rights().boxed(),
            Name::StorageCapabilities => self.storage_capabilities().boxed(),
            Name::Retention => self.retention().boxed(),
            Name::ArchiveClasses => self.archive_classes().boxed(),
            Name::ObjectLock => self.object_lock().boxed(),
            Name::Versioning => self.versioning().boxed(),
            Name::Encryption => self.encryption().boxed(),
        }
    }

    /// Who does not answer, or refuses the question, is told so by other checks.
    async fn credentials(&self) -> Judged {
        let broker = async {
            match &self.broker.server {
                Ok(queues) => queues.session.may_read_others().await.unwrap_or(false),
                Err(_) => false,
            }
        };
        let storage = async {
            match &self.storage.server {
                Ok(storage) => storage.may_delete_copies().await.ok().flatten().unwrap_or(false),
                Err(_) => false,
            }
        };
        let (reads_all_queues, deletes_copies) = tokio::join!(broker, storage);
        Ok(verdict::credentials(self.settings, Powers { reads_all_queues, deletes_copies }))
    }

    pub(super) fn db(&self) -> Result<&Database, Finding> {
        there(&self.database, "the database", Name::DatabaseConnection)
    }

    /// The database with the own schema as this version wants it.
    pub(super) fn installed(&self) -> Result<&Db, Finding> {
        let database = self.db()?;
        match &database.schema {
            Ok(SchemaState::Current) => Ok(&database.db),
            Ok(SchemaState::Missing) => {
                Err(Finding::unchecked("the own schema is not installed", Name::OwnSchema))
            }
            Ok(SchemaState::Behind) => {
                Err(Finding::unchecked("the own schema is of an older version", Name::OwnSchema))
            }
            Err(error) => Err(unanswered(error)),
        }
    }

    pub(super) fn queues_there(&self) -> Result<&Queues, Finding> {
        there(&self.broker, "the broker", Name::BrokerConnection)
    }

    pub(super) fn buckets(&self) -> Result<&Storage, Finding> {
        there(&self.storage, "the storage", Name::StorageConnection)
    }
}

fn ready(judged: Judged) -> BoxFuture<'static, Judged> {
    std::future::ready(judged).boxed()
}

fn there<'a, T>(reached: &'a Reached<T>, server: &str, told_by: Name) -> Result<&'a T, Finding> {
    reached.server.as_ref().map_err(|away| match away {
        Away::NotConfigured => Finding::unchecked("it is not configured where that is", Name::Configuration),
        Away::Silent => Finding::unchecked(&format!("{server} does not answer"), told_by),
        Away::Unusable => Finding::unchecked(&format!("{server} cannot be used"), told_by),
        Away::OtherTime => Finding::unchecked(&format!("{server} refuses every request"), told_by),
    })
}

/// Of a question that the database did not answer. A missing right is named by the check of rights.
pub(super) fn unanswered(error: &DbError) -> Finding {
    if error.is_denied() {
        return Finding::unchecked("the role lacks a right for it", Name::DatabaseRights);
    }
    if error.is_missing() {
        return Finding::unchecked("a table of the CRM's is not there", Name::CrmProfile);
    }
    Finding::fail(error.to_string(), "look at the database's log; run `file-recycler doctor` again")
}

/// The same of the storage.
pub(super) fn refused(error: &StorageError) -> Finding {
    match error.kind {
        Kind::AccessDenied => Finding::unchecked(&error.to_string(), Name::StorageRights),
        _ => Finding::fail(error.to_string(), "look at the storage's log; run `file-recycler doctor` again"),
    }
}

/// Of a setting of a bucket that moves do without. A server that has no such thing has nothing to tell.
pub(super) fn setting_refused(error: &StorageError) -> Finding {
    match error.kind {
        Kind::AccessDenied => Finding::warn(
            format!("not checked: {error}"),
            "grant it, as the optional statements of deploy/rights/iam-run.json do",
        ),
        Kind::NotImplemented => Finding::ok("the server has no such setting"),
        // Servers that others wrote have answers of their own here.
        Kind::BadAnswer => Finding::warn(
            format!("not checked: {error}"),
            "look at it with the server's own tools: its answer is not that of Amazon's API",
        ),
        _ => refused(error),
    }
}
