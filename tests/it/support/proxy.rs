//! A TCP proxy between a real client and a real server, for what a real network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    Fair,
    /// Connections stay open and nothing passes.
    BlackHole,
    /// Connections are closed; new ones are closed at once.
    Cut,
}

/// A proxy on a port of its own; it ends with the test's runtime.
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Bytes that went from the client to the server.
    sent: Arc<AtomicU64>,
}

impl Proxy {
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = watch::Sender::new(Weather::Fair);
        let sent = Arc::new(AtomicU64::new(0));
        let (changes, counter) = (weather.clone(), sent.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), changes.subscribe(), counter.clone()));
            }
        });
        Self { address, weather, sent }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }

    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

async fn pass(client: TcpStream, server: String, weather: watch::Receiver<Weather>, sent: Arc<AtomicU64>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.into_split();
    let (server_in, server_out) = server.into_split();
    // Whichever direction ends first ends both: the sockets close when they are dropped.
    tokio::select! {
        () = copy(client_in, server_out, weather.clone(), Some(sent)) => {}
        () = copy(server_in, client_out, weather, None) => {}
    }
}

async fn copy(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
    counter: Option<Arc<AtomicU64>>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Cut => return,
            Weather::BlackHole => {
                if weather.changed().await.is_err() {
                    return;
                }
            }
            Weather::Fair => tokio::select! {
                changed = weather.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        if to.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                        if let Some(counter) = &counter {
                            counter.fetch_add(count as u64, Ordering::SeqCst);
                        }
                    }
                },
            },
        }
    }
}
