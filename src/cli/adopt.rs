//! `adopt`: binds this database to these buckets. A dry run shows what would be bound.

use serde::Serialize;
use uuid::Uuid;

use super::arguments::{Adopt, AdoptFor};
use super::next::Next;
use super::output::{Failed, Finding, operator, print};
use super::parts::{self, buckets};
use crate::config::{Config, Needs};
use crate::db::environment::{Buckets, EnvironmentState, Identity, NewBinding, Purpose};
use crate::db::schema::SchemaState;
use crate::db::{Db, SampleFile};
use crate::guard::Marked;
use crate::key_template::KeyTemplate;
use crate::storage::{Expected, Kind, Side, Storage};

/// Objects of so many rows are looked for.
const SAMPLE: usize = 5;
/// How often the marker is written while others write it.
const TRIES: usize = 5;

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
    /// What files it is for.
    purpose: Purpose,
    /// Was this very binding adopted before?
    adopted_already: bool,
    /// The database that is bound now, where it is another one.
    instead_of: Option<Identity>,
    /// Was the database set back since the marker was written, or is it a copy?
    nonce_differs: bool,
    rows_in_storage: u64,
    sample: Sample,
}

#[derive(Serialize)]
struct Sample {
    rows: usize,
    found: usize,
}

pub(super) async fn run(config: &Config, arguments: &Adopt, json: bool) -> Result<Finding, Failed> {
    config.require(Needs { broker: false, ..Needs::ALL }).map_err(Failed::configuration)?;
    let db = parts::database(config)?;
    let storage = parts::storage(config).await?;
    let buckets = buckets(config)?;
    // Before the database is asked: only so can the two be compared.
    let marker = storage.marker().await?;
    let state = db.environment().await?;
    if !state.is_primary {
        return Err(Failed::new("the database is a replica: adopt on the primary").then(Next::Doctor));
    }
    if db.schema_state().await? != SchemaState::Current {
        return Err(Failed::not_installed());
    }
    storage.check().await?;
    let says = marker.as_ref().and_then(|marker| Marked::read(&marker.bytes));
    let named = says.map(|says| says.environment);
    let known = state.environment.as_ref().map(|environment| environment.nonce.clone()).unwrap_or_default();
    let purpose = match arguments.purpose {
        Some(AdoptFor::Restore) => Purpose::Restore,
        None => Purpose::Work,
    };
    let catalog = db.discover(&config.crm).await?;
    let some = db.some_files(&catalog, SAMPLE).await?;
    let found = count_objects(&storage, &config.storage.key_template, &some).await?;
    let mut plan = Plan {
        applied: false,
        environment: environment_id(&state, &buckets, named),
        adopted_already: is_adopted(&state, &buckets, says, purpose),
        purpose,
        instead_of: bound_elsewhere(&state),
        nonce_differs: says.is_some_and(|says| !known.allows(says.nonce)),
        database: state.identity.clone(),
        host: config.database.host(),
        buckets,
        marker: named,
        rows_in_storage: db.count_files(&catalog).await?,
        sample: Sample { rows: some.len(), found },
    };
    if arguments.apply {
        apply(&db, &storage, &plan).await?;
        plan.applied = true;
    }
    print(json, &plan, || text(&plan))?;
    Ok(Finding::Healthy)
}

