//! The same cases on every S3 server: what each can do, what it cannot, and what a file costs there. The
//! README's table is what this suite writes.
//!
//! With `FILE_RECYCLER_TEST_EXTRA_S3_URL` the suite also runs on a server of your own (CONTRIBUTING.md).

mod attributes;
mod cases;
mod keys;
mod lost;
mod measure;
mod table;

use std::any::Any;
use std::future::Future;

use futures_util::future::{BoxFuture, join_all};

use crate::support::servers::{Foreign, Server};
use measure::Measured;

/// How a case ended. What must never happen on any server is a panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    Passed,
    /// The server cannot do it, and what follows from that.
    Cannot(String),
}

type Case = fn(Server) -> BoxFuture<'static, Finding>;

/// Every case, by the words that stand in the README where a server cannot do it.
const CASES: &[(&str, Case)] = &[
    ("leave nothing of the probe behind", |server| Box::pin(cases::probe_leaves_nothing(server))),
    ("move an object", |server| Box::pin(cases::moves(server))),
    ("move an empty object", |server| Box::pin(cases::moves_nothing_at_all(server))),
    ("renew a copy with the same content", |server| Box::pin(cases::renews(server))),
    ("tell a conflict", |server| Box::pin(cases::conflict(server))),
    ("tell an object that was moved before", |server| Box::pin(cases::already_moved(server))),
    ("tell a missing object", |server| Box::pin(cases::missing(server))),
    ("keep a file rewritten between copy and delete", |server| Box::pin(cases::rewritten(server))),
    ("move the latest version of several", |server| Box::pin(cases::versions(server))),
    ("tell a missing bucket from a missing object", |server| Box::pin(cases::missing_bucket(server))),
    ("refuse revoked keys", |server| Box::pin(cases::revoked_keys(server))),
    ("keep every key to the byte", |server| Box::pin(keys::odd_keys(server))),
    ("carry everything along with a copy", |server| Box::pin(attributes::of_a_simple_copy(server))),
    ("carry everything along with a copy in parts", |server| {
        Box::pin(attributes::of_a_copy_in_parts(server))
    }),
    ("go on after a copy's lost answer", |server| Box::pin(lost::answer_of_a_copy(server))),
    ("go on after a delete's lost answer", |server| Box::pin(lost::answer_of_a_delete(server))),
];

/// What servers are known not to do: `(server, case, what follows)`. More, less or other than this fails.
const CANNOT: &[(&str, &str, &str)] = &[
    (
        "SeaweedFS",
        "keep every key to the byte",
        r"refused as unsupported, and untouched: `a//b`, `/lead`, `back\slash`; the server itself does not take: `trail/`, `x/../y`, `p/./q`, a name of 1024 bytes",
    ),
    (
        "SeaweedFS",
        "carry everything along with a copy",
        "the server itself does not keep: empty metadata, website redirect",
    ),
    (
        "SeaweedFS",
        "carry everything along with a copy in parts",
        "the server itself does not keep: website redirect",
    ),
    ("moto", "refuse revoked keys", "it checks no signature: that keys were revoked is not noticed"),
];

/// One server's results.
pub struct Report {
    server: Server,
    measured: Result<Measured, String>,
    /// A panic's message in place of a finding.
    cases: Vec<(&'static str, Result<Finding, String>)>,
}

#[tokio::test]
async fn every_server_does_what_the_readme_says() {
    let reports = join_all(Server::all().into_iter().map(run)).await;
    let extra = match Foreign::extra() {
        Some(server) => Some(run(Server::Foreign(server)).await),
        None => None,
    };
    table::write(reports.iter().chain(&extra));

    let mut wrong: Vec<String> = reports.iter().chain(&extra).flat_map(panics).collect();
    for report in &reports {
        let expected = CANNOT.iter().filter(|(server, ..)| *server == report.server.name());
        let expected: Vec<_> = expected.map(|(_, case, follows)| (*case, (*follows).to_owned())).collect();
        let found = report.cannot();
        if found != expected {
            let name = report.server.name();
            wrong.push(format!(
                "{name} cannot: {found:#?}\nexpected (CANNOT in conformance.rs): {expected:#?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    table::compare_with_the_readme(&reports);
}

/// All cases on one server, one after the other.
async fn run(server: Server) -> Report {
    let measured = caught(measure::two_hundred_files(server.clone())).await;
    let mut cases = Vec::new();
    for (name, case) in CASES {
        cases.push((*name, caught(case(server.clone())).await));
    }
    Report { server, measured, cases }
}

/// A panic of one case is its result, and the others go on.
async fn caught<T: Send + 'static>(case: impl Future<Output = T> + Send + 'static) -> Result<T, String> {
    tokio::spawn(case).await.map_err(|error| message(error.into_panic().as_ref()))
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

fn panics(report: &Report) -> Vec<String> {
    let name = report.server.name();
    let cases = report.cases.iter().filter_map(|(case, result)| Some((*case, result.as_ref().err()?)));
    let measure = report.measured.as_ref().err().map(|error| ("move 200 files at once", error));
    cases.chain(measure).map(|(case, error)| format!("{name} does not {case}: {error}")).collect()
}

impl Report {
    /// The cases that the server cannot do, with what follows.
    fn cannot(&self) -> Vec<(&'static str, String)> {
        let cannot = |(case, result): &(&'static str, Result<Finding, String>)| match result {
            Ok(Finding::Cannot(follows)) => Some((*case, follows.clone())),
            Ok(Finding::Passed) | Err(_) => None,
        };
        self.cases.iter().filter_map(cannot).collect()
    }

    /// How many cases passed, the measured move of 200 files among them.
    fn passed(&self) -> usize {
        let cases = self.cases.iter().filter(|(_, result)| *result == Ok(Finding::Passed)).count();
        cases + usize::from(self.measured.is_ok())
    }

    fn total(&self) -> usize {
        self.cases.len() + 1
    }
}
