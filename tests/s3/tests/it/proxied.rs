//! A world whose requests go through a proxy, and a server that only writes down what it is sent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use recycler_test_s3::{Credentials, Proxy, ProxyControl, ProxyOptions, Switches};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::client::World;

/// A world before which there is a proxy; `world.control` is still the server's own.
pub struct Proxied {
    pub world: World,
    pub control: ProxyControl,
    pub proxy: Proxy,
}

impl Proxied {
    pub async fn new() -> Self {
        Self::with(None).await
    }

    /// With a proxy that can sign.
    pub async fn signing() -> Self {
        Self::with(Some(credentials())).await
    }

    async fn with(credentials: Option<Credentials>) -> Self {
        let mut world = World::new().await;
        let options = ProxyOptions { credentials, ..ProxyOptions::to(world.server.endpoint()) };
        let proxy = Proxy::start(options).await.expect("a free port");
        world.address = proxy.address();
        Self { world, control: proxy.control(), proxy }
    }
}

fn credentials() -> Credentials {
    Credentials { access_key: "test".to_owned(), secret_key: "test-secret".to_owned() }
}

/// The server alone and one behind a proxy, each with the switches to disturb it by.
pub async fn both() -> [(World, Switches, Option<Proxy>); 2] {
    let (alone, proxied) = (World::new().await, Proxied::new().await);
    let switches = (*alone.control).clone();
    [(alone, switches, None), (proxied.world, proxied.control, Some(proxied.proxy))]
}

/// A server of few words: one answer to whatever it is asked.
pub struct Scribe {
    pub address: SocketAddr,
    pub seen: Arc<Mutex<Seen>>,
}

#[derive(Default)]
pub struct Seen {
    pub connections: usize,
    /// The heads of the requests as they came.
    pub heads: Vec<String>,
    pub bodies: Vec<Vec<u8>>,
}

impl Scribe {
    /// Says the same on every connection, and closes it after that if the answer says so.
    pub async fn saying(answer: &'static str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let seen = Arc::<Mutex<Seen>>::default();
        let notes = Arc::clone(&seen);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                notes.lock().expect("no panic").connections += 1;
                tokio::spawn(listen(stream, answer, Arc::clone(&notes)));
            }
        });
        Self { address, seen }
    }

    pub async fn proxy(&self) -> Proxy {
        let to = ProxyOptions::to(format!("http://{}", self.address));
        Proxy::start(ProxyOptions { credentials: Some(credentials()), ..to }).await.expect("a free port")
    }
}

async fn listen(stream: TcpStream, answer: &'static str, seen: Arc<Mutex<Seen>>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
                return;
            }
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |it| it.parse().expect("a number"))];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        {
            let mut seen = seen.lock().expect("no panic");
            seen.heads.push(head);
            seen.bodies.push(body);
        }
        let said = stream.get_mut().write_all(answer.as_bytes()).await;
        if said.is_err() || answer.contains("Connection: close") {
            return;
        }
    }
}
