//! The switches over HTTP, under a path prefix that no bucket can have.

use std::time::Duration;

use hyper::{Method, StatusCode, header};
use s3s::{Body, HttpRequest, HttpResponse};
use serde::Serialize;

use crate::control::Control;
use crate::rule::{Action, Rule};

/// The path prefix; a bucket's name begins with a letter or a digit.
pub(crate) const PREFIX: &str = "/-/";

/// A rule is a few hundred bytes; this also leaves room for the longest key.
const MAX_BODY: usize = 64 << 10;

#[derive(Serialize)]
struct Problem {
    error: String,
}

/// Answers one request to the switches.
pub(crate) async fn serve(mut request: HttpRequest, control: &Control, loopback: bool) -> HttpResponse {
    if !loopback {
        return problem(StatusCode::FORBIDDEN, "only for clients on this machine");
    }
    let Ok(body) = request.body_mut().store_all_limited(MAX_BODY).await else {
        return problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long or was cut off");
    };
    let path = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    match (request.method(), path) {
        (&Method::GET, "counts") => json(StatusCode::OK, &control.counts()),
        (&Method::POST, "reset") => {
            control.reset();
            empty()
        }
        (&Method::GET, "faults") => json(StatusCode::OK, &control.faults()),
        (&Method::POST, "faults") => match parse_rule(&body) {
            Ok(rule) => {
                control.fault(rule);
                empty()
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        },
        (&Method::DELETE, "faults") => {
            control.clear_faults();
            empty()
        }
        (&Method::PUT, "latency") => match parse_latency(&body) {
            Ok(latency) => {
                control.set_latency(latency);
                empty()
            }
            Err(error) => problem(StatusCode::BAD_REQUEST, &error),
        },
        _ => problem(StatusCode::NOT_FOUND, "no such switch"),
    }
}

fn parse_rule(body: &[u8]) -> Result<Rule, String> {
    let rule: Rule = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    match rule.action {
        Action::Status { status, .. } if StatusCode::from_u16(status).is_err() => {
            Err(format!("{status} is no HTTP status"))
        }
        _ => Ok(rule),
    }
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
    use std::sync::Arc;

    use super::*;
    use crate::control::Shared;
    use crate::options::Options;
    use crate::store::Store;

    #[tokio::test]
    async fn a_client_from_elsewhere_is_refused() {
        let control = Control(Arc::new(Shared::new(Store::new(&Options::default()))));
        for (loopback, status) in [(false, StatusCode::FORBIDDEN), (true, StatusCode::OK)] {
            let mut request = HttpRequest::new(Body::empty());
            *request.uri_mut() = hyper::Uri::from_static("/-/counts");
            assert_eq!(serve(request, &control, loopback).await.status(), status);
        }
    }
}
