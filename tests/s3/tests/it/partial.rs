//! Answers of which only the beginning arrives.

use std::time::Duration;

use recycler_test_s3::{Action, Operation, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::client::{QUICK, World};
use crate::proxied::both;

const SIZE: usize = 20 << 20;

/// Reads until the body has so many bytes; what there is of it, and whether the connection is
/// still open.
async fn read(world: &World, bytes: usize) -> (String, usize, TcpStream) {
    let head = world.ask("GET", "/source/a").head_only();
    let mut stream = TcpStream::connect(world.address).await.expect("it listens");
    stream.write_all(head.as_bytes()).await.expect("written");
    let mut answer = Vec::new();
    loop {
        let end = answer.windows(4).position(|it| it == b"\r\n\r\n").map(|at| at + 4);
        if let Some(end) = end.filter(|end| answer.len() - end >= bytes) {
            let head = String::from_utf8(answer[..end].to_vec()).expect("text");
            return (head, answer.len() - end, stream);
        }
        let read = timeout(Duration::from_secs(20), stream.read_buf(&mut answer)).await;
        assert_ne!(read.expect("in time").expect("readable"), 0, "closed too early");
    }
}

#[tokio::test]
async fn a_body_falls_silent() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", vec![b'x'; SIZE]).expect("a bucket");
        switches.fault(Rule::new(Operation::GetObject, Action::StallBody { bytes: 1000 }));
        let (head, body, mut stream) = read(&world, 1000).await;
        assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
        assert_eq!(body, 1000);
        let more = timeout(Duration::from_millis(100), stream.read_u8()).await;
        assert!(more.is_err(), "neither a byte nor an end: {more:?}");
        assert_eq!(switches.counts().answered(Operation::GetObject, 200), 1);
    }
}

#[tokio::test]
async fn a_body_is_cut_off() {
    // None of it, a little, and more than the connection's buffers hold.
    for bytes in [0, 1000, SIZE - 1] {
        for (world, switches, _proxy) in both().await {
            world.control.put("source", "a", vec![b'x'; SIZE]).expect("a bucket");
            switches.fault(Rule::new(Operation::GetObject, Action::CutBody { bytes: bytes as u64 }).times(1));
            let (head, body, mut stream) = read(&world, bytes).await;
            assert!(head.contains(&format!("content-length: {SIZE}\r\n")), "{head}");
            assert_eq!(body, bytes);
            let mut rest = Vec::new();
            // However it ends, it ends.
            let _ = timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await.expect("an end");
            assert!(rest.is_empty());
            assert_eq!(world.get("/source/a").await.body.len(), SIZE);
        }
    }
}

#[tokio::test]
async fn a_shorter_body_arrives_whole() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "hello").expect("a bucket");
        for action in [Action::CutBody { bytes: 6 }, Action::StallBody { bytes: 6 }] {
            switches.fault(Rule::new(Operation::GetObject, action).times(1));
            assert_eq!(world.get("/source/a").await.text(), "hello");
        }
    }
}

#[tokio::test]
async fn the_work_behind_a_cut_answer_is_done() {
    for (world, switches, _proxy) in both().await {
        world.control.put("source", "a", "x").expect("a bucket");
        switches.fault(Rule::new(Operation::CopyObject, Action::CutBody { bytes: 10 }));
        let cut = world.copy("source/a", "/target/a").send().await;
        assert_eq!((cut.status, cut.body.len()), (200, 10));
        assert_eq!(world.control.keys("target"), ["a"]);
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_the_silent() {
    for (world, switches, proxy) in both().await {
        world.control.put("source", "a", "hello").expect("a bucket");
        switches.fault(Rule::new(Operation::GetObject, Action::StallBody { bytes: 2 }));
        let (_, _, mut stream) = read(&world, 2).await;
        let stopping = async {
            match proxy {
                Some(proxy) => proxy.stop().await,
                None => world.server.stop().await,
            }
        };
        timeout(QUICK, stopping).await.expect("a quick stop");
        assert!(matches!(stream.read(&mut [0]).await, Ok(0) | Err(_)));
    }
}
