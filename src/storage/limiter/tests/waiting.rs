//! The places that are given out: in order, never more than the limit, and none is ever lost.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;

use crate::retry::Stopwatch;
use crate::storage::limiter::{Ended, Limiter, Permit, ROW, Urgency};

/// A limiter on a clock that moves a millisecond each time somebody looks.
fn limiter(max: usize) -> Limiter {
    let (origin, ticks) = (Instant::now(), AtomicUsize::new(0));
    Limiter::new(
        max,
        Stopwatch::from_fn(move || {
            origin + Duration::from_millis(ticks.fetch_add(1, Ordering::Relaxed).try_into().unwrap())
        }),
    )
}

type Turn<'a> = Pin<Box<dyn Future<Output = Permit<'a>> + 'a>>;

fn ask(limiter: &Limiter) -> Turn<'_> {
    Box::pin(limiter.acquire(Urgency::Ordinary))
}

/// The permit, if it is there at once.
fn poll<'a>(turn: &mut Turn<'a>) -> Option<Permit<'a>> {
    match turn.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(permit) => Some(permit),
        Poll::Pending => None,
    }
}

/// All permits that are there at once.
fn take_all(limiter: &Limiter) -> Vec<Permit<'_>> {
    std::iter::from_fn(|| poll(&mut ask(limiter))).collect()
}

#[test]
fn a_lowered_limit_is_reached_as_requests_end_and_kept() {
    let limiter = limiter(16);
    let mut permits = take_all(&limiter);
    assert_eq!((permits.len(), limiter.in_flight()), (16, 16));
    let mut next = ask(&limiter);
    assert!(poll(&mut next).is_none());
    permits.pop().unwrap().end(Ended::Overloaded);
    assert_eq!((limiter.limit(), limiter.in_flight()), (8, 15));
    for left in (8..15).rev() {
        assert!(poll(&mut next).is_none(), "{} in flight, and one more", left + 1);
        permits.pop().unwrap().end(Ended::Answered);
        assert_eq!(limiter.in_flight(), left);
    }
    permits.pop().unwrap().end(Ended::Answered);
    permits.push(poll(&mut next).unwrap());
    assert_eq!((limiter.in_flight(), take_all(&limiter).len()), (8, 0));
}

#[test]
fn free_places_go_with_a_lowered_limit() {
    let limiter = limiter(16);
    poll(&mut ask(&limiter)).unwrap().end(Ended::Overloaded);
    assert_eq!((limiter.limit(), take_all(&limiter).len()), (8, 8));
}

#[test]
fn who_comes_first_is_served_first() {
    let limiter = limiter(1);
    let permit = poll(&mut ask(&limiter)).unwrap();
    let mut turns = [ask(&limiter), ask(&limiter), ask(&limiter)];
    for turn in &mut turns {
        assert!(poll(turn).is_none());
    }
    permit.end(Ended::Answered);
    for at in 0..3 {
        assert!(turns[at + 1..].iter_mut().all(|turn| poll(turn).is_none()));
        poll(&mut turns[at]).unwrap().end(Ended::Answered);
    }
}

#[test]
fn a_dropped_permit_gives_its_place_back_and_says_nothing() {
    let limiter = limiter(64);
    for _ in 0..100 {
        let permits = take_all(&limiter);
        // The limit is used up, so that a verdict would count.
        let mut waiting: Vec<_> = (0..64).map(|_| ask(&limiter)).collect();
        assert!(waiting.iter_mut().all(|turn| poll(turn).is_none()));
        drop(permits);
        assert_eq!(limiter.limit(), 16);
    }
    assert_eq!((limiter.in_flight(), take_all(&limiter).len()), (0, 16));
}

