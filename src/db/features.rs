//! How the CRM itself is set, as far as files go: does its own listener recycle files, and where does it put new
//! ones? For people only: nothing that moves a file rests on it.

use std::fmt;

use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

use super::Db;
use super::error::{Attempted, Class, DbError, Problem};
use super::sql::{built, quote_identifier};
use crate::config::{Crm, Profile};

/// The unit that all employees belong to.
const ALL_EMPLOYEES: &str = "a29a3ba5-4b0d-de11-9a51-005056c00008";
/// The feature by which the CRM recycles the files of a deleted record itself.
const OWN_LISTENER: &str = "UseBaseEntityFileDeleteListener";
/// The setting that says where new files go.
const ACTIVE_STORAGE: &str = "ActiveFileContentStorage";
const DOING: &str = "reading the CRM's own settings";

/// What the CRM is set to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CrmSettings {
    /// The CRM's own listener.
    pub own_listener: Switch,
    /// Where it puts new files.
    pub active_storage: ActiveStorage,
    /// Why one of them may not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub denied: Option<Denied>,
}

/// A feature of the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// For all employees.
    On,
    /// For nobody, or not for all.
    Off,
    /// This version of the CRM keeps it elsewhere.
    Unknown,
    /// This role may not read it.
    Denied,
}

/// Where the CRM puts new files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "code")]
pub enum ActiveStorage {
    /// A storage that is ours, by its code.
    Ours(String),
    /// Another one.
    Other(String),
    /// This version of the CRM keeps it elsewhere.
    Unknown,
    /// This role may not read it.
    Denied,
}

/// What this role lacks to read the settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Denied {
    /// Which right.
    pub why: String,
    /// The command that grants it.
    pub advice: String,
}

/// What came of looking at a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Seen<T> {
    /// A row.
    Row(T),
    /// The table, a column of it or the row is not there, or not as expected.
    #[default]
    Absent,
    /// It is there, and this role may not read it: the server's words.
    Denied(String),
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Raw {
    /// The feature's own state, and that of all employees.
    feature: Seen<(Option<i32>, Option<i32>)>,
    /// The active storage's id and code.
    storage: Seen<StorageRow>,
}

type StorageRow = (Option<Uuid>, Option<String>);

impl<T> Seen<T> {
    fn refusal(&self) -> Option<&str> {
        match self {
            Self::Denied(why) => Some(why),
            Self::Row(_) | Self::Absent => None,
        }
    }
}

impl CrmSettings {
    fn of(raw: &Raw, ours: &[String]) -> Self {
        let own_listener = match raw.feature {
            Seen::Denied(_) => Switch::Denied,
            Seen::Absent | Seen::Row((None, None)) => Switch::Unknown,
            // What is set for all employees comes before the default.
            Seen::Row((_, Some(state)) | (Some(state), None)) => {
                if state == 0 {
                    Switch::Off
                } else {
                    Switch::On
                }
            }
        };
        let active_storage = match &raw.storage {
            Seen::Denied(_) => ActiveStorage::Denied,
            Seen::Row((Some(_), Some(code))) if ours.contains(code) => ActiveStorage::Ours(code.clone()),
            Seen::Row((Some(_), Some(code))) => ActiveStorage::Other(code.clone()),
            // Nothing is set: the CRM's own default.
            Seen::Row((None, _)) => ActiveStorage::Other("Database".to_owned()),
            Seen::Row((Some(_), None)) | Seen::Absent => ActiveStorage::Unknown,
        };
        Self { own_listener, active_storage, denied: None }
    }

    /// Each value with what it means for us, and what this role lacks to read it.
    pub fn told(&self) -> Vec<String> {
        let mut told = vec![self.listener_told(), self.storage_told()];
        told.extend(self.denied.iter().map(|denied| denied.why.clone()));
        told
    }

    fn listener_told(&self) -> String {
        const NEVER_MIND: &str =
            "either way is served, and files that it has moved itself count as already moved";
        let is = match self.own_listener {
            Switch::On => "on: files that it has moved itself count as already moved".to_owned(),
            Switch::Off => {
                "off (or on for some users only): what it does not move is left to file-recycler".to_owned()
            }
            Switch::Unknown => format!("unknown, since this version of the CRM does not tell: {NEVER_MIND}"),
            Switch::Denied => format!("unknown, since this role may not read it: {NEVER_MIND}"),
        };
        format!("the CRM's own listener ({OWN_LISTENER}) is {is}")
    }

    fn storage_told(&self) -> String {
        let unknown = |why: &str| {
            format!(
                "where the CRM puts new files ({ACTIVE_STORAGE}) is unknown, since {why}: nothing rests on it, for each \
                 file's row says where it is"
            )
        };
        match &self.active_storage {
            ActiveStorage::Ours(code) => {
                format!("the CRM puts new files into {code}: file-recycler moves them once they are deleted")
            }
            ActiveStorage::Other(code) => format!(
                "the CRM puts new files into {code}, which is not among crm.storage_codes: they are left alone"
            ),
            ActiveStorage::Unknown => unknown("this version of the CRM does not tell"),
            ActiveStorage::Denied => unknown("this role may not read it"),
        }
    }
}

impl fmt::Display for CrmSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told().join("\n"))?;
        self.denied.iter().try_for_each(|denied| write!(f, ": {}", denied.advice))
    }
}

