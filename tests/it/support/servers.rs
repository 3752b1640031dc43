//! The S3 servers that the tests run against: the embedded one, and those that others wrote, as the
//! environment names them.

use recycler_test_s3::Options;

use super::storage::TestStorage;

/// A server that others wrote.
#[derive(Clone, Debug)]
pub struct Foreign {
    pub name: &'static str,
    pub url: String,
    pub keys: (String, String),
    /// The middle of the variables' names.
    variable: &'static str,
}

impl Foreign {
    pub fn seaweedfs() -> Self {
        Self::read("SeaweedFS", "S3")
    }

    pub fn moto() -> Self {
        Self::read("moto", "MOTO")
    }

    /// A server that a test has started.
    pub fn own(name: &'static str, url: String, keys: (String, String)) -> Self {
        Self { name, url, keys, variable: "" }
    }

    /// A server of somebody's own, for the conformance suite only.
    pub fn extra() -> Option<Self> {
        std::env::var("FILE_RECYCLER_TEST_EXTRA_S3_URL").ok()?;
        // Names live as long as the process does.
        Some(Self::read(variable("EXTRA_S3", "NAME").leak(), "EXTRA_S3"))
    }

    fn read(name: &'static str, of: &'static str) -> Self {
        let keys = (variable(of, "ACCESS_KEY"), variable(of, "SECRET_KEY"));
        Self { name, url: variable(of, "URL"), keys, variable: of }
    }
}

fn variable(of: &str, what: &str) -> String {
    let name = format!("FILE_RECYCLER_TEST_{of}_{what}");
    match std::env::var(&name) {
        Ok(value) if !value.is_empty() => value,
        _ => panic!("{name} is not set"),
    }
}

/// Any of them.
#[derive(Clone, Debug)]
pub enum Server {
    Embedded,
    Foreign(Foreign),
}

impl Server {
    /// Those that every run of the tests has.
    pub fn all() -> [Self; 3] {
        [Self::Embedded, Self::Foreign(Foreign::seaweedfs()), Self::Foreign(Foreign::moto())]
    }

    pub fn name(&self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Foreign(server) => server.name,
        }
    }

    /// As the server itself, or its package, says it.
    pub fn version(&self) -> String {
        match self {
            Self::Embedded => "this commit".to_owned(),
            Self::Foreign(server) => variable(server.variable, "VERSION"),
        }
    }

    /// Two fresh buckets on it.
    pub async fn world(&self) -> TestStorage {
        match self {
            Self::Embedded => TestStorage::embedded(Options::default()).await,
            Self::Foreign(server) => TestStorage::at(server).await,
        }
    }
}
