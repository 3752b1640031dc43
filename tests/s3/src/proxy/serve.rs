//! One request on its way through the proxy.

use std::sync::Arc;

use futures_util::StreamExt;
use hyper::Request;
use hyper::body::Incoming;
use s3s::{Body, HttpRequest, HttpResponse, StdError};

use super::batch::{Batch, MAX_BODY};
use super::sign::Credentials;
use super::target;
use super::upstream::Upstream;
use crate::counts::Answer;
use crate::ending::{self, error_response};
use crate::faults::{Ending, Verdict};
use crate::listen::{Caller, Host};
use crate::operation::Operation;
use crate::plane;
use crate::rule::{Call, When};
use crate::switches::Switches;

/// What every request needs.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) upstream: Arc<Upstream>,
    pub(super) switches: Switches,
    pub(super) credentials: Option<Arc<Credentials>>,
}

impl Host for Way {
    async fn answer(self, request: Request<Incoming>, caller: Caller) -> Result<HttpResponse, StdError> {
        let request = request.map(Body::from);
        if request.uri().path().starts_with(plane::PREFIX) {
            return Ok(plane::serve(request, &self.switches, caller.loopback).await);
        }
        let latency = self.switches.latency();
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let uri = request.uri();
        let operation = target::operation(request.method(), uri.path(), uri.query(), request.headers());
        self.switches.0.counters.asked(operation);
        let ended = if self.switches.0.faults.any() {
            self.disturb(operation, request, &caller).await
        } else {
            self.upstream.pass(request).await
        };
        if let Err(error) = &ended {
            tracing::debug!(error, operation = operation.name(), "closing without an answer");
        }
        self.switches.0.counters.answered(operation, Answer::of(&ended));
        ended
    }
}

impl Way {
    /// Serves a request as the rules have it.
    async fn disturb(
        &self,
        operation: Operation,
        mut request: HttpRequest,
        caller: &Caller,
    ) -> Result<HttpResponse, StdError> {
        let mut batch = Batch::default();
        if operation == Operation::DeleteObjects {
            let Ok(read) = Batch::read(&mut request).await else {
                return error_response(413, "EntityTooLarge");
            };
            batch = read;
        }
        let verdict = self.judge(operation, request.uri().path(), &batch);
        if !verdict.delay.is_zero() {
            tokio::time::sleep(verdict.delay).await;
        }
        if verdict.holds.contains(&When::Before) {
            self.switches.0.holds.hold(&caller.stop).await?;
        }
        let honest = match &verdict.ending {
            Some((ending, When::Before)) => keep(request, ending).await?,
            _ => self.work(operation, request, &batch, &verdict).await?,
        };
        if verdict.holds.contains(&When::After) {
            self.switches.0.holds.hold(&caller.stop).await?;
        }
        ending::end(verdict.ending.map(|(ending, _)| ending), honest, caller).await
    }

    /// Has the work done, and all of it where the rules have something to come after it.
    async fn work(
        &self,
        operation: Operation,
        request: HttpRequest,
        batch: &Batch,
        verdict: &Verdict,
    ) -> Result<HttpResponse, StdError> {
        let mut honest = if verdict.keys.is_empty() {
            self.upstream.pass(request).await?
        } else {
            batch.pass(request, &verdict.keys, &self.upstream, self.credentials.as_deref()).await?
        };
        // A server may begin its answer while it works, as in CompleteMultipartUpload.
        if verdict.ending.as_ref().is_some_and(|(ending, _)| ending.is_instead()) {
            drain(std::mem::take(honest.body_mut())).await?;
        } else if verdict.holds.contains(&When::After) && operation != Operation::GetObject {
            honest.body_mut().store_all_limited(MAX_BODY).await?;
        }
        Ok(honest)
    }

    fn judge(&self, operation: Operation, path: &str, batch: &Batch) -> Verdict {
        let (bucket, key) = target::names(path);
        let keys: Vec<&str> = key.as_deref().into_iter().chain(batch.keys()).collect();
        self.switches.0.faults.judge(&Call { operation, bucket: bucket.as_deref(), keys: &keys })
    }
}

/// Keeps a request from the server. A client that is to be answered is heard out first, since it
/// might not look for an answer while it sends.
async fn keep(request: HttpRequest, ending: &Ending) -> Result<HttpResponse, StdError> {
    if ending.answers() {
        drain(request.into_body()).await?;
    }
    Ok(HttpResponse::new(Body::empty()))
}

async fn drain(mut body: Body) -> Result<(), StdError> {
    while let Some(bytes) = body.next().await {
        bytes?;
    }
    Ok(())
}
