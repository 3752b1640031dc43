//! Multipart uploads and part copies.

use recycler_test_s3::Options;

use crate::client::{Answer, Request, World, hex};
use md5::{Digest, Md5};
use std::fmt::Write as _;

const MIB: usize = 1 << 20;

async fn small() -> World {
    World::with(Options { min_part_size: 5, ..Options::default() }).await
}

async fn create(world: &World, path: &str) -> String {
    let created = world.ask("POST", path).query("uploads", "");
    let created = created.header("content-type", "text/plain").header("x-amz-tagging", "k=v");
    let created = created.send().await;
    created.element("UploadId").expect("an id").to_owned()
}

fn part(world: &World, path: &str, id: &str, number: usize) -> Request {
    let ask = world.ask("PUT", path).query("uploadId", id);
    ask.query("partNumber", &number.to_string())
}

fn complete(world: &World, path: &str, id: &str, parts: &[(usize, &str)]) -> Request {
    let mut body = String::from("<CompleteMultipartUpload>");
    for (number, etag) in parts {
        let number = format!("<PartNumber>{number}</PartNumber>");
        let _ = write!(body, "<Part>{number}<ETag>{etag}</ETag></Part>");
    }
    body.push_str("</CompleteMultipartUpload>");
    world.ask("POST", path).query("uploadId", id).body(body)
}

async fn uploaded(world: &World, path: &str, bodies: &[&str]) -> Answer {
    let id = create(world, path).await;
    let mut parts = Vec::new();
    for (number, body) in (1..).zip(bodies) {
        let answer = part(world, path, &id, number).body(*body).send().await;
        parts.push((number, answer.etag().to_owned()));
    }
    let parts: Vec<_> = parts.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
    complete(world, path, &id, &parts).send().await
}

fn multipart_etag(bodies: &[&str]) -> String {
    let sums: Vec<u8> = bodies.iter().flat_map(|body| Md5::digest(body.as_bytes())).collect();
    format!("\"{}-{}\"", hex(&Md5::digest(sums)), bodies.len())
}

#[tokio::test]
async fn parts_become_one_object_with_the_etag_of_parts() {
    let world = small().await;
    let bodies = ["first", "second", "3"];
    let done = uploaded(&world, "/source/a", &bodies).await;
    let etag = multipart_etag(&bodies);
    assert_eq!((done.status, done.element("ETag")), (200, Some(etag.as_str())));
    let whole = world.get("/source/a").await;
    assert_eq!((whole.text(), whole.etag()), ("firstsecond3", etag.as_str()));
    assert_eq!(whole.header("content-type"), Some("text/plain"));
    assert_eq!(whole.header("x-amz-tagging-count"), Some("1"));
    let across = world.ask("GET", "/source/a").header("range", "bytes=3-7").send().await;
    assert_eq!(across.text(), "stsec");
}

#[tokio::test]
async fn a_part_can_be_read_alone() {
    let world = small().await;
    uploaded(&world, "/source/a", &["first", "second", "3"]).await;
    for method in ["GET", "HEAD"] {
        let ask = |number: &str| world.ask(method, "/source/a").query("partNumber", number).send();
        let second = ask("2").await;
        assert_eq!(second.header("content-length"), Some("6"));
        assert_eq!(second.header("content-range"), Some("bytes 5-10/12"));
        assert_eq!(second.header("x-amz-mp-parts-count"), Some("3"));
        assert_eq!(ask("4").await.status, 416);
    }
    world.put("/source/plain", "x").await;
    let plain = world.ask("HEAD", "/source/plain").query("partNumber", "1").send().await;
    assert_eq!(plain.header("x-amz-mp-parts-count"), None);
    assert_eq!(plain.header("content-length"), Some("1"));
}

#[tokio::test]
async fn attributes_tell_size_etag_and_number_of_parts() {
    let world = small().await;
    uploaded(&world, "/source/a", &["first", "second"]).await;
    let ask = world.ask("GET", "/source/a").query("attributes", "");
    let ask = ask.header("x-amz-object-attributes", "ETag,ObjectSize,ObjectParts,StorageClass");
    let answer = ask.send().await;
    assert_eq!(answer.element("ObjectSize"), Some("11"), "{}", answer.text());
    assert_eq!(answer.element("StorageClass"), Some("STANDARD"));
    assert_eq!(answer.element("PartsCount"), Some("2"));
    assert!(answer.element("ETag").is_some_and(|etag| etag.contains("-2")));
}

