//! Clients that mean ill, on raw sockets: none of them keeps others from their answers, or holds anything for long.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::super::room::MAX_CONNECTIONS;
use super::*;

/// Far longer than an answer takes, and far shorter than the usual patience with a client that says nothing.
const SOON: Duration = Duration::from_secs(20);
const TOKEN: &str = "a-token";

async fn start(patience: Option<Patience>) -> (SocketAddr, JoinHandle<()>) {
    let metrics = Metrics::new();
    let health = Health::new(Clock::system(), metrics.clone());
    let events = Events { token: TOKEN.into(), intake: crate::intake::tests::intake().0 };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let listener = match patience {
        Some(patience) => Bounded::with_patience(listener, patience),
        None => Bounded::new(listener),
    };
    let address = listener.address();
    let shared = Shared { health, metrics, events: Some(events) };
    (address, tokio::spawn(serve_bounded(listener, shared, CancellationToken::new())))
}

/// A connection on which this was sent.
async fn sent(address: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream
}

/// Everything that comes, to the connection's end.
async fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    // Cut off in the middle is an end, too.
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("the connection ends");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn others_get_their_answers_while_more_connections_than_there_is_room_for_do_nothing() {
    let (address, _) = start(None).await;
    let slow_body = format!(
        "POST /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n\
         Content-Type: application/json\r\nContent-Length: 100000\r\n\r\n{{"
    );
    let not_reading = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(64);
    let attacks: [&[u8]; 4] =
        [b"", b"GET /healthz HTTP/1.1\r\nHost:", slow_body.as_bytes(), not_reading.as_bytes()];
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        for attack in attacks {
            held.push(sent(address, attack).await);
        }
        if held.len() > MAX_CONNECTIONS {
            for path in ["/healthz", "/metrics"] {
                let answer = timeout(SOON, ask(address, "GET", path, "")).await.expect("it is answered");
                assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            }
        }
    }
}

#[tokio::test]
async fn no_more_connections_are_kept_than_there_is_room_for() {
    let (address, _) = start(None).await;
    let mut held = Vec::new();
    for _ in 0..3 * MAX_CONNECTIONS {
        held.push(sent(address, b"").await);
    }
    let is_open = |stream: &TcpStream| {
        stream.try_read(&mut [0; 1]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    let few = async {
        while held.iter().filter(|stream| is_open(stream)).count() > MAX_CONNECTIONS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, few).await.expect("the others are cut");
    assert!(held.iter().any(is_open), "those that came last have their time");
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_cut_off() {
    let (address, _) = start(Some(Patience::SHORT)).await;
    let (mut read, mut write) = TcpStream::connect(address).await.unwrap().into_split();
    let requests = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n".repeat(100);
    // It asks until the server has stopped to read, since nobody takes its answers, and then until it is cut off.
    let asked = timeout(SOON, async { while write.write_all(requests.as_bytes()).await.is_ok() {} }).await;
    assert!(asked.is_ok(), "the server ends the connection");
    drop(write);
    let _ = timeout(SOON, read.read_to_end(&mut Vec::new()))
        .await
        .expect("and nothing comes after what was sent");
}

#[tokio::test]
async fn a_head_is_bounded_in_bytes_and_in_headers() {
    let (address, _) = start(None).await;
    let long_path = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
    let long_header =
        format!("GET /healthz HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "a".repeat(MAX_HEAD_BYTES));
    let many = format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: a\r\n".repeat(MAX_HEADERS));
    for head in [long_path, long_header, many] {
        let answer = rest(sent(address, head.as_bytes()).await).await;
        assert!(answer.starts_with("HTTP/1.1 4") && answer[9..12] != *"404", "{answer}");
    }
    let allowed = format!("X: {}\r\n", "a".repeat(4096));
    assert!(ask(address, "GET", "/healthz", &allowed).await.starts_with("HTTP/1.1 200 "));
    // One that never ends is not kept either.
    let mut endless = sent(address, b"GET /healthz HTTP/1.1\r\n").await;
    let asked =
        timeout(SOON, async { while endless.write_all(b"X: aaaaaaaaaaaaaaaaaaaaaaaa\r\n").await.is_ok() {} });
    assert!(asked.await.is_ok(), "it is cut off");
}

#[tokio::test]
async fn methods_that_nobody_needs_are_refused_and_nothing_is_repeated() {
    let (address, _) = start(None).await;
    let secret = "Cookie: s3cret\r\nContent-Length: 0\r\n";
    for path in PATHS {
        for method in ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND", "XYZZY"] {
            let answer = ask(address, method, path, secret).await;
            assert!(answer.starts_with("HTTP/1.1 405 ") && !answer.contains("s3cret"), "{method}: {answer}");
        }
    }
    for path in ["/", "/metrics/", "/healthz/../metrics", "/v1", "/.git/config", "/%2e%2e/etc/passwd"] {
        assert!(ask(address, "GET", path, "").await.starts_with("HTTP/1.1 404 "), "{path}");
    }
}

#[tokio::test]
async fn what_is_no_request_ends_its_connection_and_no_other() {
    let (address, _) = start(Some(Patience::SHORT)).await;
    for bytes in [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"GET /healthz HTTP/9.9\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ] {
        let answer = rest(sent(address, bytes).await).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    assert!(ask(address, "GET", "/healthz", "").await.starts_with("HTTP/1.1 200 "));
}
