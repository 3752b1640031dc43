//! The switches over HTTP, under a path prefix that no bucket can have.

use std::time::Duration;

use hyper::{Method, StatusCode, header};
use s3s::{Body, HttpRequest, HttpResponse};
use serde::Serialize;

use crate::rule::Rule;
use crate::switches::Switches;

/// The path prefix; a bucket's name begins with a letter or a digit.
pub(crate) const PREFIX: &str = "/-/";

/// A rule is a few hundred bytes; this also leaves room for the longest key.
const MAX_BODY: usize = 64 << 10;

#[derive(Serialize)]
struct Problem {
    error: String,
}

/// Answers one request to the switches.
pub(crate) async fn serve(mut request: HttpRequest, switches: &Switches, loopback: bool) -> HttpResponse {
    if !loopback {
        return problem(StatusCode::FORBIDDEN, "only for clients on this machine");
    }
    let Ok(body) = request.body_mut().store_all_limited(MAX_BODY).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut off");
    };
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    match (request.method(), path) {
        (&Method::GET, "counts") => json(StatusCode::OK, &switches.counts()),
        (&Method::POST, "reset") => {
            switches.reset();
            empty()
        }
        (&Method::GET, "faults") => json(StatusCode::OK, &switches.faults()),
        (&Method::POST, "faults") => match add_rule(switches, &body) {
            Ok(()) => empty(),
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::DELETE, "faults") => {
            switches.clear_faults();
            empty()
        }
        (&Method::GET, "held") => json(StatusCode::OK, &switches.holding()),
        (&Method::POST, "release") => {
            switches.release();
            empty()
        }
        (&Method::PUT, "latency") => match parse_latency(&body) {
            Ok(latency) => {
                switches.set_latency(latency);
                empty()
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::PUT, "bandwidth") => match serde_json::from_slice(&body) {
            Ok(bytes_per_second) => {
                switches.set_bandwidth(bytes_per_second);
                empty()
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error.to_string()),
        },
        _ => problem(StatusCode::NOT_FOUND, "no such switch"),
    }
}

fn add_rule(switches: &Switches, body: &[u8]) -> Result<(), String> {
    let rule = serde_json::from_slice::<Rule>(body).map_err(|error| error.to_string())?;
    switches.try_fault(rule).map_err(|error| error.to_string())
}

fn parse_latency(body: &[u8]) -> Result<Duration, String> {
    let milliseconds: f64 = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    Duration::try_from_secs_f64(milliseconds / 1000.0).map_err(|error| error.to_string())
}

fn problem(status: StatusCode, error: &str) -> HttpResponse {
    json(status, &Problem { error: error.to_owned() })
}

fn empty() -> HttpResponse {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

fn json(status: StatusCode, value: &impl Serialize) -> HttpResponse {
    let Ok(text) = serde_json::to_string(value) else {
        // The values here are plain numbers and strings under string keys.
        return empty();
    };
    let mut response = HttpResponse::new(Body::from(text));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::Place;

    #[tokio::test]
    async fn a_client_from_elsewhere_is_refused() {
        let switches = Switches::new(Place::Server, Duration::ZERO);
        for (loopback, status) in [(false, StatusCode::FORBIDDEN), (true, StatusCode::OK)] {
            let mut request = HttpRequest::new(Body::empty());
            *request.uri_mut() = hyper::Uri::from_static("/-/counts");
            assert_eq!(serve(request, &switches, loopback).await.status(), status);
        }
    }
}
