//! Users who may do what their policy allows, and how a refusal looks.

use recycler_test_s3::Policy;

use crate::client::World;

/// A statement that allows these actions.
fn allow(actions: &str, resource: &str) -> String {
    format!(r#"{{"Effect": "Allow", "Action": [{actions}], "Resource": "arn:aws:s3:::source{resource}"}}"#)
}

#[tokio::test]
async fn a_user_may_do_what_its_policy_allows_and_is_refused_the_rest_as_amazon_refuses_it() {
    let world = World::new().await;
    world.control.put("source", "own/a", "x");
    world.control.put("source", "theirs", "x");
    let objects = allow(r#""s3:GetObject", "s3:PutObject", "s3:DeleteObject""#, "/own/*");
    for (lists, of_nothing) in [(false, 403), (true, 404)] {
        let bucket = if lists { format!(", {}", allow(r#""s3:ListBucket""#, "")) } else { String::new() };
        let policy = format!(r#"{{"Version": "2012-10-17", "Statement": [{objects}{bucket}]}}"#);
        world.control.user("test", "test-secret", Policy::parse(&policy).unwrap());
        for (method, path, status) in [
            ("GET", "/source/own/a", 200),
            ("GET", "/source/own/nothing", of_nothing),
            ("HEAD", "/source/own/nothing", of_nothing),
            ("GET", "/source/theirs", 403),
            ("PUT", "/source/own/b", 200),
            ("PUT", "/source/b", 403),
            ("DELETE", "/source/theirs", 403),
            ("HEAD", "/source", if lists { 200 } else { 403 }),
            ("HEAD", "/target", 403),
        ] {
            let answer = world.ask(method, path).send().await;
            assert_eq!(answer.status, status, "{method} {path}, may list: {lists}");
        }
    }
    assert_eq!(world.get("/source/theirs").await.refusal(), (403, "AccessDenied"));
    let copied = world.copy("/source/theirs", "/source/own/c").send().await;
    assert_eq!(copied.refusal(), (403, "AccessDenied"), "a copy reads its source");
    let many = world.delete_many("source", &[("own/a", None), ("theirs", None)]).send().await;
    assert_eq!((many.status, many.elements("Code")), (200, vec!["AccessDenied"]), "each key has its answer");
    assert_eq!(world.control.keys("source"), ["own/b", "theirs"]);
}
