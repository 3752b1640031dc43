//! CopyObject: what a copy keeps, what it is conditional on, what it refuses.

use recycler_test_s3::{Conditions, Options};

use crate::client::World;

const PAST: &str = "Wed, 21 Oct 2015 07:28:00 GMT";
const FUTURE: &str = "Wed, 21 Oct 2099 07:28:00 GMT";

#[tokio::test]
async fn a_copy_has_the_source_s_headers_tags_and_etag_but_not_its_class() {
    let world = World::new().await;
    let put = world.ask("PUT", "/source/a").body("hello");
    let put = put
        .header("content-type", "text/plain")
        .header("content-disposition", "inline")
        .header("x-amz-meta-owner", "crm")
        .header("x-amz-storage-class", "STANDARD_IA")
        .header("x-amz-tagging", "k=v");
    let put = put.send().await;
    let copied = world.copy("source/a", "/target/b").send().await;
    assert_eq!((copied.status, copied.element("ETag")), (200, Some(put.etag())));
    let modified = copied.element("LastModified").expect("a time");
    let fraction = modified.split_once('.').map(|(_, fraction)| fraction);
    assert!(fraction.is_none_or(|it| it == "000Z"), "whole seconds: {modified}");
    let copy = world.get("/target/b").await;
    assert_eq!(copy.text(), "hello");
    assert_eq!(copy.header("content-type"), Some("text/plain"));
    assert_eq!(copy.header("content-disposition"), Some("inline"));
    assert_eq!(copy.header("x-amz-meta-owner"), Some("crm"));
    assert_eq!(copy.header("x-amz-storage-class"), None);
    assert_eq!(copy.header("x-amz-tagging-count"), Some("1"));

    let classed = world.copy("source/a", "/target/c").header("x-amz-storage-class", "GLACIER_IR");
    assert_eq!(classed.send().await.status, 200);
    let class = world.head("/target/c").await;
    assert_eq!(class.header("x-amz-storage-class"), Some("GLACIER_IR"));
}

#[tokio::test]
async fn the_replace_directives_replace() {
    let world = World::new().await;
    let put = world.ask("PUT", "/source/a").body("hello").header("x-amz-meta-owner", "crm");
    put.header("x-amz-tagging", "k=v").header("content-type", "text/plain").send().await;
    let copy = world.copy("source/a", "/target/a").header("x-amz-meta-moved", "yes");
    let copy = copy.header("x-amz-metadata-directive", "REPLACE");
    let copy = copy.header("x-amz-tagging-directive", "REPLACE").header("x-amz-tagging", "n=1&m=2");
    assert_eq!(copy.send().await.status, 200);
    let copy = world.get("/target/a").await;
    assert_eq!(copy.header("x-amz-meta-owner"), None);
    assert_eq!(copy.header("x-amz-meta-moved"), Some("yes"));
    assert_eq!(copy.header("content-type"), Some("binary/octet-stream"));
    assert_eq!(copy.header("x-amz-tagging-count"), Some("2"));
}

#[tokio::test]
async fn without_the_directive_new_headers_are_not_taken() {
    let world = World::new().await;
    world.put("/source/a", "hello").await;
    let copy = world.copy("source/a", "/target/a").header("x-amz-meta-moved", "yes");
    assert_eq!(copy.header("x-amz-tagging", "n=1").send().await.status, 200);
    let copy = world.get("/target/a").await;
    assert_eq!(copy.header("x-amz-meta-moved"), None);
    assert_eq!(copy.header("x-amz-tagging-count"), None);
}

