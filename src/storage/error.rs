//! The one place where an answer of the S3 server becomes a decision: by code and status, never by text.

use std::error::Error as StdError;
use std::fmt;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

use super::limiter::Urgency;
use super::{Kind, Operation, Side, permission, tls};
use crate::outcome::{Advice, DeadReason, Dependency, Failure};

/// What a request was about: what an error says was attempted on what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) operation: Operation,
    pub(super) side: Side,
    pub(super) key: Option<&'a str>,
}

impl Asked<'_> {
    /// Deletions and what brings a living file back do not wait behind a thousand copies: they rest on a check of
    /// a moment ago.
    pub(super) fn urgency(&self) -> Urgency {
        match (self.operation, self.side) {
            (Operation::DeleteObjects | Operation::CompleteMultipartUpload, _)
            | (Operation::CopyObject | Operation::UploadPartCopy, Side::Object) => Urgency::Urgent,
            _ => Urgency::Ordinary,
        }
    }
}

/// A request to the storage that failed. It holds neither secrets nor addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StorageError {
    /// What was attempted.
    pub operation: Operation,
    /// In which bucket (of a copy: the destination).
    pub side: Side,
    /// On which object; nothing where the request was about a bucket or many keys.
    pub key: Option<String>,
    /// What went wrong.
    pub kind: Kind,
    /// The server's own words, or the reason why there are none.
    detail: String,
    /// The same kind of request on our own object worked right after: the trouble is this key's.
    only_this_key: bool,
    /// The request named a version, which needs another permission.
    pub(super) of_version: bool,
}

impl StorageError {
    pub(super) fn new(asked: Asked<'_>, kind: Kind, detail: impl Into<String>) -> Self {
        Self {
            operation: asked.operation,
            side: asked.side,
            key: asked.key.map(str::to_owned),
            kind,
            detail: detail.into(),
            only_this_key: false,
            of_version: false,
        }
    }

    pub(super) fn settings(detail: impl Into<String>) -> Self {
        let asked = Asked { operation: Operation::Connect, side: Side::Object, key: None };
        Self::new(asked, Kind::Settings, detail)
    }

    pub(super) fn from_sdk<E>(asked: Asked<'_>, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let status = error.raw_response().map(|response| response.status().as_u16());
        let (kind, detail) = match error {
            SdkError::TimeoutError(_) => (Kind::Timeout, String::new()),
            SdkError::DispatchFailure(_) => (Kind::Connection, tls::told_or(error, io_error)),
            SdkError::ConstructionFailure(_) => (Kind::BadRequest, "cannot be built".to_owned()),
            SdkError::ServiceError(_) => (kind(status, error.code()), answer(status, error.code())),
            // An answer that cannot be read, and whatever the SDK may add.
            _ => (Kind::BadAnswer, answer(status, None)),
        };
        Self::new(asked, kind, detail)
    }

    /// An error that one key of a request for many got.
    pub(super) fn for_key(asked: Asked<'_>, code: Option<&str>) -> Self {
        Self::new(asked, kind(None, code), answer(None, code))
    }

    /// The same error of a request about a bucket: what is not there is the bucket.
    pub(super) fn of_bucket(self) -> Self {
        match self.kind {
            Kind::NotFound => Self { kind: Kind::BucketMissing, ..self },
            _ => self,
        }
    }

