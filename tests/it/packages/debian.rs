//! The Debian package: built, installed into a root of its own, its service run by its own words, removed.

use std::fs;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::{Folder, has, repository, static_program, tool};
use crate::support::own::is_root;
use crate::support::process::{Service, free_address, run};
use crate::support::world::{S3, World, world};

const BINARY: &str = env!("CARGO_BIN_EXE_file-recycler");
pub(super) const UNIT: &str = "usr/lib/systemd/system/file-recycler.service";
/// The most that `systemd-analyze security` may say, in tenths.
const EXPOSURE: &str = "20";

/// The package of the program under test, and the root that it is installed in.
pub(super) struct Installed {
    pub(super) folder: Folder,
    package: PathBuf,
    /// By dpkg and the package's scripts, and not merely unpacked.
    pub(super) whole: bool,
}

impl Installed {
    pub(super) async fn new() -> Self {
        let folder = Folder::new();
        let arguments = ["--fast".as_ref(), BINARY.as_ref(), folder.0.as_os_str()];
        let built = tool(repository("deploy/debian/build"), arguments).await.expect(0);
        let package = PathBuf::from(built.stdout.trim());
        // Only root may install; everybody may unpack.
        let whole = is_root() && has("systemd-sysusers", "the installation of the Debian package").await;
        let installed = Self { folder, package, whole };
        fs::create_dir_all(installed.root("var/lib/dpkg/info")).unwrap();
        fs::create_dir_all(installed.root("var/lib/dpkg/updates")).unwrap();
        fs::write(installed.root("var/lib/dpkg/status"), "").unwrap();
        if whole {
            installed.dpkg("--install", installed.package.to_str().unwrap()).await;
        } else {
            let root = installed.root("");
            tool("dpkg-deb", ["--extract".as_ref(), installed.package.as_os_str(), root.as_os_str()])
                .await
                .expect(0);
        }
        installed
    }

    pub(super) fn root(&self, path: &str) -> PathBuf {
        self.folder.path("root").join(path)
    }

    /// What the package depends on is not in that root, and its scripts run with the host's shell.
    async fn dpkg(&self, what: &str, on: &str) {
        let root = format!("--root={}", self.root("").display());
        tool("dpkg", [&root, "--force-script-chrootless", "--force-depends", what, on]).await.expect(0);
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

/// The values of a key of the unit, in their order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).collect()
}

/// The credentials as systemd hands them out, and the environment that the unit gives its process.
pub(super) fn credentials(world: &World, unit: &str, folder: &Path) -> Vec<(String, String)> {
    let mut rest = world.environment.clone();
    let environment: Vec<(String, String)> = values(unit, "Environment")
        .into_iter()
        .map(|assignment| {
            let (name, value) = assignment.split_once('=').unwrap();
            (name.to_owned(), value.replace("%d", folder.to_str().unwrap()))
        })
        .collect();
    for (name, path) in &environment {
        let secret = name.strip_suffix("_FILE").unwrap_or(name);
        let at = rest.iter().position(|(known, _)| known == secret).unwrap_or_else(|| panic!("{secret}"));
        // As an editor leaves it.
        fs::write(path, format!("{}\n", rest.remove(at).1)).unwrap();
    }
    let mut loaded: Vec<_> = values(unit, "LoadCredential")
        .into_iter()
        .map(|line| folder.join(line.split(':').next().unwrap()))
        .collect();
    let mut made: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    loaded.sort();
    made.sort();
    assert_eq!(loaded, made, "each secret that a variable names is a credential, and the other way round");
    rest.extend(environment);
    rest
}

#[tokio::test]
async fn the_debian_package_installs_a_service_that_moves_files_with_its_credentials_and_purges_clean() {
    let installed = Installed::new().await;
    let unit = installed.read(UNIT);

    world(S3::Embedded, async |world| {
        let folder = installed.folder.path("credentials");
        fs::create_dir(&folder).unwrap();
        let mut environment = credentials(&world, &unit, &folder);
        let http = free_address().await;
        environment.push(("FILE_RECYCLER_HTTP__LISTEN".into(), http.to_string()));
        // The sample keeps files for a quarter of an hour.
        environment.push(("FILE_RECYCLER_RECYCLE__GRACE".into(), "0s".into()));
        let [line] = values(&unit, "ExecStart")[..] else { panic!("one command: {unit}") };
        let (program, arguments) = line.split_once(' ').unwrap();
        let mut command = Command::new(installed.root(program.trim_start_matches('/')));
        let config = installed.root("etc/file-recycler/config.toml");
        command
            .args(arguments.split(' '))
            .arg("--config")
            .arg(config)
            .env_clear()
            .envs(environment.clone())
            .kill_on_drop(true);
        let service = Service::started(&environment, command, http).ready().await;
        world.moves_a_file().await;
        drop(service);
    })
    .await;

    // A file below etc is the administrator's.
    let shown =
        tool("dpkg-deb", ["--info".as_ref(), installed.package.as_os_str(), "conffiles".as_ref()]).await;
    assert_eq!(shown.expect(0).stdout, "/etc/file-recycler/config.toml\n");
    for path in ["usr/share/file-recycler/rights/database-run.sql", "usr/share/doc/file-recycler/copyright"] {
        installed.read(path);
    }
    if run(&[], &["completions", "--help"]).await.code == 0 {
        let script = installed.read("usr/share/bash-completion/completions/file-recycler");
        assert!(script.contains("healthcheck"), "{script}");
        assert!(installed.root("usr/share/man/man1/file-recycler.1.gz").exists());
    }
    if installed.whole {
        assert!(installed.read("etc/passwd").contains("file-recycler:x:"));
        let secrets = fs::metadata(installed.root("etc/file-recycler/credentials")).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&secrets.permissions()) & 0o777, 0o700);
        fs::write(installed.root("etc/file-recycler/credentials/database-url"), "secret").unwrap();
        installed.dpkg("--purge", "file-recycler").await;
        for gone in [UNIT, "usr/bin/file-recycler", "etc/file-recycler", "usr/share/doc/file-recycler"] {
            assert!(!installed.root(gone).exists(), "{gone} is left");
        }
    }
}