#[tokio::test]
async fn a_simple_copy_of_a_multipart_object_has_a_plain_etag() {
    let world = small().await;
    uploaded(&world, "/source/a", &["first", "second"]).await;
    let copied = world.copy("source/a", "/target/a").send().await;
    let plain = format!("\"{}\"", hex(&Md5::digest(b"firstsecond")));
    assert_eq!(copied.element("ETag"), Some(plain.as_str()));
    let head = world.ask("HEAD", "/target/a").query("partNumber", "1").send().await;
    assert_eq!((head.etag(), head.header("x-amz-mp-parts-count")), (plain.as_str(), None));
}

#[tokio::test]
async fn parts_can_be_copied_by_range() {
    let world = small().await;
    world.put("/source/a", "0123456789").await;
    let id = create(&world, "/target/a").await;
    let copy = |number: usize, range: &str| {
        let ask = part(&world, "/target/a", &id, number).header("x-amz-copy-source", "source/a");
        ask.header("x-amz-copy-source-range", range)
    };
    let one = copy(1, "bytes=0-5").send().await;
    let two = copy(2, "bytes=6-9").send().await;
    let etags = [one.element("ETag").expect("one"), two.element("ETag").expect("two")];
    let done = complete(&world, "/target/a", &id, &[(1, etags[0]), (2, etags[1])]).send().await;
    assert_eq!(done.element("ETag"), Some(multipart_etag(&["012345", "6789"]).as_str()));
    assert_eq!(world.get("/target/a").await.text(), "0123456789");
}

#[tokio::test]
async fn copying_a_part_has_conditions_and_limits() {
    let options = Options { min_part_size: 1, max_copy_size: 8, ..Options::default() };
    let world = World::with(options).await;
    let put = world.put("/source/a", "0123456789").await;
    let id = create(&world, "/target/a").await;
    let copy = |from: &str| part(&world, "/target/a", &id, 1).header("x-amz-copy-source", from);
    let ranged = |range: &str| copy("source/a").header("x-amz-copy-source-range", range);
    assert_eq!(copy("source/a").send().await.refusal(), (400, "InvalidRequest"));
    assert_eq!(ranged("bytes=0-7").send().await.status, 200);
    assert_eq!(ranged("bytes=5-10").send().await.refusal(), (400, "InvalidArgument"));
    assert_eq!(ranged("bytes=5-").send().await.refusal(), (400, "InvalidArgument"));
    assert_eq!(copy("source/none").send().await.refusal(), (404, "NoSuchKey"));
    let when = |etag: &str| ranged("bytes=0-1").header("x-amz-copy-source-if-match", etag);
    assert_eq!(when(put.etag()).send().await.status, 200);
    assert_eq!(when("\"other\"").send().await.refusal(), (412, "PreconditionFailed"));
}