    /// The same error, of a request for many keys, as one of them has it.
    pub(super) fn about(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// Did the server understand the request, and refuse it?
    pub(super) fn refuses(&self) -> bool {
        matches!(self.kind, Kind::AccessDenied | Kind::BadRequest | Kind::KeyRefused | Kind::NotImplemented)
    }

    /// Is the storage out, for all that is known?
    pub fn is_outage(&self) -> bool {
        matches!(self.advice(), Advice::Outage(_) | Advice::SlowDown)
    }

    /// May the same request work within seconds?
    pub(super) fn may_pass(&self) -> bool {
        matches!(
            self.kind,
            Kind::SlowDown | Kind::ServerError | Kind::Timeout | Kind::Connection | Kind::BadAnswer
        )
    }

    /// Could everybody have this trouble, not just this object? Then the control question decides.
    pub fn could_be_everybodys(&self) -> bool {
        match self.kind {
            Kind::AccessDenied
            | Kind::BadRequest
            | Kind::ServerError
            | Kind::BadAnswer
            | Kind::Timeout
            | Kind::Connection => true,
            Kind::NotFound
            | Kind::BucketMissing
            | Kind::PreconditionFailed
            | Kind::ConcurrentRequest
            | Kind::CredentialsInvalid
            | Kind::ClockSkew
            | Kind::WrongRegion
            | Kind::SlowDown
            | Kind::Archived
            | Kind::Locked
            | Kind::NotImplemented
            | Kind::KeyRefused
            | Kind::SameBucket
            | Kind::Settings => false,
        }
    }

    /// Has the control question been answered: is it this object's own?
    pub(super) fn is_this_keys(&self) -> bool {
        self.only_this_key
    }

    /// The same error after the control question worked: it is this object's own.
    #[must_use]
    pub(crate) fn of_this_key(mut self) -> Self {
        self.only_this_key = self.could_be_everybodys();
        self
    }

    /// What to do next. Where everybody could have the trouble, it counts as an outage until the control
    /// question (`Storage::judge`) says otherwise.
    pub fn advice(&self) -> Advice {
        match (self.kind, self.only_this_key) {
            // The next try looks again, and the truth table decides.
            (Kind::NotFound | Kind::PreconditionFailed | Kind::ConcurrentRequest, _)
            | (Kind::ServerError | Kind::BadAnswer | Kind::Timeout | Kind::Connection, true) => Advice::Retry,
            (Kind::SlowDown, _) => Advice::SlowDown,
            (Kind::AccessDenied, true) => Advice::GiveUp(DeadReason::Forbidden),
            (Kind::BadRequest, true) | (Kind::KeyRefused | Kind::NotImplemented, _) => {
                Advice::GiveUp(DeadReason::Unsupported)
            }
            (Kind::Archived, _) => Advice::GiveUp(DeadReason::Archived),
            (Kind::Locked, _) => Advice::GiveUp(DeadReason::Locked),
            (
                Kind::AccessDenied
                | Kind::BadRequest
                | Kind::ServerError
                | Kind::BadAnswer
                | Kind::Timeout
                | Kind::Connection,
                false,
            )
            | (
                Kind::BucketMissing
                | Kind::CredentialsInvalid
                | Kind::ClockSkew
                | Kind::WrongRegion
                | Kind::SameBucket
                | Kind::Settings,
                _,
            ) => Advice::Outage(Dependency::Storage),
        }
    }
}

impl fmt::Display for StorageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.operation)?;
        if let Some(key) = &self.key {
            write!(f, " of '{key}'")?;
        }
        if self.operation != Operation::Connect {
            write!(f, " in the {} bucket", self.side)?;
        }
        write!(f, ": {}", self.kind)?;
        if !self.detail.is_empty() {
            write!(f, " ({})", self.detail)?;
        }
        let needed = if self.of_version { permission::needed_of_version } else { permission::needed };
        match needed(self.operation, self.side) {
            Some(needed) if self.kind == Kind::AccessDenied => write!(f, "; this needs {needed}"),
            _ => Ok(()),
        }
    }
}

impl StdError for StorageError {}

impl From<StorageError> for Failure {
    fn from(error: StorageError) -> Self {
        Self::new(error.advice(), error.to_string())
    }
}

/// What an answer means: by its code where it has a known one (a 200 may carry an error too), else by its
/// status (answers to HEAD have no code).
fn kind(status: Option<u16>, code: Option<&str>) -> Kind {
    match code.unwrap_or_default() {
        "NoSuchKey" | "NoSuchVersion" => Kind::NotFound,
        "NoSuchBucket" => Kind::BucketMissing,
        "PreconditionFailed" => Kind::PreconditionFailed,
        // An upload that is gone was finished or aborted by somebody else: begin again.
        "ConditionalRequestConflict" | "OperationAborted" | "NoSuchUpload" => Kind::ConcurrentRequest,
        "AccessDenied" | "AllAccessDisabled" | "MethodNotAllowed" => Kind::AccessDenied,
        // The key that encrypts: it may be one object's or everybody's.
        "KMS.DisabledException" | "KMS.NotFoundException" | "KMS.KMSInvalidStateException" => {
            Kind::AccessDenied
        }
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "AccountProblem" => Kind::CredentialsInvalid,
        "RequestTimeTooSkewed" => Kind::ClockSkew,
        "PermanentRedirect"
        | "TemporaryRedirect"
        | "AuthorizationHeaderMalformed"
        | "IllegalLocationConstraintException" => Kind::WrongRegion,
        "SlowDown"
        | "ServiceUnavailable"
        | "TooManyRequests"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded" => Kind::SlowDown,
        "InternalError" => Kind::ServerError,
        "RequestTimeout" => Kind::Timeout,
        "InvalidObjectState" => Kind::Archived,
        "ObjectLocked" => Kind::Locked,
        "NotImplemented" => Kind::NotImplemented,
        "KeyTooLongError" | "InvalidURI" | "XMinioInvalidObjectName" => Kind::KeyRefused,
        _ => kind_by_status(status),
    }
}

fn kind_by_status(status: Option<u16>) -> Kind {
    match status {
        Some(301 | 307 | 308) => Kind::WrongRegion,
        Some(401) => Kind::CredentialsInvalid,
        Some(403 | 405) => Kind::AccessDenied,
        Some(404) => Kind::NotFound,
        Some(408) => Kind::Timeout,
        Some(409) => Kind::ConcurrentRequest,
        Some(412) => Kind::PreconditionFailed,
        Some(429 | 503) => Kind::SlowDown,
        Some(501) => Kind::NotImplemented,
        Some(400..=499) => Kind::BadRequest,
        Some(500..=599) => Kind::ServerError,
        // An error inside an answer of success, with a code that we do not know.
        Some(_) | None => Kind::BadAnswer,
    }
}

