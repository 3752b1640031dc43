//! Every operation is told from its request, and nothing else is.

use super::*;

fn told(request: &str, copies: bool) -> Operation {
    let (method, uri) = request.split_once(' ').expect("a method and a target");
    let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
    let mut headers = HeaderMap::new();
    if copies {
        headers.insert("x-amz-copy-source", "b/k".parse().expect("a header"));
    }
    operation(&method.parse().expect("a method"), path, query, &headers)
}

#[test]
fn operations_are_told_from_method_path_query_and_headers() {
    use Operation as O;
    let table = [
        ("GET /", O::ListBuckets),
        ("GET /?x-id=ListBuckets", O::ListBuckets),
        ("PUT /b", O::CreateBucket),
        ("PUT /b/", O::CreateBucket),
        ("HEAD /b", O::HeadBucket),
        ("HEAD /b/?x-id=HeadBucket", O::HeadBucket),
        ("DELETE /b", O::DeleteBucket),
        ("GET /b?location", O::GetBucketLocation),
        ("GET /b?versioning=", O::GetBucketVersioning),
        ("PUT /b?versioning", O::PutBucketVersioning),
        ("GET /b?encryption", O::GetBucketEncryption),
        ("PUT /b?encryption=", O::PutBucketEncryption),
        ("DELETE /b?encryption", O::Other),
        ("GET /b?object-lock", O::GetObjectLockConfiguration),
        ("PUT /b?object-lock", O::PutObjectLockConfiguration),
        ("GET /b?lifecycle", O::GetBucketLifecycleConfiguration),
        ("PUT /b?lifecycle", O::PutBucketLifecycleConfiguration),
        ("DELETE /b?lifecycle", O::DeleteBucketLifecycle),
        ("GET /b", O::ListObjects),
        ("GET /b?prefix=acl&max-keys=2", O::ListObjects),
        ("GET /b?list-type=1", O::ListObjects),
        ("GET /b?list-type=2&prefix=a%2Fb", O::ListObjectsV2),
        ("GET /b/?prefix=tagging&list-type=2", O::ListObjectsV2),
        ("GET /b?versions&prefix=k", O::ListObjectVersions),
        ("GET /b?uploads", O::ListMultipartUploads),
        ("POST /b?delete", O::DeleteObjects),
        ("POST /b/?delete=&x-id=DeleteObjects", O::DeleteObjects),
        ("GET /b/k", O::GetObject),
        ("GET /b/k?x-id=GetObject", O::GetObject),
        ("GET /b/k?versionId=v&partNumber=1", O::GetObject),
        ("GET /b//", O::GetObject),
        ("GET /b/tagging", O::GetObject),
        ("HEAD /b/k", O::HeadObject),
        ("PUT /b/k", O::PutObject),
        ("DELETE /b/k?versionId=v", O::DeleteObject),
        ("GET /b/k?tagging", O::GetObjectTagging),
        ("PUT /b/k?tagging", O::PutObjectTagging),
        ("DELETE /b/k?tagging", O::DeleteObjectTagging),
        ("GET /b/k?attributes", O::GetObjectAttributes),
        ("POST /b/k?uploads", O::CreateMultipartUpload),
        ("PUT /b/k?partNumber=1&uploadId=u", O::UploadPart),
        ("GET /b/k?uploadId=u", O::ListParts),
        ("DELETE /b/k?uploadId=u", O::AbortMultipartUpload),
        ("POST /b/k?uploadId=u", O::CompleteMultipartUpload),
        ("GET /b?acl", O::Other),
        ("GET /b?tagging", O::Other),
        ("GET /b/k?acl", O::Other),
        ("PUT /b/k?retention", O::Other),
        ("PUT /b?policy", O::Other),
        ("POST /b/k?restore", O::Other),
        ("POST /b/k?select&select-type=2", O::Other),
        ("POST /b", O::Other),
        ("OPTIONS /b/k", O::Other),
        ("PUT /", O::Other),
        ("GET //k", O::Other),
    ];
    for (request, expected) in table {
        assert_eq!(told(request, false), expected, "{request}");
    }
    assert_eq!(told("PUT /b/k?x-id=CopyObject", true), O::CopyObject);
    assert_eq!(told("PUT /b/k?partNumber=1&uploadId=u", true), O::UploadPartCopy);
}

#[test]
fn bucket_and_key_are_decoded() {
    let named = |path| {
        let (bucket, key) = names(path);
        (bucket.map(Cow::into_owned), key.map(Cow::into_owned))
    };
    let both = |key: &str| (Some("b".to_owned()), Some(key.to_owned()));
    assert_eq!(named("/"), (None, None));
    assert_eq!(named("/b"), (Some("b".to_owned()), None));
    assert_eq!(named("/b/"), (Some("b".to_owned()), None));
    assert_eq!(named("/b/a//b"), both("a//b"));
    assert_eq!(named("/b//a"), both("/a"));
    assert_eq!(named("/b/a%20b+c"), both("a b+c"));
    assert_eq!(named("/b/a%2520b"), both("a%20b"));
    assert_eq!(named("/b/%D1%84%2F%F0%9F%8E%89"), both("ф/🎉"));
    assert_eq!(named("/b/%FF"), both("\u{fffd}"));
}
