//! Rules that make chosen requests go wrong.

use serde::{Deserialize, Serialize};

use crate::operation::Operation;

/// Which requests go wrong, how often, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The operation; all operations if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<Operation>,
    /// The bucket of the request (of a copy: its destination); all buckets if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket: Option<String>,
    /// The exact key; for DeleteObjects a key among those named. All keys if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// How many matching requests to let through first.
    #[serde(default)]
    pub skip: u64,
    /// How many matching requests to meet after that; 0 means all of them.
    #[serde(default)]
    pub times: u64,
    /// What happens.
    pub action: Action,
}

impl Rule {
    /// A rule for every request of one operation.
    pub fn new(operation: Operation, action: Action) -> Self {
        Self { operation: Some(operation), bucket: None, key: None, skip: 0, times: 0, action }
    }

    /// The same for one bucket only.
    #[must_use]
    pub fn bucket(mut self, bucket: impl Into<String>) -> Self {
        self.bucket = Some(bucket.into());
        self
    }

    /// The same for one key only.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// The same, with the first matching requests let through.
    #[must_use]
    pub fn skip(mut self, skip: u64) -> Self {
        self.skip = skip;
        self
    }

    /// The same, for so many requests only.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    pub(crate) fn concerns(&self, call: &Call<'_>) -> bool {
        self.operation.is_none_or(|operation| operation == call.operation)
            && self.bucket.as_deref().is_none_or(|bucket| call.bucket == Some(bucket))
            && self.key.as_deref().is_none_or(|key| call.keys.contains(&key))
    }
}

/// Before the work, so that nothing has happened, or after it, so that only the answer is lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// The work is not done.
    #[default]
    Before,
    /// The work is done and the client is not told.
    After,
}

/// What a rule does to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Action {
    /// Answers with an error.
    Status {
        /// The HTTP status, such as 503.
        status: u16,
        /// The error code, such as `SlowDown`.
        code: String,
        /// Whether the work is done all the same.
        #[serde(default)]
        when: When,
    },
    /// Closes the connection without an answer.
    Close {
        /// Whether the work is done all the same.
        #[serde(default)]
        when: When,
    },
    /// Never answers; the connection stays open until the client or the server goes.
    Stall {
        /// Whether the work is done all the same.
        #[serde(default)]
        when: When,
    },
    /// Waits before the work. Further rules are still asked.
    Delay {
        /// How long.
        milliseconds: u64,
    },
    /// Answers 200 with an `<Error>` as the body, as CopyObject and CompleteMultipartUpload may.
    ErrorBody {
        /// The error code, such as `InternalError`.
        code: String,
        /// Whether the work is done all the same.
        #[serde(default)]
        when: When,
    },
    /// Reports an error for the rule's key (for all keys if it has none) in the answer of
    /// DeleteObjects, while the other keys go as ever. Further rules are still asked.
    KeyError {
        /// The error code, such as `InternalError`.
        code: String,
        /// Whether the key is deleted all the same.
        #[serde(default)]
        when: When,
    },
    /// Does the work and answers with all the headers, but after so many bytes of the body there
    /// is silence until the client or the server goes. A shorter body arrives whole.
    StallBody {
        /// How many bytes arrive.
        bytes: u64,
    },
    /// The same, but then the connection is closed.
    CutBody {
        /// How many bytes arrive.
        bytes: u64,
    },
    /// Holds the request until [`Switches::release`], so that a test can act in the gap; for
    /// this [`Switches::held`] tells when. Further rules are still asked.
    ///
    /// [`Switches::release`]: crate::Switches::release
    /// [`Switches::held`]: crate::Switches::held
    Hold {
        /// Whether it is held before the work or between the work and the answer.
        #[serde(default)]
        when: When,
    },
    /// Makes CopyObject store other content than its source's, and tell the ETag of that. For the
    /// embedded server only. Further rules are still asked.
    Corrupt {
        /// What is stored.
        content: String,
    },
}

/// A request as rules look at it.
pub(crate) struct Call<'a> {
    pub(crate) operation: Operation,
    pub(crate) bucket: Option<&'a str>,
    pub(crate) keys: &'a [&'a str],
}
