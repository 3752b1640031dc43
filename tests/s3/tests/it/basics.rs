//! Buckets, objects, ranges and conditions of single requests.

use recycler_test_s3::Operation;

use crate::client::World;

const MD5_OF_HELLO: &str = "\"5d41402abc4b2a76b9719d911017c592\"";

#[tokio::test]
async fn what_was_put_comes_back_with_its_headers() {
    let world = World::new().await;
    let put = world.ask("PUT", "/source/a").body("hello");
    let put = put
        .header("cache-control", "no-store")
        .header("content-disposition", "attachment; filename=\"a.txt\"")
        .header("content-encoding", "identity")
        .header("content-language", "ru")
        .header("content-type", "text/plain; charset=utf-8")
        .header("expires", "Wed, 21 Oct 2026 07:28:00 GMT")
        .header("x-amz-meta-owner", "crm")
        .header("x-amz-storage-class", "STANDARD_IA")
        .header("x-amz-tagging", "kind=scan&note=a+b%26c");
    let put = put.send().await;
    assert_eq!((put.status, put.etag()), (200, MD5_OF_HELLO));

    for answer in [world.get("/source/a").await, world.head("/source/a").await] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-length"), Some("5"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let disposition = answer.header("content-disposition");
        assert_eq!(disposition, Some("attachment; filename=\"a.txt\""));
        assert_eq!(answer.header("content-encoding"), Some("identity"));
        assert_eq!(answer.header("content-language"), Some("ru"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("expires"), Some("Wed, 21 Oct 2026 07:28:00 GMT"));
        assert_eq!(answer.header("x-amz-meta-owner"), Some("crm"));
        assert_eq!(answer.header("x-amz-storage-class"), Some("STANDARD_IA"));
        assert_eq!(answer.etag(), MD5_OF_HELLO);
        assert!(answer.header("last-modified").is_some_and(|it| it.ends_with(" GMT")));
    }
    assert_eq!(world.get("/source/a").await.header("x-amz-tagging-count"), Some("2"));
    let tags = world.ask("GET", "/source/a").query("tagging", "").send().await;
    assert_eq!(tags.elements("Value"), ["scan", "a b&amp;c"]);
}

#[tokio::test]
async fn tags_can_be_replaced_and_removed() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let body = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    let put = world.ask("PUT", "/source/a").query("tagging", "").body(body).send().await;
    assert_eq!(put.status, 200, "{}", put.text());
    let tags = world.ask("GET", "/source/a").query("tagging", "").send().await;
    assert_eq!((tags.elements("Key"), tags.elements("Value")), (vec!["k"], vec!["v"]));
    let gone = world.ask("DELETE", "/source/a").query("tagging", "").send().await;
    assert_eq!(gone.status, 204);
    let tags = world.ask("GET", "/source/a").query("tagging", "").send().await;
    assert!(tags.elements("Key").is_empty());
}

#[tokio::test]
async fn ranges_are_cut_out() {
    let world = World::new().await;
    world.put("/source/a", "0123456789").await;
    let range = |range: &str| world.ask("GET", "/source/a").header("range", range).send();
    let answer = range("bytes=2-4").await;
    assert_eq!((answer.status, answer.text()), (206, "234"));
    assert_eq!(answer.header("content-range"), Some("bytes 2-4/10"));
    assert_eq!(range("bytes=-3").await.text(), "789");
    assert_eq!(range("bytes=8-").await.text(), "89");
    assert_eq!(range("bytes=10-").await.refusal(), (416, "InvalidRange"));
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let world = World::new().await;
    assert_eq!(world.get("/source/none").await.refusal(), (404, "NoSuchKey"));
    let head = world.head("/source/none").await;
    assert_eq!((head.status, head.body.len()), (404, 0));
    assert_eq!(world.get("/nowhere/a").await.refusal(), (404, "NoSuchBucket"));
    assert_eq!(world.put("/nowhere/a", "x").await.refusal(), (404, "NoSuchBucket"));
    assert_eq!(world.delete("/nowhere/a").await.refusal(), (404, "NoSuchBucket"));
    assert_eq!(world.get("/nowhere").await.refusal(), (404, "NoSuchBucket"));
}

#[tokio::test]
async fn reads_can_be_conditional() {
    let world = World::new().await;
    world.put("/source/a", "hello").await;
    let ask = |name: &str, value: &str| world.ask("GET", "/source/a").header(name, value).send();
    assert_eq!(ask("if-match", MD5_OF_HELLO).await.status, 200);
    assert_eq!(ask("if-match", "\"other\"").await.refusal(), (412, "PreconditionFailed"));
    let same = ask("if-none-match", MD5_OF_HELLO).await;
    assert_eq!((same.status, same.body.len(), same.etag()), (304, 0, MD5_OF_HELLO));
    let past = "Wed, 21 Oct 2015 07:28:00 GMT";
    assert_eq!(ask("if-modified-since", past).await.status, 200);
    assert_eq!(ask("if-unmodified-since", past).await.status, 412);
}

