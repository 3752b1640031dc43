//! Tests of `http` over real connections on the loopback.

mod attacked;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::connection::Patience;
use super::*;
use crate::clock::Clock;
use crate::health::{GuardState, ListenerState};
use crate::outcome::Dependency;

struct Server {
    address: SocketAddr,
    health: Health,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

async fn start() -> Server {
    let (metrics, shutdown) = (Metrics::new(), CancellationToken::new());
    let health = Health::new(Clock::system(), metrics.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Shared { health: health.clone(), metrics, events: None };
    let task = tokio::spawn(serve_on(listener, shared, shutdown.clone()));
    Server { address, health, shutdown, task }
}

/// The whole answer to one request, on a connection of its own.
pub(super) async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

async fn get(server: &Server, path: &str) -> String {
    ask(server.address, "GET", path, "").await
}

#[tokio::test]
async fn healthz_is_200_and_readyz_follows_the_state() {
    let server = start().await;
    assert!(get(&server, "/healthz").await.starts_with("HTTP/1.1 200 "));
    let answer = get(&server, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("content-type: application/json"), "{answer}");
    for name in Dependency::ALL {
        server.health.up(*name);
    }
    server.health.guard(GuardState::Open);
    server.health.topology(Ok(()));
    server.health.listener(ListenerState::Drift("x".into()));
    let answer = get(&server, "/readyz").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("{\"ready\":true,\"degraded\":true,\"dependencies\":{\"database\":{\"ok\":true,")
    );
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = start().await;
    let classic = get(&server, "/metrics").await;
    assert!(classic.contains("content-type: text/plain; version=0.0.4"), "{classic}");
    assert!(classic.contains("# TYPE file_recycler_bytes_total counter") && !classic.contains("# EOF"));
    let accept = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.1\r\n";
    let open = ask(server.address, "GET", "/metrics", accept).await;
    assert!(open.contains("content-type: application/openmetrics-text; version=1.0.0"), "{open}");
    assert!(open.contains("# TYPE file_recycler_bytes counter") && open.ends_with("# EOF\n"));
}

#[tokio::test]
async fn other_paths_are_404_and_other_methods_405() {
    let server = start().await;
    assert!(get(&server, "/").await.starts_with("HTTP/1.1 404 "));
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert!(ask(server.address, "DELETE", path, "").await.starts_with("HTTP/1.1 405 "), "{path}");
        assert!(ask(server.address, "HEAD", path, "").await.starts_with("HTTP/1.1 "), "{path}");
    }
}

#[tokio::test]
async fn a_busy_port_is_tried_again_until_it_is_free() {
    let busy = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = busy.local_addr().unwrap();
    let (metrics, shutdown) = (Metrics::new(), CancellationToken::new());
    let health = Health::new(Clock::system(), metrics.clone());
    let shared = Shared { health, metrics, events: None };
    let task = tokio::spawn(serve(address, shared, shutdown.clone()));
    // The task runs up to its pause after the first refusal.
    tokio::task::yield_now().await;
    assert!(!task.is_finished());
    drop(busy);
    let answered = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        ask(address, "GET", "/healthz", "").await
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "));
    shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_stop_ends_also_with_a_client_that_stays() {
    let server = start().await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    idle.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    assert!(get(&server, "/healthz").await.starts_with("HTTP/1.1 200 "));
    server.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(20), server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_client_that_drips_its_request_or_says_nothing_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let health = Health::new(Clock::system(), Metrics::new());
    let bounded = Bounded::with_patience(listener, Patience::SHORT);
    let shared = Shared { health, metrics: Metrics::new(), events: None };
    let server = tokio::spawn(serve_bounded(bounded, shared, CancellationToken::new()));

    let silent = TcpStream::connect(address).await.unwrap();
    let dripping = TcpStream::connect(address).await.unwrap();
    let (mut read, mut write) = dripping.into_split();
    let drip = tokio::spawn(async move {
        while write.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut rest = Vec::new();
    let ended = async {
        let _ = read.read_to_end(&mut rest).await;
        let mut silent = silent;
        let _ = silent.read_to_end(&mut Vec::new()).await;
    };
    tokio::time::timeout(Duration::from_secs(20), ended).await.unwrap();
    drip.abort();
    server.abort();
}
