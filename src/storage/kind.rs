//! The kinds of trouble with the storage, and the words for them.

use std::fmt;

/// What went wrong, sorted by what it means for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// There is no object under the key.
    NotFound,
    /// There is no such bucket.
    BucketMissing,
    /// A condition of the request does not hold: the object is not what it was taken for.
    PreconditionFailed,
    /// Two requests met on one key; neither is at fault.
    ConcurrentRequest,
    /// The credentials may not do this, here.
    AccessDenied,
    /// The server does not accept the credentials at all.
    CredentialsInvalid,
    /// This machine's clock and the server's differ too much.
    ClockSkew,
    /// The bucket lives elsewhere: wrong region or endpoint.
    WrongRegion,
    /// The server asks for a slower pace.
    SlowDown,
    /// The server failed.
    ServerError,
    /// No answer in time.
    Timeout,
    /// No connection: name resolution, network or TLS.
    Connection,
    /// The object is in an archive class and cannot be read now.
    Archived,
    /// Object Lock or a legal hold protects the object.
    Locked,
    /// The server does not know this request.
    NotImplemented,
    /// The server cannot have an object under this key.
    KeyRefused,
    /// The server finds something wrong with the request, and its code says nothing that we know.
    BadRequest,
    /// The answer makes no sense: it cannot be read, or leaves out what it must say.
    BadAnswer,
    /// The two configured buckets are one and the same.
    SameBucket,
    /// The storage's settings cannot be used.
    Settings,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no such object",
            Self::BucketMissing => "there is no such bucket",
            Self::PreconditionFailed => "the object is not what it was a moment ago",
            Self::ConcurrentRequest => "another request for the same object is under way",
            Self::AccessDenied => "access denied",
            Self::CredentialsInvalid => "the credentials are not accepted",
            Self::ClockSkew => "this machine's clock and the server's differ too much",
            Self::WrongRegion => "the bucket is in another region or at another endpoint",
            Self::SlowDown => "the server asks for a slower pace",
            Self::ServerError => "the server failed",
            Self::Timeout => "no answer in time",
            Self::Connection => "no connection",
            Self::Archived => "the object is archived",
            Self::Locked => "the object is locked",
            Self::NotImplemented => "the server does not support this",
            Self::KeyRefused => "the server cannot have an object under this key",
            Self::BadRequest => "the request was refused",
            Self::BadAnswer => "the answer makes no sense",
            Self::SameBucket => "the object bucket and the recycle bucket are the same bucket",
            Self::Settings => "the settings cannot be used",
        })
    }
}
