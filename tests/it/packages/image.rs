//! The image's root file system, made and run without a container engine.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tokio::process::Command;

use super::{Folder, has, has_no_rights, not_checked, repository, static_program, the_program, tool};
use crate::support::process::{Output, Service, eventually, free_address, get};
use crate::support::world::{S3, world};

const BINARY: &str = env!("CARGO_BIN_EXE_file-recycler");
/// The exit status of `deploy/docker/inside` where the machine forbids what it needs.
const NOT_HERE: i32 = 3;

async fn rootfs(arguments: &[&str]) -> Output {
    tool(repository("deploy/docker/rootfs"), arguments).await
}

/// The program inside, with nothing of this process's environment.
fn inside(root: &Path, environment: &[(String, String)], arguments: &[&str]) -> Command {
    let mut command = Command::new(repository("deploy/docker/inside"));
    command
        .arg(root)
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs(environment.iter().map(|(key, value)| (key, value)))
        .kill_on_drop(true);
    command
}

async fn run_inside(root: &Path, environment: &[(String, String)], arguments: &[&str]) -> Output {
    crate::support::process::looked_through(environment, inside(root, environment, arguments), &[]).await
}

/// Every path below, with what it is, who may do what, and when it changed.
fn contents(folder: &Path) -> BTreeSet<String> {
    fn walk(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let about = entry.metadata().unwrap();
            let (mode, size) = (about.permissions().mode(), about.len());
            found.insert(format!(
                "{} {mode:o} {size} {:?}",
                entry.path().display(),
                about.modified().unwrap()
            ));
            if about.is_dir() {
                walk(&entry.path(), found);
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(folder, &mut found);
    found
}

#[tokio::test]
async fn the_worker_moves_files_in_the_images_root_file_system_without_rights_and_without_writing() {
    world(S3::Foreign, async |world| {
        let folder = Folder::new();
        let root = folder.path("root");
        rootfs(&[BINARY, root.to_str().unwrap()]).await.expect(0);
        let before = contents(&root);
        assert!(!root.join("bin").exists() && !root.join("usr/bin/sh").exists(), "no shell is in it");

        let http = free_address().await;
        // By name, so that the root's own way of resolving names is used.
        let database = world.crm.url.replace("127.0.0.1", "localhost");
        let environment = world.with(&[
            ("HTTP__LISTEN", &http.to_string()),
            ("DATABASE__URL", &database),
            // The sample keeps files for a quarter of an hour.
            ("RECYCLE__GRACE", "0s"),
        ]);
        // Nobody serves yet.
        let asked = run_inside(&root, &environment, &["healthcheck", "--json"]).await;
        if asked.code == NOT_HERE {
            not_checked("the program in the image's root file system", &asked.stderr);
            return;
        }
        assert_eq!(asked.expect(1).json()["alive"], false);

        let mut service =
            Service::started(&environment, inside(&root, &environment, &["run"]), http).ready().await;
        let process = the_program(service.id());
        has_no_rights(process);
        cannot_write(process);
        // A process that was kept from answering for three seconds is asked again.
        let asked = eventually("it is alive", async || {
            let asked = run_inside(&root, &environment, &["healthcheck", "--json"]).await;
            (asked.code == 0).then_some(asked)
        })
        .await;
        assert_eq!(asked.json()["alive"], true);
        world.moves_a_file().await;
        assert_eq!(contents(&root), before, "nothing was written");

        // As an engine stops it: it is process 1, whom signals do not end by themselves.
        let killed = tool("kill", ["-TERM", &process.to_string()]).await;
        killed.expect(0);
        assert_eq!(service.ended().await, Some(0));

        // Whoever is killed leaves nothing behind.
        let mut service =
            Service::started(&environment, inside(&root, &environment, &["run"]), http).ready().await;
        let process = the_program(service.id());
        service.kill().await;
        eventually("the program is gone", async || {
            (!Path::new(&format!("/proc/{process}")).exists()).then_some(())
        })
        .await;
    })
    .await;
}

/// Its root is read-only, and no program in it may give more rights.
fn cannot_write(process: u32) {
    let mounts = fs::read_to_string(format!("/proc/{process}/mountinfo")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(4) == Some("/")).expect("a root");
    let options: Vec<_> = root.split(' ').nth(5).unwrap().split(',').collect();
    assert!(options.contains(&"ro") && options.contains(&"nosuid"), "{root}");
}

#[tokio::test]
async fn an_image_archive_says_how_the_program_is_run_and_its_layer_is_the_root_file_system() {
    if !has("umoci", "the image archive").await {
        return;
    }
    let folder = Folder::new();
    let path = |name: &str| folder.path(name).to_str().unwrap().to_owned();
    // Any program does for the form of the archive; `true` is packed faster than ours.
    rootfs(&["--oci", &path("image.tar"), "/bin/true", &path("root")]).await.expect(0);
    fs::create_dir(path("layout")).unwrap();
    tool("tar", ["-xf", &path("image.tar"), "-C", &path("layout")]).await.expect(0);
    let image = format!("{}:latest", path("layout"));
    tool("umoci", ["unpack", "--rootless", "--image", &image, &path("bundle")]).await.expect(0);
    let bundle: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path("bundle/config.json")).unwrap()).unwrap();
    let process = &bundle["process"];
    assert_eq!(process["args"], serde_json::json!(["/usr/bin/file-recycler", "run"]));
    assert_eq!((&process["user"]["uid"], &process["user"]["gid"]), (&65532.into(), &65532.into()));
    assert!(process["env"].to_string().contains("FILE_RECYCLER_HTTP__LISTEN=0.0.0.0:8077"), "{process}");
    tool("diff", ["--recursive", &path("root"), &path("bundle/rootfs")]).await.expect(0);
}

