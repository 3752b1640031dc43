//! What the model has found, each made as small as it goes: histories that a mover got wrong.

use super::drive::run;
use super::history::{History, Start, Turn};
use super::server::{Content, Server, Shape};
use crate::outcome::Liveness;
use crate::storage::{Capabilities, Support};

const ONE: Content = 0;
const OTHER: Content = 2;

fn go(which: u8) -> Turn {
    Turn::Go { which, fault: None }
}

/// One dead file, whose size nobody knows: it is looked at first.
fn holds(can: Capabilities, (content, shape): (Content, Shape), turns: Vec<Turn>) {
    let server = Server { can, ..aws() };
    let files = vec![Start { object: Some((content, shape)), recycle: None, sized: false, odd: false }];
    hold(&History { server, files, turns });
}

fn aws() -> Server {
    Server { can: Capabilities::of_aws(), tells_parts: false, sums: false }
}

fn hold(history: &History) {
    let failed = run(history, None).err();
    let failed = failed.map(|(broken, log)| format!("{broken:?}\n{log}"));
    assert!(failed.is_none(), "{}", failed.unwrap_or_default());
}

#[test]
fn a_file_that_another_worker_moves_between_the_looks_at_the_two_buckets_is_not_missing() {
    // The recycle bucket is looked at before the other worker's copy, the object bucket after its deletion.
    let mut turns = vec![go(0), go(1), Turn::Deliver { file: 0, slot: 1 }];
    turns.extend([go(1); 8]);
    holds(Capabilities::of_aws(), (ONE, Shape::Whole), turns);
}

#[test]
fn what_another_worker_copies_between_the_looks_at_the_two_buckets_is_no_conflict() {
    // The object bucket is looked at before the file is written again, the recycle bucket after that was copied.
    let write = Turn::Write { file: 0, content: OTHER, shape: Shape::Whole };
    let mut turns = vec![go(0), go(0), write, Turn::Deliver { file: 0, slot: 1 }];
    turns.extend([go(1); 5]);
    holds(Capabilities::of_aws(), (ONE, Shape::Whole), turns);
}

#[test]
fn a_server_that_copies_whatever_is_there_makes_our_note_no_proof() {
    // The copy is of what was there for a moment, and notes the ETag of what was there before and after.
    let can = Capabilities { copy_source_if_match: Support::Ignored, ..Capabilities::of_aws() };
    let write = Turn::Write { file: 0, content: 1, shape: Shape::Whole };
    let turns = vec![go(0), go(0), go(0), write, go(0), go(0), Turn::WriteBack { file: 0 }];
    holds(can, (ONE, Shape::Parts), turns);
}

#[test]
fn a_file_that_dies_and_moves_between_the_question_and_the_look_is_not_brought_back() {
    let live = |liveness| Turn::Live { file: 0, liveness };
    let mut turns =
        vec![live(Liveness::Alive), go(0), live(Liveness::Dead), Turn::Deliver { file: 0, slot: 1 }];
    // The other worker moves it while the first one's two looks wait.
    turns.extend([go(2); 8]);
    holds(Capabilities::of_aws(), (ONE, Shape::Whole), turns);
}

#[test]
fn a_file_that_dies_while_it_is_brought_back_does_not_stay() {
    let live = |liveness| Turn::Live { file: 0, liveness };
    // Alive when it is asked for, seen to be gone, alive still, and its copy is read; dead before that is written.
    let mut turns = vec![live(Liveness::Alive)];
    turns.extend([go(0); 6]);
    turns.push(live(Liveness::Dead));
    let moved = Start { object: None, recycle: Some((ONE, Shape::Whole)), sized: false, odd: false };
    hold(&History { server: aws(), files: vec![moved], turns });
}

#[test]
fn a_file_that_dies_while_a_dropped_delivery_brings_it_back_does_not_stay() {
    let live = |liveness| Turn::Live { file: 0, liveness };
    let can = Capabilities {
        copy_if_none_match: Support::Ignored,
        copy_keeps_etag: false,
        ..Capabilities::of_aws()
    };
    let mut turns = vec![go(0), Turn::GoTogether];
    turns.extend([go(0); 4]);
    turns.extend([Turn::Abandon { delivery: 0 }, live(Liveness::Alive), go(1), go(0)]);
    turns.push(Turn::Write { file: 0, content: ONE, shape: Shape::Whole });
    turns.extend([go(2), go(3), live(Liveness::Dead), Turn::Remove { file: 0 }]);
    holds(can, (ONE, Shape::Whole), turns);
}
