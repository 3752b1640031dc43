//! DeleteObject and DeleteObjects, with and without an ETag.

use crate::client::World;

#[tokio::test]
async fn deleting_what_is_not_there_succeeds() {
    let world = World::new().await;
    assert_eq!(world.delete("/source/none").await.status, 204);
    let many = world.delete_many("source", &[("none", None)]).send().await;
    assert_eq!((many.status, many.elements("Key")), (200, vec!["none"]));
    assert!(many.elements("Error").is_empty());
}

#[tokio::test]
async fn a_conditional_delete_deletes_only_what_it_names() {
    let world = World::new().await;
    let put = world.put("/source/a", "x").await;
    let delete = |etag: &str| world.ask("DELETE", "/source/a").header("if-match", etag).send();
    assert_eq!(delete("\"other\"").await.refusal(), (412, "PreconditionFailed"));
    assert_eq!(world.head("/source/a").await.status, 200);
    assert_eq!(delete(put.etag()).await.status, 204);
    assert_eq!(world.head("/source/a").await.status, 404);
    assert_eq!(delete(put.etag()).await.refusal(), (404, "NoSuchKey"));
    assert_eq!(delete("*").await.refusal(), (404, "NoSuchKey"));
    world.put("/source/a", "y").await;
    assert_eq!(delete("*").await.status, 204);
}

#[tokio::test]
async fn each_key_of_a_batch_has_its_own_condition() {
    let world = World::new().await;
    let put = world.put("/source/same", "x").await;
    let quoted = put.etag().replace('"', "&quot;");
    world.put("/source/bare", "x").await;
    world.put("/source/changed", "y").await;
    world.put("/source/any", "z").await;
    let bare = put.etag().trim_matches('"').to_owned();
    let keys = [
        ("same", Some(quoted.as_str())),
        ("bare", Some(&bare)),
        ("changed", Some(&bare)),
        ("gone", Some(&bare)),
        ("any", Some("*")),
        ("absent", None),
    ];
    let answer = world.delete_many("source", &keys).send().await;
    assert_eq!(answer.status, 200);
    let deleted = answer.elements("Deleted");
    let named = |key: &str| format!("<Key>{key}</Key>");
    for key in ["same", "bare", "any", "absent"] {
        assert!(deleted.iter().any(|it| it.contains(&named(key))), "{key}");
    }
    let errors = answer.elements("Error");
    assert_eq!(errors.len(), 2);
    assert!(errors[0].contains(&named("changed")) && errors[0].contains("PreconditionFailed"));
    assert!(errors[1].contains(&named("gone")) && errors[1].contains("NoSuchKey"));
    assert_eq!(world.control.keys("source"), ["changed"]);
}

#[tokio::test]
async fn a_batch_has_a_thousand_keys_at_most_and_one_at_least() {
    let world = World::new().await;
    let names: Vec<String> = (0..1001).map(|it| format!("k{it}")).collect();
    let keys: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    let over = world.delete_many("source", &keys).send().await;
    assert_eq!(over.refusal(), (400, "MalformedXML"));
    assert_eq!(world.delete_many("source", &keys[..1000]).send().await.status, 200);
    assert_eq!(world.delete_many("source", &[]).send().await.refusal(), (400, "MalformedXML"));
}

#[tokio::test]
async fn a_quiet_batch_tells_only_what_went_wrong() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let body = "<Delete><Quiet>true</Quiet><Object><Key>a</Key></Object>\
                <Object><Key>b</Key><ETag>other</ETag></Object></Delete>";
    let answer = world.ask("POST", "/source").query("delete", "").body(body).send().await;
    assert!(answer.elements("Deleted").is_empty());
    assert_eq!(answer.elements("Key"), ["b"]);
    assert!(world.control.keys("source").is_empty());
}

#[tokio::test]
async fn a_key_too_long_fails_alone() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    let long = "k".repeat(1025);
    let answer = world.delete_many("source", &[("a", None), (&long, None)]).send().await;
    assert_eq!((answer.status, answer.element("Code")), (200, Some("KeyTooLongError")));
    assert!(world.control.keys("source").is_empty());
}
