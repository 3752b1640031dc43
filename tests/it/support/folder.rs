//! Folders of a test's own.

use std::path::{Path, PathBuf};

/// A folder that goes with this value.
pub struct Folder(PathBuf);

impl Folder {
    pub fn create() -> Self {
        let name = format!("file-recycler-{}", uuid::Uuid::new_v4().simple());
        let folder = Self(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        folder
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
