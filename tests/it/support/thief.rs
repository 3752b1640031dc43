//! A TCP proxy that steals one answer: the server does what it was asked, and the client never hears of it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Which request's answer is stolen, by the request's head in lower case.
type Wanted = fn(&str) -> bool;

/// A proxy on a port of its own; it ends with the test's runtime.
pub struct Thief {
    address: SocketAddr,
    wanted: Arc<Mutex<Option<Wanted>>>,
}

impl Thief {
    /// Before the server at this address, such as `http://127.0.0.1:9000`.
    pub async fn before(endpoint: &str) -> Self {
        let server = endpoint.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let wanted = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&wanted);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, wanted }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Steals the answer to the next request that is wanted.
    pub fn steal(&self, wanted: Wanted) {
        *self.wanted.lock().unwrap() = Some(wanted);
    }

    /// Has the request come whose answer was to be stolen?
    pub fn has_stolen(&self) -> bool {
        self.wanted.lock().unwrap().is_none()
    }
}

/// Passes bytes both ways until one side closes, or the answer to a wanted request begins.
async fn pass(mut client: TcpStream, server: String, wanted: Arc<Mutex<Option<Wanted>>>) {
    let Ok(mut server) = TcpStream::connect(server).await else { return };
    let (mut client_in, mut client_out) = client.split();
    let (mut server_in, mut server_out) = server.split();
    let (mut asked, mut answered) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut stealing = false;
    loop {
        tokio::select! {
            read = client_in.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let head = String::from_utf8_lossy(&asked[..count]).to_ascii_lowercase();
                stealing |= wanted.lock().unwrap().take_if(|wanted| wanted(&head)).is_some();
                if server_out.write_all(&asked[..count]).await.is_err() {
                    return;
                }
            }
            read = server_in.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                if stealing || client_out.write_all(&answered[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
