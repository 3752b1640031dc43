//! Who signs requests, and what each may do: the keys that the server was started with may do everything, others
//! what their policy allows.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};

use crate::policy::Policy;

/// All of them. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Users(Arc<RwLock<HashMap<String, User>>>);

#[derive(Debug)]
struct User {
    secret_key: SecretKey,
    /// None: everything is allowed.
    policy: Option<Policy>,
}

impl Users {
    pub(crate) fn set(&self, access_key: &str, secret_key: &str, policy: Option<Policy>) {
        let user = User { secret_key: SecretKey::from(secret_key), policy };
        // A map of users is whole whatever panicked.
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(access_key.to_owned(), user);
    }

    /// What this user is bound by; nothing where everything is allowed.
    pub(crate) fn policy(&self, access_key: &str) -> Option<Policy> {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        users.get(access_key).and_then(|user| user.policy.clone())
    }
}

#[async_trait::async_trait]
impl S3Auth for Users {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let users = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match users.get(access_key) {
            None => Err(s3_error!(NotSignedUp, "Your account is not signed up")),
            Some(user) => Ok(user.secret_key.clone()),
        }
    }
}
