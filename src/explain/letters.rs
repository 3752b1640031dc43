//! The broker's part: dead letters that name an id, and how full the queues are. Nothing is taken out, and nothing in
//! the work or wait queues is touched: to look at a message there is to raise its count of deliveries.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use super::found::{Message, Names, Origin, Queues};
use crate::broker::{Broker, BrokerError, Delivery, Session, Topology};
use crate::event::{Deleted, Event, IdKind};
use crate::outcome::DeadReason;
use crate::replay::{DeadLetter, Selection, Walk};

/// Dead letters that are looked at, the first to die first.
const LOOKED_AT: usize = 10_000;
/// How long that may take. A walk is never cut off: what it holds goes back in its order.
const LOOK_WITHIN: Duration = Duration::from_secs(15);
/// Dead letters that are listed.
const LISTED: usize = 20;

const NOT_LOOKED_AT: &str = "messages of the work and wait queues are counted and not read: reading one raises its \
                             count of deliveries, and with three a worker suspects it of crashing workers";

/// What the broker told.
#[derive(Debug, Default)]
pub(super) struct FromBroker {
    pub(super) messages: Vec<Message>,
    pub(super) queues: Queues,
    pub(super) notes: Vec<String>,
}

/// Whom the letters are read for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    /// What ids are.
    pub(super) ids: IdKind,
    /// This environment, where it has an id.
    pub(super) environment: Option<Uuid>,
}

/// Looks for `id` in the dead-letter queue, and for the deleted records `owners`, which its file belongs to.
pub(super) async fn look(
    broker: &Broker,
    topology: &Topology,
    id: &str,
    owners: &[String],
    reader: Reader,
) -> Result<FromBroker, BrokerError> {
    let session = broker.connect().await?;
    let mut found = FromBroker { queues: count(&session, topology).await?, ..FromBroker::default() };
    let dead = if found.queues.dead.is_some() {
        dead_letters(&session, topology, (id, owners), reader, &mut found).await
    } else {
        Ok(())
    };
    session.close().await;
    dead.map(|()| found)
}

async fn count(session: &Session, topology: &Topology) -> Result<Queues, BrokerError> {
    let depth = async |queue: &str| Ok(session.depth(queue).await?.map(|depth| depth.messages));
    let mut wait = 0;
    for delay in &topology.delays {
        wait += depth(&topology.wait(delay)).await?.unwrap_or_default();
    }
    Ok(Queues {
        work: depth(&topology.work()).await?,
        wait,
        dead: depth(&topology.dead()).await?,
        not_looked_at: NOT_LOOKED_AT,
    })
}

async fn dead_letters(
    session: &Session,
    topology: &Topology,
    (id, owners): (&str, &[String]),
    reader: Reader,
    found: &mut FromBroker,
) -> Result<(), BrokerError> {
    if found.queues.dead == Some(0) {
        return Ok(());
    }
    let all = Selection { ids: Vec::new(), reason: None, schema: None, since: None, limit: LOOKED_AT };
    let mut walk = Walk::begin(session, topology, &all).await?;
    let (until, mut seen, mut more) = (Instant::now() + LOOK_WITHIN, 0, 0);
    let read = loop {
        if Instant::now() >= until {
            break Ok(());
        }
        match walk.next().await {
            Ok(Some((letter, delivery))) => {
                seen += 1;
                match names(&delivery, id, owners) {
                    Some(names) if found.messages.len() < LISTED => {
                        let origin = reader.origin(&delivery, letter.reason);
                        found.messages.push(Message::of(letter, names, origin));
                    }
                    Some(_) => more += 1,
                    None => {}
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
    };
    let total = walk.total();
    walk.end().await?;
    if seen < total {
        found.notes.push(format!(
            "{seen} of {total} dead letters were looked at: the others are too many, in somebody else's hands, or slow"
        ));
    }
    if more > 0 {
        found.notes.push(format!("{more} more dead letters name it"));
    }
    read
}

/// As what a message names the id.
fn names(delivery: &Delivery, id: &str, owners: &[String]) -> Option<Names> {
    let Ok(event) = Event::decode(&delivery.body, IdKind::Text) else {
        let text = String::from_utf8_lossy(&delivery.body).to_ascii_lowercase();
        return text.contains(&id.to_ascii_lowercase()).then_some(Names::Text);
    };
    if event.data.files().iter().any(|file| is_same(file.file_id.as_str(), id)) {
        return Some(Names::File);
    }
    match &event.data {
        Deleted::Record { record_id, .. } => {
            let record = record_id.as_str();
            if is_same(record, id) {
                Some(Names::Record)
            } else {
                owners.iter().any(|owner| is_same(record, owner)).then_some(Names::Owner)
            }
        }
        Deleted::Files { .. } => None,
    }
}

impl Reader {
    /// Whose word a message is. Names are looked for in more than what counts: to tell of a message is not to believe it.
    fn origin(self, delivery: &Delivery, reason: Option<DeadReason>) -> Origin {
        if matches!(reason, Some(DeadReason::Malformed | DeadReason::Unsupported)) {
            return Origin::Malformed;
        }
        match Event::decode(&delivery.body, self.ids).map(|event| event.environment) {
            Err(_) => Origin::Malformed,
            Ok(None) => Origin::Outside,
            Ok(captured_by) if captured_by == self.environment => Origin::Own,
            Ok(Some(_)) => Origin::Foreign,
        }
    }
}

/// A UUID is the same in any form; any other id is what it is.
fn is_same(one: &str, other: &str) -> bool {
    let same_uuid = || Some(Uuid::try_parse(one).ok()? == Uuid::try_parse(other).ok()?);
    one == other || same_uuid() == Some(true)
}

impl Message {
    fn of(letter: DeadLetter, names: Names, origin: Origin) -> Self {
        Self {
            queue: "dead",
            id: letter.id,
            names,
            origin,
            reason: letter.reason,
            error: letter.error,
            attempts: letter.attempts,
            first_failure: letter.first_failure,
            last_failure: letter.last_failure,
            kind: letter.kind,
            schema: letter.schema,
            record_id: letter.record_id,
            files: letter.files.len(),
        }
    }
}
