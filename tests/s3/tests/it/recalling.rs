//! RestoreObject.

use crate::client::World;

const DAYS: &str = "<RestoreRequest><Days>3</Days></RestoreRequest>";

async fn archived() -> World {
    let world = World::new().await;
    world.ask("PUT", "/source/a").header("x-amz-storage-class", "GLACIER").body("x").send().await;
    world
}

async fn recall(world: &World, key: &str) -> (u16, String) {
    let answer = world.ask("POST", key).query("restore", "").body(DAYS).send().await;
    (answer.status, answer.element("Code").unwrap_or_default().to_owned())
}

#[tokio::test]
async fn what_is_in_an_archive_is_read_once_it_was_asked_for_and_came() {
    let world = archived().await;
    assert_eq!(world.get("/source/a").await.refusal(), (403, "InvalidObjectState"));
    let copy = world.copy("source/a", "/source/b").send().await;
    assert_eq!(copy.refusal(), (403, "InvalidObjectState"));
    assert_eq!(world.head("/source/a").await.header("x-amz-restore"), None);

    assert_eq!(recall(&world, "/source/a").await.0, 200);
    assert_eq!(world.head("/source/a").await.header("x-amz-restore"), Some(r#"ongoing-request="true""#));
    assert_eq!(recall(&world, "/source/a").await, (409, "RestoreAlreadyInProgress".to_owned()));
    assert_eq!(world.get("/source/a").await.refusal(), (403, "InvalidObjectState"));

    world.control.deliver_from_archive();
    let head = world.head("/source/a").await;
    let said = head.header("x-amz-restore").expect("it says so").to_owned();
    assert!(
        said.starts_with(r#"ongoing-request="false", expiry-date=""#) && said.ends_with("GMT\""),
        "{said}"
    );
    assert_eq!(world.get("/source/a").await.status, 200);
    assert_eq!(world.copy("source/a", "/source/b").send().await.status, 200);
    assert_eq!(recall(&world, "/source/a").await.0, 200);
}

#[tokio::test]
async fn what_is_in_no_archive_cannot_be_asked_for() {
    let world = World::new().await;
    world.put("/source/a", "x").await;
    assert_eq!(recall(&world, "/source/a").await, (403, "InvalidObjectState".to_owned()));
    assert_eq!(recall(&world, "/source/none").await.0, 404);
}
