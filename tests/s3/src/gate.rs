//! The gate around the S3 service: latency, counting, and the endings that a rule can force.
//!
//! A request carries a [`Ticket`] through the S3 layer. The access check, which alone knows the
//! operation and runs before the work, asks the rules and notes their verdict on the ticket;
//! the gate acts on it once the work is done or has been prevented.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::DeleteObjectsInput;
use s3s::path::S3Path;
use s3s::service::S3Service;
use s3s::{HttpRequest, HttpResponse, S3Request, S3Result, StdError};

use crate::counts::Answer;
use crate::ending;
use crate::faults::{Ending, KeyFault, Verdict};
use crate::listen::Caller;
use crate::operation::Operation;
use crate::rule::{Call, When};
use crate::switches::Switches;

/// What the layers of one request tell each other.
#[derive(Debug, Clone)]
pub(crate) struct Ticket {
    notes: Arc<Mutex<Notes>>,
    caller: Caller,
}

#[derive(Debug, Default)]
struct Notes {
    operation: Option<Operation>,
    ending: Option<Ending>,
    keys: Vec<KeyFault>,
    content: Option<String>,
    hold: bool,
}

impl Ticket {
    /// The errors to report for single keys, handed over once.
    pub(crate) fn take_key_faults(&self) -> Vec<KeyFault> {
        std::mem::take(&mut self.lock().keys)
    }

    /// What a copy stores in place of its source's content, handed over once.
    pub(crate) fn take_content(&self) -> Option<String> {
        self.lock().content.take()
    }

    fn lock(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The access check that asks the rules.
#[derive(Debug)]
pub(crate) struct Warden(pub(crate) Switches);

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
        carry_out(verdict, &ticket, &self.0).await
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let Some(ticket) = req.extensions.get::<Ticket>().cloned() else {
            return Ok(());
        };
        let keys: Vec<&str> = req.input.delete.objects.iter().map(|id| id.key.as_str()).collect();
        let call = Call { operation: Operation::DeleteObjects, bucket: Some(&req.input.bucket), keys: &keys };
        let verdict = self.0.0.faults.judge(&call);
        carry_out(verdict, &ticket, &self.0).await
    }
}

/// Waits and notes what is to come; an error keeps the work from being done.
async fn carry_out(verdict: Verdict, ticket: &Ticket, switches: &Switches) -> S3Result<()> {
    if !verdict.delay.is_zero() {
        tokio::time::sleep(verdict.delay).await;
    }
    let mut kept = false;
    if verdict.holds.contains(&When::Before) {
        kept = switches.0.holds.hold(&ticket.caller.stop).await.is_err();
    }
    let mut notes = ticket.lock();
    notes.hold = verdict.holds.contains(&When::After);
    notes.keys = verdict.keys;
    notes.content = verdict.content;
    match verdict.ending {
        _ if kept => notes.ending = Some(Ending::Close),
        None => return Ok(()),
        Some((ending, when)) => {
            notes.ending = Some(ending);
            if when == When::After {
                return Ok(());
            }
        }
    }
    Err(s3s::s3_error!(InternalError, "Kept from being done by a rule"))
}

/// Serves one S3 request. An error closes the connection without an answer.
pub(crate) async fn serve(
    mut request: HttpRequest,
    service: &S3Service,
    switches: &Switches,
    caller: Caller,
) -> Result<HttpResponse, StdError> {
    let latency = switches.latency();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
    let ticket = Ticket { notes: Arc::default(), caller };
    request.extensions_mut().insert(ticket.clone());
    let response = service.call(request).await.map_err(StdError::from)?;
    let (operation, ending, holds) = {
        let mut notes = ticket.lock();
        (notes.operation, notes.ending.take(), notes.hold)
    };
    let operation = operation.unwrap_or_else(|| {
        switches.0.counters.asked(Operation::Refused);
        Operation::Refused
    });
    let held = if holds { switches.0.holds.hold(&ticket.caller.stop).await } else { Ok(()) };
    let ended = match held {
        Ok(()) => ending::end(ending, response, &ticket.caller).await,
        Err(stopped) => Err(stopped),
    };
    switches.0.counters.answered(operation, Answer::of(&ended));
    ended
}
