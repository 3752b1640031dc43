//! Servers that show a certificate: up once they do, and changed once they show the next one.

use std::net::SocketAddr;

use sqlx::{Connection as _, PgConnection};
use tokio::net::TcpStream;

use super::text;
use crate::support::authority::{Authority, Issued};
use crate::support::cluster::Cluster;
use crate::support::crm::Crm;
use crate::support::node::Node;
use crate::support::process::{eventually, free_address};

/// A broker that lets in nobody without TLS and a certificate by the authority; but the test itself, by another port.
pub async fn broker(authority: &Authority, shown: &Issued) -> (Node, SocketAddr) {
    let tls = free_address().await;
    let settings = format!(
        "listeners.ssl.local = {tls}\nssl_options.cacertfile = {}\nssl_options.certfile = {}\n\
         ssl_options.keyfile = {}\nssl_options.verify = verify_peer\nssl_options.fail_if_no_peer_cert = true",
        text(&authority.file()),
        text(&shown.certificate),
        text(&shown.key)
    );
    let node = Node::start(&settings, "").await;
    // The node answers without TLS a moment earlier.
    eventually("the port for TLS is open", async || TcpStream::connect(tls).await.ok()).await;
    (node, tls)
}

/// From now on every new connection to the database is shown this certificate: the signal alone is no sign of that.
pub async fn show(cluster: &Cluster, crm: &Crm, certificate: &Issued) {
    let before = read_at(crm).await;
    cluster.show(certificate).await;
    eventually("the server has read its settings again", async || {
        (read_at(crm).await > before).then_some(())
    })
    .await;
}

/// When the server has read its settings, as a session says that begins now.
async fn read_at(crm: &Crm) -> i64 {
    let mut session = PgConnection::connect(&crm.url).await.unwrap();
    let sql = "SELECT (extract(epoch FROM pg_conf_load_time()) * 1000000)::bigint";
    let at = sqlx::query_scalar(sql).fetch_one(&mut session).await.unwrap();
    session.close().await.unwrap();
    at
}
