//! A TCP proxy between a real client and a real server, for what a real network does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the proxy does with connections, old and new.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// Bytes pass.
    Fair,
    /// Bytes pass, and take their time: there and back it is nearly half a second.
    Distant,
    /// Connections stay open and nothing passes.
    BlackHole,
    /// Connections are closed (FIN); new ones are closed at once.
    Cut,
    /// Connections are reset (RST); new ones are reset at once.
    Reset,
}

/// How long a distance takes, one way.
const DISTANCE: Duration = Duration::from_millis(220);

/// A proxy on a port of its own; it ends with the test's runtime.
pub struct Proxy {
    address: SocketAddr,
    sky: Sky,
}

#[derive(Clone)]
struct Sky {
    weather: watch::Sender<Weather>,
    /// Bytes that went from the client to the server.
    sent: Arc<AtomicU64>,
    /// After so many of them the weather turns.
    turn: watch::Sender<Option<(u64, Weather)>>,
    /// Connections that there have been.
    connections: Arc<AtomicU64>,
    /// How often all connections were lost.
    losses: watch::Sender<u64>,
}

impl Proxy {
    pub async fn to(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sky = Sky {
            weather: watch::Sender::new(Weather::Fair),
            sent: Arc::default(),
            turn: watch::Sender::new(None),
            connections: Arc::default(),
            losses: watch::Sender::new(0),
        };
        let above = sky.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                above.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(pass(client, server.clone(), above.clone()));
            }
        });
        Self { address, sky }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn set(&self, weather: Weather) {
        // What was still to come does not come.
        self.sky.turn.send_replace(None);
        self.sky.weather.send_replace(weather);
    }

    /// The connections that there are lead nowhere any more, and nobody says so; new ones are well.
    pub fn lose(&self) {
        self.sky.losses.send_modify(|times| *times += 1);
    }

    /// After `bytes` more bytes from the client, exactly, the weather turns.
    pub fn turn_after(&self, bytes: u64, weather: Weather) {
        self.sky.turn.send_replace(Some((self.sent() + bytes, weather)));
    }

    /// Has the weather turned as announced?
    pub fn has_turned(&self) -> bool {
        self.sky.turn.borrow().is_none()
    }

    pub fn connections(&self) -> u64 {
        self.sky.connections.load(Ordering::SeqCst)
    }

    pub fn sent(&self) -> u64 {
        self.sky.sent.load(Ordering::SeqCst)
    }
}

impl Sky {
    /// How many of `count` bytes may still pass to the server.
    fn count(&self, count: usize) -> usize {
        let sent = self.sent.fetch_add(count as u64, Ordering::SeqCst);
        let Some((end, weather)) = *self.turn.borrow() else { return count };
        if sent + (count as u64) < end {
            return count;
        }
        self.weather.send_replace(weather);
        self.turn.send_replace(None);
        usize::try_from(end.saturating_sub(sent)).unwrap().min(count)
    }
}

async fn pass(mut client: TcpStream, server: String, sky: Sky) {
    let mut losses = sky.losses.subscribe();
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    // Whichever direction ends first ends both: the sockets close when they are dropped.
    tokio::select! {
        () = copy(client_in, server_out, sky.weather.subscribe(), Some(&sky)) => {}
        () = copy(server_in, client_out, sky.weather.subscribe(), None) => {}
        Ok(()) = losses.changed() => std::future::pending().await,
    }
    if *sky.weather.borrow() == Weather::Reset {
        client.set_zero_linger().unwrap();
        server.set_zero_linger().unwrap();
    }
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut weather: watch::Receiver<Weather>,
    counted: Option<&Sky>,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *weather.borrow_and_update();
        match now {
            Weather::Cut | Weather::Reset => return,
            Weather::BlackHole => {
                if weather.changed().await.is_err() {
                    return;
                }
            }
            Weather::Fair | Weather::Distant => tokio::select! {
                changed = weather.changed() => if changed.is_err() { return },
                read = from.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => return,
                    Ok(count) => {
                        if now == Weather::Distant {
                            tokio::time::sleep(DISTANCE).await;
                        }
                        let count = counted.map_or(count, |sky| sky.count(count));
                        if to.write_all(&buffer[..count]).await.is_err() {
                            return;
                        }
                    }
                },
            },
        }
    }
}
