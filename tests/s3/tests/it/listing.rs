//! Listings: prefixes, delimiters, pages, versions.

use crate::client::{Answer, World};

async fn filled(keys: &[&str]) -> World {
    let world = World::new().await;
    for key in keys {
        world.control.put("source", key, "x").expect("the bucket is there");
    }
    world
}

async fn list(world: &World, query: &[(&str, &str)]) -> Answer {
    let start = world.ask("GET", "/source").query("list-type", "2");
    query.iter().fold(start, |ask, (name, value)| ask.query(name, value)).send().await
}

/// Keys and common prefixes of all pages.
async fn pages(world: &World, query: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut prefixes) = (Vec::new(), Vec::new());
    let mut token: Option<String> = None;
    loop {
        let mut query = query.to_vec();
        query.extend(token.as_deref().map(|token| ("continuation-token", token)));
        let page = list(world, &query).await;
        let owned = |it: &&str| (*it).to_owned();
        keys.extend(page.elements("Key").iter().map(owned));
        let common = page.elements("CommonPrefixes");
        let inner = |it: &&str| it.replace("<Prefix>", "").replace("</Prefix>", "");
        prefixes.extend(common.iter().map(inner));
        assert_eq!(
            page.element("IsTruncated") == Some("true"),
            page.element("NextContinuationToken").is_some()
        );
        match page.element("NextContinuationToken") {
            Some(next) => token = Some(next.to_owned()),
            None => return (keys, prefixes),
        }
    }
}

#[tokio::test]
async fn prefix_delimiter_and_start_are_heeded() {
    let world = filled(&["a", "b/1", "b/2", "b/c/3", "d"]).await;
    assert_eq!(list(&world, &[]).await.elements("Key"), ["a", "b/1", "b/2", "b/c/3", "d"]);
    assert_eq!(list(&world, &[("prefix", "b/")]).await.elements("Key"), ["b/1", "b/2", "b/c/3"]);
    assert_eq!(list(&world, &[("start-after", "b/2")]).await.elements("Key"), ["b/c/3", "d"]);
    let (keys, prefixes) = pages(&world, &[("delimiter", "/")]).await;
    assert_eq!((keys, prefixes), (vec!["a".into(), "d".into()], vec!["b/".into()]));
    let (keys, prefixes) = pages(&world, &[("delimiter", "/"), ("prefix", "b/")]).await;
    assert_eq!((keys, prefixes), (vec!["b/1".into(), "b/2".into()], vec!["b/c/".into()]));
}

#[tokio::test]
async fn pages_join_without_gap_or_overlap() {
    let world = filled(&["a", "b/1", "b/2", "c", "я/1", "я/2", "🎉"]).await;
    let all = world.control.keys("source");
    for size in ["1", "2", "3", "1000"] {
        let (keys, _) = pages(&world, &[("max-keys", size)]).await;
        assert_eq!(keys, all, "by {size}");
        let (keys, prefixes) = pages(&world, &[("max-keys", size), ("delimiter", "/")]).await;
        assert_eq!(keys, ["a", "c", "🎉"], "by {size}");
        assert_eq!(prefixes, ["b/", "я/"], "by {size}");
    }
    let page = list(&world, &[("max-keys", "2")]).await;
    assert_eq!((page.element("KeyCount"), page.element("MaxKeys")), (Some("2"), Some("2")));
    assert_eq!(list(&world, &[("max-keys", "0")]).await.element("IsTruncated"), Some("false"));
    let bad = list(&world, &[("continuation-token", "zz")]).await;
    assert_eq!(bad.refusal(), (400, "InvalidArgument"));
}

#[tokio::test]
async fn keys_are_url_encoded_if_asked_for() {
    let world = filled(&["a b+c/я"]).await;
    let page = list(&world, &[("encoding-type", "url")]).await;
    assert_eq!(page.elements("Key"), ["a+b%2Bc/%D1%8F"]);
}

#[tokio::test]
async fn the_first_version_of_listing_works_too() {
    let world = filled(&["a", "b/1", "b/2", "c"]).await;
    let page = world.ask("GET", "/source").query("delimiter", "/").query("max-keys", "2");
    let page = page.send().await;
    assert_eq!(page.elements("Key"), ["a"]);
    assert_eq!(page.element("NextMarker"), Some("b/"));
    let rest = world.ask("GET", "/source").query("delimiter", "/").query("marker", "b/");
    let rest = rest.send().await;
    assert_eq!(rest.elements("Key"), ["c"]);
    assert!(rest.elements("CommonPrefixes").is_empty());
    let flat = world.ask("GET", "/source").query("marker", "b/1").send().await;
    assert_eq!(flat.elements("Key"), ["b/2", "c"]);
}

#[tokio::test]
async fn the_storage_class_of_a_put_and_of_a_copy_is_shown() {
    let world = World::new().await;
    world.ask("PUT", "/source/a").header("x-amz-storage-class", "STANDARD_IA").body("x").send().await;
    world.copy("source/a", "/source/b").header("x-amz-storage-class", "GLACIER_IR").send().await;
    world.copy("source/a", "/source/c").send().await;
    let listed = world.ask("GET", "/source").query("list-type", "2").send().await;
    assert_eq!(listed.elements("StorageClass"), ["STANDARD_IA", "GLACIER_IR", "STANDARD"]);
    for (path, class) in
        [("/source/a", Some("STANDARD_IA")), ("/source/b", Some("GLACIER_IR")), ("/source/c", None)]
    {
        assert_eq!(world.head(path).await.header("x-amz-storage-class"), class);
    }
}
