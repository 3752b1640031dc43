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
use crate::permissions::{self, Asking};
use crate::policy::Policy;
use crate::rule::{Call, When};
use crate::store::Store;
use crate::switches::Switches;
use crate::users::Users;

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

/// The access check that asks policies and rules.
#[derive(Debug)]
pub(crate) struct Warden {
    pub(crate) switches: Switches,
    pub(crate) users: Users,
    pub(crate) store: Arc<Store>,
}

#[async_trait::async_trait]
impl S3Access for Warden {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let Some(access_key) = cx.credentials().map(|credentials| credentials.access_key.clone()) else {
            return Err(s3s::s3_error!(AccessDenied, "Signature is required"));
        };
        let operation = Operation::from_name(cx.s3_op().name());
        let Some(ticket) = cx.extensions_mut().get::<Ticket>().cloned() else {
            return Ok(());
        };
        ticket.lock().operation = Some(operation);
        self.switches.0.counters.asked(operation);
        if operation == Operation::DeleteObjects {
            // Its keys are in the body, which has not been read yet.
            return Ok(());
        }
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => (None, None),
            S3Path::Bucket { bucket } => (Some(&**bucket), None),
            S3Path::Object { bucket, key } => (Some(&**bucket), Some(&**key)),
        };
        if let Some(policy) = self.users.policy(&access_key) {
            let query = cx.uri().query().unwrap_or_default();
            let asking = Asking { operation, bucket, key, headers: cx.headers(), query };
            if !asking.is_allowed(&policy, &self.store) {
                return Err(s3s::s3_error!(AccessDenied, "Access Denied"));
            }
        }
        let call = Call { operation, bucket, keys: key.as_slice() };
        let verdict = self.switches.0.faults.judge(&call);
        carry_out(verdict, &ticket, &self.switches).await
    }

    async fn delete_objects(&self, req: &mut S3Request<DeleteObjectsInput>) -> S3Result<()> {
        let Some(ticket) = req.extensions.get::<Ticket>().cloned() else {
            return Ok(());
        };
        let keys: Vec<&str> = req.input.delete.objects.iter().map(|id| id.key.as_str()).collect();
        let call = Call { operation: Operation::DeleteObjects, bucket: Some(&req.input.bucket), keys: &keys };
        let mut verdict = self.switches.0.faults.judge(&call);
        let policy = req.credentials.as_ref().and_then(|signed| self.users.policy(&signed.access_key));
        verdict.keys.extend(policy.iter().flat_map(|policy| refused_keys(policy, &req.input)));
        carry_out(verdict, &ticket, &self.switches).await
    }
}

/// Each key has an answer of its own: those that the policy does not allow are refused, the others go.
fn refused_keys(policy: &Policy, input: &DeleteObjectsInput) -> Vec<KeyFault> {
    let refused = input.delete.objects.iter().filter(|id| {
        let action = permissions::action(Operation::DeleteObjects, id.version_id.is_some());
        let resource = format!("arn:aws:s3:::{}/{}", input.bucket, id.key);
        let conditional = id.e_tag.is_some();
        !action.is_some_and(|action| policy.allows(action, &resource))
            || conditional && !policy.allows("s3:GetObject", &resource)
    });
    let fault = |key: &str| KeyFault {
        key: Some(key.to_owned()),
        code: "AccessDenied".to_owned(),
        when: When::Before,
    };
    refused.map(|id| fault(&id.key)).collect()
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
