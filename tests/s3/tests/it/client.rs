//! A signing HTTP client of a hundred lines, so that the tests see what is on the wire.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use recycler_test_s3::{Control, Options, Server};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A stop within this did not wait for what a stop lets end, for 20 seconds, and on a busy machine a stop takes some.
pub const QUICK: Duration = Duration::from_secs(10);

/// A server with two buckets, and how to talk to it.
pub struct World {
    pub server: Server,
    pub control: Control,
    /// Where requests go: to the server, or to a proxy before it.
    pub address: SocketAddr,
}

impl World {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let buckets = vec!["source".to_owned(), "target".to_owned()];
        let server = Server::start(Options { buckets, ..options }).await.expect("a free port");
        let (control, address) = (server.control(), server.address());
        Self { server, control, address }
    }

    /// A signed request in the making, for a path such as `/bucket/key` that is encoded here.
    pub fn ask(&self, method: &str, path: &str) -> Request {
        Request::new(self.address, method, path)
    }

    pub async fn put(&self, path: &str, body: impl Into<Vec<u8>>) -> Answer {
        self.ask("PUT", path).body(body).send().await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path).send().await
    }

    pub async fn head(&self, path: &str) -> Answer {
        self.ask("HEAD", path).send().await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.ask("DELETE", path).send().await
    }

    pub fn copy(&self, from: &str, to: &str) -> Request {
        self.ask("PUT", to).header("x-amz-copy-source", &encode(from, true))
    }

    /// Deletes keys given as pairs of key and condition.
    pub fn delete_many(&self, bucket: &str, keys: &[(&str, Option<&str>)]) -> Request {
        let mut body = String::from("<Delete>");
        for (key, etag) in keys {
            let etag = etag.map(|etag| format!("<ETag>{etag}</ETag>")).unwrap_or_default();
            let _ = write!(body, "<Object><Key>{key}</Key>{etag}</Object>");
        }
        body.push_str("</Delete>");
        self.ask("POST", &format!("/{bucket}")).query("delete", "").body(body)
    }
}

pub struct Request {
    address: SocketAddr,
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    secret: Option<String>,
}

impl Request {
    pub fn new(address: SocketAddr, method: &str, path: &str) -> Self {
        Self {
            address,
            method: method.to_owned(),
            path: encode(path, true),
            query: BTreeMap::new(),
            headers: BTreeMap::new(),
            body: Vec::new(),
            secret: Some("test-secret".to_owned()),
        }
    }

    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.insert(encode(name, false), encode(value, false));
        self
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(name.to_owned(), value.to_owned());
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn secret(mut self, secret: Option<&str>) -> Self {
        self.secret = secret.map(str::to_owned);
        self
    }

    pub async fn send(self) -> Answer {
        self.try_send().await.expect("an answer")
    }

    /// The request but for its body, as it goes over the wire.
    pub fn head_only(&mut self) -> String {
        let query = self.query.iter().map(|(name, value)| format!("{name}={value}"));
        let query = query.collect::<Vec<_>>().join("&");
        self.sign(&query);
        let mut head = format!("{} {}?{query} HTTP/1.1\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        let _ = write!(head, "content-length: {}\r\nconnection: close\r\n\r\n", self.body.len());
        head
    }

    /// An error when the connection closes without an answer.
    pub async fn try_send(mut self) -> io::Result<Answer> {
        let head = self.head_only();
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(head.as_bytes()).await?;
        // The server may close before it has read all; what it said is what counts.
        let _ = stream.write_all(&self.body).await;
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await?;
        Answer::parse(&raw).ok_or_else(|| io::Error::other("closed without an answer"))
    }

    fn sign(&mut self, query: &str) {
        self.headers.insert("host".to_owned(), self.address.to_string());
        let Some(secret) = &self.secret else { return };
        let now = OffsetDateTime::now_utc();
        let long = format_description!("[year][month][day]T[hour][minute][second]Z");
        let stamp = now.format(&long).expect("a format without names");
        let day = &stamp[..8];
        // A test may say that the body is not signed.
        let given = self.headers.get("x-amz-content-sha256").cloned();
        let sum = given.unwrap_or_else(|| hex(&Sha256::digest(&self.body)));
        self.headers.insert("x-amz-date".to_owned(), stamp.clone());
        self.headers.insert("x-amz-content-sha256".to_owned(), sum.clone());
        let names = self.headers.keys().cloned().collect::<Vec<_>>().join(";");
        let lines = self.headers.iter().fold(String::new(), |mut lines, (name, value)| {
            let _ = writeln!(lines, "{name}:{value}");
            lines
        });
        let canonical = [&self.method, &self.path, query, &lines, &names, &sum].map(|it| it);
        let canonical = canonical.map(|it: &str| it.to_owned()).join("\n");
        let scope = format!("{day}/us-east-1/s3/aws4_request");
        let sum = hex(&Sha256::digest(canonical.as_bytes()));
        let to_sign = format!("AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{sum}");
        let mut key = mac(format!("AWS4{secret}").as_bytes(), day);
        for part in ["us-east-1", "s3", "aws4_request"] {
            key = mac(&key, part);
        }
        let signature = hex(&mac(&key, &to_sign));
        let value =
            format!("AWS4-HMAC-SHA256 Credential=test/{scope}, SignedHeaders={names}, Signature={signature}");
        self.headers.insert("authorization".to_owned(), value);
    }
}

pub struct Answer {
    pub status: u16,
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Answer {
    fn parse(raw: &[u8]) -> Option<Self> {
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&raw[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let pair = |line: &str| line.split_once(": ").map(|(a, b)| (a.to_owned(), b.to_owned()));
        let headers = lines.filter_map(pair).collect();
        Some(Self { status, headers, body: raw[end + 4..].to_vec() })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("text")
    }

    /// The text of the first element of this name in the body.
    pub fn element(&self, name: &str) -> Option<&str> {
        self.elements(name).first().copied()
    }

    /// The texts of all elements of this name in the body.
    pub fn elements(&self, name: &str) -> Vec<&str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        let after = self.text().split(open.as_str()).skip(1);
        after.filter_map(|text| text.split_once(close.as_str()).map(|(inner, _)| inner)).collect()
    }

    /// Status and error code.
    pub fn refusal(&self) -> (u16, &str) {
        (self.status, self.element("Code").unwrap_or(""))
    }

    /// The ETag header with its quotes.
    pub fn etag(&self) -> &str {
        self.header("etag").expect("an ETag")
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn encode(text: &str, keep_slash: bool) -> String {
    text.bytes().fold(String::new(), |mut encoded, byte| {
        let plain = byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
        if plain || (keep_slash && byte == b'/') {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
        encoded
    })
}