impl Db {
    /// How the CRM is set; nothing where another application's tables, or none, are in this database. What cannot be read is
    /// unknown, and no error.
    pub async fn crm_settings(&self, crm: &Crm) -> Result<Option<CrmSettings>, DbError> {
        if crm.profile != Profile::Creatio {
            return Ok(None);
        }
        let feature = seen(self.feature(crm).await)?;
        let storage = match seen(self.active_storage(crm).await)? {
            Seen::Row(Some(row)) => Seen::Row(row),
            Seen::Row(None) | Seen::Absent => Seen::Absent,
            Seen::Denied(why) => Seen::Denied(why),
        };
        let raw = Raw { feature, storage };
        let mut settings = CrmSettings::of(&raw, &crm.storage_codes);
        if let Some(refusal) = raw.feature.refusal().or_else(|| raw.storage.refusal()) {
            settings.denied = Some(self.lacking_for_settings(crm, refusal).await?);
        }
        Ok(Some(settings))
    }

    async fn feature(&self, crm: &Crm) -> Result<(Option<i32>, Option<i32>), DbError> {
        let schema = quote_identifier(&crm.schema);
        let sql: Arc<str> = format!(
            r#"SELECT max(f."DefaultState"::int), max(s."FeatureState"::int)
                 FROM {schema}."Feature" AS f
                 LEFT JOIN {schema}."AdminUnitFeatureState" AS s
                        ON s."FeatureId" = f."Id" AND s."SysAdminUnitId" = $2::uuid
                WHERE f."Code" = $1"#
        )
        .into();
        sqlx::query_as(built(&sql))
            .bind(OWN_LISTENER)
            .bind(ALL_EMPLOYEES)
            .fetch_one(&self.pool)
            .await
            .attempted(DOING)
    }

    /// Nothing where there is no such setting: that is not even to say that it is unset.
    async fn active_storage(&self, crm: &Crm) -> Result<Option<StorageRow>, DbError> {
        let schema = quote_identifier(&crm.schema);
        let sql: Arc<str> = format!(
            r#"SELECT v."GuidValue", storage."Code"::text
                 FROM {schema}."SysSettings" AS s
                 LEFT JOIN {schema}."SysSettingsValue" AS v
                        ON v."SysSettingsId" = s."Id" AND v."SysAdminUnitId" = $2::uuid
                 LEFT JOIN {schema}."SysFileContentStorage" AS storage ON storage."Id" = v."GuidValue"
                WHERE s."Code" = $1 ORDER BY v."IsDef" DESC NULLS LAST LIMIT 1"#
        )
        .into();
        sqlx::query_as(built(&sql))
            .bind(ACTIVE_STORAGE)
            .bind(ALL_EMPLOYEES)
            .fetch_optional(&self.pool)
            .await
            .attempted(DOING)
    }
}

/// Other versions of the CRM have other tables and columns, and roles other rights: that is no error here.
fn seen<T>(read: Result<T, DbError>) -> Result<Seen<T>, DbError> {
    match read {
        Ok(row) => Ok(Seen::Row(row)),
        Err(error) => match error.problem() {
            Problem::Server { class: Class::Missing | Class::Data, .. } => Ok(Seen::Absent),
            Problem::Server { class: Class::Blind, message, .. } => Ok(Seen::Denied(message.clone())),
            _ => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_means_on_off_ours_other_or_unknown() {
        let id = Some(Uuid::from_u128(1));
        let code = |code: &str| Some(code.to_owned());
        let ours = || ActiveStorage::Ours("S3_storage".to_owned());
        let other = |code: &str| ActiveStorage::Other(code.to_owned());
        let denied = || "permission denied".to_owned();
        for (feature, storage, own_listener, active_storage) in [
            (Seen::Absent, Seen::Absent, Switch::Unknown, ActiveStorage::Unknown),
            (Seen::Denied(denied()), Seen::Denied(denied()), Switch::Denied, ActiveStorage::Denied),
            (Seen::Row((None, None)), Seen::Row((id, None)), Switch::Unknown, ActiveStorage::Unknown),
            (Seen::Row((Some(0), None)), Seen::Row((id, code("S3_storage"))), Switch::Off, ours()),
            (Seen::Row((Some(1), None)), Seen::Row((id, code("Database"))), Switch::On, other("Database")),
            (Seen::Row((Some(1), Some(0))), Seen::Row((None, None)), Switch::Off, other("Database")),
            (Seen::Row((Some(0), Some(1))), Seen::Row((id, code("Azure"))), Switch::On, other("Azure")),
        ] {
            let settings = CrmSettings::of(&Raw { feature, storage }, &["S3_storage".to_owned()]);
            assert_eq!(settings, CrmSettings { own_listener, active_storage, denied: None });
        }
    }

    #[test]
    fn every_value_is_told_with_what_it_means() {
        let code = || "Azure".to_owned();
        for (own_listener, active_storage, listener, storage) in [
            (
                Switch::On,
                ActiveStorage::Ours(code()),
                "is on: files that it has moved",
                "into Azure: file-recycler moves",
            ),
            (
                Switch::Off,
                ActiveStorage::Other(code()),
                "left to file-recycler",
                "which is not among crm.storage_codes",
            ),
            (
                Switch::Unknown,
                ActiveStorage::Unknown,
                "does not tell: either way",
                "does not tell: nothing rests on it",
            ),
            (
                Switch::Denied,
                ActiveStorage::Denied,
                "may not read it: either way",
                "may not read it: nothing rests on it",
            ),
        ] {
            let told = CrmSettings { own_listener, active_storage, denied: None }.told();
            assert!(told[0].contains(listener) && told[1].contains(storage), "{told:?}");
        }
    }

    #[test]
    fn what_this_role_lacks_comes_last_with_the_command_that_grants_it() {
        let denied = Denied { why: "role r lacks SELECT".to_owned(), advice: "`psql`".to_owned() };
        let (own_listener, active_storage) = (Switch::Denied, ActiveStorage::Unknown);
        let settings = CrmSettings { own_listener, active_storage, denied: Some(denied) };
        assert!(settings.to_string().ends_with("\nrole r lacks SELECT: `psql`"), "{settings}");
    }
}
