//! Requests held at the server or at the proxy, and what a test can do in the gap.

use std::time::Duration;

use recycler_test_s3::{Action, Operation, Rule, When};
use tokio::time::timeout;

use crate::client::QUICK;
use crate::proxied::both;

fn hold(when: When) -> Rule {
    Rule::new(Operation::CopyObject, Action::Hold { when })
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_mins(1), future).await.expect("in time")
}

#[tokio::test]
async fn before_the_work_the_source_can_still_change() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "old").expect("a bucket");
        switches.fault(hold(When::Before));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").send());
        in_time(switches.held()).await;
        assert_eq!(switches.holding(), 1);
        assert!(world.control.keys("target").is_empty());
        world.control.put("source", "a", "new").expect("a bucket");
        switches.release();
        assert_eq!(in_time(copy).await.expect("no panic").status, 200);
        assert_eq!(world.control.get("target", "a").as_deref(), Some(b"new".as_slice()));
        assert_eq!(switches.holding(), 0);
    }
}

#[tokio::test]
async fn after_the_work_it_is_done_and_not_told() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "old").expect("a bucket");
        switches.fault(hold(When::After).times(1));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").send());
        in_time(switches.held()).await;
        assert_eq!(world.control.get("target", "a").as_deref(), Some(b"old".as_slice()));
        assert!(switches.counts().answers.is_empty());
        world.control.put("target", "a", "other").expect("a bucket");
        switches.release();
        let copied = in_time(copy).await.expect("no panic");
        assert!(copied.element("ETag").is_some(), "the honest answer");
        assert_eq!(world.control.get("target", "a").as_deref(), Some(b"other".as_slice()));
        assert_eq!(world.copy("source/a", "/target/a").send().await.status, 200);
    }
}

#[tokio::test]
async fn what_comes_after_a_release_is_held_anew() {
    for (world, switches, _proxy) in both().await {
        switches.release();
        switches.fault(hold(When::Before).times(2));
        for _ in 0..2 {
            let copy = tokio::spawn(world.copy("source/none", "/target/a").send());
            in_time(switches.held()).await;
            switches.release();
            assert_eq!(in_time(copy).await.expect("no panic").status, 404);
        }
    }
}

#[tokio::test]
async fn a_held_request_can_still_be_lost() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "x").expect("a bucket");
        switches.fault(hold(When::After));
        switches.fault(Rule::new(Operation::CopyObject, Action::Close { when: When::After }));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").try_send());
        in_time(switches.held()).await;
        switches.release();
        assert!(in_time(copy).await.expect("no panic").is_err());
        assert_eq!(world.control.keys("target"), ["a"]);
    }
}

#[tokio::test]
async fn a_client_that_goes_is_held_no_more() {
    for (world, switches, _proxy) in both().await {
        switches.fault(hold(When::Before));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").try_send());
        in_time(switches.held()).await;
        copy.abort();
        in_time(async {
            while switches.holding() > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_reset_lets_go() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "x").expect("a bucket");
        switches.fault(hold(When::Before));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").send());
        in_time(switches.held()).await;
        switches.reset();
        assert_eq!(in_time(copy).await.expect("no panic").status, 200);
    }
}

#[tokio::test]
async fn a_stop_ends_what_is_held_with_the_work_undone() {
    for (world, switches, proxy) in both().await {
        world.control.put("source", "a", "x").expect("a bucket");
        switches.fault(hold(When::Before));
        let copy = tokio::spawn(world.copy("source/a", "/target/a").try_send());
        in_time(switches.held()).await;
        let stopping = async {
            match proxy {
                Some(proxy) => proxy.stop().await,
                None => world.server.stop().await,
            }
        };
        timeout(QUICK, stopping).await.expect("a quick stop");
        assert!(copy.await.expect("no panic").is_err());
        assert!(world.control.keys("target").is_empty());
    }
}
