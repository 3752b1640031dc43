//! The client: settings, credentials, time-outs, and the bound on requests in flight.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    AppName, BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
    ResponseChecksumValidation, SharedCredentialsProvider, SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::types::StorageClass;
use futures_util::future::{BoxFuture, try_join};
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use super::error::Asked;
use super::evidence::Evidence;
use super::limiter::{Ended, Limiter};
use super::{Answer, Kind, Observe, Operation, Side, StorageError, tls};
use crate::config;
use crate::failpoint;
use crate::file::{Bucket, Object, Recycle};
use crate::fresh::Fresh;
use crate::retry::Stopwatch;

/// Pairs of objects that are read and compared at the same time: each holds a few hundred KB.
const COMPARED_AT_ONCE: usize = 8;

/// The object bucket and the recycle bucket on their server. Cheap to clone; all clones share one bound on
/// the requests in flight.
#[derive(Clone)]
pub struct Storage(Arc<Inner>);

struct Inner {
    client: Client,
    object: Bucket<Object>,
    recycle: Bucket<Recycle>,
    recycle_class: Option<StorageClass>,
    /// Time-outs of requests that make the server copy: one try may take all of the operation's time.
    copying: TimeoutConfig,
    /// How long one request, or one piece of a body, may take.
    patience: Duration,
    limiter: Limiter,
    comparing: Semaphore,
    observe: Observe,
    evidence: Evidence,
    rehearsal: Fresh<Result<(), StorageError>>,
    buckets: Fresh<Result<(), StorageError>>,
}

/// The storage's pace: all requests of the process share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// Most requests in flight, as it is now.
    pub limit: usize,
    /// Requests in flight.
    pub in_flight: usize,
}

impl fmt::Debug for Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Storage({} -> {})", self.0.object, self.0.recycle)
    }
}

impl Storage {
    /// A client by these settings. Nothing is asked of the server yet; `observe` is called after every
    /// request.
    pub async fn connect(
        storage: &config::Storage,
        recycling: &config::Recycling,
        observe: Observe,
    ) -> Result<Self, StorageError> {
        let (object, recycle) = buckets(storage)?;
        let concurrency = recycling.concurrency.clamp(1, Semaphore::MAX_PERMITS);
        let http = tls::http_client(storage.ca_file.as_deref(), concurrency).await?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(storage.connect_timeout)
            .operation_timeout(storage.operation_timeout);
        let region = Region::new(storage.region.clone());
        let mut config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(region.clone())
            .credentials_provider(credentials(storage, region, http.clone()).await)
            .http_client(http)
            .force_path_style(path_style(storage))
            // Ours are the only retries: they know what may be repeated, and they are counted.
            .retry_config(if failpoint::removed("protection::retries_of_our_own") {
                RetryConfig::standard()
            } else {
                RetryConfig::disabled()
            })
            // A server that copies a large object sends nothing meanwhile, which this takes for a stall;
            // the time-outs above are the bound.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            // Servers other than AWS refuse or misread checksums that they did not ask for.
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
            .timeout_config(
                timeouts
                    .clone()
                    .read_timeout(storage.attempt_timeout)
                    .operation_attempt_timeout(storage.attempt_timeout)
                    .build(),
            );
        config.set_app_name(AppName::new("file-recycler").ok());
        config.set_endpoint_url(storage.service_url.as_ref().map(ToString::to_string));
        Ok(Self(Arc::new(Inner {
            client: Client::from_conf(config.build()),
            object,
            recycle,
            recycle_class: storage.recycle_class.as_deref().map(StorageClass::from),
            copying: timeouts
                .read_timeout(storage.operation_timeout)
                .operation_attempt_timeout(storage.operation_timeout)
                .build(),
            patience: storage.attempt_timeout,
            limiter: Limiter::new(concurrency, Stopwatch::system()),
            comparing: Semaphore::new(COMPARED_AT_ONCE),
            observe,
            evidence: Evidence::default(),
            rehearsal: Fresh::default(),
            buckets: Fresh::default(),
        })))
    }

    pub(super) fn client(&self) -> &Client {
        &self.0.client
    }

