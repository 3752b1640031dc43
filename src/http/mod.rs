//! `/healthz`, `/readyz` and `/metrics`: what this process says about itself over HTTP. And `/v1/events`, where others
//! hand over events.

mod ask;
mod connection;
mod events;
mod room;

use std::net::SocketAddr;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::health::Health;
use crate::metrics::Metrics;
use connection::Bounded;
use room::Served;

pub use ask::alive;
pub use events::Events;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const CLASSIC: &str = "text/plain; version=0.0.4; charset=utf-8";
/// How often a port that cannot be listened on is tried again.
const BIND_AGAIN: Duration = Duration::from_secs(2);
/// Most bytes of a request's line and headers together; more is 431.
const MAX_HEAD_BYTES: usize = 16 * 1024;
/// Most headers of a request; more is 431.
const MAX_HEADERS: usize = 64;
/// How long answers in flight may take once the stop was asked for.
const FINISH: Duration = Duration::from_secs(2);

/// What is served.
#[derive(Clone)]
pub struct Shared {
    /// For `/readyz`.
    pub health: Health,
    /// For `/metrics`.
    pub metrics: Metrics,
    /// For `/v1/events`; nothing where no token is configured.
    pub events: Option<Events>,
}

/// Serves on `listen` until `shutdown`. A port that cannot be had is said once and tried again until it
/// can: files move all the same.
pub async fn serve(listen: SocketAddr, shared: Shared, shutdown: CancellationToken) {
    let Some(listener) = shutdown.run_until_cancelled(bind(listen)).await else { return };
    serve_on(listener, shared, shutdown).await;
}

/// Serves on a listener that is there already.
pub async fn serve_on(listener: TcpListener, shared: Shared, shutdown: CancellationToken) {
    serve_bounded(Bounded::new(listener), shared, shutdown).await;
}

async fn serve_bounded(listener: Bounded, shared: Shared, shutdown: CancellationToken) {
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    http.http1().max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    let router = router(shared);
    let connections = GracefulShutdown::new();
    while let Some(connection) = shutdown.run_until_cancelled(listener.accept()).await {
        // Whose question came is not cut off for others before it has its answer.
        let answering = middleware::from_fn_with_state(connection.served(), answered);
        let service = TowerToHyperService::new(router.clone().layer(answering));
        let served = http.serve_connection(TokioIo::new(connection), service).into_owned();
        let served = connections.watch(served);
        // An error of a single connection is that connection's end.
        tokio::spawn(async move { drop(served.await) });
    }
    drop(listener);
    // What takes longer ends with the process.
    let _ = tokio::time::timeout(FINISH, connections.shutdown()).await;
}

async fn answered(State(place): State<Served>, request: Request, next: Next) -> Response {
    let answering = place.begin();
    let response = next.run(request).await;
    drop(answering);
    response
}

async fn bind(listen: SocketAddr) -> TcpListener {
    let mut said = false;
    loop {
        match TcpListener::bind(listen).await {
            Ok(listener) => {
                info!(%listen, "serving health, metrics and events");
                return listener;
            }
            Err(error) => {
                if !said {
                    warn!(%listen, %error, "http.listen: cannot listen there; trying again until it can be had");
                    said = true;
                }
                tokio::time::sleep(BIND_AGAIN).await;
            }
        }
    }
}

/// Every path that is served.
#[cfg(test)]
const PATHS: [&str; 4] = ["/healthz", "/readyz", "/metrics", "/v1/events"];

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(is_alive))
        .route("/readyz", get(ready))
        .route("/metrics", get(measured))
        .route("/v1/events", post(events::post))
        .with_state(shared)
}

/// Whoever gets this answer knows that the process serves; no more is asked of it.
async fn is_alive() -> &'static str {
    "ok\n"
}

async fn ready(State(shared): State<Shared>) -> Response {
    let report = shared.health.report();
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(report)).into_response()
}

/// In the format that the scraper asks for; the classic one where it does not say.
async fn measured(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    shared.health.tell_metrics();
    let open = headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| accept.contains("application/openmetrics-text"));
    if open {
        ([(header::CONTENT_TYPE, OPEN_METRICS)], shared.metrics.render()).into_response()
    } else {
        ([(header::CONTENT_TYPE, CLASSIC)], shared.metrics.render_classic()).into_response()
    }
}

#[cfg(test)]
mod tests;
