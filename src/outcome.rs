//! What can become of a file, and why a message can end in the dead-letter queue.
//!
//! These are the values of metric labels, headers and JSON fields: a new one is added here.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::file::FileRef;

/// Defines an enum of fixed words with its `ALL`, its `as_str` and its `FromStr`.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+ }

        impl $name {
            /// Every value, in the order of its definition.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for the value outside.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = UnknownWord;

            fn from_str(word: &str) -> Result<Self, UnknownWord> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word).ok_or_else(|| UnknownWord {
                    word: word.to_owned(),
                    known: Self::ALL.iter().map(|value| value.as_str()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}
pub(crate) use words;

/// A word that is none of an enum's.
#[derive(Debug, thiserror::Error)]
#[error("'{word}' is not one of: {known}")]
pub struct UnknownWord {
    pub(crate) word: String,
    pub(crate) known: String,
}

words! {
    /// What became of one file.
    Outcome {
        /// The file is in the recycle bucket and no longer in the object bucket, by us, now.
        Moved => "moved",
        /// It was there already: by an earlier delivery, or by the CRM itself.
        AlreadyMoved => "already_moved",
        /// It is in neither bucket.
        Missing => "missing",
        /// A row or a link still names it: left alone.
        Alive => "alive",
        /// Its content is not in S3: left alone.
        Elsewhere => "elsewhere",
        /// The recycle bucket holds other content under its key: left alone, dead-lettered.
        Conflict => "conflict",
        /// `recycle.mode = "observe"`: it would have moved.
        WouldMove => "would_move",
        /// It could not be moved: retried or dead-lettered.
        Failed => "failed",
    }
}

words! {
    /// Why a message is in the dead-letter queue.
    DeadReason {
        /// Other content is in the recycle bucket under the file's key.
        Conflict => "conflict",
        /// The message is not an event of ours, or names what cannot be.
        Malformed => "malformed",
        /// A type, version, key or object that this worker or this server cannot handle.
        Unsupported => "unsupported",
        /// The storage refuses this one key.
        Forbidden => "forbidden",
        /// Object Lock or a legal hold protects the object.
        Locked => "locked",
        /// The object is in an archive class.
        Archived => "archived",
        /// The message made the worker crash, again and again.
        CrashLoop => "crash-loop",
        /// Every try was used up.
        AttemptsExhausted => "attempts-exhausted",
        /// A fault of our own.
        Internal => "internal",
    }
}

impl DeadReason {
    /// The reason in words that say what to do.
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Conflict => {
                "the recycle bucket holds other content under this key; move that object away, then replay"
            }
            Self::Malformed => "the message is not an event that can be true; mend its producer",
            Self::Unsupported => "this version, or this storage server, cannot handle it",
            Self::Forbidden => {
                "the storage refuses this one key; look at the object's and the bucket's rights"
            }
            Self::Locked => "Object Lock or a legal hold protects the object; replay when it has ended",
            Self::Archived => {
                "the object is in an archive class; restore it to a readable class, then replay"
            }
            Self::CrashLoop => "the worker crashed over it again and again; report it",
            Self::AttemptsExhausted => "every try failed; see the error, mend its cause, then replay",
            Self::Internal => "a fault of this program; report it",
        }
    }
}

words! {
    /// The three servers that we depend on.
    Dependency {
        /// PostgreSQL.
        Database => "database",
        /// RabbitMQ.
        Broker => "broker",
        /// The S3 server.
        Storage => "storage",
    }
}

/// What an adapter's error asks of its caller. Every adapter's error has an `advice()`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// It may pass within seconds or minutes: try again, and count the try.
    Retry,
    /// The storage asks for a slower pace: try again later, and do not count the try.
    SlowDown,
    /// The dependency is out for everybody: stop, wait until it is back, count nothing.
    Outage(Dependency),
    /// It may not be now (the guard refuses, the operator has paused, or the broker takes no messages): give back,
    /// count nothing.
    Hold,
    /// Trying again will not help: the dead-letter queue, for this reason.
    GiveUp(DeadReason),
}

/// Why a step failed for one file or message, with what to do next: what business and loops pass on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    /// What to do next.
    pub advice: Advice,
    /// What was attempted on what, and what came back; without secrets and without personal data.
    pub error: String,
}

impl Failure {
    /// A failure with its advice.
    pub fn new(advice: Advice, error: impl Into<String>) -> Self {
        Self { advice, error: error.into() }
    }

    /// The same failure of a question that was asked for many at once. It says nothing about any one of
    /// them, so nobody's tries are used up and nobody is condemned: the dependency is out, whatever it was.
    #[must_use]
    pub fn of_everybody(self, dependency: Dependency) -> Self {
        let advice = match self.advice {
            Advice::Hold => Advice::Hold,
            Advice::Retry | Advice::SlowDown | Advice::Outage(_) | Advice::GiveUp(_) => {
                Advice::Outage(dependency)
            }
        };
        Self { advice, ..self }
    }
}

/// How one file of an event ended.
#[derive(Clone, Debug)]
pub struct FileEnd {
    /// The file, as the event named it.
    pub file: FileRef,
    /// Its outcome, or why there is none yet.
    pub result: Result<Outcome, Failure>,
}

/// Is a file still in use? The database's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// No row and no live link names it.
    Dead,
    /// A row or a live link names it.
    Alive,
    /// A row names it, and says that the content is not in S3.
    Elsewhere,
}
