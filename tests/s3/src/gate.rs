//! The gate around the S3 service: latency, counting, and the endings that a rule can force.
//!
//! A request carries a [`Ticket`] through the S3 layer. The access check, which alone knows the
//! operation and runs before the work, asks the rules and notes their verdict on the ticket;
//! the gate acts on it once the work is done or has been prevented.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::DeleteObjectsInput;
use s3s::path::S3Path;
use s3s::service::S3Service;
use s3s::{HttpRequest, HttpResponse, S3Error, S3ErrorCode, S3Request, S3Result, StdError};
use tokio_util::sync::CancellationToken;

use crate::control::Control;
use crate::counts::Answer;
use crate::faults::{Ending, KeyFault, Verdict};
use crate::operation::Operation;
use crate::rule::{Call, When};

/// What the layers of one request tell each other.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ticket(Arc<Mutex<Notes>>);

#[derive(Debug, Default)]
struct Notes {
    operation: Option<Operation>,
    ending: Option<Ending>,
    keys: Vec<KeyFault>,
}

impl Ticket {
    /// The errors to report for single keys, handed over once.
    pub(crate) fn take_key_faults(&self) -> Vec<KeyFault> {
        std::mem::take(&mut self.lock().keys)
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access check that asks the rules.
#[derive(Debug)]
pub(crate) struct Warden(pub(crate) Control);

#[async_trait::async_trait]
impl S3Access for Warden {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        if cx.credentials().is_none() {
            return Err(s3s::s3_error!(AccessDenied, "Signature is required"));
        }
        let operation = Operation::from_name(cx.s3_op().name());
        let Some(ticket) = cx.extensions_mut().get::<Ticket>().cloned() else {
            return Ok(());
        };
        ticket.lock().operation = Some(operation);
        self.0.0.counters.asked(operation);
        if operation == Operation::DeleteObjects {
            // Its keys are in the body, which has not been read yet.
            return Ok(());
        }
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(&**bucket), None),
            S3Path::Object { bucket, key } => (Some(&**bucket), Some(&**key)),
        };
        let call = Call { operation, bucket, keys: key.as_slice() };
        let verdict = self.0.0.faults.judge(&call);
        carry_out(verdict, &ticket).await
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let Some(ticket) = req.extensions.get::<Ticket>().cloned() else {
            return Ok(());
        };
        let keys: Vec<&str> = req.input.delete.objects.iter().map(|id| id.key.as_str()).collect();
        let call = Call { operation: Operation::DeleteObjects, bucket: Some(&req.input.bucket), keys: &keys };
        let verdict = self.0.0.faults.judge(&call);
        carry_out(verdict, &ticket).await
    }
}

/// Waits and notes what is to come; an error keeps the work from being done.
async fn carry_out(verdict: Verdict, ticket: &Ticket) -> S3Result<()> {
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let mut notes = ticket.lock();
    notes.keys = verdict.keys;
    let Some((ending, when)) = verdict.ending else {
        return Ok(());
    };
    notes.ending = Some(ending);
    match when {
        When::Before => Err(s3s::s3_error!(InternalError, "Kept from being done by a rule")),
        When::After => Ok(()),
    }
}

/// Serves one S3 request. An error closes the connection without an answer.
pub(crate) async fn serve(
    mut request: HttpRequest,
    service: &S3Service,
    control: &Control,
    stop: &CancellationToken,
) -> Result<HttpResponse, StdError> {
    let latency = control.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let ticket = Ticket::default();
    request.extensions_mut().insert(ticket.clone());
    let response = service.call(request).await.map_err(StdError::from)?;
    let (operation, ending) = {
        let mut notes = ticket.lock();
        (notes.operation, notes.ending.take())
    };
    let operation = operation.unwrap_or_else(|| {
        control.0.counters.asked(Operation::Refused);
        Operation::Refused
    });
    let ended = match ending {
        None => Ok(response),
        Some(Ending::Status { status, code }) => Ok(error_response(status, &code)?),
        Some(Ending::ErrorBody { code }) => Ok(error_response(200, &code)?),
        Some(Ending::Stall) => {
            // The client may go first; this future is dropped then.
            stop.cancelled().await;
            Err(io::Error::other("stalled by a rule until the server stopped"))
        }
        Some(Ending::Close) => Err(io::Error::other("closed by a rule")),
    };
    let answer = ended.as_ref().map_or(Answer::Closed, |it| Answer::Status(it.status().as_u16()));
    control.0.counters.answered(operation, answer);
    Ok(ended?)
}

fn error_response(status: u16, code: &str) -> Result<HttpResponse, StdError> {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, "Made by a rule");
    error.set_status_code(StatusCode::from_u16(status)?);
    Ok(error.to_http_response()?)
}
