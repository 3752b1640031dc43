//! The limit that is chosen, against servers of every kind.

use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use super::simulation::{Queueing, Random, Simulation, ms};
use crate::storage::limiter::Ended;
use crate::storage::limiter::Ended::{Answered, Ignored, Overloaded};
use crate::storage::limiter::control::Control;

/// Always the same latency, however many are in flight.
fn unlimited(_: Duration, _: usize) -> (Duration, Ended) {
    (ms(20), Answered)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_server_without_limits_is_used_to_the_most_after_a_few_round_trips() {
    for (max, round_trips) in [(1, 0), (16, 0), (64, 5), (4_096, 18)] {
        let figures = Simulation::new(max, max * 8).run(SECOND, &mut unlimited);
        assert_eq!(figures.highest, max);
        assert!(figures.highest_after <= ms(20) * round_trips, "{figures:?}");
    }
}

#[test]
fn the_question_whether_less_would_do_costs_next_to_nothing() {
    for (max, per_second) in [(16, 800.0), (64, 3_200.0)] {
        let mut simulation = Simulation::new(max, max * 8);
        simulation.run(SECOND, &mut unlimited);
        let figures = simulation.run(SECOND * 60, &mut unlimited);
        assert!(figures.lowest >= max * 3 / 4 && figures.rate >= per_second * 0.97, "{figures:?}");
    }
}

#[test]
fn a_server_that_does_so_many_at_once_gets_about_so_many_and_loses_no_throughput() {
    for (workers, most) in [(3, 16), (10, 16), (40, 56), (100, 140)] {
        for spread in [0.0, 0.9] {
            let mut server = Queueing::new(workers, ms(20), spread);
            let mut simulation = Simulation::new(256, 2_048);
            simulation.run(SECOND * 20, &mut server);
            let figures = simulation.run(SECOND * 30, &mut server);
            assert!(figures.rate >= server.capacity() * 0.9, "{workers}, {spread}: {figures:?}");
            assert!(figures.highest <= most, "{workers}, {spread}: {figures:?}");
        }
    }
}

#[test]
fn a_storm_of_refusals_is_survived_and_forgotten() {
    let mut simulation = Simulation::new(64, 512);
    simulation.run(SECOND, &mut unlimited);
    let mut storm = |_, in_flight| if in_flight > 6 { (ms(5), Overloaded) } else { (ms(20), Answered) };
    let figures = simulation.run(SECOND * 10, &mut storm);
    assert!(figures.last <= 16 && figures.rate >= 300.0 * 0.65, "{figures:?}");
    let figures = simulation.run(SECOND * 10, &mut unlimited);
    assert_eq!((figures.highest, figures.last), (64, 64));
    assert!(figures.highest_after <= SECOND * 6, "{figures:?}");
}

#[test]
fn even_total_refusal_leaves_one_request_to_notice_its_end() {
    let mut simulation = Simulation::new(64, 512);
    simulation.run(SECOND, &mut unlimited);
    let figures = simulation.run(SECOND, &mut |_, _| (ms(5), Overloaded));
    // What was in flight is still answered.
    assert_eq!((figures.lowest, figures.last, figures.rate), (1, 1, 64.0));
    let figures = simulation.run(SECOND * 10, &mut unlimited);
    assert_eq!(figures.highest, 64);
}

/// A control at its most, and the instant.
fn at_the_top(max: usize) -> (Control, Instant) {
    let mut simulation = Simulation::new(max, max * 8);
    assert_eq!(simulation.run(SECOND, &mut unlimited).last, max);
    (simulation.control, Instant::now() + SECOND * 2)
}

#[test]
fn one_burst_of_refusals_halves_once() {
    let (mut control, now) = at_the_top(64);
    for n in 0..64 {
        control.ended(now + ms(30) + Duration::from_micros(n), now, Overloaded, 512);
    }
    assert_eq!(control.limit(), 32);
    // What started afterwards was refused at the new limit.
    control.ended(now + ms(60), now + ms(31), Overloaded, 512);
    assert_eq!(control.limit(), 16);
}

#[test]
fn after_a_refusal_the_way_up_is_taken_at_once_and_in_small_steps() {
    // In the middle of slow start, and long after it.
    for (begin, half) in [(ms(70), 16), (SECOND, 32)] {
        let mut simulation = Simulation::new(64, 512);
        simulation.run(begin, &mut unlimited);
        let mut refusals = 1;
        let mut refusing = |_, _| {
            refusals -= 1;
            if refusals == 0 { (ms(1), Overloaded) } else { (ms(20), Answered) }
        };
        simulation.run(ms(30), &mut refusing);
        let mut limit = simulation.control.limit();
        assert_eq!(limit, half);
        for _ in 0..50 {
            let next = simulation.run(ms(20), &mut unlimited).last;
            assert!(next <= limit + 4, "from {limit} to {next}");
            limit = next;
        }
        assert_eq!(limit, 64);
    }
}

#[test]
fn a_request_that_never_came_to_the_server_says_nothing() {
    let (mut control, now) = at_the_top(64);
    for _ in 0..1_000 {
        assert_eq!(control.ended(now + SECOND, now, Ignored, 512), 64);
    }
}

#[test]
fn a_limit_that_is_not_used_up_does_not_grow() {
    let mut simulation = Simulation::new(64, 12);
    let figures = simulation.run(SECOND * 30, &mut unlimited);
    assert_eq!((figures.lowest, figures.highest), (16, 16));
}

#[test]
fn waves_of_work_with_pauses_between_them_are_enough_to_grow() {
    // A doubling is judged within a wave, the smaller step needs the time of several.
    for (max, wave) in [(64, 200), (20, 60)] {
        let (mut control, mut now, mut highest) = (Control::new(max), Instant::now(), 0);
        for _ in 0..100 {
            let mut wanted = wave;
            while wanted > 0 {
                let started = now;
                now += ms(20);
                for _ in 0..control.limit().min(wanted) {
                    highest = control.ended(now, started, Answered, wanted).max(highest);
                    wanted -= 1;
                }
            }
            now += SECOND;
        }
        assert_eq!(highest, max);
        // The ends of waves are noise, worth a step or two.
        assert!(control.limit() >= max / 2, "{} of {max}", control.limit());
    }
}

#[test]
fn a_server_that_becomes_faster_or_slower_is_noticed() {
    let mut server = Queueing::new(40, ms(20), 0.5);
    let mut simulation = Simulation::new(256, 2_048);
    simulation.run(SECOND * 30, &mut server);
    server.workers = 160;
    let figures = simulation.run(SECOND * 12, &mut server);
    assert!(figures.highest >= 144, "{figures:?}");
    let figures = simulation.run(SECOND * 30, &mut server);
    assert!(figures.rate >= server.capacity() * 0.9, "{figures:?}");
    server.workers = 40;
    simulation.run(SECOND * 60, &mut server);
    let figures = simulation.run(SECOND * 30, &mut server);
    assert!(figures.highest <= 80 && figures.rate >= server.capacity() * 0.9, "{figures:?}");
}

#[test]
fn large_copies_among_small_requests_mislead_by_little() {
    // For ten seconds every tenth request is a copy of a second, for ten there is none.
    let mixed = || {
        let mut random = Random(7);
        move |now: Duration, _| {
            let copy = (now.as_secs() / 10).is_multiple_of(2) && random.next() < 0.1;
            (if copy { SECOND } else { ms(20) }, Answered)
        }
    };
    let mut fixed = Simulation::new(64, 512);
    fixed.run(SECOND, &mut unlimited);
    fixed.frozen = true;
    let most = fixed.run(SECOND * 200, &mut mixed()).rate;
    let figures = Simulation::new(64, 512).run(SECOND * 200, &mut mixed());
    assert!(figures.rate >= most * 0.9, "{figures:?} of {most}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_limit_is_never_above_the_most_and_never_below_one(
        max in 1_usize..200,
        events in vec((0_u64..200, 0_u64..200, 0_usize..400, 0_usize..40), 1..2_000),
    ) {
        let mut control = Control::new(max);
        let origin = Instant::now();
        let mut now = 0;
        for (passed, took, wanted, outcome) in events {
            now += passed;
            let ended = match outcome { 0 => Overloaded, 1 => Ignored, _ => Answered };
            let limit = control.ended(
                origin + ms(now),
                origin + ms(now.saturating_sub(took)),
                ended,
                wanted,
            );
            prop_assert!((1..=max).contains(&limit), "{limit} of {max}");
            prop_assert_eq!(limit, control.limit());
        }
    }
}
