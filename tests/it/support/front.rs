//! TLS before a server that has none: it shows the certificate that a test wants it to, and passes everything on.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::authority::Issued;

/// Listens until it is dropped.
pub struct Front {
    address: SocketAddr,
    shown: Arc<Mutex<Arc<ServerConfig>>>,
    task: JoinHandle<()>,
}

impl Front {
    /// Before the server at this address.
    pub async fn before(server: String, certificate: &Issued) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shown = Arc::new(Mutex::new(config(certificate)));
        let task = tokio::spawn(serve(listener, server, Arc::clone(&shown)));
        Self { address, shown, task }
    }

    /// From now on new connections are shown this one.
    pub fn show(&self, certificate: &Issued) {
        *self.shown.lock().unwrap() = config(certificate);
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: TcpListener, server: String, shown: Arc<Mutex<Arc<ServerConfig>>>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let acceptor = TlsAcceptor::from(Arc::clone(&shown.lock().unwrap()));
        let server = server.clone();
        tokio::spawn(async move {
            // A client that does not like the certificate goes.
            let Ok(mut client) = acceptor.accept(stream).await else { return };
            let mut server = TcpStream::connect(server).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
    }
}

fn config(issued: &Issued) -> Arc<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap();
    let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}
