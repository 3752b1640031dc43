//! The way to the server behind the proxy.

use std::io;
use std::time::Duration;

use hyper::header::{CONNECTION, HeaderMap, HeaderName, TRANSFER_ENCODING};
use hyper::http::uri::{Authority, Parts, Scheme};
use hyper::{Uri, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use s3s::{Body, HttpRequest, HttpResponse, StdError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Shorter than what servers keep idle connections for, lest a request meet a closing one.
const IDLE_TIMEOUT: Duration = Duration::from_secs(3);

const MAX_IDLE: usize = 256;

/// What concerns one connection and not the request; the HTTP layer sets its own.
const OF_CONNECTION: [HeaderName; 4] = [
    CONNECTION,
    TRANSFER_ENCODING,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// The server behind the proxy, with its connections.
#[derive(Debug)]
pub(super) struct Upstream {
    authority: Authority,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    pub(super) fn new(endpoint: &str) -> io::Result<Self> {
        let authority = parse(endpoint).ok_or_else(|| {
            let message = format!("{endpoint:?} is no endpoint such as http://127.0.0.1:8333");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE)
            .build(connector);
        Ok(Self { authority, client })
    }

    /// Passes a request on, its target and headers as they came.
    pub(super) async fn pass(&self, mut request: HttpRequest) -> Result<HttpResponse, StdError> {
        let mut target = Parts::default();
        target.scheme = Some(Scheme::HTTP);
        target.authority = Some(self.authority.clone());
        target.path_and_query = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from_parts(target)?;
        *request.version_mut() = Version::HTTP_11;
        strip(request.headers_mut());
        let mut response = self.client.request(request).await?.map(Body::from);
        *response.version_mut() = Version::HTTP_11;
        strip(response.headers_mut());
        Ok(response)
    }
}

fn parse(endpoint: &str) -> Option<Authority> {
    let parts = endpoint.parse::<Uri>().ok()?.into_parts();
    let bare = parts.path_and_query.is_none_or(|path| path.as_str() == "/");
    parts.authority.filter(|_| bare && parts.scheme == Some(Scheme::HTTP))
}

fn strip(headers: &mut HeaderMap) {
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_endpoint_is_taken() {
        for good in ["http://127.0.0.1:8333", "http://localhost:8333/", "http://[::1]:80"] {
            assert!(parse(good).is_some(), "{good}");
        }
        for bad in ["", "127.0.0.1:8333", "https://127.0.0.1", "http://a/b", "/"] {
            assert!(parse(bad).is_none(), "{bad}");
        }
    }
}
