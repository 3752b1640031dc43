//! Two fresh buckets on a server: the embedded one, or one that others wrote.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation};
use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::get_object::GetObjectError;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use file_recycler::config::{self, Mode, PathStyle, Recycling};
use file_recycler::file::Bucket;
use file_recycler::key_template::KeyTemplate;
use file_recycler::storage::{Observe, Side, Storage};
use recycler_test_s3::{
    Control, Credentials as ProxyCredentials, Options, Proxy, ProxyOptions, Server, Switches,
};
use uuid::Uuid;

use super::servers::Foreign;

/// Two buckets, a client of the test's own, and the storage under test.
pub struct TestStorage {
    /// Which server this is, for messages.
    pub name: &'static str,
    /// Past the storage under test.
    pub client: Client,
    /// Under test.
    pub storage: Storage,
    pub object: String,
    pub recycle: String,
    endpoint: String,
    keys: (String, String),
    server: Option<Server>,
    proxy: Option<Proxy>,
}

impl TestStorage {
    /// The embedded server, and SeaweedFS.
    pub async fn both() -> Vec<Self> {
        vec![Self::embedded(Options::default()).await, Self::foreign().await]
    }

    /// The embedded server, SeaweedFS and moto.
    pub async fn all() -> Vec<Self> {
        let mut worlds = Self::both().await;
        worlds.push(Self::moto().await);
        worlds
    }

    /// The embedded server by these options.
    pub async fn embedded(options: Options) -> Self {
        let keys = (options.access_key.clone(), options.secret_key.clone());
        let server = Server::start(options).await.unwrap();
        let endpoint = server.endpoint();
        let mut world = Self::new("embedded", endpoint, keys).await;
        world.server = Some(server);
        world
    }

    /// The SeaweedFS at `FILE_RECYCLER_TEST_S3_URL`.
    pub async fn foreign() -> Self {
        Self::at(&Foreign::seaweedfs()).await
    }

    /// The moto at `FILE_RECYCLER_TEST_MOTO_URL`: slow, and without most of what a server should keep.
    pub async fn moto() -> Self {
        Self::at(&Foreign::moto()).await
    }

    /// A server that others wrote.
    pub async fn at(server: &Foreign) -> Self {
        Self::new(server.name, server.url.clone(), server.keys.clone()).await
    }

    /// The same server behind a proxy that can disturb and count what the storage under test asks; the test's own
    /// client goes past it.
    pub async fn proxied() -> Self {
        Self::behind_a_proxy(&Foreign::seaweedfs()).await
    }

    /// Any server that others wrote, behind such a proxy.
    pub async fn behind_a_proxy(server: &Foreign) -> Self {
        let mut world = Self::at(server).await;
        let credentials =
            ProxyCredentials { access_key: world.keys.0.clone(), secret_key: world.keys.1.clone() };
        let options = ProxyOptions { credentials: Some(credentials), ..ProxyOptions::to(&world.endpoint) };
        let proxy = Proxy::start(options).await.unwrap();
        let settings = settings(&proxy.endpoint(), &world.keys, &world.object, &world.recycle);
        world.storage = connect(&settings, Mode::Move).await;
        world.proxy = Some(proxy);
        world
    }

    async fn new(name: &'static str, endpoint: String, keys: (String, String)) -> Self {
        Self::with_buckets(name, endpoint, keys, Self::bucket_names()).await
    }

    /// Names of two buckets that nobody has.
    pub fn bucket_names() -> (String, String) {
        let id = Uuid::new_v4().simple();
        (format!("object-{id}"), format!("recycle-{id}"))
    }

    /// A server that others wrote, with these two buckets.
    pub async fn named(server: &Foreign, buckets: (String, String)) -> Self {
        Self::with_buckets(server.name, server.url.clone(), server.keys.clone(), buckets).await
    }

    async fn with_buckets(
        name: &'static str,
        endpoint: String,
        keys: (String, String),
        (object, recycle): (String, String),
    ) -> Self {
        let client = client(&endpoint, &keys);
        for bucket in [&object, &recycle] {
            client.create_bucket().bucket(bucket).send().await.unwrap();
        }
        let settings = settings(&endpoint, &keys, &object, &recycle);
        let storage = connect(&settings, Mode::Move).await;
        Self { name, client, storage, object, recycle, endpoint, keys, server: None, proxy: None }
    }

