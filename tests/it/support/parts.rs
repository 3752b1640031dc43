//! Objects of several parts, and what is left of copies that were not finished.

use file_recycler::storage::Side;

use super::storage::TestStorage;

/// Puts an object in these parts in the object bucket, with metadata and tags.
pub async fn put_in_parts(world: &TestStorage, key: &str, parts: &[Vec<u8>]) {
    let create = world.client.create_multipart_upload();
    let create = create.content_type("text/x-test").metadata("colour", "blue").tagging("a=b&c%20d=e");
    world.put_in_parts(create, key, parts).await;
}

/// Uploads to the recycle bucket that are neither finished nor aborted, by key and id.
pub async fn uploads(world: &TestStorage) -> Vec<(String, String)> {
    let listed = world.client.list_multipart_uploads().bucket(&world.recycle).send().await.unwrap();
    let upload = |it: &aws_sdk_s3::types::MultipartUpload| {
        (it.key().unwrap_or_default().to_owned(), it.upload_id().unwrap_or_default().to_owned())
    };
    listed.uploads().iter().map(upload).collect()
}

/// How many parts an upload has.
pub async fn parts_of(world: &TestStorage, (key, upload): &(String, String)) -> usize {
    let listed = world.client.list_parts().bucket(&world.recycle).key(key).upload_id(upload).send().await;
    listed.unwrap().parts().len()
}

/// Our notes of copies that are not finished.
pub async fn notes(world: &TestStorage) -> Vec<String> {
    let keys = world.keys(Side::Recycle).await;
    keys.into_iter().filter(|key| key.starts_with(".file-recycler/copies/")).collect()
}
