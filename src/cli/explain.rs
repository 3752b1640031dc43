//! `explain`: everything known about one file or record, and what would happen to it now.

mod words;

use super::arguments::Explain;
use super::output::{Failed, Finding, print};
use super::parts;
use crate::clock::Clock;
use crate::config::{Config, Needs, Profile};
use crate::explain::{Explainer, KeyedQuestion, Question, Servers};
use crate::file::{FileId, SchemaName};

pub(super) async fn run(config: &Config, explain: Explain, json: bool) -> Result<Finding, Failed> {
    let (id, schema) = question(explain)?;
    let uuid = uuid::Uuid::try_parse(&id);
    if config.crm.profile == Profile::Creatio && uuid.is_err() {
        return Err(Failed::usage(format!("ID: '{}' is no UUID", id.escape_debug())));
    }
    config.require(Needs::ALL).map_err(Failed::configuration)?;
    let (broker, topology) = parts::broker(config)?;
    let servers =
        Servers { db: parts::database(config)?, storage: parts::storage(config).await?, broker, topology };
    let explainer = Explainer::new(config, servers, parts::buckets(config)?);
    let (Profile::Creatio, Ok(uuid)) = (&config.crm.profile, uuid) else {
        let id = FileId::try_from(id).map_err(|error| Failed::usage(format!("ID: {error}")))?;
        let explanation = explainer.explain_keyed(&KeyedQuestion { id, schema }).await;
        print(json, &explanation, || words::keyed(&explanation))?;
        return Ok(Finding::healthy_if(explanation.errors.is_empty()));
    };
    let explanation = explainer.explain(&Question { id: uuid, schema }).await;
    print(json, &explanation, || words::text(&explanation, Clock::system().now()))?;
    Ok(Finding::healthy_if(explanation.found.errors.is_empty()))
}

fn question(explain: Explain) -> Result<(String, Option<SchemaName>), Failed> {
    let Explain { id, schema } = explain;
    let schema = schema.map(SchemaName::try_from).transpose();
    let schema = schema.map_err(|error| Failed::usage(format!("--schema {error}")))?;
    Ok((id.trim().to_owned(), schema))
}
