//! What the database is asked, and what database and storage are asked together.

use super::ask::{Judged, unanswered};
use super::check::{Finding, Name};
use super::examine::Examination;
use super::reach::Away;
use super::verdict::{self, Skew};
use crate::config::Profile;
use crate::db::environment::Buckets;
use crate::db::features::ActiveStorage;
use crate::db::process::SILENT_AFTER;
use crate::db::schema::SchemaState;
use crate::guard::{Fit, Guard, compare, fit};
use crate::outcome::Failure;

/// Rows whose objects are looked for.
const SAMPLE: usize = 20;

impl Examination<'_> {
    pub(super) fn primary(&self) -> Judged {
        Ok(verdict::primary(self.db()?.info.is_primary))
    }

    pub(super) async fn database_rights(&self) -> Judged {
        let db = &self.db()?.db;
        let crm = &self.config.crm;
        let lacking = db.lacking(crm).await.map_err(|error| unanswered(&error))?;
        let elsewhere = match &lacking {
            Some(_) => None,
            None => db.lacking_elsewhere(crm).await.map_err(|error| unanswered(&error))?,
        };
        Ok(verdict::database_rights(lacking, elsewhere))
    }

    pub(super) async fn database_role(&self) -> Judged {
        let powers = self.db()?.db.powers(&self.config.crm).await;
        Ok(verdict::database_role(&powers.map_err(|error| unanswered(&error))?))
    }

    pub(super) async fn own_schema(&self) -> Judged {
        let database = self.db()?;
        let state = database.schema.as_ref().map_err(unanswered)?;
        let newer = match state {
            SchemaState::Current => {
                database.db.schema_is_newer().await.map_err(|error| unanswered(&error))?
            }
            SchemaState::Missing | SchemaState::Behind => false,
        };
        Ok(verdict::own_schema(*state, newer))
    }

    pub(super) async fn crm_profile(&self) -> Judged {
        if self.config.crm.profile == Profile::Events {
            return Ok(verdict::events_profile());
        }
        match self.db()?.db.discover(&self.config.crm).await {
            Ok(catalog) => Ok(verdict::crm_profile(&catalog)),
            Err(error) if error.is_missing() => Ok(verdict::no_crm(&error.to_string())),
            Err(error) => Err(unanswered(&error)),
        }
    }

    pub(super) async fn crm_settings(&self) -> Judged {
        match self.config.crm.profile {
            Profile::Creatio => {}
            Profile::Mapping(_) => {
                return Ok(Finding::ok("another application's settings are not looked at"));
            }
            Profile::Events => return Ok(Finding::ok("no application's settings are looked at")),
        }
        let settings = self.db()?.db.crm_settings(&self.config.crm).await;
        let settings = settings.map_err(|error| unanswered(&error))?;
        Ok(settings.as_ref().map_or_else(|| Finding::ok("not looked at"), verdict::crm_settings))
    }

    pub(super) async fn file_contents(&self) -> Judged {
        let crm = &self.config.crm;
        if crm.profile != Profile::Creatio {
            return Ok(Finding::ok("another application's contents are not counted"));
        }
        let db = &self.db()?.db;
        let asked = async {
            let catalog = db.discover(crm).await?;
            let readable = db.readable_data(&catalog).await?;
            futures_util::future::try_join(db.where_contents_are(&catalog, &readable), db.crm_settings(crm))
                .await
        };
        let (contents, settings) = asked.await.map_err(|error| unanswered(&error))?;
        let active = settings.map_or(ActiveStorage::Unknown, |settings| settings.active_storage);
        Ok(verdict::file_contents(contents.as_ref(), &active))
    }

    pub(super) async fn triggers(&self) -> Judged {
        if self.config.crm.profile == Profile::Events {
            return Ok(Finding::ok("there is no application in this database: nothing is captured"));
        }
        let database = self.db()?;
        if matches!(database.schema, Ok(SchemaState::Missing)) {
            return Err(Finding::unchecked("the own schema is not installed", Name::OwnSchema));
        }
        let status = database.db.capture_status(&self.config.crm, self.config.listener.on_capture_error);
        Ok(verdict::triggers(&status.await.map_err(|error| unanswered(&error))?))
    }

    pub(super) async fn capture_failures(&self) -> Judged {
        let db = self.installed()?;
        let asked = futures_util::future::try_join(db.capture_failures(), db.unseen_capture_failures());
        let (all, unseen) = asked.await.map_err(|error| unanswered(&error))?;
        Ok(verdict::capture_failures(all, unseen))
    }

    pub(super) async fn silence(&self) -> Judged {
        let silent = self.installed()?.silence().await.map_err(|error| unanswered(&error))?;
        Ok(verdict::silence(silent.as_ref()))
    }

    pub(super) async fn outbox(&self) -> Judged {
        let db = self.installed()?;
        let asked = futures_util::future::try_join(db.backlog(), db.environment());
        let (backlog, state) = asked.await.map_err(|error| unanswered(&error))?;
        let paused = state.environment.is_some_and(|environment| environment.paused.is_some());
        Ok(verdict::outbox(&backlog, self.config.recycle.grace, paused))
    }

    pub(super) async fn processes(&self) -> Judged {
        let processes = self.installed()?.processes(SILENT_AFTER).await;
        let mut processes = processes.map_err(|error| unanswered(&error))?;
        processes.retain(|process| !process.died_here());
        Ok(verdict::processes(&processes))
    }

    pub(super) async fn pause(&self) -> Judged {
        let state = self.installed()?.environment().await.map_err(|error| unanswered(&error))?;
        Ok(verdict::pause(state.environment.and_then(|environment| environment.paused).as_ref()))
    }

    pub(super) async fn environment(&self) -> Judged {
        let (db, storage) = (self.installed()?, self.buckets()?);
        let Some(buckets) = Buckets::configured(&self.config.storage) else {
            return Err(Finding::unchecked("the buckets are not configured", Name::Configuration));
        };
        let guard = Guard::new(buckets);
        if let Err(Failure { error, .. }) = compare(storage, db, &guard).await {
            return Err(verdict::not_compared(&error));
        }
        Ok(verdict::environment(&guard.verdict(), guard.stale_nonce()))
    }

    pub(super) async fn key_template(&self) -> Judged {
        if self.config.crm.profile == Profile::Events {
            return Ok(Finding::ok("there are no rows to compare it with: a worker doubts the first misses"));
        }
        let (db, storage) = (&self.db()?.db, self.buckets()?);
        let template = &self.config.storage.key_template;
        let catalog = db.discover(&self.config.crm).await.map_err(|error| unanswered(&error))?;
        let rows = db.newest_files(&catalog, SAMPLE).await.map_err(|error| unanswered(&error))?;
        let fit: Fit =
            fit(storage, template, &rows).await.map_err(|failure| verdict::not_compared(&failure.error))?;
        Ok(verdict::key_template(template, &fit, rows.len()))
    }

    /// Each clock by itself: one server may be away.
    pub(super) async fn clocks(&self) -> Judged {
        let database = self.db().ok().map(|database| Skew::of(database.info.now, database.asked, false));
        if matches!(self.storage.server, Err(Away::OtherTime)) {
            return Ok(verdict::clock_refused());
        }
        let storage = self.tried().await.ok().and_then(|tried| tried.written);
        let storage = storage.map(|written| Skew::of(written.at, (written.before, written.after), true));
        Ok(verdict::clocks(database, storage))
    }
}
