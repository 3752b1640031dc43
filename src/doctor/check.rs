//! The checks by name, and what each can say.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::outcome::{UnknownWord, words};

/// Where an operator reads more; each check has its own anchor there.
const GUIDE: &str = "docs/doctor.md";

words! {
    /// A check. Names are a contract with operators' scripts.
    Name {
        /// Is anything missing in the configuration?
        Configuration => "configuration",
        /// Whose keys and passwords are used?
        Credentials => "credentials",
        /// Which connections can be read, or taken over, on their way?
        Transport => "transport",
        /// Does the database answer, and is it new enough?
        DatabaseConnection => "database-connection",
        /// Does it take writes?
        DatabasePrimary => "database-primary",
        /// Has the role all rights that it needs?
        DatabaseRights => "database-rights",
        /// Has it more than it needs?
        DatabaseRole => "database-role",
        /// The own schema's version.
        OwnSchema => "own-schema",
        /// Which application's tables, and by which rules.
        CrmProfile => "crm-profile",
        /// The CRM's own features and settings.
        CrmSettings => "crm-settings",
        /// Are contents in the database, or in the storage?
        FileContents => "file-contents",
        /// Are the triggers as they must be?
        Triggers => "triggers",
        /// Deletions that could not be captured.
        CaptureFailures => "capture-failures",
        /// Rows that vanish unheard.
        Silence => "silence",
        /// What waits in the outbox.
        Outbox => "outbox",
        /// The running processes, as each tells of itself.
        Processes => "processes",
        /// An operator's pause.
        Pause => "pause",
        /// Do database and buckets belong together?
        Environment => "environment",
        /// Are the objects where the key template says?
        KeyTemplate => "key-template",
        /// Do all clocks agree?
        Clocks => "clocks",
        /// Does the broker answer, and is it new enough?
        BrokerConnection => "broker-connection",
        /// Has its user all permissions that it needs?
        BrokerRights => "broker-rights",
        /// Exchange and queues.
        BrokerTopology => "broker-topology",
        /// What a client cannot see of the broker.
        BrokerPolicies => "broker-policies",
        /// Does the broker take messages?
        BrokerAlarm => "broker-alarm",
        /// The work and the wait queues.
        Queues => "queues",
        /// The dead-letter queue.
        DeadLetters => "dead-letters",
        /// Do both buckets answer?
        StorageConnection => "storage-connection",
        /// May the keys do everything that they must?
        StorageRights => "storage-rights",
        /// What can the server do?
        StorageCapabilities => "storage-capabilities",
        /// Does the recycle bucket keep files as long as the backups?
        Retention => "retention",
        /// Rules that move objects to an archive.
        ArchiveClasses => "archive-classes",
        /// Locks that keep objects from being moved or removed.
        ObjectLock => "object-lock",
        /// Buckets that keep versions.
        Versioning => "versioning",
        /// How the recycle bucket encrypts.
        Encryption => "encryption",
    }
}

impl Name {
    /// The page and the anchor where the check is explained.
    pub fn guide(self) -> String {
        format!("{GUIDE}#{self}")
    }

    /// How long the check may take.
    pub(super) fn patience(self) -> Duration {
        Duration::from_secs(match self {
            // A broker has ten seconds to greet.
            Self::DatabaseConnection | Self::BrokerConnection | Self::StorageConnection => 12,
            // It reads which records all files and links name.
            Self::Triggers => 30,
            _ => 20,
        })
    }

    /// Whom it asks.
    pub(super) fn asks(self) -> &'static str {
        match self {
            Self::Configuration | Self::Transport => "nobody",
            Self::Credentials => "the broker or the storage",
            Self::DatabaseConnection
            | Self::DatabasePrimary
            | Self::DatabaseRights
            | Self::DatabaseRole
            | Self::OwnSchema
            | Self::CrmProfile
            | Self::CrmSettings
            | Self::FileContents
            | Self::Triggers
            | Self::CaptureFailures
            | Self::Silence
            | Self::Outbox
            | Self::Processes
            | Self::Pause => "the database",
            Self::Environment | Self::KeyTemplate | Self::Clocks => "the database or the storage",
            Self::BrokerConnection
            | Self::BrokerRights
            | Self::BrokerTopology
            | Self::BrokerPolicies
            | Self::BrokerAlarm
            | Self::Queues
            | Self::DeadLetters => "the broker",
            Self::StorageConnection
            | Self::StorageRights
            | Self::StorageCapabilities
            | Self::Retention
            | Self::ArchiveClasses
            | Self::ObjectLock
            | Self::Versioning
            | Self::Encryption => "the storage",
        }
    }
}

/// How a check ended; the later ones are worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// All is well.
    Ok,
    /// Something that an operator should know, or that could not be looked at.
    Warn,
    /// Something that has to be put right.
    Fail,
}

/// What a check found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How it ended.
    #[serde(rename = "result")]
    pub grade: Grade,
    /// What it means.
    pub message: String,
    /// What to do; empty where all is well.
    pub advice: String,
}

impl Finding {
    pub(super) fn ok(message: impl Into<String>) -> Self {
        Self { grade: Grade::Ok, message: message.into(), advice: String::new() }
    }

    pub(super) fn warn(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Warn, message: message.into(), advice: advice.into() }
    }

    pub(super) fn fail(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { grade: Grade::Fail, message: message.into(), advice: advice.into() }
    }

    /// Not looked at: `cause` is told as a failure by the check of this name.
    pub(super) fn unchecked(cause: &str, told_by: Name) -> Self {
        Self::warn(format!("not checked, since {cause}"), format!("put {told_by} right first"))
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name.
    pub name: Name,
    /// What it found.
    #[serde(flatten)]
    pub finding: Finding,
    /// Page and anchor where it is explained.
    pub guide: String,
}

impl Check {
    pub(super) fn new(name: Name, finding: Finding) -> Self {
        Self { name, finding, guide: name.guide() }
    }
}

/// All checks, in the order of their names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Has none failed?
    pub ok: bool,
    /// Every check.
    pub checks: Vec<Check>,
}

impl Report {
    pub(super) fn new(checks: Vec<Check>) -> Self {
        Self { ok: checks.iter().all(|check| check.finding.grade != Grade::Fail), checks }
    }

    /// How many checks ended like this.
    pub fn count(&self, grade: Grade) -> usize {
        self.checks.iter().filter(|check| check.finding.grade == grade).count()
    }
}
