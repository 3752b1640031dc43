//! A message whose properties are bytes that are not UTF-8, which AMQP allows and our client library cannot read.

use lapin::BasicProperties;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support::broker::{broker_url, long, plain_to, put, put_through, table};
use crate::support::process::eventually;
use crate::support::world::{S3, world};

/// What the forger below turns into bytes that are no UTF-8.
const MARK: &[u8] = b"UNREADABLE";

/// Forwards to the broker, with [`MARK`] replaced: the test's own client library can write no such bytes either.
async fn forger() -> url::Url {
    let mut url = broker_url();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5672));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    url.set_port(Some(listener.local_addr().unwrap().port())).unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(server.as_str()).await.unwrap();
            tokio::spawn(async move {
                let (mut client_in, mut client_out) = client.split();
                let (mut server_in, mut server_out) = server.split();
                let forged = async {
                    let mut buffer = vec![0; 64 * 1024];
                    while let Ok(count @ 1..) = client_in.read(&mut buffer).await {
                        let bytes = &mut buffer[..count];
                        while let Some(at) = bytes.windows(MARK.len()).position(|window| window == MARK) {
                            bytes[at..at + MARK.len()].fill(0xff);
                        }
                        server_out.write_all(bytes).await.unwrap();
                    }
                };
                tokio::select! {
                    () = forged => {}
                    _ = tokio::io::copy(&mut server_in, &mut client_out) => {}
                }
            });
        }
    });
    url
}

#[tokio::test]
async fn a_message_with_names_that_are_no_utf8_is_handled_and_harms_no_other() {
    world(S3::Embedded, async |world| {
        let service = world
            .run()
            .await
            .expect_log("not well")
            .expect_log("not UTF-8")
            .expect_log("dead-lettered")
            .expect_log("could not be acknowledged");
        let work = world.queues.topology.work();
        let (_connection, forged) = plain_to(&forger().await).await;
        let event = |file: Uuid| {
            json!({
                "specversion": "1.0", "id": file, "source": "/test", "type": "crm.file.deleted.v1",
                "data": { "files": [{ "file_id": file }] }
            })
            .to_string()
            .into_bytes()
        };
        let mut files = Vec::new();
        for _ in 0..6 {
            let file = Uuid::new_v4();
            world.upload(file).await;
            files.push(file);
        }
        let named = BasicProperties::default().with_headers(table(&[("UNREADABLE", long("UNREADABLE"))]));
        for file in &files[..3] {
            put(&work, &event(*file), BasicProperties::default()).await;
        }
        put_through(&forged, &work, &event(files[3]), named).await;
        let named = BasicProperties::default().with_message_id("UNREADABLE".into());
        put_through(&forged, &work, b"no event at all", named).await;
        for file in &files[4..] {
            put(&work, &event(*file), BasicProperties::default()).await;
        }
        for file in files {
            world.recycled(file).await;
        }
        let letters = eventually("the one that is no event is dead", async || {
            let listed = world.cli(&["dlq", "list", "--json"]).await.expect(0).json();
            (listed["total"] == 1).then(|| listed["messages"].clone())
        })
        .await;
        assert_eq!(letters[0]["id"], "??????????", "{letters}");
        assert_eq!(letters[0]["reason"], "malformed");
        let told = service.log().iter().filter(|line| line.contains("from now on")).count();
        assert_eq!(told, 1, "it breaks once");
        let service = service.ready().await;
        world.quiet(&service).await;
    })
    .await;
}
