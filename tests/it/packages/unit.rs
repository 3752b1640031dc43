//! The systemd unit, started by a systemd of its own.

use std::fs;
use std::process::Stdio;

use tokio::process::Command;

use super::debian::{Installed, UNIT, credentials};
use super::{has_no_rights, not_checked, repository, the_program};
use crate::support::process::{eventually, free_address, get};
use crate::support::world::{S3, world};

/// The exit status of `deploy/systemd/inside` where the machine forbids what it needs.
const NOT_HERE: i32 = 3;
const LOG: &str = "var/log/file-recycler.log";

#[tokio::test]
async fn systemd_starts_the_service_with_its_credentials_and_its_filter_and_it_moves_files() {
    let installed = Installed::new().await;
    if !installed.whole {
        return;
    }
    world(S3::Foreign, async |world| {
        let http = free_address().await;
        // The secrets are where an administrator puts them; the rest is a drop-in.
        let mut rest =
            credentials(&world, &installed.read(UNIT), &installed.root("etc/file-recycler/credentials"));
        rest.retain(|(name, _)| !name.ends_with("_FILE"));
        rest.push(("FILE_RECYCLER_HTTP__LISTEN".into(), http.to_string()));
        rest.push(("FILE_RECYCLER_RECYCLE__GRACE".into(), "0s".into()));
        let assignments = rest.iter().map(|(name, value)| {
            let value = value.replace('%', "%%").replace('"', "\\\"");
            format!("Environment=\"{name}={value}\"\n")
        });
        let drop_in =
            format!("[Service]\nStandardError=file:/{LOG}\n{}", assignments.collect::<Vec<_>>().concat());
        let folder = installed.root("etc/systemd/system/file-recycler.service.d");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test.conf"), drop_in).unwrap();
        fs::create_dir_all(installed.root("var/log")).unwrap();

        let mut systemd = Command::new(repository("deploy/systemd/inside"))
            .arg(installed.root(""))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let started = eventually("systemd's service is ready, or cannot be started here", async || {
            if let Some(ended) = systemd.try_wait().unwrap() {
                return Some(Err(ended));
            }
            (get(http, "/readyz").await?.0 == 200).then_some(Ok(()))
        })
        .await;
        if let Err(ended) = started {
            assert_eq!(ended.code(), Some(NOT_HERE), "{ended}");
            not_checked("the systemd unit under a systemd", "this machine does not let one start");
            return;
        }
        let process = the_program(systemd.id().expect("it runs"));
        let status = has_no_rights(process);
        assert!(status.contains("\nSeccomp:\t2\n"), "no filter of system calls: {status}");
        let environment = fs::read_to_string(format!("/proc/{process}/environ")).unwrap();
        assert!(environment.contains("_FILE=/run/credentials/file-recycler.service/database-url\0"));
        world.moves_a_file().await;
        let log = fs::read_to_string(format!("/proc/{process}/root/{LOG}")).unwrap();
        assert!(!log.contains(" WARN ") && !log.contains(" ERROR "), "{log}");
        systemd.kill().await.unwrap();
    })
    .await;
}
