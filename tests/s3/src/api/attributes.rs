//! GetObjectAttributes.

use s3s::dto::{
    Checksum, GetObjectAttributesInput, GetObjectAttributesOutput, GetObjectAttributesParts,
    ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::{Api, etag, find, signed, small};
use crate::store::{Object, Part};

/// The most parts in one answer.
const MAX_PARTS: i32 = 1_000;

pub(super) fn get(
    api: &Api,
    request: S3Request<GetObjectAttributesInput>,
) -> S3Result<S3Response<GetObjectAttributesOutput>> {
    let input = request.input;
    let found = {
        let buckets = api.store.lock();
        find(super::bucket(&buckets, &input.bucket)?, &input.key, input.version_id.as_deref())?
    };
    let object = &found.object;
    // One header line may name several.
    let named = input.object_attributes.iter().flat_map(|line| line.as_str().split(','));
    let named: Vec<&str> = named.map(str::trim).collect();
    let asked = |name: &str| named.contains(&name);
    let standard = || StorageClass::from_static(StorageClass::STANDARD);
    let class = object.storage_class.clone().unwrap_or_else(standard);
    let summed = object.checksum != Checksum::default();
    let parts = asked(ObjectAttributes::OBJECT_PARTS) && !object.parts.is_empty();
    let first = input.part_number_marker.unwrap_or(0);
    let limit = input.max_parts.unwrap_or(MAX_PARTS).clamp(0, MAX_PARTS);
    Ok(S3Response::new(GetObjectAttributesOutput {
        checksum: (asked(ObjectAttributes::CHECKSUM) && summed).then(|| object.checksum.clone()),
        e_tag: asked(ObjectAttributes::ETAG).then(|| etag(&object.etag)),
        last_modified: Some(found.entry.modified.into()),
        object_parts: parts.then(|| page(object, first, limit)),
        object_size: asked(ObjectAttributes::OBJECT_SIZE).then(|| signed(object.content.len())),
        storage_class: asked(ObjectAttributes::STORAGE_CLASS).then_some(class),
        version_id: found.version,
        ..GetObjectAttributesOutput::default()
    }))
}

/// S3 lists single parts only where they were uploaded with checksums; their number it always
/// gives.
fn page(object: &Object, marker: i32, limit: i32) -> GetObjectAttributesParts {
    let total = Some(small(object.parts.len()));
    if object.parts.iter().all(|part| part.checksum == Checksum::default()) {
        return GetObjectAttributesParts { total_parts_count: total, ..Default::default() };
    }
    let after = || object.parts.iter().filter(|part| part.number > marker);
    let limit_len = usize::try_from(limit).unwrap_or(0);
    let parts: Vec<ObjectPart> = after().take(limit_len).map(listed).collect();
    GetObjectAttributesParts {
        is_truncated: Some(after().count() > limit_len),
        max_parts: Some(limit),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        part_number_marker: Some(marker),
        parts: Some(parts),
        total_parts_count: total,
    }
}

fn listed(part: &Part) -> ObjectPart {
    let sums = part.checksum.clone();
    ObjectPart {
        checksum_crc32: sums.checksum_crc32,
        checksum_crc32c: sums.checksum_crc32c,
        checksum_crc64nvme: sums.checksum_crc64nvme,
        checksum_sha1: sums.checksum_sha1,
        checksum_sha256: sums.checksum_sha256,
        part_number: Some(part.number),
        size: Some(signed(part.size)),
    }
}
