//! What the tests find: one value of each kind.

use time::OffsetDateTime;
use time::macros::datetime;
use uuid::Uuid;

use crate::config::{DanglingRows, Mode};
use crate::db::explain::{FileRow, GoneRow, HeldRow, Image, LedgerRow, Link, OutboxRow, Parent, RowType};
use crate::explain::found::{
    Environment, Foretold, Found, Hanging, Hold, Message, Names, Object, Objects, Origin, OtherKey, Queues,
    Row,
};
use crate::outcome::{DeadReason, Outcome};

pub(super) const NOW: OffsetDateTime = datetime!(2026-11-25 10:00 UTC);
pub(super) const BEFORE: OffsetDateTime = datetime!(2026-11-22 10:00 UTC);
pub(super) const ID: Uuid = Uuid::from_u128(1);
pub(super) const OWNER: Uuid = Uuid::from_u128(2);
pub(super) const OTHER: Uuid = Uuid::from_u128(3);

/// Everything was asked, and nothing found.
pub(super) fn nothing() -> Found {
    Found {
        id: ID,
        rows: Some(Vec::new()),
        links: Some(Vec::new()),
        files: Some(Vec::new()),
        objects: Some(Objects::default()),
        ledger: Some(Vec::new()),
        images: Some(Vec::new()),
        held: Some(Vec::new()),
        outbox: Some(Vec::new()),
        messages: Some(Vec::new()),
        queues: Some(Queues { work: Some(0), dead: Some(0), ..Queues::default() }),
        environment: Some(environment(None)),
        foretold: Some(Foretold::Ends(Outcome::Missing)),
        ..Found::default()
    }
}

pub(super) fn environment(hold: Option<Hold>) -> Environment {
    Environment {
        id: None,
        database: "crm".into(),
        adopted_at: None,
        paused: None,
        guard: "open".into(),
        mode: Mode::Move,
        dangling_rows: DanglingRows::Delete,
        trust_outside_events: false,
        grace_seconds: 0,
        hold,
    }
}

pub(super) fn with(change: impl FnOnce(&mut Found)) -> Found {
    let mut found = nothing();
    change(&mut found);
    found
}

pub(super) fn ends(outcome: Outcome, change: impl FnOnce(&mut Found)) -> Found {
    with(|found| {
        found.foretold = Some(Foretold::Ends(outcome));
        change(found);
    })
}

pub(super) fn row(schema: &str, parent: Option<Parent>) -> Row {
    Row::File(FileRow {
        schema: schema.into(),
        table: format!("public.{schema}"),
        id: ID,
        kind: Some(RowType::File),
        storage: Some("S3_storage".into()),
        in_s3: true,
        size: Some(5),
        data_bytes: None,
        back_to_the_row: None,
        parent,
    })
}

pub(super) fn elsewhere(kind: RowType) -> Row {
    let Row::File(row) = row("ContactFile", None) else { unreachable!("it is a file's") };
    Row::File(FileRow { kind: Some(kind), storage: Some("Database".into()), in_s3: false, ..row })
}

pub(super) fn owner(weak: bool, exists: Option<bool>) -> Parent {
    Parent { schema: "Contact".into(), id: OWNER, column: "ContactId".into(), weak, exists }
}

pub(super) fn link(record: Uuid, exists: Option<bool>) -> Link {
    Link {
        id: Uuid::nil(),
        record_schema: "Account".into(),
        record_id: record,
        file_schema: "ContactFile".into(),
        file_id: ID,
        record_exists: exists,
    }
}

pub(super) fn object() -> Object {
    Object {
        present: true,
        bucket: "b".into(),
        size: 5,
        etag: "e".into(),
        last_modified: Some(BEFORE),
        storage_class: "STANDARD".into(),
        version_id: None,
        archived: false,
        locked: false,
        migrated_by: None,
    }
}

pub(super) fn objects(in_object: bool, in_recycle: bool) -> Objects {
    let there = |is: bool| is.then(object);
    Objects { object: there(in_object), recycle: there(in_recycle), ..Objects::default() }
}

/// Nothing under its key, and something under the key of another template.
pub(super) fn under_another(object: bool) -> Objects {
    let other = OtherKey { key: "AB-1".into(), template: "{file_id:upper}".into(), object, recycle: !object };
    Objects { template: "{file_id}".into(), other: Some(other), ..Objects::default() }
}

pub(super) fn noted(outcome: Outcome, file: Uuid, record: Option<Uuid>) -> LedgerRow {
    LedgerRow {
        recycled_at: BEFORE,
        outcome: outcome.as_str().into(),
        file_id: file.to_string(),
        schema: None,
        record_schema: record.map(|_| "Contact".into()),
        record_id: record.map(|id| id.to_string()),
        key: file.to_string(),
        object_bucket: None,
        recycle_bucket: None,
        etag: None,
        size: None,
        event_id: "e-1".into(),
        deleted_at: Some(BEFORE),
        detail: None,
    }
}

pub(super) fn waits(kind: &str, named: Uuid, parent: Option<Uuid>) -> OutboxRow {
    OutboxRow {
        id: 7,
        kind: kind.into(),
        schema: "Contact".into(),
        n: 1,
        named: vec![named],
        parents: parent.into_iter().collect(),
        captured_at: BEFORE,
        seen_at: None,
    }
}

pub(super) fn letter(names: Names, files: usize) -> Message {
    Message {
        queue: "dead",
        id: "m-1".into(),
        names,
        origin: Origin::Own,
        reason: Some(DeadReason::Conflict),
        error: None,
        attempts: 1,
        first_failure: None,
        last_failure: Some(BEFORE),
        kind: None,
        schema: Some("Contact".into()),
        record_id: None,
        files,
    }
}

pub(super) fn held(record: Uuid) -> HeldRow {
    HeldRow { record_schema: "Contact".into(), record_id: record, event_id: "e-1".into(), noted_at: BEFORE }
}

pub(super) fn hanging(record: Uuid, free: u64, linked: u64) -> Hanging {
    Hanging { schema: "Contact".into(), record_id: record, free, linked, referenced: 0, elsewhere: 0 }
}

pub(super) fn image() -> Image {
    Image {
        deleted_at: BEFORE,
        table: "SysFile".into(),
        row_id: ID.to_string(),
        record_schema: "Contact".into(),
        record_id: OWNER.to_string(),
        event_id: "e-1".into(),
        size: None,
    }
}

pub(super) fn gone(outcome: Option<&str>) -> GoneRow {
    GoneRow {
        record_schema: "Contact".into(),
        table: "SysFile".into(),
        row_id: OTHER.to_string(),
        deleted_at: BEFORE,
        event_id: "e-1".into(),
        outcome: outcome.map(str::to_owned),
        noted_at: outcome.map(|_| BEFORE),
        key: None,
    }
}
