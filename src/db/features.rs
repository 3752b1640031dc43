//! How the CRM itself is set, as far as files go: does its own listener recycle files, and where does it put new
//! ones? For people only: nothing that moves a file rests on it.

use std::fmt;

use serde::Serialize;
use std::sync::Arc;
use uuid::Uuid;

use super::Db;
use super::error::{Attempted, Class, DbError};
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
}

/// A feature of the CRM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Switch {
    /// For all employees.
    On,
    /// For nobody, or not for all.
    Off,
    /// This version of the CRM keeps it elsewhere, or we may not read it.
    Unknown,
}

/// Where the CRM puts new files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "code")]
pub enum ActiveStorage {
    /// A storage that is ours, by its code.
    Ours(String),
    /// Another one.
    Other(String),
    /// This version of the CRM keeps it elsewhere, or we may not read it.
    Unknown,
}

/// Rows as they were read: a table that is not there, or not as expected, is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Raw {
    /// The feature's own state, and that of all employees.
    feature: Option<(Option<i32>, Option<i32>)>,
    /// The active storage's id and code.
    storage: Option<StorageRow>,
}

type StorageRow = (Option<Uuid>, Option<String>);

impl CrmSettings {
    fn of(raw: &Raw, ours: &[String]) -> Self {
        let own_listener = match raw.feature {
            None | Some((None, None)) => Switch::Unknown,
            // What is set for all employees comes before the default.
            Some((_, Some(state)) | (Some(state), None)) => {
                if state == 0 {
                    Switch::Off
                } else {
                    Switch::On
                }
            }
        };
        let active_storage = match &raw.storage {
            Some((Some(_), Some(code))) if ours.contains(code) => ActiveStorage::Ours(code.clone()),
            Some((Some(_), Some(code))) => ActiveStorage::Other(code.clone()),
            // Nothing is set: the CRM's own default.
            Some((None, _)) => ActiveStorage::Other("Database".to_owned()),
            Some((Some(_), None)) | None => ActiveStorage::Unknown,
        };
        Self { own_listener, active_storage }
    }
}

impl fmt::Display for CrmSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listener = match self.own_listener {
            Switch::On => "on: files that it has moved itself count as already moved",
            Switch::Off => "off",
            Switch::Unknown => "unknown: this version of the CRM does not tell; either way is served",
        };
        writeln!(f, "the CRM's own listener ({OWN_LISTENER}) is {listener}")?;
        match &self.active_storage {
            ActiveStorage::Ours(code) => write!(f, "the CRM puts new files into {code}"),
            ActiveStorage::Other(code) => write!(
                f,
                "the CRM puts new files into {code}, which is not among crm.storage_codes: they are left alone"
            ),
            ActiveStorage::Unknown => write!(f, "where the CRM puts new files ({ACTIVE_STORAGE}) is unknown"),
        }
    }
}

impl Db {
    /// How the CRM is set. What cannot be read is unknown, and no error.
    pub async fn crm_settings(&self, crm: &Crm) -> Result<CrmSettings, DbError> {
        if crm.profile != Profile::Creatio {
            return Ok(CrmSettings::of(&Raw::default(), &crm.storage_codes));
        }
        let feature = forgiving(self.feature(crm).await)?;
        let storage = forgiving(self.active_storage(crm).await)?.flatten();
        Ok(CrmSettings::of(&Raw { feature, storage }, &crm.storage_codes))
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

/// Other versions of the CRM have other tables and columns: that is no error here.
fn forgiving<T>(read: Result<T, DbError>) -> Result<Option<T>, DbError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) => match error.class() {
            Some(Class::Missing | Class::Blind | Class::Data) => Ok(None),
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
        for (feature, storage, own_listener, active_storage) in [
            (None, None, Switch::Unknown, ActiveStorage::Unknown),
            (Some((None, None)), Some((id, None)), Switch::Unknown, ActiveStorage::Unknown),
            (Some((Some(0), None)), Some((id, code("S3_storage"))), Switch::Off, ours()),
            (Some((Some(1), None)), Some((id, code("Database"))), Switch::On, other("Database")),
            (Some((Some(1), Some(0))), Some((None, None)), Switch::Off, other("Database")),
            (Some((Some(0), Some(1))), Some((id, code("Azure"))), Switch::On, other("Azure")),
        ] {
            let settings = CrmSettings::of(&Raw { feature, storage }, &["S3_storage".to_owned()]);
            assert_eq!(settings, CrmSettings { own_listener, active_storage });
        }
    }
}
