//! What belongs to an object besides its content: does all of it come along?

use std::collections::BTreeMap;

use aws_sdk_s3::primitives::{ByteStream, DateTime};
use aws_sdk_s3::types::StorageClass;
use file_recycler::outcome::Outcome;
use file_recycler::storage::Side;

use super::Finding;
use super::cases::{KEY, recycle};
use crate::support::registry::Script;
use crate::support::servers::Server;
use crate::support::storage::TestStorage;

const MIB: usize = 1024 * 1024;
/// The worker's own note in a copy that has another ETag than its source.
const NOTE: &str = "fr-source-etag";
/// 2030-01-01 00:00:00 UTC.
const EXPIRES: i64 = 1_893_456_000;

/// The same description for both ways to begin an upload, which have no type in common.
macro_rules! described {
    ($request:expr) => {
        $request
            .content_type("text/x-test")
            .cache_control("max-age=60")
            .content_disposition("attachment; filename=\"a b.txt\"")
            .content_encoding("br")
            .content_language("de")
            .expires(DateTime::from_secs(EXPIRES))
            .website_redirect_location("/elsewhere")
            .storage_class(StorageClass::StandardIa)
            .metadata("colour", "blue")
            .metadata("empty", "")
            .tagging("a=b&c%20d=e")
    };
}

/// What [`described`] says, in the words of [`seen`].
fn wanted() -> BTreeMap<&'static str, String> {
    [
        ("content type", "text/x-test"),
        ("cache control", "max-age=60"),
        ("content disposition", "attachment; filename=\"a b.txt\""),
        ("content encoding", "br"),
        ("content language", "de"),
        ("expiry", "Tue, 01 Jan 2030 00:00:00 GMT"),
        ("website redirect", "/elsewhere"),
        ("storage class", "STANDARD_IA"),
        ("metadata", "colour=blue"),
        ("empty metadata", "yes"),
        ("tags", "a=b&c d=e"),
    ]
    .map(|(what, value)| (what, value.to_owned()))
    .into()
}

pub async fn of_a_simple_copy(server: Server) -> Finding {
    let world = server.world().await;
    let put = described!(world.client.put_object().bucket(&world.object).key(KEY));
    put.body(ByteStream::from_static(b"content")).send().await.unwrap();
    comes_along(&world, b"content").await
}

pub async fn of_a_copy_in_parts(server: Server) -> Finding {
    let world = server.world().await;
    let parts = [vec![b'a'; 6 * MIB], vec![b'b'; MIB]];
    let create = described!(world.client.create_multipart_upload());
    world.put_in_parts(create, KEY, &parts).await;
    comes_along(&world, &parts.concat()).await
}

/// Moves the object, and compares it with its copy.
async fn comes_along(world: &TestStorage, content: &[u8]) -> Finding {
    let source = seen(world, Side::Object).await;
    assert_eq!(recycle(world, &Script::default()).await, Ok(Outcome::Moved));
    assert!(world.get(Side::Object, KEY).await.is_none());
    assert!(world.get(Side::Recycle, KEY).await.unwrap() == content, "the content is another");
    let copy = seen(world, Side::Recycle).await;
    let differs = |one: &BTreeMap<_, String>, other: &BTreeMap<_, String>| {
        let keys = wanted().into_keys().filter(|what| one.get(what) != other.get(what));
        keys.collect::<Vec<_>>()
    };
    let not_kept = differs(&wanted(), &source);
    let lost = differs(&source, &copy);
    let mut follows = Vec::new();
    if !not_kept.is_empty() {
        follows.push(format!("the server itself does not keep: {}", not_kept.join(", ")));
    }
    if !lost.is_empty() {
        follows.push(format!("its copies lose: {}", lost.join(", ")));
    }
    if follows.is_empty() { Finding::Passed } else { Finding::Cannot(follows.join("; ")) }
}

/// What the server says about the object under `KEY`.
async fn seen(world: &TestStorage, side: Side) -> BTreeMap<&'static str, String> {
    let head = world.client.head_object().bucket(world.bucket(side)).key(KEY).send().await.unwrap();
    let tags = world.client.get_object_tagging().bucket(world.bucket(side)).key(KEY).send().await;
    let mut tags: Vec<_> = tags.map(|tags| tags.tag_set).unwrap_or_default();
    tags.sort_by(|one, other| one.key().cmp(other.key()));
    let tags: Vec<_> = tags.iter().map(|tag| format!("{}={}", tag.key(), tag.value())).collect();
    let mut metadata = head.metadata.unwrap_or_default();
    metadata.remove(NOTE);
    let empty = metadata.remove("empty").filter(String::is_empty).map(|_| "yes".to_owned());
    let metadata: BTreeMap<_, _> = metadata.into_iter().collect();
    let metadata: Vec<_> = metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    [
        ("content type", head.content_type),
        ("cache control", head.cache_control),
        ("content disposition", head.content_disposition),
        ("content encoding", head.content_encoding),
        ("content language", head.content_language),
        ("expiry", head.expires_string),
        ("website redirect", head.website_redirect_location),
        ("storage class", head.storage_class.map(|class| class.as_str().to_owned())),
        ("metadata", Some(metadata.join("&"))),
        ("empty metadata", empty),
        ("tags", Some(tags.join("&"))),
    ]
    .into_iter()
    .filter_map(|(what, value)| Some((what, value?)))
    .collect()
}