    /// Settings of a request that makes the server copy.
    pub(super) fn copying(&self) -> Builder {
        Builder::new().timeout_config(self.0.copying.clone())
    }

    pub(super) fn bucket(&self, side: Side) -> &str {
        match side {
            Side::Object => self.0.object.as_str(),
            Side::Recycle => self.0.recycle.as_str(),
        }
    }

    /// How many requests may be in flight now, and how many are.
    pub fn pace(&self) -> Pace {
        Pace { limit: self.0.limiter.limit(), in_flight: self.0.limiter.in_flight() }
    }

    pub(super) fn patience(&self) -> Duration {
        self.0.patience
    }

    /// Places for pairs of objects that are read and compared at the same time.
    pub(super) fn comparing(&self) -> &Semaphore {
        &self.0.comparing
    }

    pub(super) fn recycle_class(&self) -> Option<&StorageClass> {
        self.0.recycle_class.as_ref()
    }

    /// Sends a request when it is its turn, and turns its error into ours.
    ///
    /// A request of the SDK is a future of 20 KB, and a thousand callers may wait: it is made when it is its turn.
    pub(super) fn send<'a, T, E, Fut>(
        &'a self,
        asked: Asked<'a>,
        request: impl FnOnce() -> Fut + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StorageError>>
    where
        E: ProvideErrorMetadata + StdError + 'static,
        Fut: Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send + 'a,
    {
        Box::pin(async move {
            let permit = self.0.limiter.acquire(asked.urgency()).await;
            let result = Box::pin(request()).await.map_err(|error| StorageError::from_sdk(asked, &error));
            permit.end(Ended::of(&result));
            (self.0.observe)(asked.operation, Answer::of(&result));
            if let Some(key) = asked.key {
                self.bear_witness(asked, key, result.as_ref().err());
            }
            result
        })
    }

    /// Slows down for single keys of a request that was answered, and that began then.
    pub(super) fn slow_down(&self, began: Instant) {
        self.0.limiter.overloaded(began);
    }

    /// Notes how a file fared, for those whose requests fail.
    pub(super) fn bear_witness(&self, asked: Asked<'_>, key: &str, error: Option<&StorageError>) {
        match error {
            None => self.0.evidence.worked(asked.operation, asked.side, key),
            // To say that there is none is what a look is for.
            Some(error) if error.kind == Kind::NotFound && asked.operation == Operation::HeadObject => {
                self.0.evidence.worked(asked.operation, asked.side, key);
            }
            Some(error) if error.could_be_everybodys() => {
                self.0.evidence.failed(asked.operation, asked.side, key);
            }
            // A condition that fails, a slow pace: the work was not done, and it may have failed.
            Some(_) => {}
        }
    }

    /// Do both buckets answer? Asked of the server after this call; callers that come together share it.
    pub async fn check(&self) -> Result<(), StorageError> {
        self.0
            .buckets
            .ask(|| async {
                try_join(self.head_bucket(Side::Object), self.head_bucket(Side::Recycle)).await.map(drop)
            })
            .await
    }

    pub(super) async fn head_bucket(&self, side: Side) -> Result<(), StorageError> {
        let asked = Asked { operation: Operation::HeadBucket, side, key: None };
        let request = self.client().head_bucket().bucket(self.bucket(side));
        self.send(asked, || request.send()).await.map(drop).map_err(StorageError::of_bucket)
    }

    /// Do all requests that a move needs work now, on our own object? Asked after this call.
    pub(super) async fn control(&self) -> Result<(), StorageError> {
        self.0.rehearsal.ask(|| self.rehearse()).await
    }

    /// Whose trouble is an error that everybody could have? The object's own, only if the same kinds of requests
    /// on our own throw-away object work, right after it, and not many other files fail with none that works.
    pub async fn judge(&self, error: StorageError) -> StorageError {
        if !error.could_be_everybodys() || error.is_this_keys() || error.key.is_none() {
            return error;
        }
        if self.control().await.is_err() && !failpoint::removed("protection::control_question") {
            return error;
        }
        if self.0.evidence.many_fail(error.operation, error.side).await
            && !failpoint::removed("protection::evidence")
        {
            return error;
        }
        error.of_this_key()
    }
}

