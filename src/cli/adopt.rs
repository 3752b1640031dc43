//! `adopt`: binds this database to these buckets. A dry run shows what would be bound.

use serde::Serialize;
use uuid::Uuid;

use super::arguments::Adopt;
use super::output::{Failed, Finding, operator, print};
use super::parts::{self, buckets};
use crate::config::{Config, Needs};
use crate::db::environment::{Buckets, EnvironmentState, Identity};
use crate::db::schema::SchemaState;
use crate::guard::{marked_environment, marker_of};
use crate::storage::Expected;

/// Objects of so many rows are looked for.
const SAMPLE: usize = 5;

#[derive(Serialize)]
struct Plan {
    applied: bool,
    environment: Uuid,
    database: Identity,
    /// Where the database is, by `database.url`.
    host: String,
    buckets: Buckets,
    /// The environment that the object bucket's marker names now.
    marker: Option<Uuid>,
    /// Was this very binding adopted before?
    adopted_already: bool,
    rows_in_storage: u64,
    sample: Sample,
}

#[derive(Serialize)]
struct Sample {
    rows: usize,
    found: usize,
}

pub(super) async fn run(config: &Config, arguments: &Adopt, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::usage)?;
    let db = parts::database(config)?;
    let storage = parts::storage(config).await?;
    let buckets = buckets(config)?;
    let state = db.environment().await?;
    if !state.is_primary {
        return Err(Failed::new("the database is a replica: adopt on the primary"));
    }
    if state.environment.is_none() && db.schema_state().await? == SchemaState::Missing {
        return Err(Failed::new(
            "the own schema is not there yet: run `file-recycler listener install` first",
        ));
    }
    storage.check().await?;
    let marker = storage.marker().await?;
    let named = marker.as_ref().and_then(|marker| marked_environment(&marker.bytes));
    let catalog = db.discover(&config.crm).await?;
    let some = db.some_files(&catalog, SAMPLE).await?;
    let mut found = 0;
    for (id, schema) in &some {
        let key = config.storage.key_template.key(id, Some(schema))?;
        found += usize::from(storage.head(crate::storage::Side::Object, &key).await?.is_some());
    }
    let mut plan = Plan {
        applied: false,
        environment: environment_id(&state, &buckets, named),
        adopted_already: is_adopted(&state, &buckets, named),
        database: state.identity.clone(),
        host: parts::database_host(config),
        buckets,
        marker: named,
        rows_in_storage: db.count_files(&catalog).await?,
        sample: Sample { rows: some.len(), found },
    };
    if arguments.apply {
        let server = storage.probe().await?;
        let actor = operator();
        // The database first: a marker without its binding refuses everything, a binding without its
        // marker does as well, and the second try repairs either.
        db.adopt(plan.environment, &plan.database, &plan.buckets, &actor).await?;
        if named != Some(plan.environment) {
            let expected = marker.map_or(Expected::Absent, |marker| Expected::Unchanged(marker.etag));
            let bytes = marker_of(plan.environment, &plan.database.name);
            storage.put_marker(bytes, &expected, &server).await?;
        }
        plan.applied = true;
    }
    print(json, &plan, || text(&plan))?;
    Ok(Finding::Healthy)
}

/// The id is kept where the bucket's marker agrees, or where there is none and this very binding was adopted
/// before (or none ever was): events of it may be in the queues. Else it is another environment, a copy.
fn environment_id(state: &EnvironmentState, buckets: &Buckets, marked: Option<Uuid>) -> Uuid {
    let environment = state.environment.as_ref();
    let adopted = environment.and_then(|environment| environment.adopted.as_ref());
    let same =
        adopted.is_none_or(|adopted| adopted.identity == state.identity && adopted.buckets == *buckets);
    match environment.map(|environment| environment.id) {
        Some(id) if marked == Some(id) || (same && marked.is_none()) => id,
        _ => Uuid::new_v4(),
    }
}

fn is_adopted(state: &EnvironmentState, buckets: &Buckets, marked: Option<Uuid>) -> bool {
    state.environment.as_ref().is_some_and(|environment| {
        marked == Some(environment.id)
            && environment
                .adopted
                .as_ref()
                .is_some_and(|adopted| adopted.identity == state.identity && adopted.buckets == *buckets)
    })
}

fn text(plan: &Plan) -> String {
    let server = if plan.buckets.service_url.is_empty() { "AWS" } else { &plan.buckets.service_url };
    let marker = match plan.marker {
        None => "none".to_owned(),
        Some(id) if id == plan.environment => format!("{id} (this environment)"),
        Some(id) => format!("{id} (ANOTHER environment: its worker stops when you apply)"),
    };
    let samples = match &plan.sample {
        Sample { rows: 0, .. } => "no row is in S3 yet".to_owned(),
        Sample { rows, found } if rows == found => format!("all of {rows} looked at have their object"),
        Sample { rows, found } => {
            format!("only {found} of {rows} looked at have their object: are these the right buckets?")
        }
    };
    let end = match (plan.applied, plan.adopted_already) {
        (true, _) => "Adopted: files may move.",
        (false, true) => "This is what is adopted already; --apply would write it again.",
        (false, false) => "Nothing is changed yet: --apply binds them.",
    };
    format!(
        "database     {} on {} (system {}, oid {})\nstorage      {server}\nbuckets      {} -> {}\nmarker       \
         {marker}\nenvironment  {}\nfiles        {} rows in S3; {samples}\n{end}",
        plan.database.name,
        plan.host,
        plan.database.system_identifier,
        plan.database.oid,
        plan.buckets.object,
        plan.buckets.recycle,
        plan.environment,
        plan.rows_in_storage,
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::environment::{Adopted, Environment};
    use time::macros::datetime;

    fn state(adopted: bool) -> EnvironmentState {
        let identity = Identity { system_identifier: "7".into(), oid: 1, name: "crm".into() };
        let binding = Adopted {
            identity: identity.clone(),
            buckets: buckets("o"),
            at: datetime!(2026-11-23 10:00 UTC),
        };
        let environment =
            Environment { id: Uuid::from_u128(1), adopted: adopted.then_some(binding), paused: None };
        EnvironmentState { environment: Some(environment), identity, is_primary: true }
    }

    fn buckets(object: &str) -> Buckets {
        Buckets { service_url: String::new(), object: object.into(), recycle: "r".into() }
    }

    #[test]
    fn other_buckets_without_a_marker_are_another_environment() {
        assert_ne!(environment_id(&state(true), &buckets("other"), None), Uuid::from_u128(1));
    }

    #[test]
    fn an_environment_keeps_its_id_only_where_database_and_bucket_agree_on_it() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        for (adopted, marked, kept) in [
            (true, Some(ours), true),
            (false, Some(ours), true),
            (false, None, true),
            (true, None, true),
            (true, Some(other), false),
            (false, Some(other), false),
        ] {
            let id = environment_id(&state(adopted), &buckets("o"), marked);
            assert_eq!(id == ours, kept, "adopted {adopted}, marker {marked:?}");
        }
    }
}
