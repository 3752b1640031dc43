//! What the broker says of itself before anybody has logged in: the client library keeps its version to itself.

use std::io;

use futures_util::{AsyncReadExt as _, AsyncWriteExt as _};
use lapin::protocol::{AMQPClass, connection, parse_class};
use lapin::tcp::{AsyncTcpStream, OwnedTLSConfig};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::{AMQPScheme, AMQPUri};

use super::error::BrokerError;
use super::link::CONNECT_TIMEOUT;

/// The protocol's header: version 0-9-1 of AMQP.
const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// Frame type, channel and length of the payload.
const FRAME_HEAD: usize = 7;
/// A greeting has some hundred bytes.
const MAX_BYTES: u32 = 64 * 1024;

/// What a broker says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// As in `RabbitMQ`.
    pub product: String,
    /// As in `3.13.7`.
    pub version: String,
}

/// Asks for the greeting, on a connection that goes no further.
pub(super) async fn ask(uri: &AMQPUri, tls: &OwnedTLSConfig) -> Result<Greeting, BrokerError> {
    let attempt = format!("asking the broker at {}:{} what it is", uri.authority.host, uri.authority.port);
    match tokio::time::timeout(CONNECT_TIMEOUT, greeted(uri, tls)).await {
        Ok(Ok(greeting)) => Ok(greeting),
        Ok(Err(error)) => Err(BrokerError::connection(attempt, &error)),
        Err(_) => Err(BrokerError::TimedOut { attempt, after: CONNECT_TIMEOUT }),
    }
}

async fn greeted(uri: &AMQPUri, tls: &OwnedTLSConfig) -> io::Result<Greeting> {
    let runtime = lapin::runtime::default_runtime().map_err(io::Error::other)?;
    let address = runtime.to_socket_addrs((uri.authority.host.clone(), uri.authority.port));
    let stream = AsyncTcpStream::connect(&runtime, address).await?;
    let mut stream = match uri.scheme {
        AMQPScheme::AMQP => stream,
        AMQPScheme::AMQPS => stream.into_tls(&uri.authority.host, tls.as_ref()).await?,
    };
    stream.write_all(HEADER).await?;
    stream.flush().await?;
    let mut head = [0; FRAME_HEAD];
    stream.read_exact(&mut head).await?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]);
    if length > MAX_BYTES {
        return Err(io::Error::other("it does not speak AMQP 0-9-1"));
    }
    let mut payload = vec![0; usize::try_from(length).unwrap_or_default()];
    stream.read_exact(&mut payload).await?;
    read(&payload).ok_or_else(|| io::Error::other("its greeting cannot be read"))
}

fn read(payload: &[u8]) -> Option<Greeting> {
    match parse_class(payload).ok()? {
        (_, AMQPClass::Connection(connection::AMQPMethod::Start(start))) => Some(Greeting {
            product: text(&start.server_properties, "product")?,
            version: text(&start.server_properties, "version")?,
        }),
        _ => None,
    }
}

/// Printable and bounded: it is the server's word, not ours.
fn text(properties: &FieldTable, name: &str) -> Option<String> {
    const MAX_CHARS: usize = 64;
    match properties.inner().get(name)? {
        AMQPValue::LongString(text) => {
            let text = text.to_string();
            Some(text.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect())
        }
        _ => None,
    }
}