/// Writes the binding. Marker and database are read again: a worker of this environment may have advanced the nonce
/// since, and may do so in between.
async fn apply(db: &Db, storage: &Storage, plan: &Plan) -> Result<(), Failed> {
    let server = storage.probe().await?;
    let actor = operator();
    for _ in 0..TRIES {
        let marker = storage.marker().await?;
        let says = marker.as_ref().and_then(|marker| Marked::read(&marker.bytes));
        let named = says.map(|says| says.environment);
        if named != plan.marker && named != Some(plan.environment) {
            return Err(Failed::new(
                "the object bucket's marker was changed meanwhile: run `file-recycler adopt` again",
            )
            .then(Next::Adopt));
        }
        let state = db.environment().await?;
        let known = state.environment.map_or(0, |environment| environment.nonce.advances);
        let nonce = Uuid::new_v4();
        // More than either has counted: whoever has seen one of them takes the other for no older one.
        let advances = known.max(says.map_or(0, |says| says.advances)) + 1;
        let binding = NewBinding {
            id: plan.environment,
            identity: &plan.database,
            buckets: &plan.buckets,
            purpose: plan.purpose,
            nonce,
            advances,
        };
        // The database first: a marker without its binding refuses everything, a binding without its marker does as
        // well, and the second try repairs either.
        db.adopt(&binding, &actor).await?;
        let expected = marker.map_or(Expected::Absent, |marker| Expected::Unchanged(marker.etag));
        let says = Marked { environment: plan.environment, nonce: Some(nonce), advances };
        crate::failpoint::reach("adopt::bound");
        match storage.put_marker(says.bytes(&plan.database.name), &expected, &server).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind == Kind::PreconditionFailed => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Failed::new("the object bucket's marker keeps changing: who else writes it?").then(Next::Status))
}

/// How many of these files have their object.
async fn count_objects(
    storage: &Storage,
    template: &KeyTemplate,
    some: &[SampleFile],
) -> Result<usize, Failed> {
    let mut found = 0;
    for file in some {
        let key = file.object_key(template)?;
        found += usize::from(storage.head(Side::Object, &key).await?.is_some());
    }
    Ok(found)
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

/// The database that was adopted, where it is not this one.
fn bound_elsewhere(state: &EnvironmentState) -> Option<Identity> {
    let adopted = &state.environment.as_ref()?.adopted.as_ref()?.identity;
    (*adopted != state.identity).then(|| adopted.clone())
}

fn is_adopted(state: &EnvironmentState, buckets: &Buckets, marked: Option<Marked>, purpose: Purpose) -> bool {
    state.environment.as_ref().zip(marked).is_some_and(|(environment, marked)| {
        marked.environment == environment.id
            && environment.nonce.allows(marked.nonce)
            && environment.adopted.as_ref().is_some_and(|adopted| {
                adopted.identity == state.identity
                    && adopted.buckets == *buckets
                    && adopted.purpose == purpose
            })
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
    let past = if let Some(other) = plan.instead_of.as_ref().filter(|_| !plan.applied) {
        format!(
            "\nATTENTION    '{}' (system {}, oid {}) is bound now: this database is a copy of it, or was made anew. If that one \
             still works, it stops when you apply; a copy needs buckets of its own.",
            other.name, other.system_identifier, other.oid
        )
    } else if plan.nonce_differs {
        "\nATTENTION    this database is not the one that last wrote the marker: it was set back to a backup, or is a \
         copy. A copy needs buckets of its own; after a restore bring files back first (--for restore)."
            .to_owned()
    } else {
        String::new()
    };
    let end = match (plan.applied, plan.adopted_already, plan.purpose) {
        (true, _, Purpose::Work) => "Adopted: files may move.",
        (true, _, Purpose::Restore) => "Adopted for restore alone: nothing moves.",
        (false, true, _) => "This is what is adopted already; --apply would write it again.",
        (false, false, _) => "Nothing is changed yet: --apply binds them.",
    };
    format!(
        "database     {} on {} (system {}, oid {})\nstorage      {server}\nbuckets      {} -> {}\nmarker       \
         {marker}\nenvironment  {}\nfiles        {} rows in S3; {samples}{past}\n{end}",
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
    use crate::db::nonce::Nonce;
    use time::macros::datetime;

    fn state(adopted: bool) -> EnvironmentState {
        let identity = Identity { system_identifier: "7".into(), oid: 1, name: "crm".into() };
        let binding = Adopted {
            identity: identity.clone(),
            buckets: buckets("o"),
            at: datetime!(2026-11-23 10:00 UTC),
            purpose: Purpose::Work,
        };
        let environment = Environment {
            id: Uuid::from_u128(1),
            adopted: adopted.then_some(binding),
            paused: None,
            nonce: Nonce::default(),
        };
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
