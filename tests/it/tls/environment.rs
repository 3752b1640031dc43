//! What `database.url` does not name comes from PostgreSQL's own variables, by the rules that hold for the address.

use std::path::Path;

use super::{Environment, HOST, as_worker, database, install, text};
use crate::support::authority::Authority;
use crate::support::crm::Crm;
use crate::support::process;
use crate::support::world::{S3, World, bare_world};

/// The environment with this address of the database and these variables.
fn with(world: &World, crm: &Crm, host: &str, query: &str, variables: &[(&str, &str)]) -> Environment {
    let mut environment = world.with(&[("DATABASE__URL", &format!("{}{query}", as_worker(crm, host, &[])))]);
    environment.extend(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    environment
}

/// The server lets in nobody without TLS and a client certificate, so that every success is a TLS connection.
#[tokio::test]
async fn an_authority_that_only_the_environment_names_is_checked_as_one_of_the_address() {
    let (authority, strangers) = (Authority::new(), Authority::new());
    let (cluster, crm) = database(&authority, &authority.server(HOST)).await;
    bare_world(S3::Embedded, async |world| {
        let (client, trusted, unknown) = (authority.client("worker"), authority.file(), strangers.file());
        let (trusted, unknown): (&Path, &Path) = (&trusted, &unknown);
        let at = |host: &str, query: &str, mode: Option<&str>, root: &Path| {
            let mut variables = vec![
                ("PGSSLCERT", text(&client.certificate)),
                ("PGSSLKEY", text(&client.key)),
                ("PGSSLROOTCERT", text(root)),
            ];
            variables.extend(mode.map(|mode| ("PGSSLMODE", mode)));
            with(&world, &crm, host, query, &variables)
        };
        install(&at(HOST, "", Some("verify-full"), trusted)).await;

        let of_address = format!("?sslrootcert={}", text(trusted));
        for right in [
            at(HOST, "", None, trusted),
            // Any name, as PostgreSQL's own programs have it.
            at("localhost", "", Some("require"), trusted),
            at(HOST, &of_address, None, unknown),
        ] {
            process::run(&right, &["listener", "status"]).await.expect(0);
        }
        for (wrong, named) in [
            (at(HOST, "", None, unknown), "in sslrootcert of database.url"),
            (at(HOST, "", Some("require"), unknown), "in sslrootcert of database.url"),
            (at(HOST, "?sslmode=require", None, unknown), "in sslrootcert of database.url"),
            (at("localhost", "", None, trusted), "another host name"),
            // The address wants no TLS, and the server lets nobody in without.
            (at(HOST, "?sslmode=disable", Some("verify-full"), trusted), "comes with TLS"),
        ] {
            let refused = process::run(&wrong, &["status", "--json"]).await.expect(1);
            assert!(refused.stdout.contains(named), "{named}: {refused:?}");
        }
        for (wrong, named) in [
            (at(HOST, "?sslmode=prefer", None, trusted), "PGSSLROOTCERT"),
            (at(HOST, "", Some("disable"), trusted), "PGSSLMODE"),
            (at(HOST, "", Some("verify-all"), trusted), "PGSSLMODE"),
            (at(HOST, "", None, Path::new("/nowhere.pem")), "PGSSLROOTCERT"),
        ] {
            let refused = process::run(&wrong, &["status"]).await.expect(2);
            assert!(refused.stderr.contains(named), "{named}: {refused:?}");
        }
        crm.pool.close().await;
    })
    .await;
    drop(cluster);
}