    /// The settings by which the storage under test was connected, for a test that changes some.
    pub fn settings(&self) -> config::Storage {
        settings(&self.endpoint, &self.keys, &self.object, &self.recycle)
    }

    /// Environment variables from which [`storage_of_the_parent`] connects in another process.
    #[cfg(feature = "failpoints")]
    pub fn environment(&self) -> [(&'static str, &str); 5] {
        [
            ("MOVE_TEST_ENDPOINT", &self.endpoint),
            ("MOVE_TEST_ACCESS_KEY", &self.keys.0),
            ("MOVE_TEST_SECRET_KEY", &self.keys.1),
            ("MOVE_TEST_OBJECT", &self.object),
            ("MOVE_TEST_RECYCLE", &self.recycle),
        ]
    }

    /// The server's address.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Access key and secret key.
    pub fn credentials(&self) -> (String, String) {
        self.keys.clone()
    }

    /// Disturbs and observes the embedded server.
    pub fn control(&self) -> Control {
        self.server.as_ref().expect("only the embedded server can be disturbed").control()
    }

    /// Disturbs and counts what the storage under test asks: of the embedded server itself, or of the proxy before
    /// the one that others wrote.
    pub fn switches(&self) -> Switches {
        match (&self.server, &self.proxy) {
            (Some(server), _) => Switches::clone(&server.control()),
            (None, Some(proxy)) => Switches::clone(&proxy.control()),
            (None, None) => panic!("this server cannot be disturbed"),
        }
    }

    /// Where the storage under test asks.
    pub fn switches_address(&self) -> String {
        self.proxy.as_ref().map_or_else(|| self.endpoint.clone(), Proxy::endpoint)
    }

    /// Both servers, in a way that each can be disturbed.
    pub async fn both_disturbed() -> Vec<Self> {
        vec![Self::embedded(Options::default()).await, Self::proxied().await]
    }

    pub fn bucket(&self, side: Side) -> &str {
        match side {
            Side::Object => &self.object,
            Side::Recycle => &self.recycle,
        }
    }

    pub async fn put(&self, side: Side, key: &str, content: &[u8]) {
        let body = ByteStream::from(content.to_vec());
        self.client.put_object().bucket(self.bucket(side)).key(key).body(body).send().await.unwrap();
    }

    /// The same, past whatever disturbs the program: a proxy is passed by in any case.
    pub async fn put_undisturbed(&self, side: Side, key: &str, content: &[u8]) {
        match &self.server {
            Some(server) => drop(server.control().put(self.bucket(side), key, content.to_vec())),
            None => self.put(side, key, content).await,
        }
    }

    /// Uploads an object in these parts, as `create` begins it.
    pub async fn put_in_parts(
        &self,
        create: CreateMultipartUploadFluentBuilder,
        key: &str,
        parts: &[Vec<u8>],
    ) {
        let upload = create.bucket(&self.object).key(key).send().await.unwrap().upload_id.unwrap();
        let mut done = Vec::new();
        for (part, number) in parts.iter().zip(1..) {
            let request = self.client.upload_part().bucket(&self.object).key(key).upload_id(&upload);
            let sent = request.part_number(number).body(part.clone().into()).send().await.unwrap();
            done.push(CompletedPart::builder().part_number(number).e_tag(sent.e_tag.unwrap()).build());
        }
        let done = CompletedMultipartUpload::builder().set_parts(Some(done)).build();
        let complete = self.client.complete_multipart_upload().bucket(&self.object).key(key);
        complete.upload_id(upload).multipart_upload(done).send().await.unwrap();
    }

    /// The content of an object, or nothing where there is none.
    pub async fn get(&self, side: Side, key: &str) -> Option<Vec<u8>> {
        match self.client.get_object().bucket(self.bucket(side)).key(key).send().await {
            Ok(object) => Some(object.body.collect().await.unwrap().to_vec()),
            Err(error) => {
                assert!(error.as_service_error().is_some_and(GetObjectError::is_no_such_key), "{error:?}");
                None
            }
        }
    }

    pub async fn delete(&self, side: Side, key: &str) {
        self.client.delete_object().bucket(self.bucket(side)).key(key).send().await.unwrap();
    }

    /// Every key in a bucket.
    pub async fn keys(&self, side: Side) -> Vec<String> {
        let page = self.client.list_objects_v2().bucket(self.bucket(side)).send().await.unwrap();
        page.contents().iter().map(|object| object.key().unwrap().to_owned()).collect()
    }

    /// Asserts what is under a key in both buckets.
    pub async fn holds(&self, key: &str, object: Option<&[u8]>, recycle: Option<&[u8]>) {
        let found = (self.get(Side::Object, key).await, self.get(Side::Recycle, key).await);
        let shown = |content: Option<&[u8]>| content.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let found = (shown(found.0.as_deref()), shown(found.1.as_deref()));
        assert_eq!(found, (shown(object), shown(recycle)), "{}: '{key}' in (object, recycle)", self.name);
    }
}

impl Drop for TestStorage {
    /// Removes the buckets from the server that others wrote, which has room for only so many. A test may
    /// be panicking here, in the middle of its runtime: so it is done in a thread with one of its own.
    fn drop(&mut self) {
        if self.server.is_some() {
            return;
        }
        let (endpoint, keys) = (self.endpoint.clone(), self.keys.clone());
        let buckets = [self.object.clone(), self.recycle.clone()];
        let cleaning = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = client(&endpoint, &keys);
                for bucket in buckets {
                    remove(&client, &bucket).await;
                }
            });
        });
        // What could not be removed stays; the test's own result is what counts.
        let _ = cleaning.join();
    }
}

