//! From AMQP properties to a message's history and back: what is ours is read and written, what is the
//! broker's own is stripped, everything else travels on untouched.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::consume::Delivery;
use crate::event::{self, Event};
use crate::history::{self, History};

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;
/// How often a quorum queue delivered the message before.
const DELIVERY_COUNT: &str = "x-delivery-count";
/// Headers travel in one frame (of `connect::OUR_FRAME_BYTES`); more than this of other people's is left behind.
const MAX_FOREIGN_HEADER_BYTES: usize = 16 * 1024;
/// Longest texts of ours that are read back, in bytes.
const MAX_TEXT_BYTES: usize = 8 * 1024;

/// A message on its way to the broker.
#[derive(Clone, Debug)]
pub struct Outgoing {
    pub(super) properties: BasicProperties,
    pub(super) body: Bytes,
}

impl Outgoing {
    /// A new event.
    pub fn fresh_event(event: &Event) -> Self {
        Self::fresh(&event.id, Bytes::from(event.encode()))
    }

    /// A new event that is JSON already, as an intake gets it.
    pub fn fresh(id: &str, body: Bytes) -> Self {
        let mut properties = BasicProperties::default()
            .with_content_type(event::CONTENT_TYPE.into())
            .with_delivery_mode(PERSISTENT);
        // A property holds 255 bytes; a longer id (of characters beyond ASCII) is in the body alone.
        if let Ok(id) = ShortString::try_new(id) {
            properties = properties.with_message_id(id);
        }
        Self { properties, body }
    }

    /// The message of `delivery` once more, with another history and, where `body` is given, another body.
    pub fn again(delivery: &Delivery, body: Option<Bytes>, history: &History) -> Self {
        Self {
            properties: properties_again(&delivery.properties, history),
            body: body.unwrap_or_else(|| delivery.body.clone()),
        }
    }
}

/// The properties of a message that is published again.
///
/// Left out are three properties by which whoever published it first could harm the message or others:
/// `expiration` (it would make the dead-letter queue forget), `user_id` (the broker closes the channel when
/// it is not the publishing user) and the headers `CC` and `BCC` (each publication would be copied again).
fn properties_again(properties: &BasicProperties, history: &History) -> BasicProperties {
    let mut kept = BasicProperties::default().with_delivery_mode(PERSISTENT);
    macro_rules! keep {
        ($($property:ident => $with:ident,)+) => {
            $(if let Some(value) = properties.$property() { kept = kept.$with(value.clone()); })+
        };
    }
    keep! {
        content_type => with_content_type,
        content_encoding => with_content_encoding,
        priority => with_priority,
        correlation_id => with_correlation_id,
        reply_to => with_reply_to,
        message_id => with_message_id,
        timestamp => with_timestamp,
        kind => with_type,
        app_id => with_app_id,
        cluster_id => with_cluster_id,
    }
    kept.with_headers(headers_again(properties.headers().as_ref(), history))
}

fn headers_again(headers: Option<&FieldTable>, history: &History) -> FieldTable {
    let foreign = headers.map(FieldTable::inner).into_iter().flatten();
    let foreign: Vec<_> = foreign.filter(|(name, _)| !is_rewritten(name.as_str())).collect();
    let size: usize = foreign.iter().map(|(name, value)| 2 + name.as_str().len() + size_of(value)).sum();
    let mut table = FieldTable::default();
    if size <= MAX_FOREIGN_HEADER_BYTES {
        for (name, value) in foreign {
            table.insert(name.clone(), value.clone());
        }
    }
    write_history(&mut table, history);
    table
}

/// Headers that this publication writes, or that the broker wrote for an earlier one. A stale `x-death`
/// makes the broker take a wait queue's way back for a cycle.
fn is_rewritten(name: &str) -> bool {
    const OURS: [&str; 9] = [
        history::REASON,
        history::ERROR,
        history::ATTEMPTS,
        history::FIRST_FAILURE,
        history::LAST_FAILURE,
        history::WORKER,
        history::ID,
        history::REPLAY,
        history::FIRST_SEEN,
    ];
    const BROKERS: [&str; 5] = ["x-death", DELIVERY_COUNT, "x-acquired-count", "CC", "BCC"];
    if crate::failpoint::removed("protection::x_death_stripped") {
        return OURS.contains(&name);
    }
    OURS.contains(&name)
        || BROKERS.contains(&name)
        || name.starts_with("x-first-death-")
        || name.starts_with("x-last-death-")
}

