//! `emit`: publishes a record-deleted event by hand.

use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::arguments::Emit;
use super::output::{Failed, Finding, print};
use super::parts;
use crate::broker::{Outgoing, Target};
use crate::clock::Clock;
use crate::config::{Config, Needs, Profile};
use crate::event::{Deleted, Event, IdKind, MAX_FILES};
use crate::file::{FileId, FileRef, RecordId, SchemaName};
use crate::resolve::{NO_KEY, gives_key};

const CONFIRM_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) async fn run(config: &Config, emit: Emit, json: bool) -> Result<Finding, Failed> {
    config.require(Needs::ALL).map_err(Failed::configuration)?;
    let event = event(emit, &Clock::system())?;
    // What a worker would refuse is a matter of the command line here.
    Event::decode(&event.encode(), IdKind::of(&config.crm.profile)).map_err(Failed::usage)?;
    if let Profile::Mapping(tables) = &config.crm.profile
        && !event.data.files().is_empty()
        && !gives_key(tables, None)
    {
        return Err(Failed::usage(format!(
            "--file: {NO_KEY}; publish it with POST /v1/events, or leave the files to what hangs on the record"
        )));
    }
    let (broker, topology) = parts::broker(config)?;
    let (db, storage) = (parts::database(config)?, parts::storage(config).await?);
    parts::open(config, &db, &storage).await?;
    let session = broker.connect().await?;
    session.declare(&topology).await?;
    let publisher = session.publisher(&topology, CONFIRM_TIMEOUT).await?;
    publisher.publish(Target::Event(event.event_type()), Outgoing::fresh_event(&event)).await?;
    drop(publisher);
    session.close().await;
    print(json, &json!({ "id": event.id, "confirmed": true }), || format!("Published event {}.", event.id))?;
    Ok(Finding::Healthy)
}

fn event(emit: Emit, clock: &Clock) -> Result<Event, Failed> {
    if emit.files.len() > MAX_FILES {
        return Err(Failed::usage(format!("--file: more than {MAX_FILES} in one event")));
    }
    let name = |what: &str, error: &dyn std::fmt::Display| Failed::usage(format!("{what} {error}"));
    let schema = SchemaName::try_from(emit.schema).map_err(|error| name("--schema", &error))?;
    let record_id = RecordId::try_from(emit.record).map_err(|error| name("--record", &error))?;
    let files = emit
        .files
        .into_iter()
        .map(|id| {
            let file_id = FileId::try_from(id).map_err(|error| name("--file", &error))?;
            Ok(FileRef { file_id, schema: None, size: None, key: None })
        })
        .collect::<Result<_, Failed>>()?;
    let data = Deleted::Record { schema, record_id, files };
    let id = Uuid::new_v4().to_string();
    Ok(Event::new(id, "/file-recycler/emit".to_owned(), clock.now(), None, data))
}