#[tokio::test]
async fn keys_are_kept_byte_for_byte() {
    let world = World::new().await;
    let longest = "я".repeat(512);
    let keys = [
        "a//b",
        "/lead",
        "//",
        "..",
        "../up",
        "a/../b",
        "./.",
        "a b",
        "a+b",
        "a%2Fb",
        "a%20b",
        "файл 1.pdf",
        "🎉/🎉",
        "a?b&c=d#e",
        "a\\b",
        "<&>\"'",
        "tail/",
        &longest,
    ];
    for key in keys {
        let put = world.put(&format!("/source/{key}"), key).await;
        assert_eq!(put.status, 200, "{key}");
        let copied = world.copy(&format!("source/{key}"), &format!("/target/{key}")).send().await;
        assert_eq!(copied.status, 200, "{key}: {}", copied.text());
    }
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    assert_eq!(world.control.keys("source"), sorted);
    assert_eq!(world.control.keys("target"), sorted);
    for key in keys {
        assert_eq!(world.get(&format!("/target/{key}")).await.text(), key);
    }
    let too_long = format!("/source/{}", "я".repeat(513));
    assert_eq!(world.put(&too_long, "x").await.refusal(), (400, "KeyTooLongError"));
}

#[tokio::test]
async fn a_wrong_signature_or_none_is_refused() {
    let world = World::new().await;
    let wrong = world.ask("PUT", "/source/a").secret(Some("guess")).send().await;
    assert_eq!(wrong.refusal(), (403, "SignatureDoesNotMatch"));
    let none = world.ask("PUT", "/source/a").secret(None).send().await;
    assert_eq!(none.refusal(), (403, "AccessDenied"));
    assert!(world.control.keys("source").is_empty());
    assert_eq!(world.control.counts().of(Operation::Refused), 2);
}

#[tokio::test]
async fn a_body_is_checked_against_the_sums_sent_with_it() {
    let world = World::new().await;
    let put =
        |name: &str, value: &str| world.ask("PUT", "/source/a").header(name, value).body("hello").send();
    assert_eq!(put("content-md5", "XUFAKrxLKna5cZ2REBfFkg==").await.status, 200);
    let wrong = put("content-md5", "XUFAKrxLKna5cZ2REBfFkQ==").await;
    assert_eq!(wrong.refusal(), (400, "BadDigest"));
    assert_eq!(put("x-amz-checksum-crc32", "AAAAAA==").await.refusal(), (400, "BadDigest"));
    let right = put("x-amz-checksum-crc32", "NhCmhg==").await;
    assert_eq!((right.status, right.header("x-amz-checksum-crc32")), (200, Some("NhCmhg==")));
    world.copy("source/a", "/target/a").send().await;
    let copy = world.ask("HEAD", "/target/a").header("x-amz-checksum-mode", "ENABLED").send().await;
    assert_eq!(copy.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
}

#[tokio::test]
async fn buckets_come_and_go() {
    let world = World::new().await;
    assert_eq!(world.put("/extra", "").await.status, 200);
    assert_eq!(world.put("/extra", "").await.refusal(), (409, "BucketAlreadyOwnedByYou"));
    assert_eq!(world.head("/extra").await.status, 200);
    assert_eq!(world.get("/").await.elements("Name"), ["extra", "source", "target"]);
    let location = world.ask("GET", "/extra").query("location", "").send().await;
    assert!(location.text().contains("LocationConstraint"), "{}", location.text());
    world.put("/extra/a", "x").await;
    assert_eq!(world.delete("/extra").await.refusal(), (409, "BucketNotEmpty"));
    world.delete("/extra/a").await;
    assert_eq!(world.delete("/extra").await.status, 204);
    assert_eq!(world.head("/extra").await.status, 404);
}

#[tokio::test]
async fn a_lifecycle_is_kept_as_it_was_given() {
    let world = World::new().await;
    let ask = |method: &str| world.ask(method, "/target").query("lifecycle", "");
    assert_eq!(ask("GET").send().await.refusal(), (404, "NoSuchLifecycleConfiguration"));
    let body = "<LifecycleConfiguration><Rule><ID>bin</ID><Status>Enabled</Status>\
                <Filter><Prefix></Prefix></Filter><Expiration><Days>30</Days></Expiration></Rule>\
                </LifecycleConfiguration>";
    assert_eq!(ask("PUT").body(body).send().await.status, 200);
    let kept = ask("GET").send().await;
    assert_eq!((kept.element("ID"), kept.element("Days")), (Some("bin"), Some("30")));
    assert_eq!(ask("DELETE").send().await.status, 204);
    assert_eq!(ask("GET").send().await.status, 404);
}

#[tokio::test]
async fn a_chunked_body_with_a_sum_behind_it_is_checked_and_unwrapped() {
    let world = World::new().await;
    let put = |sum: &str| {
        let body = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{sum}\r\n\r\n");
        let ask = world.ask("PUT", "/source/a").body(body);
        let ask = ask.header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        let ask = ask.header("x-amz-trailer", "x-amz-checksum-crc32");
        let ask = ask.header("x-amz-decoded-content-length", "5");
        ask.header("content-encoding", "gzip,aws-chunked").send()
    };
    assert_eq!(put("AAAAAA==").await.refusal(), (400, "BadDigest"));
    let right = put("NhCmhg==").await;
    assert_eq!((right.status, right.etag()), (200, MD5_OF_HELLO));
    assert_eq!(right.header("x-amz-checksum-crc32"), Some("NhCmhg=="));
    let got = world.get("/source/a").await;
    assert_eq!((got.text(), got.header("content-encoding")), ("hello", Some("gzip")));
}
