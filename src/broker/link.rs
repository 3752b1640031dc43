//! One connection: opened within a bound, watched, and cut for certain when it is no longer wanted.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Connection, ConnectionProperties, ConnectionStatus, ErrorKind, Event};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::alarm::Ear;
use super::connect::answered;
use super::error::BrokerError;
use super::mend::{self, Mending};
use super::session::Condition;

/// For name, TCP, TLS and AMQP together.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For one request to the broker that is not a publication.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For a polite goodbye; after it the socket is shut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often the connection's state is looked at besides its notifications.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// An open connection. Dropped, it is cut at once: what was not acknowledged goes back to its queue.
pub(super) struct Link {
    connection: Connection,
    socket: Socket,
    watcher: JoinHandle<()>,
}

/// What a connection shares with its session, and with all connections of its `Broker`.
type Shared = (Condition, Ear, Mending);

/// The TCP socket below the connection, once it is there.
///
/// The library waits without a bound for a peer that accepts and then says nothing, in a thread and with
/// buffers of some megabytes for each try. Shutting the socket is the only way to end that wait.
#[derive(Clone, Default)]
struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, stream: TcpStream) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(stream);
    }

    fn shut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may be shut already, which is just as well.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Link {
    pub(super) async fn open(
        uri: AMQPUri,
        tls: OwnedTLSConfig,
        properties: ConnectionProperties,
        shared: Shared,
    ) -> Result<Self, BrokerError> {
        let attempt = format!("connecting to the broker at {}:{}", uri.authority.host, uri.authority.port);
        let socket = Socket::default();
        let connecting = connect(uri, tls, properties, socket.clone(), shared.2.is_needed());
        let connection = match answered(&attempt, CONNECT_TIMEOUT, connecting).await {
            Ok(connection) => connection,
            Err(error) => {
                socket.shut();
                return Err(error);
            }
        };
        let events = Box::pin(connection.events_listener());
        let watcher = tokio::spawn(watch(events, connection.status().clone(), shared));
        Ok(Self { connection, socket, watcher })
    }

    /// A new channel.
    pub(super) async fn channel(&self) -> Result<lapin::Channel, BrokerError> {
        answered("opening a channel", ANSWER_TIMEOUT, self.connection.create_channel()).await
    }

    /// Says goodbye, within a bound.
    pub(super) async fn close(self) {
        self.watcher.abort();
        // A failure means that the connection is gone, which is what is wanted.
        let _ = tokio::time::timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.watcher.abort();
        self.socket.shut();
    }
}

async fn connect(
    uri: AMQPUri,
    tls: OwnedTLSConfig,
    properties: ConnectionProperties,
    socket: Socket,
    mended: bool,
) -> lapin::Result<Connection> {
    let runtime = lapin::runtime::default_runtime()?;
    let reactor = runtime.clone();
    let dial = async move |uri: AMQPUri, _| {
        let connecting = async {
            let address = reactor.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
            let stream = AsyncTcpStream::connect(&reactor, address).await?;
            if let AsyncTcpStream::Plain(plain) = &stream {
                let plain = plain.get_ref();
                plain.set_nodelay(true)?;
                socket.keep(plain.as_fd().try_clone_to_owned()?.into());
            }
            let stream = match uri.scheme {
                AMQPScheme::AMQP => stream,
                AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await?,
            };
            if !mended {
                return Ok(stream);
            }
            // The library takes nothing but a socket: it gets one end of a connection to ourselves.
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let inner = AsyncTcpStream::connect(&reactor, listener.local_addr()?).await?;
            let (outer, from) = listener.accept().await?;
            if let AsyncTcpStream::Plain(plain) = &inner
                && plain.get_ref().local_addr()? != from
            {
                return Err(io::Error::other("somebody else connected in our place"));
            }
            outer.set_nodelay(true)?;
            // It ends with either side, which both learn from their sockets.
            tokio::spawn(mend::carry(stream, outer));
            Ok(inner)
        };
        // This runs in the library's thread, which nobody else ends.
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await;
        connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
    };
    Connection::connector(uri, runtime, dial, properties).await
}

/// Passes on what the broker says about the connection, until it ends.
async fn watch(
    mut events: impl Stream<Item = Event> + Unpin,
    status: ConnectionStatus,
    (condition, ear, mending): Shared,
) {
    let mut last_error = None;
    loop {
        match tokio::time::timeout(LOOK_AGAIN, events.next()).await {
            Ok(Some(Event::ConnectionBlocked(reason))) => ear.blocked(reason),
            Ok(Some(Event::ConnectionUnblocked)) => ear.unblocked(),
            Ok(Some(Event::Error(error))) => last_error = Some(error),
            Ok(Some(_)) | Err(_) => {}
            Ok(None) => break,
        }
        if !status.connected() {
            break;
        }
    }
    if last_error.as_ref().is_some_and(|error| matches!(error.kind(), ErrorKind::ParsingError(_))) {
        mending.needed();
    }
    let attempt = "keeping the connection to the broker";
    condition.ended(match last_error {
        Some(error) => BrokerError::from_lapin(attempt, &error),
        None => {
            BrokerError::Connection { attempt: attempt.to_owned(), cause: "the connection ended".to_owned() }
        }
    });
}
