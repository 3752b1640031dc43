//! The recycle bucket's lifecycle rules: read with everything that belongs to them, and written with one of ours added or
//! replaced. Whatever else is there goes back as it came.

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus, LifecycleExpiration,
    LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, TransitionDefaultMinimumObjectSize,
};

use super::error::Asked;
use super::{Kind, Operation, Side, Storage, StorageError};
use crate::retention::{Scope, Terms};

/// The id of our rule.
const OUR_RULE: &str = "file-recycler-retention";
/// Days after which parts of an upload that nobody completed go. Our own uploads are resumed or aborted long before.
const UNFINISHED_DAYS: i32 = 7;

/// The rules as they were read.
#[derive(Clone, Debug, Default)]
pub struct Lifecycle {
    rules: Vec<LifecycleRule>,
    smallest_to_move: Option<TransitionDefaultMinimumObjectSize>,
}

impl Lifecycle {
    /// What the rules say, for people and decisions.
    pub fn terms(&self) -> Vec<Terms> {
        self.rules.iter().map(terms).collect()
    }

    /// The same with our rule: every object, every version that is replaced, and every unfinished upload.
    pub fn with_ours(&self, days: u16) -> Result<Self, StorageError> {
        let days = i32::from(days);
        let rule = LifecycleRule::builder()
            .id(OUR_RULE)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix("").build())
            .expiration(LifecycleExpiration::builder().days(days).build())
            .noncurrent_version_expiration(
                NoncurrentVersionExpiration::builder().noncurrent_days(days).build(),
            )
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder().days_after_initiation(UNFINISHED_DAYS).build(),
            )
            .build()
            .map_err(|error| StorageError::new(put(), Kind::BadRequest, error.to_string()))?;
        let mut rules = self.rules.clone();
        match rules.iter_mut().find(|rule| rule.id() == Some(OUR_RULE)) {
            Some(ours) => *ours = rule,
            None => rules.push(rule),
        }
        Ok(Self { rules, smallest_to_move: self.smallest_to_move.clone() })
    }
}

impl Storage {
    /// The recycle bucket's rules.
    pub async fn lifecycle(&self) -> Result<Lifecycle, StorageError> {
        self.lifecycle_of(Side::Recycle).await
    }

    /// The rules of this bucket.
    pub async fn lifecycle_of(&self, side: Side) -> Result<Lifecycle, StorageError> {
        let asked = Asked { operation: Operation::GetBucketLifecycleConfiguration, side, key: None };
        let request = self.client().get_bucket_lifecycle_configuration().bucket(self.bucket(side));
        match self.send(asked, || request.send()).await {
            Ok(output) => Ok(Lifecycle {
                smallest_to_move: output.transition_default_minimum_object_size().cloned(),
                rules: output.rules.unwrap_or_default(),
            }),
            // There are no rules; a bucket that is not there has another code.
            Err(error) if error.kind == Kind::NotFound => Ok(Lifecycle::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes the recycle bucket's rules. There is no condition that keeps others from writing them meanwhile.
    pub async fn put_lifecycle(&self, lifecycle: &Lifecycle) -> Result<(), StorageError> {
        let rules = BucketLifecycleConfiguration::builder()
            .set_rules(Some(lifecycle.rules.clone()))
            .build()
            .map_err(|error| StorageError::new(put(), Kind::BadRequest, error.to_string()))?;
        let request = self
            .client()
            .put_bucket_lifecycle_configuration()
            .bucket(self.bucket(Side::Recycle))
            .set_transition_default_minimum_object_size(lifecycle.smallest_to_move.clone())
            .lifecycle_configuration(rules);
        self.send(put(), || request.send()).await?;
        Ok(())
    }
}

fn put() -> Asked<'static> {
    Asked { operation: Operation::PutBucketLifecycleConfiguration, side: Side::Recycle, key: None }
}

fn terms(rule: &LifecycleRule) -> Terms {
    let expiration = rule.expiration();
    let replaced = rule.noncurrent_version_expiration();
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    Terms {
        id: rule.id().unwrap_or_default().to_owned(),
        ours: rule.id() == Some(OUR_RULE),
        enabled: *rule.status() == ExpirationStatus::Enabled,
        scope: scope(rule),
        days: days(expiration.and_then(LifecycleExpiration::days)),
        date: expiration.and_then(LifecycleExpiration::date).map(ToString::to_string),
        noncurrent_days: days(replaced.and_then(NoncurrentVersionExpiration::noncurrent_days)),
        unfinished_days: days(
            rule.abort_incomplete_multipart_upload()
                .and_then(AbortIncompleteMultipartUpload::days_after_initiation),
        ),
        classes: rule
            .transitions()
            .iter()
            .filter_map(|transition| Some(transition.storage_class()?.as_str().to_owned()))
            .collect(),
    }
}

/// Which objects a rule is for. A filter that we do not understand is for some.
fn scope(rule: &LifecycleRule) -> Scope {
    let by_prefix = |prefix: &str| match prefix {
        "" => Scope::Everything,
        prefix => Scope::Prefix(prefix.to_owned()),
    };
    match (rule.filter(), rule_prefix(rule)) {
        (None, None) => Scope::Everything,
        (None, Some(prefix)) => by_prefix(prefix),
        (Some(filter), _) => {
            let narrower = filter.tag().is_some()
                || filter.and().is_some()
                || filter.object_size_greater_than().is_some()
                || filter.object_size_less_than().is_some();
            if narrower { Scope::Some } else { by_prefix(filter.prefix().unwrap_or_default()) }
        }
    }
}

/// The place of the prefix before there were filters; servers still answer with it.
#[allow(deprecated)]
fn rule_prefix(rule: &LifecycleRule) -> Option<&str> {
    rule.prefix()
}
