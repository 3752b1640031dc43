//! Signing a request anew whose body the proxy had to change.
//!
//! Time, region and the headers to sign are those of the client's own signature.

use std::fmt;
use std::io;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderName, HeaderValue};
use md5::Md5;
use s3s::{HttpRequest, StdError};
use sha2::{Digest, Sha256};

use crate::store::hex;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// A key pair of the server behind the proxy.
#[derive(Clone)]
pub struct Credentials {
    /// The access key.
    pub access_key: String,
    /// The secret key.
    pub secret_key: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Credentials").field("access_key", &self.access_key).finish_non_exhaustive()
    }
}

impl Credentials {
    /// Makes the request's headers fit this body and signs them.
    pub(super) fn sign(&self, request: &mut HttpRequest, body: &[u8]) -> Result<(), StdError> {
        let (method, uri) = (request.method().clone(), request.uri().clone());
        let headers = request.headers_mut();
        let given = headers.get(AUTHORIZATION).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let (scope, signed) = parse(given).ok_or_else(|| {
            io::Error::other("only a request with a signature in its headers can be signed anew")
        })?;
        let mut names: Vec<String> = signed.split(';').map(str::to_owned).collect();
        let scope = scope.to_owned();
        describe(headers, body)?;
        names.extend([CONTENT_MD5, CONTENT_SHA256].map(|it| it.as_str().to_owned()));
        names.retain(|name| headers.contains_key(name));
        names.sort_unstable();
        names.dedup();
        let lines: Vec<String> =
            names.iter().map(|name| format!("{name}:{}\n", values(headers, name))).collect();
        let lines = lines.concat();
        let names = names.join(";");
        let (query, sum) = (canonical(uri.query().unwrap_or_default()), hex(&Sha256::digest(body)));
        let request_text = format!("{method}\n{}\n{query}\n{lines}\n{names}\n{sum}", uri.path());
        let date = values(headers, DATE.as_str());
        let sum = hex(&Sha256::digest(request_text.as_bytes()));
        let signature = self.signature(&scope, &format!("{ALGORITHM}\n{date}\n{scope}\n{sum}"));
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={signature}",
            self.access_key
        );
        headers.insert(AUTHORIZATION, HeaderValue::try_from(authorization)?);
        Ok(())
    }

    fn signature(&self, scope: &str, text: &str) -> String {
        let start = format!("AWS4{}", self.secret_key).into_bytes();
        let key = scope.split('/').fold(start, |key, part| mac(&key, part));
        hex(&mac(&key, text))
    }
}

/// The scope and the signed headers of an `Authorization` header.
fn parse(authorization: &str) -> Option<(&str, &str)> {
    let fields = authorization.strip_prefix(ALGORITHM)?;
    let field = |name: &str| {
        let mut fields = fields.split(',').map(str::trim);
        fields.find_map(|field| field.strip_prefix(name))
    };
    let (_, scope) = field("Credential=")?.split_once('/')?;
    Some((scope, field("SignedHeaders=")?))
}

/// Length and sums of the body; one sum that every server takes stands for whichever was sent.
fn describe(headers: &mut HeaderMap, body: &[u8]) -> Result<(), StdError> {
    let sums: Vec<HeaderName> = headers.keys().filter(|name| is_checksum(name)).cloned().collect();
    for name in sums {
        headers.remove(name);
    }
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(CONTENT_MD5, HeaderValue::try_from(BASE64_STANDARD.encode(Md5::digest(body)))?);
    headers.insert(CONTENT_SHA256, HeaderValue::try_from(hex(&Sha256::digest(body)))?);
    Ok(())
}

fn is_checksum(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-amz-checksum-") || name == "x-amz-sdk-checksum-algorithm"
}

fn values(headers: &HeaderMap, name: &str) -> String {
    let values = headers.get_all(name).iter().map(|it| String::from_utf8_lossy(it.as_bytes()));
    let folded = values.map(|it| it.split_ascii_whitespace().collect::<Vec<_>>().join(" "));
    folded.collect::<Vec<_>>().join(",")
}

fn canonical(query: &str) -> String {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<String> =
        pairs.map(|pair| if pair.contains('=') { pair.to_owned() } else { format!("{pair}=") }).collect();
    pairs.sort_unstable();
    pairs.join("&")
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