#[tokio::test]
async fn an_object_above_the_limit_cannot_be_copied_at_once() {
    let options = Options { min_part_size: 1, max_copy_size: 10, ..Options::default() };
    let world = World::with(options).await;
    uploaded(&world, "/source/a", &["first", "second"]).await;
    assert_eq!(world.copy("source/a", "/target/a").send().await.refusal(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn five_gib_take_no_more_memory_than_one_part() {
    let world = World::new().await;
    world.control.put("source", "seed", vec![0; 64 * MIB]).expect("the bucket is there");
    let id = create(&world, "/source/big").await;
    let mut etags = Vec::new();
    for number in 1..=81 {
        let ask = part(&world, "/source/big", &id, number);
        let copied = ask.header("x-amz-copy-source", "source/seed").send().await;
        etags.push((number, copied.element("ETag").expect("an ETag").to_owned()));
    }
    let parts: Vec<_> = etags.iter().map(|(number, etag)| (*number, etag.as_str())).collect();
    assert_eq!(complete(&world, "/source/big", &id, &parts).send().await.status, 200);
    let head = world.head("/source/big").await;
    assert_eq!(head.header("content-length"), Some((81 * 64 * MIB).to_string().as_str()));
    let refused = world.copy("source/big", "/target/big").send().await;
    assert_eq!(refused.refusal(), (400, "InvalidRequest"));
}

#[tokio::test]
async fn wrong_parts_are_refused() {
    let world = small().await;
    let id = create(&world, "/source/a").await;
    let one = part(&world, "/source/a", &id, 1).body("tiny").send().await;
    let two = part(&world, "/source/a", &id, 2).body("second").send().await;
    let complete = |parts: &[(usize, &str)]| complete(&world, "/source/a", &id, parts).send();
    let (one, two) = (one.etag(), two.etag());
    assert_eq!(complete(&[(1, one), (2, two)]).await.refusal(), (400, "EntityTooSmall"));
    assert_eq!(complete(&[(2, two), (1, one)]).await.refusal(), (400, "InvalidPartOrder"));
    assert_eq!(complete(&[(1, two)]).await.refusal(), (400, "InvalidPart"));
    assert_eq!(complete(&[(3, two)]).await.refusal(), (400, "InvalidPart"));
    assert_eq!(complete(&[]).await.refusal(), (400, "MalformedXML"));
    assert_eq!(complete(&[(1, one)]).await.status, 200, "the last part may be small");
    assert_eq!(complete(&[(1, one)]).await.refusal(), (404, "NoSuchUpload"));
    let zero = part(&world, "/source/a", "none", 0).send().await;
    assert_eq!(zero.refusal(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn completing_can_be_conditional_and_a_failed_condition_keeps_the_upload() {
    let world = small().await;
    world.put("/source/a", "there").await;
    let id = create(&world, "/source/a").await;
    let one = part(&world, "/source/a", &id, 1).body("new").send().await;
    let with = |name: &str, value: &str| {
        complete(&world, "/source/a", &id, &[(1, one.etag())]).header(name, value).send()
    };
    assert_eq!(with("if-none-match", "*").await.refusal(), (412, "PreconditionFailed"));
    assert_eq!(with("if-match", "\"other\"").await.refusal(), (412, "PreconditionFailed"));
    let etag = world.head("/source/a").await.etag().to_owned();
    assert_eq!(with("if-match", &etag).await.status, 200);
    assert_eq!(world.get("/source/a").await.text(), "new");
}

#[tokio::test]
async fn uploads_and_parts_are_listed_until_aborted() {
    let world = small().await;
    let id = create(&world, "/source/dir/a").await;
    let other = create(&world, "/source/dir/a").await;
    create(&world, "/source/z").await;
    for number in [1, 2, 3] {
        part(&world, "/source/dir/a", &id, number).body("tiny!").send().await;
    }
    let list = || world.ask("GET", "/source/dir/a").query("uploadId", &id);
    let page = list().query("max-parts", "2").send().await;
    assert_eq!(page.elements("PartNumber"), ["1", "2"]);
    assert_eq!(page.element("IsTruncated"), Some("true"));
    let page = list().query("part-number-marker", "2").send().await;
    assert_eq!(page.elements("PartNumber"), ["3"]);

    let uploads = || world.ask("GET", "/source").query("uploads", "");
    assert_eq!(uploads().send().await.elements("Key"), ["dir/a", "dir/a", "z"]);
    assert_eq!(uploads().query("prefix", "z").send().await.elements("Key"), ["z"]);
    let first = uploads().query("max-uploads", "1").send().await;
    assert_eq!(first.element("IsTruncated"), Some("true"));
    let marker = first.element("NextUploadIdMarker").expect("a marker");
    let rest = uploads().query("key-marker", "dir/a").query("upload-id-marker", marker);
    assert_eq!(rest.send().await.elements("Key"), ["dir/a", "z"]);
    let folded = uploads().query("delimiter", "/").send().await;
    assert_eq!(folded.elements("Key"), ["z"]);

    let abort = || world.ask("DELETE", "/source/dir/a").query("uploadId", &other).send();
    assert_eq!(abort().await.status, 204);
    assert_eq!(abort().await.refusal(), (404, "NoSuchUpload"));
    assert_eq!(uploads().send().await.elements("Key"), ["dir/a", "z"]);
}