#[test]
fn a_turn_that_comes_to_somebody_who_is_gone_goes_to_the_next() {
    let limiter = limiter(1);
    let permit = poll(&mut ask(&limiter)).unwrap();
    let (mut gone, mut next) = (ask(&limiter), ask(&limiter));
    assert!(poll(&mut gone).is_none() && poll(&mut next).is_none());
    drop(permit);
    drop(gone);
    assert!(poll(&mut next).is_some());
    assert_eq!(limiter.in_flight(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_place_is_ever_lost_or_made(
        max in 1_usize..40,
        steps in vec((0_u8..8, 0_usize..1_000), 1..600),
    ) {
        let limiter = limiter(max);
        let (mut permits, mut turns) = (Vec::<Permit<'_>>::new(), VecDeque::new());
        for (step, at) in steps {
            let before = permits.len();
            match step {
                0..=2 => turns.push_back(ask(&limiter)),
                3 if !turns.is_empty() => drop(turns.remove(at % turns.len())),
                4 if before > 0 => drop(permits.swap_remove(at % before)),
                5 if before > 0 && at < 200 => permits.swap_remove(at % before).end(Ended::Overloaded),
                _ if before > 0 => permits.swap_remove(at % before).end(Ended::Answered),
                _ => {}
            }
            let left = permits.len();
            let allowed = limiter.limit().max(left);
            turns.retain_mut(|turn| poll(turn).map(|permit| permits.push(permit)).is_none());
            prop_assert!(permits.len() <= allowed, "{} in flight, {allowed} allowed", permits.len());
            prop_assert!(turns.is_empty() || permits.len() >= limiter.limit(), "somebody waits for nothing");
            prop_assert_eq!(permits.len(), limiter.in_flight());
        }
        drop((permits, turns));
        prop_assert_eq!(limiter.state().waiting, 0);
        let permits = take_all(&limiter);
        prop_assert_eq!((permits.len(), limiter.in_flight()), (limiter.limit(), limiter.limit()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_on_several_threads_all_get_their_turns() {
    let limiter = Arc::new(Limiter::new(8, Stopwatch::system()));
    let most = Arc::new(AtomicUsize::new(0));
    let callers = (0..64).map(|caller: u32| {
        let (limiter, most) = (Arc::clone(&limiter), Arc::clone(&most));
        tokio::spawn(async move {
            for turn in 0..100 {
                let permit = limiter.acquire(Urgency::Ordinary).await;
                most.fetch_max(limiter.in_flight(), Ordering::Relaxed);
                tokio::task::yield_now().await;
                match (caller + turn) % 50 {
                    0 => permit.end(Ended::Overloaded),
                    1 => permit.end(Ended::Ignored),
                    2 => drop(permit),
                    _ => permit.end(Ended::Answered),
                }
            }
        })
    });
    let all = futures_util::future::join_all(callers.collect::<Vec<_>>());
    let ended = tokio::time::timeout(Duration::from_mins(1), all).await.expect("a deadlock");
    assert!(ended.into_iter().all(|caller| caller.is_ok()));
    assert!((1..=8).contains(&most.load(Ordering::Relaxed)));
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test]
async fn what_is_urgent_waits_for_few_of_those_that_were_there_before() {
    let limiter = Arc::new(limiter(1));
    let held = limiter.acquire(Urgency::Ordinary).await;
    let served = Arc::new(AtomicUsize::new(0));
    let ask = |urgency| {
        let (limiter, served) = (Arc::clone(&limiter), Arc::clone(&served));
        async move {
            let permit = limiter.acquire(urgency).await;
            let turn = served.fetch_add(1, Ordering::SeqCst);
            permit.end(Ended::Answered);
            turn
        }
    };
    let ordinary: Vec<_> = (0..100).map(|_| tokio::spawn(ask(Urgency::Ordinary))).collect();
    // All of them wait before the urgent one comes.
    while limiter.state().waiting < 100 {
        tokio::task::yield_now().await;
    }
    let urgent = tokio::spawn(ask(Urgency::Urgent));
    while limiter.state().waiting < 101 {
        tokio::task::yield_now().await;
    }
    held.end(Ended::Answered);
    assert!(urgent.await.unwrap() <= ROW, "it waits for those in the row, and for no others");
    for one in ordinary {
        one.await.unwrap();
    }
}
