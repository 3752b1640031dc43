//! PgBouncer before the tests' database: clients share its sessions.

use std::net::SocketAddr;

use tokio::process::Child;
use url::Url;

use super::folder::Folder;
use super::own::{as_user, path};
use super::process::{eventually, free_address};

/// Where Debian's package has it, which not every user's search path has.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A pooler on a port of its own; it dies with the test.
pub struct Pooler {
    address: SocketAddr,
    _folder: Folder,
    _server: Child,
}

impl Pooler {
    /// Before the server of this database, in this mode: `session` or `transaction`.
    pub async fn before(url: &str, mode: &str) -> Self {
        let (url, address, folder) = (Url::parse(url).unwrap(), free_address().await, Folder::create());
        let (host, port) = (url.host_str().unwrap(), url.port().unwrap());
        let (user, password) = (url.username(), url.password().unwrap());
        let settings = format!(
            "[databases]\n* = host={host} port={port} user={user} password={password}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = {mode}\nignore_startup_parameters = extra_float_digits, options\n",
            address.port()
        );
        let file = folder.path().join("pgbouncer.ini");
        std::fs::write(&file, settings).unwrap();
        let server = as_user("postgres", folder.path(), PROGRAM).arg(path(&file)).spawn().unwrap();
        eventually("the pooler answers", async || tokio::net::TcpStream::connect(address).await.ok()).await;
        Self { address, _folder: folder, _server: server }
    }

    /// This database's address by way of the pooler.
    pub fn url_of(&self, url: &str) -> String {
        let mut url = Url::parse(url).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }
}
