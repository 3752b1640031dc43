//! `explain`: everything known about one file or record, and what would happen to it now.

mod words;

use super::arguments::Explain;
use super::output::{Failed, Finding, print};
use super::parts;
use crate::clock::Clock;
use crate::config::{Config, Needs};
use crate::explain::{Explainer, Question, Servers};
use crate::file::SchemaName;

pub(super) async fn run(config: &Config, explain: Explain, json: bool) -> Result<Finding, Failed> {
    let question = question(explain)?;
    config.require(Needs::ALL).map_err(Failed::usage)?;
    let (broker, topology) = parts::broker(config)?;
    let servers =
        Servers { db: parts::database(config)?, storage: parts::storage(config).await?, broker, topology };
    let explainer = Explainer::new(config, servers, parts::buckets(config)?);
    let explanation = explainer.explain(&question).await;
    print(json, &explanation, || words::text(&explanation, Clock::system().now()))?;
    Ok(Finding::healthy_if(explanation.found.errors.is_empty()))
}

fn question(explain: Explain) -> Result<Question, Failed> {
    let Explain { id, schema } = explain;
    let id = uuid::Uuid::try_parse(id.trim())
        .map_err(|_| Failed::usage(format!("ID: '{}' is no UUID", id.escape_debug())))?;
    let schema = schema.map(SchemaName::try_from).transpose();
    let schema = schema.map_err(|error| Failed::usage(format!("--schema {error}")))?;
    Ok(Question { id, schema })
}
