//! Is `storage.key_template` the right one? A wrong one finds no object, and every file would count as missing.
//!
//! At the start a sample of the newest rows is looked for. Where that cannot tell, files are doubted until one has
//! moved: before one counts as missing, it is looked for under the other templates that are known. One that is found
//! there is tried again later; with the third, nothing moves any more.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tracing::info;

use super::Parts;
use crate::config::Profile;
use crate::failpoint;
use crate::file::{FileId, FileRef};
use crate::gate;
use crate::guard::{Fit, exists, fit, wrong_template};
use crate::key_template::KeyTemplate;
use crate::outcome::Failure;
use crate::retry::{Pauses, UNTIL_BACK};
use crate::stop::Stop;
use crate::storage::Storage;

/// Rows of the sample.
const SAMPLE: usize = 20;
/// How often a template that was found wrong is looked at again: the objects may have been renamed.
const AGAIN: Duration = Duration::from_secs(30);

/// How many files under another template show that this one is wrong.
const CONTRADICTED: usize = 3;

/// The template, and whether an object was found under it.
#[derive(Debug)]
#[allow(clippy::struct_field_names)] // It is what the others are about.
pub(super) struct Template {
    template: KeyTemplate,
    proven: AtomicBool,
    /// Files that are under another one.
    contradicting: Mutex<HashSet<FileId>>,
}

impl Template {
    pub(super) fn new(template: KeyTemplate) -> Self {
        Self { template, proven: AtomicBool::new(false), contradicting: Mutex::default() }
    }

    /// An object was found under it.
    pub(super) fn prove(&self) {
        self.proven.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven.load(Ordering::Relaxed)
    }

    /// Takes note of a file that is under another template. Is that enough to call this one wrong?
    pub(super) fn is_contradicted_by(&self, file: &FileId) -> bool {
        let mut files = self.contradicting.lock().unwrap_or_else(PoisonError::into_inner);
        files.insert(file.clone());
        files.len() >= CONTRADICTED
    }

    /// The next ones are counted anew.
    fn forget_contradictions(&self) {
        self.contradicting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// What an operator is told where objects are under the `right` one.
    pub(super) fn wrong(&self, right: &KeyTemplate) -> String {
        wrong_template(&self.template, right)
    }

    /// The other template that this file's object is under, if there is one.
    pub(super) async fn found_under(
        &self,
        storage: &Storage,
        file: &FileRef,
    ) -> Result<Option<KeyTemplate>, Failure> {
        for other in self.template.others() {
            if exists(storage, other.key(&file.file_id, file.schema.as_ref())).await? {
                return Ok(Some(other));
            }
        }
        Ok(None)
    }
}

impl Parts {
    /// Looks for a sample before anything moves; `false` where the stop came first.
    pub(super) async fn template_fits(&self, template: &Template, stop: &Stop) -> bool {
        let mut pauses = Pauses::system(UNTIL_BACK);
        loop {
            let doubted = self.guard.doubts_template();
            tokio::select! {
                () = stop.requested() => return false,
                () = self.gate.opened(gate::WORKER), if !doubted => {}
                () = tokio::time::sleep(AGAIN), if doubted => {}
            }
            match self.look_at_template(template).await {
                Ok(true) => return true,
                Ok(false) => {}
                Err(failure) => {
                    info!(error = %failure, "the key template could not be compared with the objects");
                    self.gate.report(&failure);
                    tokio::select! {
                        () = stop.requested() => return false,
                        () = tokio::time::sleep(pauses.next().unwrap_or(AGAIN)) => {}
                    }
                }
            }
        }
    }

    /// Looks again at one that a file has shown to be wrong.
    pub(super) async fn look_again_at_template(self, template: Arc<Template>, stop: Stop) {
        loop {
            tokio::select! {
                () = stop.requested() => return,
                () = tokio::time::sleep(AGAIN) => {}
            }
            if self.guard.doubts_template()
                && let Err(failure) = self.look_at_template(&template).await
            {
                info!(error = %failure, "the key template could not be compared with the objects");
            }
        }
    }

    /// Compares, and tells the guard. May work begin?
    async fn look_at_template(&self, template: &Template) -> Result<bool, Failure> {
        let catalog = self.registry.catalog().await?;
        let rows = self.db.newest_files(&catalog, SAMPLE).await?;
        let fit = fit(&self.storage, &template.template, &rows).await?;
        if matches!(fit, Fit::Fits | Fit::Ours) {
            template.prove();
        }
        let sample = rows.len();
        let doubted = self.guard.doubts_template();
        match &fit {
            Fit::Fits | Fit::Ours => {
                info!(sample, template = %template.template, "objects are where the key template says");
            }
            Fit::Empty if doubted => {}
            Fit::Empty if self.config.crm.profile == Profile::Events => info!(
                "crm.profile is events: there are no rows to compare the key template with; the first misses are doubted"
            ),
            Fit::Empty => info!(
                "no row is in S3: the key template cannot be compared, and the first misses are doubted"
            ),
            Fit::Nowhere => info!(
                sample,
                "none of the newest rows' objects is in the object bucket, under no known template"
            ),
            Fit::Other(_) => {}
        }
        let wrong = match fit {
            Fit::Other(_) if failpoint::removed("protection::template_compared") => None,
            Fit::Other(right) => Some(template.wrong(&right)),
            // What files have shown, an empty sample does not take back. But others may be under the right one, and are let
            // pass: the first that moves proves it, and three that are elsewhere shut the guard again.
            Fit::Empty | Fit::Nowhere if doubted => {
                template.forget_contradictions();
                None
            }
            Fit::Fits | Fit::Ours | Fit::Empty | Fit::Nowhere => None,
        };
        let fits = wrong.is_none();
        self.guard.saw_template(wrong);
        self.tell_guard();
        Ok(fits)
    }
}
