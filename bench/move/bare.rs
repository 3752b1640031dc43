//! CopyObject and DeleteObjects and nothing else: no condition, no proof, no retry, no registry. How fast
//! this client could be if nothing could go wrong.

use std::sync::Arc;
use std::time::Instant;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::DisplayErrorContext;
use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext};
use file_recycler::config::{self, Storage as Settings};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::ExposeSecret as _;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::{Done, Fault, Listed};

/// Most keys of one DeleteObjects.
const MAX_KEYS: usize = 1_000;

const COPY_SOURCE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

struct Bare {
    client: Client,
    from: String,
    to: String,
    in_flight: Semaphore,
}

pub(crate) async fn run(settings: &Settings, concurrency: usize, listed: Vec<Listed>) -> Result<Done, Fault> {
    let (from, to) = settings.buckets.clone().ok_or("the buckets are missing")?;
    let bare = Arc::new(Bare {
        client: client(settings, concurrency)?,
        from: from.as_str().to_owned(),
        to: to.as_str().to_owned(),
        in_flight: Semaphore::new(concurrency),
    });
    let started = Instant::now();
    let mut done = Done::default();
    let mut copies = JoinSet::new();
    for file in listed {
        copies.spawn(Arc::clone(&bare).copy(file.key));
    }
    let mut deletions = JoinSet::new();
    let mut ready = Vec::with_capacity(MAX_KEYS);
    while let Some(copy) = copies.join_next().await {
        match copy? {
            Ok(key) => ready.push(key),
            Err(error) => done.errors.push(error),
        }
        if ready.len() == MAX_KEYS || (copies.is_empty() && !ready.is_empty()) {
            deletions.spawn(Arc::clone(&bare).delete(std::mem::take(&mut ready)));
        }
    }
    while let Some(deletion) = deletions.join_next().await {
        match deletion? {
            Ok(moved) => done.moved += moved,
            Err(error) => done.errors.push(error),
        }
    }
    done.took = started.elapsed();
    Ok(done)
}

impl Bare {
    async fn copy(self: Arc<Self>, key: String) -> Result<String, String> {
        let _permit = self.in_flight.acquire().await.map_err(|error| error.to_string())?;
        let source = format!("{}/{}", self.from, utf8_percent_encode(&key, COPY_SOURCE));
        let copy = self.client.copy_object().copy_source(source).bucket(&self.to).key(&key);
        Box::pin(copy.send()).await.map_err(|error| DisplayErrorContext(error).to_string())?;
        Ok(key)
    }

    async fn delete(self: Arc<Self>, keys: Vec<String>) -> Result<usize, String> {
        let _permit = self.in_flight.acquire().await.map_err(|error| error.to_string())?;
        let count = keys.len();
        let objects = keys.into_iter().map(|key| ObjectIdentifier::builder().key(key).build());
        let objects = objects.collect::<Result<Vec<_>, _>>().map_err(|error| error.to_string())?;
        let delete = Delete::builder().set_objects(Some(objects)).quiet(true).build();
        let delete = delete.map_err(|error| error.to_string())?;
        let request = self.client.delete_objects().bucket(&self.from).delete(delete);
        let answer = Box::pin(request.send()).await;
        let answer = answer.map_err(|error| DisplayErrorContext(error).to_string())?;
        match answer.errors() {
            [] => Ok(count),
            errors => Err(format!("{} keys were not deleted", errors.len())),
        }
    }
}

/// The settings of the product's client (`src/storage/client.rs`, `tls.rs`).
fn client(settings: &Settings, concurrency: usize) -> Result<Client, Fault> {
    let config::Credentials::Keys { access_key, secret_key } = &settings.credentials else {
        return Err("the keys are missing".into());
    };
    let keys =
        Credentials::new(access_key.expose_secret(), secret_key.expose_secret(), None, None, "environment");
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(settings.connect_timeout)
        .operation_timeout(settings.operation_timeout)
        .operation_attempt_timeout(settings.attempt_timeout);
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(keys)
        .http_client(http_client(concurrency)?)
        .force_path_style(true)
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .timeout_config(timeouts.build());
    let endpoint = settings.service_url.as_ref().ok_or("the endpoint is missing")?;
    Ok(Client::from_conf(config.endpoint_url(endpoint.as_str()).build()))
}

fn http_client(idle: usize) -> Result<SharedHttpClient, Fault> {
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(TlsContext::builder().build()?)
        .pool_max_idle_per_host(idle)
        .build_https())
}
