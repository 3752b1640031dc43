//! Keys that a careless client or server spoils: each moves to the byte, or is refused with its object
//! untouched.

use aws_sdk_s3::primitives::ByteStream;
use file_recycler::outcome::{Advice, DeadReason, Outcome};
use file_recycler::storage::Side;

use super::Finding;
use crate::support::registry::{Script, job, recycler};
use crate::support::servers::Server;

/// Keys with what has to be escaped somewhere, in an address, a header or XML.
const SPECIAL: &[&str] = &[
    "a b+c",
    "a%20b",
    "a%2Fb",
    "a?versionId=1&b",
    "Привет",
    "🙂",
    "x/y#z",
    "a'b\"c<d>&e",
    " blanks ",
    "a\u{a0}b\u{2028}c",
    "e\u{301}",
];
/// Keys that some servers read as others.
const NORMALISED: &[&str] = &["a//b", "/lead", "trail/", "x/../y", "p/./q", "back\\slash"];

pub async fn odd_keys(server: Server) -> Finding {
    let world = server.world().await;
    let recycler = recycler(&world.storage, world.storage.probe().await.unwrap(), &Script::default());
    let long = ["ж".repeat(120), "k".repeat(1_024), vec!["k".repeat(204); 5].join("/")];
    let (mut refused, mut not_taken) = (Vec::new(), Vec::new());
    for key in SPECIAL.iter().chain(NORMALISED).copied().chain(long.iter().map(String::as_str)) {
        let put = world.client.put_object().bucket(&world.object).key(key);
        let taken = put.body(ByteStream::from(key.as_bytes().to_vec())).send().await.is_ok();
        if !taken || world.get(Side::Object, key).await.as_deref() != Some(key.as_bytes()) {
            not_taken.push(shown(key));
            continue;
        }
        match recycler.recycle(job(key)).await {
            Ok(Outcome::Moved) => world.holds(key, None, Some(key.as_bytes())).await,
            Err(failure) if failure.advice == Advice::GiveUp(DeadReason::Unsupported) => {
                world.holds(key, Some(key.as_bytes()), None).await;
                refused.push(shown(key));
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    let mut follows = Vec::new();
    if !refused.is_empty() {
        follows.push(format!("refused as unsupported, and untouched: {}", refused.join(", ")));
    }
    if !not_taken.is_empty() {
        follows.push(format!("the server itself does not take: {}", not_taken.join(", ")));
    }
    if follows.is_empty() { Finding::Passed } else { Finding::Cannot(follows.join("; ")) }
}

fn shown(key: &str) -> String {
    match (key.len(), key.matches('/').count()) {
        (0..=40, _) => format!("`{key}`"),
        (bytes, 0) => format!("a name of {bytes} bytes"),
        (bytes, _) => format!("a key of {bytes} bytes in several names"),
    }
}