#[tokio::test]
async fn the_unit_is_sound_and_gives_its_service_little_of_the_machine() {
    let installed = Installed::new().await;
    if has("lintian", "the Debian package's form").await {
        // It refuses to be root unless it is told so.
        let said = tool(
            "lintian",
            ["--allow-root".as_ref(), "--fail-on".as_ref(), "error".as_ref(), installed.package.as_os_str()],
        );
        said.await.expect(0);
    }
    if !has("systemd-analyze", "the systemd unit").await {
        return;
    }
    for drop_in in [None, Some("connection-strings.conf"), Some("iam-role.conf")] {
        // The program is where it was unpacked: a unit whose program is not there is not sound.
        let units = installed.folder.path(drop_in.unwrap_or("alone"));
        let unit =
            installed.read(UNIT).replace("/usr/bin/", &format!("{}/", installed.root("usr/bin").display()));
        fs::create_dir_all(units.join("file-recycler.service.d")).unwrap();
        let path = units.join("file-recycler.service");
        fs::write(&path, unit).unwrap();
        if let Some(name) = drop_in {
            let text = installed.read(&format!("usr/share/doc/file-recycler/examples/{name}"));
            fs::write(units.join("file-recycler.service.d").join(name), text).unwrap();
        }
        let said = tool("systemd-analyze", ["verify".as_ref(), path.as_os_str()]).await.expect(0);
        assert_eq!((said.stdout.as_str(), said.stderr.as_str()), ("", ""), "{drop_in:?}");
        let arguments = ["security", "--offline=true", &format!("--threshold={EXPOSURE}")].map(str::to_owned);
        tool("systemd-analyze", arguments.iter().map(AsRef::as_ref).chain([path.as_os_str()]))
            .await
            .expect(0);
    }
}

/// A program that needs a library of a newer machine must not be installed on an older one.
#[tokio::test]
async fn the_package_depends_on_the_libraries_of_a_dynamic_program_alone() {
    let folder = Folder::new();
    let mut found = Vec::new();
    for (program, version) in [
        (static_program(&folder, "-static").await, "9.8.7"),
        (static_program(&folder, "-static-pie").await, "9.8.7"),
        (BINARY.into(), env!("CARGO_PKG_VERSION")),
    ] {
        let arguments = ["--fast".as_ref(), program.as_os_str(), folder.0.as_os_str()];
        let package = tool(repository("deploy/debian/build"), arguments).await.expect(0).stdout;
        assert!(package.contains(&format!("file-recycler_{version}_")), "{package}");
        found.push(tool("dpkg-deb", ["--field", package.trim(), "Depends"]).await.expect(0).stdout);
    }
    assert_eq!(found[0], "ca-certificates, systemd (>= 250)\n");
    assert_eq!(found[1], found[0]);
    assert!(found[2].starts_with("libc6 (>= 2."), "{found:?}");
}

/// What an operator sources names the same files that the unit takes its credentials from.
#[tokio::test]
async fn an_operators_commands_read_the_same_secrets_as_the_service() {
    let unit = fs::read_to_string(repository("deploy/systemd/file-recycler.service")).unwrap();
    let operator = fs::read_to_string(repository("deploy/systemd/operator.env")).unwrap();
    let named: Vec<&str> = operator.lines().filter(|line| !line.starts_with('#')).collect();
    let files: Vec<(&str, &str)> =
        values(&unit, "LoadCredential").into_iter().map(|line| line.split_once(':').unwrap()).collect();
    let expected: Vec<String> = values(&unit, "Environment")
        .into_iter()
        .map(|line| {
            files.iter().fold(line.to_owned(), |line, (name, file)| line.replace(&format!("%d/{name}"), file))
        })
        .collect();
    assert_eq!(named, expected);
    // And the program knows every one of these variables: what it does not like is that the file is not there.
    let environment: Vec<(String, String)> = named
        .iter()
        .filter_map(|line| line.split_once('='))
        .map(|(name, file)| (name.to_owned(), format!("/nowhere{file}")))
        .collect();
    let told = run(&environment, &["config", "show"]).await.expect(2).stderr;
    assert!(told.contains("cannot be read") && !told.contains("unknown"), "{told}");
}