fn write_history(table: &mut FieldTable, history: &History) {
    let mut text = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            table.insert(name.into(), AMQPValue::LongString(value.into()));
        }
    };
    text(history::REASON, history.reason.map(|reason| reason.as_str().to_owned()));
    text(history::ERROR, history.error.clone());
    text(history::FIRST_FAILURE, history.first_failure.and_then(rfc3339));
    text(history::LAST_FAILURE, history.last_failure.and_then(rfc3339));
    text(history::WORKER, history.worker.clone());
    text(history::ID, history.given_id.clone());
    text(history::REPLAY, history.replay.map(|replay| replay.to_string()));
    text(history::FIRST_SEEN, history.first_seen.and_then(rfc3339));
    if history.attempts > 0 {
        let attempts = i32::try_from(history.attempts).unwrap_or(i32::MAX);
        table.insert(history::ATTEMPTS.into(), AMQPValue::LongInt(attempts));
    }
}

/// The past that the headers tell. Others may write headers too: what is not what it must be counts as absent.
pub(super) fn read_history(properties: &BasicProperties) -> History {
    let Some(headers) = properties.headers() else { return History::default() };
    let text = |name: &str| text(headers.inner().get(name)?);
    History {
        attempts: headers
            .inner()
            .get(history::ATTEMPTS)
            .and_then(whole_number)
            .and_then(|number| u32::try_from(number).ok())
            .unwrap_or_default(),
        first_failure: text(history::FIRST_FAILURE).and_then(|text| time_of(&text)),
        last_failure: text(history::LAST_FAILURE).and_then(|text| time_of(&text)),
        reason: text(history::REASON).and_then(|word| word.parse().ok()),
        error: text(history::ERROR),
        worker: text(history::WORKER),
        given_id: text(history::ID),
        replay: text(history::REPLAY).and_then(|text| Uuid::try_parse(&text).ok()),
        first_seen: text(history::FIRST_SEEN).and_then(|text| time_of(&text)),
    }
}

/// The message's own id, where it has one.
pub(super) fn read_id(properties: &BasicProperties) -> Option<String> {
    properties.message_id().as_ref().map(ToString::to_string).filter(|id| !id.is_empty())
}

/// How often the message was delivered before, by the broker's count: crashes, closed channels, given back.
pub(super) fn read_delivery_count(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get(DELIVERY_COUNT)).and_then(whole_number);
    count.and_then(|count| u64::try_from(count).ok()).unwrap_or_default()
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) if text.as_bytes().len() <= MAX_TEXT_BYTES => {
            String::from_utf8(text.as_bytes().to_vec()).ok()
        }
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

fn whole_number(value: &AMQPValue) -> Option<i64> {
    match *value {
        AMQPValue::ShortShortInt(number) => Some(number.into()),
        AMQPValue::ShortShortUInt(number) => Some(number.into()),
        AMQPValue::ShortInt(number) => Some(number.into()),
        AMQPValue::ShortUInt(number) => Some(number.into()),
        AMQPValue::LongInt(number) => Some(number.into()),
        AMQPValue::LongUInt(number) => Some(number.into()),
        AMQPValue::LongLongInt(number) => Some(number),
        _ => None,
    }
}

fn time_of(text: &str) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(text, &Rfc3339).ok()
}

/// Only a year beyond 9999 cannot be written; the header is left out then.
fn rfc3339(time: OffsetDateTime) -> Option<String> {
    time.format(&Rfc3339).ok()
}

