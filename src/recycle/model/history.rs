//! Histories that are made up: a server, what is there at first, and one thing after the other.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::server::{Content, Server, Shape};
use super::turns::Fault;
use crate::outcome::Liveness;
use crate::storage::{Capabilities, Support, UnseenClass};

/// One history.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) server: Server,
    pub(super) files: Vec<Start>,
    pub(super) turns: Vec<Turn>,
}

/// A file as it is when its deletion is delivered for the first time.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) object: Option<(Content, Shape)>,
    /// A copy from an earlier deletion.
    pub(super) recycle: Option<(Content, Shape)>,
    /// The database knows its size.
    pub(super) sized: bool,
    /// Its key has an empty segment.
    pub(super) odd: bool,
}

/// What happens next. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Turn {
    /// One of the requests that wait goes on.
    Go { which: u8, fault: Option<Fault> },
    /// All requests that wait go on: what comes next may share a batch.
    GoTogether,
    /// Somebody writes the object, again or anew.
    Write { file: u8, content: Content, shape: Shape },
    /// Somebody takes a change back: the object is as it was at the beginning.
    WriteBack { file: u8 },
    /// The CRM removes the object by itself.
    Remove { file: u8 },
    /// The CRM copies the object to the recycle bucket by itself, over whatever is there.
    CopyByOthers { file: u8 },
    /// Somebody writes other content to the recycle bucket.
    WriteToRecycle { file: u8, content: Content },
    /// The lifecycle rule removes the copy.
    Expire { file: u8 },
    /// The file's row or link comes and goes.
    Live { file: u8, liveness: Liveness },
    /// A worker process dies.
    Crash { slot: u8 },
    /// A delivery is dropped and comes again, while the process lives on.
    Abandon { delivery: u8 },
    /// The event is delivered once more, to one of two workers.
    Deliver { file: u8, slot: u8 },
}

/// How many turns a history has.
const TURNS: std::ops::Range<usize> = 0..40;

fn support() -> impl Strategy<Value = Support> {
    prop_oneof![4 => Just(Support::Honoured), 2 => Just(Support::Ignored), 1 => Just(Support::Refused)]
}

fn capabilities() -> impl Strategy<Value = Capabilities> {
    let of_conditions = (support(), support(), support(), support());
    let weak = (of_conditions, any::<bool>(), any::<bool>(), prop::bool::weighted(0.9)).prop_map(
        |((over_nothing, over_known, source, delete), copy_keeps_etag, recycle_versioned, exact_keys)| {
            Capabilities {
                copy_if_none_match: over_nothing,
                copy_if_match: over_known,
                copy_source_if_match: source,
                delete_if_match: delete,
                copy_keeps_etag,
                recycle_versioned,
                exact_keys,
                ..Capabilities::of_aws()
            }
        },
    );
    let class = select(vec![UnseenClass::Right, UnseenClass::AssumedStandard, UnseenClass::Lost]);
    let aws = (class, any::<bool>(), any::<bool>()).prop_map(|(unseen_class, keeps, recycle_versioned)| {
        Capabilities { unseen_class, copy_keeps_etag: keeps, recycle_versioned, ..Capabilities::of_aws() }
    });
    prop_oneof![3 => Just(Capabilities::of_aws()), 2 => aws, 3 => weak]
}

fn server() -> impl Strategy<Value = Server> {
    (capabilities(), any::<bool>(), prop::bool::weighted(0.2)).prop_map(|(can, tells_parts, sums)| Server {
        can,
        tells_parts,
        sums,
    })
}

fn content() -> impl Strategy<Value = Content> {
    prop_oneof![3 => Just(0), 3 => Just(1), 1 => Just(2), 1 => Just(3)]
}

fn shape() -> impl Strategy<Value = Shape> {
    prop_oneof![3 => Just(Shape::Whole), 1 => Just(Shape::OnePart), 1 => Just(Shape::Parts), 1 => Just(Shape::Kms)]
}

fn start() -> impl Strategy<Value = Start> {
    let object = prop::option::weighted(0.9, (content(), shape()));
    let recycle = prop::option::weighted(0.3, (content(), shape()));
    (object, recycle, prop::bool::weighted(0.9), prop::bool::weighted(0.1))
        .prop_map(|(object, recycle, sized, odd)| Start { object, recycle, sized, odd })
}

fn fault() -> impl Strategy<Value = Fault> {
    select(vec![
        Fault::LostBefore,
        Fault::LostAfter,
        Fault::SlowDown,
        Fault::Unmet,
        Fault::Concurrent,
        Fault::Broken,
        Fault::Denied,
    ])
}

fn turn() -> impl Strategy<Value = Turn> {
    let file = || 0..2_u8;
    let liveness = prop_oneof![
        4 => Just(Liveness::Alive), 3 => Just(Liveness::Dead), 1 => Just(Liveness::Elsewhere)
    ];
    prop_oneof![
        30 => (0..4_u8, prop::option::weighted(0.12, fault())).prop_map(|(which, fault)| Turn::Go { which, fault }),
        2 => Just(Turn::GoTogether),
        4 => (file(), content(), shape())
            .prop_map(|(file, content, shape)| Turn::Write { file, content, shape }),
        2 => file().prop_map(|file| Turn::WriteBack { file }),
        1 => file().prop_map(|file| Turn::Remove { file }),
        1 => file().prop_map(|file| Turn::CopyByOthers { file }),
        1 => (file(), content()).prop_map(|(file, content)| Turn::WriteToRecycle { file, content }),
        1 => file().prop_map(|file| Turn::Expire { file }),
        3 => (file(), liveness).prop_map(|(file, liveness)| Turn::Live { file, liveness }),
        1 => (0..2_u8).prop_map(|slot| Turn::Crash { slot }),
        1 => (0..4_u8).prop_map(|delivery| Turn::Abandon { delivery }),
        3 => (file(), 0..2_u8).prop_map(|(file, slot)| Turn::Deliver { file, slot }),
    ]
}

/// Any history.
pub(super) fn histories() -> impl Strategy<Value = History> {
    let files = prop_oneof![3 => vec(start(), 1), 1 => vec(start(), 2)];
    (server(), files, vec(turn(), TURNS)).prop_map(|(server, files, turns)| History { server, files, turns })
}
