//! What is installed: the image's root file system and the Debian package, made by their scripts from the program under test
//! and run as they will be.

use std::ffi::OsStr;
use std::fs::Permissions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;
use uuid::Uuid;

use crate::support::process::{self, Output};

mod compose;
mod debian;
mod image;
mod sample;
mod unit;

/// A folder that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let path = std::env::temp_dir().join(format!("file-recycler-{}", Uuid::new_v4().simple()));
        std::fs::create_dir(&path).unwrap();
        // Other users than the test's have to reach what is in it.
        std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        Self(path)
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The process of the program, below those that made its namespaces.
fn the_program(mut id: u32) -> u32 {
    loop {
        let path = format!("/proc/{id}/task/{id}/children");
        let children = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        match children.split_whitespace().next() {
            Some(child) => id = child.parse().unwrap(),
            None => return id,
        }
    }
}

/// The program is a process without rights: not root, without capabilities, and with no way to get any.
fn has_no_rights(process: u32) -> String {
    let name = std::fs::read_to_string(format!("/proc/{process}/comm")).unwrap();
    assert_eq!(name.trim(), "file-recycler");
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let field = |name: &str| {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}"));
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_ne!(field("Uid:")[0], "0");
    assert_eq!(field("NoNewPrivs:"), ["1"]);
    for capabilities in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(field(capabilities), ["0000000000000000"], "{capabilities}");
    }
    status
}

/// Runs a program to its end.
async fn tool(program: impl AsRef<OsStr>, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).current_dir("/");
    process::looked_through(&[], command, &[]).await
}

/// A static program of its kind (`-static`, `-static-pie`) that says a version, as ours does: building ours so takes minutes.
async fn static_program(folder: &Folder, kind: &str) -> PathBuf {
    let source = folder.path("program.c");
    std::fs::write(
        &source,
        "#include <stdio.h>\n#include <string.h>\nint main(int n, char **words) {\n\
         if (n != 2 || strcmp(words[1], \"--version\")) return 2;\n\
         puts(\"file-recycler 9.8.7\"); return 0; }\n",
    )
    .unwrap();
    let program = folder.path(&format!("program{kind}"));
    let arguments = [kind.as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()];
    tool("cc", arguments).await.expect(0);
    program
}

/// Is there such a program? Where there is not, that is said.
async fn has(program: &str, what: &str) -> bool {
    let found = tool("sh", ["-c", &format!("command -v {program}")]).await.code == 0;
    if !found {
        not_checked(what, &format!("{program} is not installed"));
    }
    found
}

/// Says what a test had to leave out, past those who catch a test's output.
fn not_checked(what: &str, why: &str) {
    let _ = writeln!(std::io::stderr(), "{what} was not checked: {why}");
}