/// What a value takes in a frame, never less.
fn size_of(value: &AMQPValue) -> usize {
    const HEAD: usize = 5;
    match value {
        AMQPValue::LongString(text) => HEAD + text.as_bytes().len(),
        AMQPValue::ShortString(text) => HEAD + text.as_str().len(),
        AMQPValue::ByteArray(bytes) => HEAD + bytes.len(),
        AMQPValue::FieldArray(values) => HEAD + values.as_slice().iter().map(size_of).sum::<usize>(),
        AMQPValue::FieldTable(table) => {
            let entries = table.inner().iter();
            HEAD + entries.map(|(name, value)| 2 + name.as_str().len() + size_of(value)).sum::<usize>()
        }
        _ => HEAD + 8,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::*;
    use crate::outcome::DeadReason;

    fn history() -> History {
        History {
            attempts: 3,
            first_failure: Some(datetime!(2026-11-23 10:00:00.25 UTC)),
            last_failure: Some(datetime!(2026-11-23 12:00 +2)),
            reason: Some(DeadReason::CrashLoop),
            error: Some("Привет 🙂".to_owned()),
            worker: Some("host 1".to_owned()),
            given_id: Some("given".to_owned()),
            replay: Some(Uuid::from_u128(7)),
            first_seen: Some(datetime!(2026-11-23 9:00 UTC)),
        }
    }

    fn headers(entries: &[(&str, AMQPValue)]) -> BasicProperties {
        let table: std::collections::BTreeMap<_, _> =
            entries.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        BasicProperties::default().with_headers(table.into())
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    #[test]
    fn a_history_comes_back_as_it_was_written() {
        let written = properties_again(&BasicProperties::default(), &history());
        assert_eq!(read_history(&written), history());
        let empty = properties_again(&written, &History::default());
        assert_eq!(read_history(&empty), History::default());
        assert_eq!(empty.headers().as_ref().unwrap().inner().len(), 0, "a clean slate leaves nothing behind");
    }

    #[test]
    fn headers_of_a_wrong_type_count_as_absent() {
        let foreign = headers(&[
            (history::ATTEMPTS, long("3")),
            (history::FIRST_FAILURE, AMQPValue::Timestamp(1)),
            (history::LAST_FAILURE, long("yesterday")),
            (history::REASON, long("because")),
            (history::ERROR, AMQPValue::Void),
            (history::WORKER, AMQPValue::LongString(vec![0xff, 0xfe].into())),
            (history::REPLAY, long("7")),
        ]);
        assert_eq!(read_history(&foreign), History::default());
        let negative = headers(&[(history::ATTEMPTS, AMQPValue::LongLongInt(-1))]);
        assert_eq!(read_history(&negative).attempts, 0);
        let short = headers(&[(history::ATTEMPTS, AMQPValue::ShortInt(2))]);
        assert_eq!(read_history(&short).attempts, 2);
    }

    #[test]
    fn what_is_not_ours_and_not_the_brokers_travels_on() {
        let before = headers(&[("x-custom", AMQPValue::Boolean(true)), ("tenant", long("a"))])
            .with_content_type("text/plain".into())
            .with_content_encoding("gzip".into())
            .with_priority(3)
            .with_correlation_id("c".into())
            .with_reply_to("r".into())
            .with_message_id("m".into())
            .with_timestamp(5)
            .with_type("t".into())
            .with_app_id("a".into())
            .with_cluster_id("k".into())
            .with_delivery_mode(2);
        let after = properties_again(&before, &History::default());
        assert_eq!(after, before);
    }

    #[test]
    fn what_the_broker_wrote_or_would_obey_is_stripped() {
        let before = headers(&[
            ("x-death", AMQPValue::FieldArray(vec![long("…")].into())),
            ("x-first-death-queue", long("q")),
            ("x-last-death-reason", long("expired")),
            (DELIVERY_COUNT, AMQPValue::LongLongInt(4)),
            ("x-acquired-count", AMQPValue::LongLongInt(4)),
            ("CC", AMQPValue::FieldArray(vec![long("q")].into())),
            (history::REASON, long("locked")),
        ])
        .with_expiration("1000".into())
        .with_user_id("somebody".into())
        .with_delivery_mode(1);
        let after = properties_again(&before, &History::default());
        assert_eq!(
            after,
            BasicProperties::default().with_delivery_mode(2).with_headers(FieldTable::default())
        );
    }

    #[test]
    fn headers_that_would_not_fit_into_a_frame_are_left_behind_and_ours_are_not() {
        let before = headers(&[("big", long(&"x".repeat(MAX_FOREIGN_HEADER_BYTES)))]);
        let after = properties_again(&before, &history());
        assert_eq!(read_history(&after), history());
        assert!(!after.headers().as_ref().unwrap().contains_key("big"));
    }

    #[test]
    fn an_id_that_no_property_can_hold_is_left_out() {
        assert_eq!(read_id(&Outgoing::fresh("id", Bytes::new()).properties).as_deref(), Some("id"));
        assert_eq!(read_id(&Outgoing::fresh(&"ж".repeat(255), Bytes::new()).properties), None);
    }

    proptest! {
        #[test]
        fn any_attempts_and_texts_come_back(attempts in 0..=i32::MAX.cast_unsigned(), error in ".{0,200}") {
            let history = History { attempts, error: Some(error), ..History::default() };
            let written = properties_again(&BasicProperties::default(), &history);
            prop_assert_eq!(read_history(&written), history);
        }
    }
}