/// Removes a bucket with all that is in it; one that is gone already is fine.
async fn remove(client: &Client, bucket: &str) {
    for round in 0..40 {
        let Ok(page) = client.list_object_versions().bucket(bucket).send().await else { break };
        let versions = page.versions().iter().map(|version| (version.key(), version.version_id()));
        let markers = page.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
        let mut found = false;
        for (key, version) in versions.chain(markers) {
            let request = client.delete_object().bucket(bucket).set_key(key.map(str::to_owned));
            // Without an id, a bucket that keeps versions only gets one marker more; with one, others find nothing.
            let version = version.filter(|version| *version != "null" || round % 2 == 1).map(str::to_owned);
            found |= request.set_version_id(version).send().await.is_ok();
        }
        if !found {
            break;
        }
    }
    let _ = client.delete_bucket().bucket(bucket).send().await;
}

/// The storage under test of the process that started this one.
#[cfg(feature = "failpoints")]
pub async fn storage_of_the_parent() -> Storage {
    let get = |name: &str| std::env::var(name).unwrap();
    let keys = (get("MOVE_TEST_ACCESS_KEY"), get("MOVE_TEST_SECRET_KEY"));
    let (object, recycle) = (get("MOVE_TEST_OBJECT"), get("MOVE_TEST_RECYCLE"));
    connect(&settings(&get("MOVE_TEST_ENDPOINT"), &keys, &object, &recycle), Mode::Move).await
}

/// Takes away the protection that `mutants` names, in its process.
pub fn take_a_protection_away() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        if let Ok(protection) = std::env::var("REMOVED_PROTECTION") {
            fail::cfg(protection, "return").unwrap();
        }
    });
}

/// Connects, without a look at the server.
pub async fn connect(settings: &config::Storage, mode: Mode) -> Storage {
    connect_observed(settings, mode, Arc::new(|_, _| ())).await
}

/// The same, with somebody who counts.
pub async fn connect_observed(settings: &config::Storage, mode: Mode, observe: Observe) -> Storage {
    take_a_protection_away();
    let recycling = Recycling { grace: Duration::ZERO, mode, brake: 0, concurrency: 64 };
    Storage::connect(settings, &recycling, observe).await.unwrap()
}

fn settings(endpoint: &str, keys: &(String, String), object: &str, recycle: &str) -> config::Storage {
    config::Storage {
        service_url: Some(endpoint.parse().unwrap()),
        credentials: config::Credentials::Keys {
            access_key: keys.0.clone().into(),
            secret_key: keys.1.clone().into(),
        },
        buckets: Some((Bucket::new(object), Bucket::new(recycle))),
        region: "us-east-1".to_owned(),
        path_style: PathStyle::Auto,
        key_template: KeyTemplate::default(),
        recycle_class: None,
        connect_timeout: Duration::from_secs(3),
        attempt_timeout: Duration::from_secs(10),
        operation_timeout: Duration::from_secs(20),
        ca_file: None,
    }
}

/// A client with these keys that asks whatever it is told to.
pub fn client(endpoint: &str, keys: &(String, String)) -> Client {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let config = Builder::new()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new(&keys.0, &keys.1, None, None, "test"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .http_client(http);
    Client::from_conf(config.build())
}
