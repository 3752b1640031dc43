//! PostgreSQL's own tools, as an operator runs them.

use std::path::PathBuf;

use tokio::process::Command;
use uuid::Uuid;

use super::cluster::bin;

/// What a tool said, and whether it was content.
#[derive(Debug)]
pub struct Said {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `pg_dump`, `pg_restore` or `psql`.
pub async fn postgres_tool(name: &str, arguments: &[&str]) -> Said {
    let ended = Command::new(bin().join(name)).args(arguments).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Said { success: ended.status.success(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
}

/// A dump in PostgreSQL's own format; the file goes with this value.
pub struct Dump(PathBuf);

impl Dump {
    pub async fn of(url: &str, options: &[&str]) -> Self {
        let dump = Self(std::env::temp_dir().join(format!("file-recycler-{}.dump", Uuid::new_v4().simple())));
        let said =
            postgres_tool("pg_dump", &[&["-Fc", "-d", url, "-f", dump.path()], options].concat()).await;
        assert!(said.success, "{said:?}");
        dump
    }

    /// Restores it into a database.
    pub async fn restore(&self, url: &str, options: &[&str]) -> Said {
        postgres_tool("pg_restore", &[&["-d", url], options, &[self.path()]].concat()).await
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
