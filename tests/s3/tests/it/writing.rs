//! Conditions on writes.

use crate::client::World;

#[tokio::test]
async fn a_put_that_must_not_replace_does_not() {
    let world = World::new().await;
    let put = || world.ask("PUT", "/source/a").header("if-none-match", "*").body("x").send();
    assert_eq!(put().await.status, 200);
    assert_eq!(put().await.refusal(), (412, "PreconditionFailed"));
}

#[tokio::test]
async fn a_put_that_must_replace_one_version_replaces_only_that() {
    let world = World::new().await;
    let put = |etag: &str| world.ask("PUT", "/source/a").header("if-match", etag).body("2").send();
    assert_eq!(put("\"any\"").await.refusal(), (404, "NoSuchKey"));
    let first = world.put("/source/a", "1").await;
    assert_eq!(put("\"other\"").await.refusal(), (412, "PreconditionFailed"));
    assert_eq!(world.get("/source/a").await.text(), "1");
    assert_eq!(put(first.etag()).await.status, 200);
    assert_eq!(world.get("/source/a").await.text(), "2");
}

#[tokio::test]
async fn of_many_puts_at_once_that_must_not_replace_one_wins() {
    let world = World::new().await;
    let put = |body: String| world.ask("PUT", "/source/a").header("if-none-match", "*").body(body).send();
    let answers = futures_util::future::join_all((0..16).map(|it| put(it.to_string()))).await;
    let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses[0], 200);
    assert!(statuses[1..].iter().all(|status| *status == 412));
}