fn buckets(storage: &config::Storage) -> Result<(Bucket<Object>, Bucket<Recycle>), StorageError> {
    let Some((object, recycle)) = storage.buckets.clone() else {
        return Err(StorageError::settings("the names of the two buckets are missing"));
    };
    for name in [object.as_str(), recycle.as_str()] {
        // A slash would make a part of the name a part of the key.
        if name.is_empty() || name.contains(['/', '\\']) || name.chars().any(|c| c.is_control() || c == ' ') {
            return Err(StorageError::settings("a bucket's name is not a bucket's name"));
        }
    }
    if object.as_str().eq_ignore_ascii_case(recycle.as_str()) {
        return Err(StorageError::settings("the object bucket and the recycle bucket must differ"));
    }
    Ok((object, recycle))
}

/// Path style, or the bucket as a part of the host's name, as AWS wants it?
fn path_style(storage: &config::Storage) -> bool {
    match (storage.path_style, &storage.service_url) {
        (config::PathStyle::Path, _) => true,
        (config::PathStyle::VirtualHost, _) | (config::PathStyle::Auto, None) => false,
        (config::PathStyle::Auto, Some(url)) => !url.host_str().is_some_and(|host| {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn")
        }),
    }
}

/// The configured keys, and then nothing else is looked at (no environment, profile or instance
/// metadata); without keys AWS's default chain.
async fn credentials(
    storage: &config::Storage,
    region: Region,
    http: SharedHttpClient,
) -> SharedCredentialsProvider {
    match &storage.credentials {
        config::Credentials::Keys { access_key, secret_key } => {
            SharedCredentialsProvider::new(Credentials::new(
                access_key.expose_secret(),
                secret_key.expose_secret(),
                None,
                None,
                "configuration",
            ))
        }
        config::Credentials::DefaultChain => {
            let provider = aws_config::provider_config::ProviderConfig::default()
                .with_region(Some(region.clone()))
                .with_http_client(http);
            let chain = aws_config::default_provider::credentials::DefaultCredentialsChain::builder()
                .configure(provider)
                .region(region);
            SharedCredentialsProvider::new(chain.build().await)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Advice, Dependency};

    fn settings(service_url: Option<&str>, buckets: Option<(&str, &str)>) -> config::Storage {
        config::Storage {
            service_url: service_url.map(|url| url.parse().unwrap()),
            credentials: config::Credentials::Keys {
                access_key: "key".to_owned().into(),
                secret_key: "secret".to_owned().into(),
            },
            buckets: buckets.map(|(object, recycle)| (Bucket::new(object), Bucket::new(recycle))),
            region: "us-east-1".to_owned(),
            path_style: config::PathStyle::Auto,
            key_template: crate::key_template::KeyTemplate::default(),
            recycle_class: None,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(30),
            operation_timeout: Duration::from_mins(2),
            ca_file: None,
        }
    }

    #[test]
    fn the_buckets_name_is_in_the_host_for_aws_and_in_the_path_elsewhere() {
        for (url, path) in [
            (None, false),
            (Some("https://s3.eu-central-1.amazonaws.com"), false),
            (Some("https://S3.cn-north-1.amazonaws.com.cn/"), false),
            (Some("http://127.0.0.1:9000"), true),
            (Some("https://amazonaws.com.example.org"), true),
        ] {
            assert_eq!(path_style(&settings(url, None)), path, "{url:?}");
        }
    }

    #[tokio::test]
    async fn case_01_two_names_of_one_bucket_are_refused_before_any_request() {
        let recycling =
            config::Recycling { grace: Duration::ZERO, mode: config::Mode::Move, brake: 0, concurrency: 1 };
        for names in [None, Some(("a", "a")), Some(("a", "A")), Some(("a", "b/c")), Some(("", "b"))] {
            let settings = settings(Some("http://127.0.0.1:1"), names);
            let error = Storage::connect(&settings, &recycling, Arc::new(|_, _| ())).await.unwrap_err();
            assert_eq!(error.advice(), Advice::Outage(Dependency::Storage), "{names:?}");
        }
    }
}
