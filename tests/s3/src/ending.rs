//! The endings that a rule can force on a request.

use std::io;

use hyper::StatusCode;
use s3s::{HttpResponse, S3Error, S3ErrorCode, StdError};

use crate::faults::Ending;
use crate::listen::Caller;
use crate::partial::Partial;

/// Ends a request as a rule has it, or else honestly. An error closes the connection.
pub(crate) async fn end(
    ending: Option<Ending>,
    honest: HttpResponse,
    caller: &Caller,
) -> Result<HttpResponse, StdError> {
    match ending {
        None => Ok(honest),
        Some(Ending::Status { status, code }) => error_response(status, &code),
        Some(Ending::ErrorBody { code }) => error_response(200, &code),
        Some(Ending::Body { bytes, then }) => Ok(honest.map(|body| Partial::wrap(body, bytes, then, caller))),
        Some(Ending::Stall) => {
            // The client may go first; this future is dropped then.
            caller.stop.cancelled().await;
            Err(io::Error::other("stalled by a rule until the server stopped").into())
        }
        Some(Ending::Close) => Err(io::Error::other("closed by a rule").into()),
    }
}

/// An error as S3 words it.
pub(crate) fn error_response(status: u16, code: &str) -> Result<HttpResponse, StdError> {
    let code = S3ErrorCode::from_bytes(code.as_bytes()).unwrap_or(S3ErrorCode::InternalError);
    let mut error = S3Error::with_message(code, MADE);
    error.set_status_code(StatusCode::from_u16(status)?);
    Ok(error.to_http_response()?)
}

/// The message of every error that a rule makes.
pub(crate) const MADE: &str = "Made by a rule";
