//! A file that is not under its key: is it under another one, as another template that is known would give it?

use std::collections::BTreeSet;

use futures_util::future::join;

use super::super::found::OtherKey;
use super::Explainer;
use crate::file::{FileId, ObjectKey, SchemaName};
use crate::key_template::KeyTemplate;
use crate::storage::Side;

/// Schemas of one file that are tried.
const MAX_SCHEMAS: usize = 4;

impl Explainer {
    /// The first other template under which either bucket has an object of the file.
    pub(super) async fn under_another(
        &self,
        id: &FileId,
        schemas: &BTreeSet<String>,
    ) -> Result<Option<OtherKey>, String> {
        let head = async |side: Side, key: &ObjectKey| -> Result<bool, String> {
            Ok(self.storage.head(side, key).await.map_err(|error| error.to_string())?.is_some())
        };
        for (template, key) in keys(&self.template, id, schemas) {
            let (object, recycle) = join(head(Side::Object, &key), head(Side::Recycle, &key)).await;
            let (object, recycle) = (object?, recycle?);
            if object || recycle {
                let (key, template) = (key.to_string(), template.to_string());
                return Ok(Some(OtherKey { key, template, object, recycle }));
            }
        }
        Ok(None)
    }
}

/// The keys that other templates give it.
fn keys(template: &KeyTemplate, id: &FileId, schemas: &BTreeSet<String>) -> Vec<(KeyTemplate, ObjectKey)> {
    let known: Vec<SchemaName> = schemas
        .iter()
        .filter_map(|schema| SchemaName::try_from(schema.as_str()).ok())
        .take(MAX_SCHEMAS)
        .collect();
    let mut keys = Vec::new();
    for other in template.others() {
        let schemas: Vec<Option<&SchemaName>> =
            if other.needs_schema() { known.iter().map(Some).collect() } else { vec![None] };
        keys.extend(
            schemas.into_iter().filter_map(|schema| Some((other.clone(), other.key(id, schema).ok()?))),
        );
    }
    keys
}
