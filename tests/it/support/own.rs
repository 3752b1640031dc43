//! Servers of a test's own: as the user of their package, and dead with the test.

use std::path::Path;
use std::process::Stdio;

use tokio::process::Command;

pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

/// A command that runs as the package's user where we are root, and dies with the thread that starts it.
pub fn as_user(user: &str, folder: &Path, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([format!("--reuid={user}"), format!("--regid={user}"), "--init-groups".to_owned()]);
    }
    command
        .args(["--pdeathsig", "KILL", "--", program])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("LANG", "C.UTF-8")
        .env("HOME", folder)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

pub async fn run(program: &str, arguments: &[&str]) {
    assert!(
        Command::new(program).args(arguments).status().await.unwrap().success(),
        "{program} {arguments:?}"
    );
}

pub fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}
