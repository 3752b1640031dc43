//! The server does what it was asked and its answer never arrives: the next try goes on from there.

use file_recycler::config::{Mode, Storage as Settings};
use file_recycler::outcome::{Advice, Dependency, Outcome};
use file_recycler::storage::Side;

use super::Finding;
use super::cases::KEY;
use crate::support::registry::{Script, job, recycler};
use crate::support::servers::Server;
use crate::support::storage::connect;
use crate::support::thief::Thief;

/// The most tries of a message's first delivery.
const TRIES: usize = 3;

pub async fn answer_of_a_copy(server: Server) -> Finding {
    without_answer(server, |head| head.starts_with("put ") && head.contains("\r\nx-amz-copy-source:")).await
}

pub async fn answer_of_a_delete(server: Server) -> Finding {
    let deletes =
        |head: &str| head.starts_with("delete ") || head.starts_with("post ") && head.contains("?delete");
    without_answer(server, deletes).await
}

async fn without_answer(server: Server, wanted: fn(&str) -> bool) -> Finding {
    let world = server.world().await;
    let capabilities = world.storage.probe().await.unwrap();
    world.put(Side::Object, KEY, b"content").await;
    let thief = Thief::before(world.endpoint()).await;
    let service_url = Some(thief.endpoint().parse().unwrap());
    let storage = connect(&Settings { service_url, ..world.settings() }, Mode::Move).await;
    let (script, mut failures) = (Script::default(), Vec::new());
    let recycler = recycler(&storage, capabilities, &script);
    thief.steal(wanted);
    let outcome = loop {
        match recycler.recycle(job(KEY)).await {
            Ok(outcome) => break outcome,
            Err(failure) => {
                let passes = matches!(failure.advice, Advice::Retry | Advice::Outage(Dependency::Storage));
                assert!(passes, "{failure}");
                failures.push(failure);
            }
        }
        assert!(failures.len() < TRIES, "{failures:?}");
    };
    assert!(thief.has_stolen(), "the request whose answer was to be lost was not sent");
    assert!(matches!(outcome, Outcome::Moved | Outcome::AlreadyMoved), "{outcome:?}");
    world.holds(KEY, None, Some(b"content")).await;
    assert_eq!(script.ledger(), [(KEY.to_owned(), outcome)]);
    Finding::Passed
}
