//! The HTTP client below the S3 client: rustls, the system's certificate authorities and one's own.

use std::error::Error as StdError;
use std::path::Path;

use aws_sdk_s3::config::SharedHttpClient;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::StorageError;
use crate::trust;

/// Where TLS is set.
const SETTINGS: trust::Settings =
    trust::Settings { address: "storage.service_url", authorities: "storage.ca_file", certificate: None };
/// Largest file of certificate authorities, in bytes.
const MAX_CA_BYTES: u64 = 4 * 1024 * 1024;

/// What is wrong with TLS, if that is what the error is about; else what `other` says of it.
pub(super) fn told_or(
    error: &(dyn StdError + 'static),
    other: impl FnOnce(&(dyn StdError + 'static)) -> String,
) -> String {
    trust::explain(error, &SETTINGS).unwrap_or_else(|| other(error))
}

/// A client that keeps up to `idle` connections to the server open.
pub(super) async fn http_client(
    ca_file: Option<&Path>,
    idle: usize,
) -> Result<SharedHttpClient, StorageError> {
    let mut roots = TrustStore::default();
    if let Some(path) = ca_file {
        roots = roots.with_pem_certificate(certificates(path).await?);
    }
    let context = TlsContext::builder()
        .with_trust_store(roots)
        .build()
        .map_err(|error| StorageError::settings(format!("TLS: {error}")))?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .pool_max_idle_per_host(idle)
        .build_https())
}

/// The file's certificates, checked here because the client would panic on bad ones at its first request.
async fn certificates(path: &Path) -> Result<Vec<u8>, StorageError> {
    let refused = |problem: String| StorageError::settings(format!("storage.ca_file {problem}"));
    let size = tokio::fs::metadata(path).await.map_err(|error| refused(error.kind().to_string()))?.len();
    if size > MAX_CA_BYTES {
        return Err(refused(format!("is larger than {MAX_CA_BYTES} bytes")));
    }
    let pem = tokio::fs::read(path).await.map_err(|error| refused(error.kind().to_string()))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|_| refused("is not PEM".to_owned()))?;
        roots.add(certificate).map_err(|_| refused("has a certificate that cannot be read".to_owned()))?;
    }
    if roots.is_empty() { Err(refused("has no certificate in it".to_owned())) } else { Ok(pem) }
}
