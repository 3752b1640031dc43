//! `POST /v1/events`: who may hand over an event, in which form, and what is answered.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use subtle::ConstantTimeEq as _;
use tokio::time::{Instant, timeout_at};

use super::Shared;
use crate::event::{CONTENT_TYPE, MAX_BYTES};
use crate::intake::{Intake, Place, Refused, Unavailable};
use crate::metrics::IntakeResult;

/// Time for the whole body. A connection lives ten seconds from the first byte of a request to the first of its
/// answer (`connection.rs`), so that a slow client is told, and the broker's part of the time is left.
const BODY_WITHIN: Duration = Duration::from_secs(5);
/// Time for the answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(9);
/// Time to wait for a place among the events in hand.
const PLACE_WITHIN: Duration = Duration::from_secs(2);
/// How much of a body that is refused is read on and forgotten: a client that is still sending would lose the answer.
const MAX_FORGOTTEN: usize = 8 * MAX_BYTES;
/// When to try again.
const RETRY_AFTER_SECONDS: &str = "5";

/// What makes an intake over HTTP.
#[derive(Clone)]
pub struct Events {
    /// `http.token`
    pub token: SecretString,
    /// Where the events go.
    pub intake: Intake,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The broker has it.
    Accepted(String),
    /// No token is configured: nobody may.
    Forbidden,
    /// The token is missing, or another one.
    Unauthorized,
    /// Not JSON, or an encoding of it.
    UnsupportedMediaType,
    /// The body did not come in time.
    TooSlow,
    /// Wrong, too large, or not now.
    Refused(Refused),
}

pub(super) async fn post(State(shared): State<Shared>, request: Request) -> Response {
    let answer = answer(shared.events.as_ref(), request).await;
    shared.metrics.intake(answer.result());
    answer.into_response()
}

async fn answer(events: Option<&Events>, request: Request) -> Answer {
    let now = Instant::now();
    let (head, body) = request.into_parts();
    let (events, place) = match enter(events, &head.headers, now).await {
        Ok(entered) => entered,
        Err(answer) => {
            if !waits_for_permission(&head.headers) {
                let _ = timeout_at(now + BODY_WITHIN, read(body, 0)).await;
            }
            return answer;
        }
    };
    let body = match timeout_at(now + BODY_WITHIN, read(body, MAX_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(answer)) => return answer,
        Err(_) => return Answer::TooSlow,
    };
    match events.intake.take(place, &body, now + ANSWER_WITHIN).await {
        Ok(id) => Answer::Accepted(id),
        Err(refused) => Answer::Refused(refused),
    }
}

/// Everything that can be said before the body was read, and a place for the event.
async fn enter<'a>(
    events: Option<&'a Events>,
    headers: &HeaderMap,
    now: Instant,
) -> Result<(&'a Events, Place), Answer> {
    let events = events.ok_or(Answer::Forbidden)?;
    if !has_token(headers, &events.token) {
        return Err(Answer::Unauthorized);
    }
    if !is_json(headers) {
        return Err(Answer::UnsupportedMediaType);
    }
    if waits_for_permission(headers) && announced(headers).is_some_and(|length| length > MAX_BYTES) {
        return Err(Answer::Refused(Refused::TooLarge));
    }
    Ok((events, events.intake.place(now + PLACE_WITHIN).await?))
}

/// Is the bearer token the configured one? Compared in a time that tells nothing but its length.
fn has_token(headers: &HeaderMap, token: &SecretString) -> bool {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(only), None) = (given.next(), given.next()) else { return false };
    let Some((scheme, credentials)) = only.as_bytes().split_at_checked("Bearer ".len()) else { return false };
    scheme.eq_ignore_ascii_case(b"Bearer ")
        && bool::from(credentials.trim_ascii().ct_eq(token.expose_secret().as_bytes()))
}

/// A whole document in JSON, not compressed. Parameters of the type are left alone: JSON is UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"));
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(only), None) = (types.next(), types.next()) else { return false };
    let essence = only.to_str().ok().and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    plain && [CONTENT_TYPE, "application/json"].iter().any(|known| essence.eq_ignore_ascii_case(known))
}

/// Does the client wait for `100 Continue`? Then it has sent nothing yet, and reads the answer.
fn waits_for_permission(headers: &HeaderMap) -> bool {
    headers
        .get(header::EXPECT)
        .is_some_and(|expected| expected.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// The length that the client announces.
fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body of at most `limit` bytes. No more than that is ever kept, whether or not a length was announced; what is
/// longer is read on for a while and forgotten.
async fn read(body: Body, limit: usize) -> Result<Vec<u8>, Answer> {
    let mut pieces = body.into_data_stream();
    let (mut kept, mut seen) = (Vec::new(), 0_usize);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Answer::broken())?;
        seen = seen.saturating_add(piece.len());
        if seen <= limit {
            kept.extend_from_slice(&piece);
        } else {
            kept = Vec::new();
            if seen > MAX_FORGOTTEN {
                break;
            }
        }
    }
    if seen > limit { Err(Answer::Refused(Refused::TooLarge)) } else { Ok(kept) }
}

impl Answer {
    fn broken() -> Self {
        let (field, problem) = ("event".to_owned(), "the request ended before its body did".to_owned());
        Self::Refused(Refused::Wrong { field, problem })
    }

    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Accepted(_) => StatusCode::ACCEPTED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Refused(Refused::Wrong { .. }) => StatusCode::BAD_REQUEST,
            Self::Refused(Refused::TooLarge) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Refused(Refused::Unavailable(_)) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn result(&self) -> IntakeResult {
        match self {
            Self::Accepted(_) => IntakeResult::Accepted,
            Self::Refused(Refused::Unavailable(_)) => IntakeResult::Unavailable,
            Self::Forbidden
            | Self::Unauthorized
            | Self::UnsupportedMediaType
            | Self::TooSlow
            | Self::Refused(Refused::Wrong { .. } | Refused::TooLarge) => IntakeResult::Refused,
        }
    }
}

impl From<Unavailable> for Answer {
    fn from(unavailable: Unavailable) -> Self {
        Self::Refused(unavailable.into())
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let status = self.status();
        let told = match &self {
            Self::Accepted(id) => json!({ "id": id }),
            Self::Forbidden => {
                json!({ "error": "http.token is not configured: no events are taken; set it (docs/events.md), and start `file-recycler run` again" })
            }
            Self::Unauthorized => json!({ "error": "the bearer token is missing or wrong" }),
            Self::UnsupportedMediaType => json!({
                "error": format!("the content type is neither {CONTENT_TYPE} nor application/json, or the body is encoded")
            }),
            Self::TooSlow => json!({ "error": format!("the body did not come within {BODY_WITHIN:?}") }),
            Self::Refused(refused @ Refused::Wrong { field, .. }) => {
                json!({ "error": refused.to_string(), "field": field })
            }
            Self::Refused(refused) => json!({ "error": refused.to_string() }),
        };
        let mut response = (status, Json(told)).into_response();
        let header = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, RETRY_AFTER_SECONDS)),
            _ => None,
        };
        if let Some((name, value)) = header {
            response.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        response
    }
}

#[cfg(test)]
mod tests;