#[tokio::test]
async fn conditions_on_the_source_hold() {
    let world = World::new().await;
    let put = world.put("/source/a", "hello").await;
    let cases = [
        ("x-amz-copy-source-if-match", put.etag(), 200),
        ("x-amz-copy-source-if-match", "\"other\"", 412),
        ("x-amz-copy-source-if-none-match", put.etag(), 412),
        ("x-amz-copy-source-if-none-match", "\"other\"", 200),
        ("x-amz-copy-source-if-modified-since", PAST, 200),
        ("x-amz-copy-source-if-modified-since", FUTURE, 412),
        ("x-amz-copy-source-if-unmodified-since", PAST, 412),
        ("x-amz-copy-source-if-unmodified-since", FUTURE, 200),
    ];
    for (name, value, status) in cases {
        let answer = world.copy("source/a", "/target/a").header(name, value).send().await;
        assert_eq!(answer.status, status, "{name}: {value}");
    }
    let both = world.copy("source/a", "/target/a");
    let both = both.header("x-amz-copy-source-if-match", put.etag());
    let both = both.header("x-amz-copy-source-if-unmodified-since", PAST).send().await;
    assert_eq!(both.status, 200, "a matching ETag outranks the time");
}

#[tokio::test]
async fn conditions_on_the_destination_hold() {
    let world = World::new().await;
    world.put("/source/a", "new").await;
    let fresh = || world.copy("source/a", "/target/a").header("if-none-match", "*").send();
    assert_eq!(fresh().await.status, 200);
    assert_eq!(fresh().await.refusal(), (412, "PreconditionFailed"));
    let over = |key: &str, etag: &str| world.copy("source/a", key).header("if-match", etag).send();
    assert_eq!(over("/target/none", "\"any\"").await.refusal(), (404, "NoSuchKey"));
    assert_eq!(over("/target/a", "\"other\"").await.refusal(), (412, "PreconditionFailed"));
    let etag = world.head("/target/a").await.etag().to_owned();
    assert_eq!(over("/target/a", &etag).await.status, 200);
}

#[tokio::test]
async fn a_server_can_ignore_or_refuse_the_newer_conditions() {
    for (conditions, copy, delete) in [(Conditions::Ignore, 200, 204), (Conditions::Refuse, 501, 501)] {
        let world = World::with(Options { conditions, ..Options::default() }).await;
        world.put("/source/a", "new").await;
        world.put("/target/a", "old").await;
        let copied = world.copy("source/a", "/target/a").header("if-none-match", "*").send().await;
        assert_eq!(copied.status, copy);
        let refused = world.delete_many("target", &[("a", Some("other"))]).send().await;
        let honoured = (refused.status, refused.elements("Deleted").len());
        assert_eq!(honoured, if copy == 200 { (200, 1) } else { (501, 0) });
        let deleted = world.ask("DELETE", "/source/a").header("if-match", "\"other\"").send().await;
        assert_eq!(deleted.status, delete);
        let source = world.copy("source/a", "/target/b");
        let source = source.header("x-amz-copy-source-if-match", "\"other\"").send().await;
        assert!(matches!(source.status, 404 | 412), "conditions on the source always hold");
        let put = world.ask("PUT", "/target/c").header("if-match", "\"x\"").send().await;
        assert_eq!(put.status, 404, "and so do those of a put");
    }
}

#[tokio::test]
async fn a_missing_source_or_bucket_is_named() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let copy = |from: &'static str, to: &'static str| world.copy(from, to).send();
    assert_eq!(copy("source/none", "/target/a").await.refusal(), (404, "NoSuchKey"));
    assert_eq!(copy("nowhere/a", "/target/a").await.refusal(), (404, "NoSuchBucket"));
    assert_eq!(copy("source/a", "/nowhere/a").await.refusal(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn a_copy_onto_itself_has_to_change_something() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let onto = || world.copy("source/a", "/source/a");
    assert_eq!(onto().send().await.refusal(), (400, "InvalidRequest"));
    let changed = onto().header("x-amz-metadata-directive", "REPLACE").send().await;
    assert_eq!(changed.status, 200);
    let classed = onto().header("x-amz-storage-class", "STANDARD_IA").send().await;
    assert_eq!(classed.status, 200);
}

#[tokio::test]
async fn etags_can_be_made_opaque() {
    let world = World::with(Options { opaque_etags: true, ..Options::default() }).await;
    let put = world.put("/source/a", "x").await;
    let copied = world.copy("source/a", "/target/a").send().await;
    assert_eq!(copied.status, 200);
    assert_ne!(copied.element("ETag"), Some(put.etag()));
    assert_eq!(world.head("/source/a").await.etag(), put.etag());
}
