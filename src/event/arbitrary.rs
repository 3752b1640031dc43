//! Whatever a message's body is, decoding it ends with an event or a refusal, never with a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Event, IdKind};

const VALUES: &[&str] = &[
    "null",
    "true",
    "1",
    "-1",
    "1e999",
    "\"\"",
    "\"1.0\"",
    "\"2.0\"",
    "\"crm.record.deleted.v1\"",
    "\"crm.file.deleted.v1\"",
    "\"0f8fad5b-d9cb-469f-a165-70867728950e\"",
    "\"2026-11-23T10:00:00Z\"",
    "\"0000-01-01T00:00:00+01:00\"",
    "\"é\\u0000\"",
    "[]",
    "[{}]",
    "[null]",
    "[{\"file_id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"size\":-1}]",
    "{}",
    "{\"schema\":\"Contact\",\"record_id\":\"0f8fad5b-d9cb-469f-a165-70867728950e\",\"files\":[{\"file_id\":\"x\"}]}",
];
const FIELDS: &[&str] =
    &["specversion", "type", "id", "source", "subject", "time", "datacontenttype", "environment", "data"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_body_makes_the_decoder_panic(
        bytes in vec(any::<u8>(), 0..200),
        values in vec(select(VALUES), FIELDS.len()),
    ) {
        let fields: Vec<String> =
            FIELDS.iter().zip(values).map(|(field, value)| format!("\"{field}\":{value}")).collect();
        let document = format!("{{{}}}", fields.join(","));
        for body in [bytes.as_slice(), document.as_bytes()] {
            for ids in [IdKind::Uuid, IdKind::Text, IdKind::UuidOrText] {
                // What is an event comes back the same when it is sent on.
                if let Ok(event) = Event::decode(body, ids) {
                    prop_assert_eq!(Event::decode(&event.encode(), ids), Ok(event));
                }
            }
        }
    }
}