#[tokio::test]
async fn a_static_program_is_alone_and_a_dynamic_one_has_its_libraries() {
    let folder = Folder::new();
    for kind in ["-static", "-static-pie"] {
        let program = static_program(&folder, kind).await;
        let root = folder.path(&format!("root{kind}"));
        rootfs(&[program.to_str().unwrap(), root.to_str().unwrap()]).await.expect(0);
        assert!(!root.join("lib").exists() && !root.join("lib64").exists(), "{kind}");
        let said = tool(root.join("usr/bin/file-recycler"), ["--version"]).await.expect(0);
        assert_eq!(said.stdout, "file-recycler 9.8.7\n");
    }
    let root = folder.path("root");
    rootfs(&["/bin/true", root.to_str().unwrap()]).await.expect(0);
    assert!(root.join("lib").exists());
}

#[tokio::test]
async fn a_root_file_system_is_made_of_a_program_and_into_an_empty_folder_only() {
    let folder = Folder::new();
    let taken = folder.path("taken");
    fs::create_dir(&taken).unwrap();
    fs::write(taken.join("file"), "").unwrap();
    for (arguments, told) in [
        (vec!["/nowhere/file-recycler", "/nowhere/root"], "there is no program"),
        (vec![BINARY, taken.to_str().unwrap()], "is not empty"),
        (vec![BINARY], "usage"),
    ] {
        let output = rootfs(&arguments).await.expect(2);
        assert!(output.stderr.contains(told), "{output:?}");
    }
}

/// Whoever restarts a container for what `/readyz` says restarts it for an outage.
#[tokio::test]
async fn the_health_check_is_content_while_a_server_is_down() {
    world(S3::Embedded, async |world| {
        let environment = world.with(&[("BROKER__URL", "amqp://127.0.0.1:1/%2f")]);
        let service =
            Service::start(&environment, &["run"]).await.expect_log("broker").expect_log("not well");
        eventually("it is not ready", async || (get(service.http, "/readyz").await?.0 == 503).then_some(()))
            .await;
        let listen = service.http.to_string();
        let environment = world.with(&[("HTTP__LISTEN", &listen)]);
        let asked = eventually("it is alive", async || {
            let asked = crate::support::process::run(&environment, &["healthcheck"]).await;
            (asked.code == 0).then_some(asked)
        })
        .await;
        assert_eq!(asked.stdout, "alive\n");
        let off = world.with(&[("HTTP__LISTEN", "")]);
        let asked = crate::support::process::run(&off, &["healthcheck"]).await.expect(2);
        assert!(asked.stderr.contains("http.listen is empty"), "{asked:?}");
    })
    .await;
}