/// Longest piece of a server's code that is shown, in characters.
const MAX_CODE_CHARS: usize = 64;

/// Status and code, printable and bounded: the code is the server's word, not ours.
fn answer(status: Option<u16>, code: Option<&str>) -> String {
    let code: String = code
        .unwrap_or_default()
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
        .take(MAX_CODE_CHARS)
        .collect();
    match (status, code.is_empty()) {
        (Some(status), true) => status.to_string(),
        (Some(status), false) => format!("{status} {code}"),
        (None, _) => code,
    }
}

/// The kind of the I/O error at the root, such as "connection refused"; never a text with an address in it.
fn io_error(error: &(dyn StdError + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            text = io.kind().to_string();
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
impl StorageError {
    /// What a model of a server answers.
    pub(crate) fn for_tests(operation: Operation, side: Side, key: &str, kind: Kind) -> Self {
        Self::new(Asked { operation, side, key: Some(key) }, kind, "by the model")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTAGE: Advice = Advice::Outage(Dependency::Storage);

    fn error(status: u16, code: &str) -> StorageError {
        let asked = Asked { operation: Operation::CopyObject, side: Side::Recycle, key: Some("k") };
        let code = Some(code).filter(|code| !code.is_empty());
        StorageError::new(asked, kind(Some(status), code), answer(Some(status), code))
    }

    #[test]
    fn every_answer_becomes_a_decision() {
        let forbidden = Advice::GiveUp(DeadReason::Forbidden);
        let unsupported = Advice::GiveUp(DeadReason::Unsupported);
        // status, code, the decision at first, and after the control question worked
        for (status, code, advice, of_this_key) in [
            (404, "NoSuchKey", Advice::Retry, Advice::Retry),
            (404, "", Advice::Retry, Advice::Retry),
            (404, "NoSuchBucket", OUTAGE, OUTAGE),
            (412, "PreconditionFailed", Advice::Retry, Advice::Retry),
            (412, "", Advice::Retry, Advice::Retry),
            (409, "ConditionalRequestConflict", Advice::Retry, Advice::Retry),
            (403, "AccessDenied", OUTAGE, forbidden),
            (403, "", OUTAGE, forbidden),
            (400, "KMS.DisabledException", OUTAGE, forbidden),
            (403, "InvalidAccessKeyId", OUTAGE, OUTAGE),
            (403, "SignatureDoesNotMatch", OUTAGE, OUTAGE),
            (400, "ExpiredToken", OUTAGE, OUTAGE),
            (403, "RequestTimeTooSkewed", OUTAGE, OUTAGE),
            (301, "PermanentRedirect", OUTAGE, OUTAGE),
            (301, "", OUTAGE, OUTAGE),
            (503, "SlowDown", Advice::SlowDown, Advice::SlowDown),
            (503, "", Advice::SlowDown, Advice::SlowDown),
            (429, "TooManyRequests", Advice::SlowDown, Advice::SlowDown),
            (500, "InternalError", OUTAGE, Advice::Retry),
            (200, "InternalError", OUTAGE, Advice::Retry),
            (200, "SomethingNew", OUTAGE, Advice::Retry),
            (502, "", OUTAGE, Advice::Retry),
            (400, "RequestTimeout", OUTAGE, Advice::Retry),
            (
                403,
                "InvalidObjectState",
                Advice::GiveUp(DeadReason::Archived),
                Advice::GiveUp(DeadReason::Archived),
            ),
            (400, "ObjectLocked", Advice::GiveUp(DeadReason::Locked), Advice::GiveUp(DeadReason::Locked)),
            (501, "NotImplemented", unsupported, unsupported),
            (400, "KeyTooLongError", unsupported, unsupported),
            (400, "InvalidArgument", OUTAGE, unsupported),
            (400, "", OUTAGE, unsupported),
        ] {
            let error = error(status, code);
            assert_eq!(error.advice(), advice, "{status} {code}");
            assert_eq!(error.of_this_key().advice(), of_this_key, "{status} {code}, this key's own");
        }
    }

    #[test]
    fn an_error_says_what_was_attempted_on_what_and_shows_no_more_of_the_server_than_a_bounded_code() {
        let mut error = error(403, &format!("Access\nDenied<{}", "x".repeat(500)));
        assert_eq!(error.detail.chars().count(), MAX_CODE_CHARS + 4);
        error.detail = "403 AccessDenied".to_owned();
        let said = error.to_string();
        assert!(
            said.starts_with(
                "CopyObject of 'k' in the recycle bucket: access denied (403 AccessDenied); this needs s3:"
            ),
            "{said}"
        );
    }
}
