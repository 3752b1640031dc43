//! Asks a process whether it is alive, as a container's health check does: an image of one program has no curl.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Enough for the first line of any answer.
const HEAD: u64 = 256;

/// Asks `/healthz` of the process that serves on `listen`; the error is a sentence.
pub async fn alive(listen: SocketAddr, patience: Duration) -> Result<(), String> {
    let address = reached_at(listen);
    match tokio::time::timeout(patience, head_of_answer(address)).await {
        Ok(Ok(head)) if is_ok(&head) => Ok(()),
        Ok(Ok(head)) => {
            let line = head.lines().next().unwrap_or_default();
            Err(format!("{address} answers /healthz with '{}'", line.escape_default()))
        }
        Ok(Err(error)) => Err(format!("nobody serves on {address} (http.listen): {error}")),
        Err(_) => Err(format!("{address} does not answer within {patience:?}")),
    }
}

/// Whoever listens on every address is asked on its own machine's.
fn reached_at(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn head_of_answer(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    stream.take(HEAD).read_to_end(&mut head).await?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}

fn is_ok(head: &str) -> bool {
    head.lines().next().is_some_and(|line| line.starts_with("HTTP/1.1 200 "))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Serves one connection with `answer`; nothing: takes it and says nothing.
    async fn server(answer: Option<&'static str>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let _ = stream.read(&mut request).await;
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
                None => std::future::pending().await,
            }
        });
        address
    }

    #[tokio::test]
    async fn only_an_answer_of_200_is_alive() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\n\r\nok\n", Ok(())),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", Err("'HTTP/1.1 503 Service Unavailable'")),
            ("HTTP/1.1 2000\r\n\r\n", Err("'HTTP/1.1 2000'")),
            ("SSH-2.0-\u{1b}\r\n", Err(r"'SSH-2.0-\u{1b}'")),
            ("", Err("''")),
        ] {
            let told = alive(server(Some(answer)).await, PATIENCE).await;
            match expected {
                Ok(()) => assert_eq!(told, Ok(()), "{answer}"),
                Err(part) => assert!(told.as_ref().is_err_and(|error| error.contains(part)), "{told:?}"),
            }
        }
    }

    #[tokio::test]
    async fn silence_and_a_closed_port_are_not_alive() {
        let told = alive(server(None).await, Duration::from_millis(50)).await.unwrap_err();
        assert!(told.contains("does not answer within 50ms"), "{told}");
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        let told = alive(closed, PATIENCE).await.unwrap_err();
        assert!(told.contains("nobody serves on"), "{told}");
    }

    #[test]
    fn every_address_is_asked_on_the_loopback_one() {
        for (listen, expected) in
            [("0.0.0.0:8077", "127.0.0.1:8077"), ("[::]:8077", "[::1]:8077"), ("10.1.2.3:80", "10.1.2.3:80")]
        {
            assert_eq!(reached_at(listen.parse().unwrap()), expected.parse().unwrap());
        }
    }
}
