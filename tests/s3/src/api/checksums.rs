//! Checking what was sent against the sums sent with it.

use bytes::Bytes;
use futures_util::StreamExt;
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::dto::{Checksum, ChecksumAlgorithm, ChecksumType, StreamingBlob};
use s3s::{S3Error, S3ErrorCode, S3Result, TrailingHeaders, s3_error};

use crate::store::{Content, Md5Sum};

/// The largest body of one request, as S3 has it for a single PUT.
const MAX_BODY: u64 = 5 << 30;

/// A body that has arrived whole.
pub(super) struct Received {
    pub(super) content: Content,
    pub(super) md5: Md5Sum,
    pub(super) checksum: Checksum,
}

/// Sums that the client sent along.
pub(super) struct Sent {
    pub(super) length: Option<i64>,
    pub(super) md5: Option<String>,
    pub(super) checksum: Checksum,
    pub(super) trailers: Option<TrailingHeaders>,
}

/// Reads a body to its end and checks it.
pub(super) async fn receive(body: Option<StreamingBlob>, sent: Sent) -> S3Result<Received> {
    let mut pieces: Vec<Bytes> = Vec::new();
    let mut length: u64 = 0;
    if let Some(mut body) = body {
        while let Some(piece) = body.next().await {
            let piece = piece.map_err(cut_off)?;
            length += piece.len() as u64;
            if length > MAX_BODY {
                return Err(s3_error!(EntityTooLarge, "Your proposed upload is too large"));
            }
            pieces.push(piece);
        }
    }
    if sent.length.is_some_and(|announced| u64::try_from(announced) != Ok(length)) {
        return Err(s3_error!(IncompleteBody, "The body is shorter or longer than announced"));
    }
    let content = gather(&pieces);
    let md5 = content.md5();
    if sent.md5.is_some_and(|given| given != base64(&md5)) {
        return Err(s3_error!(BadDigest, "The Content-MD5 you specified did not match"));
    }
    let claimed = with_trailers(sent.checksum, sent.trailers.as_ref());
    let checksum = verify(&content, claimed)?;
    Ok(Received { content, md5, checksum })
}

/// One piece of just the right size: what arrives are slices of the connection's larger buffers,
/// which would be kept alive by them.
fn gather(pieces: &[Bytes]) -> Content {
    Content::from(Bytes::from(pieces.concat()))
}

fn cut_off(error: s3s::StdError) -> S3Error {
    // A chunk whose signature is wrong comes as such; anything else is a broken connection.
    match error.downcast::<S3Error>() {
        Ok(error) => *error,
        Err(error) => S3Error::with_source(S3ErrorCode::IncompleteBody, error),
    }
}

fn with_trailers(mut claimed: Checksum, trailers: Option<&TrailingHeaders>) -> Checksum {
    let Some(headers) = trailers.and_then(TrailingHeaders::take) else {
        return claimed;
    };
    let read = |name: &str| headers.get(name).and_then(|it| it.to_str().ok()).map(str::to_owned);
    let fill = |slot: &mut Option<String>, name| *slot = slot.take().or_else(|| read(name));
    fill(&mut claimed.checksum_crc32, "x-amz-checksum-crc32");
    fill(&mut claimed.checksum_crc32c, "x-amz-checksum-crc32c");
    fill(&mut claimed.checksum_crc64nvme, "x-amz-checksum-crc64nvme");
    fill(&mut claimed.checksum_sha1, "x-amz-checksum-sha1");
    fill(&mut claimed.checksum_sha256, "x-amz-checksum-sha256");
    claimed
}

fn verify(content: &Content, claimed: Checksum) -> S3Result<Checksum> {
    let computed = compute(content, &Wanted::like(&claimed));
    let expected = Checksum { checksum_type: computed.checksum_type.clone(), ..claimed };
    if computed == expected {
        Ok(computed)
    } else {
        Err(s3_error!(BadDigest, "The checksum you specified did not match what was received"))
    }
}

/// The sums of content by the algorithm named, for a copy that asks for another one.
pub(super) fn by_algorithm(content: &Content, algorithm: &ChecksumAlgorithm) -> Checksum {
    let is = |name: &str| algorithm.as_str() == name;
    let wanted = Wanted {
        crc32: is(ChecksumAlgorithm::CRC32),
        crc32c: is(ChecksumAlgorithm::CRC32C),
        crc64nvme: is(ChecksumAlgorithm::CRC64NVME),
        sha1: is(ChecksumAlgorithm::SHA1),
        sha256: is(ChecksumAlgorithm::SHA256),
    };
    compute(content, &wanted)
}

#[allow(clippy::struct_excessive_bools, reason = "a set of five algorithms")]
struct Wanted {
    crc32: bool,
    crc32c: bool,
    crc64nvme: bool,
    sha1: bool,
    sha256: bool,
}

impl Wanted {
    fn like(claimed: &Checksum) -> Self {
        Self {
            crc32: claimed.checksum_crc32.is_some(),
            crc32c: claimed.checksum_crc32c.is_some(),
            crc64nvme: claimed.checksum_crc64nvme.is_some(),
            sha1: claimed.checksum_sha1.is_some(),
            sha256: claimed.checksum_sha256.is_some(),
        }
    }

    fn any(&self) -> bool {
        self.crc32 || self.crc32c || self.crc64nvme || self.sha1 || self.sha256
    }
}

fn compute(content: &Content, wanted: &Wanted) -> Checksum {
    if !wanted.any() {
        return Checksum::default();
    }
    let mut hasher = ChecksumHasher {
        crc32: wanted.crc32.then(Crc32::new),
        crc32c: wanted.crc32c.then(Crc32c::new),
        crc64nvme: wanted.crc64nvme.then(Crc64Nvme::new),
        sha1: wanted.sha1.then(Sha1::new),
        sha256: wanted.sha256.then(Sha256::new),
    };
    for piece in content.pieces() {
        hasher.update(piece);
    }
    let mut sums = hasher.finalize();
    sums.checksum_type = Some(ChecksumType::from_static(ChecksumType::FULL_OBJECT));
    sums
}

/// Base64 with padding, as Content-MD5 has it.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |at| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            if digit <= group.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * digit) & 63) as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
