//! The bare server: tokio and rustls as plain as they come. It checks the client's chain as rustls does, answers CONNECT,
//! and keeps nothing. What it costs is what TLS and TCP cost.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

#[derive(Args, Debug)]
pub(crate) struct Bare {
    /// Certificate, PEM
    #[arg(long)]
    certificate: PathBuf,
    /// Its key, PEM
    #[arg(long)]
    key: PathBuf,
    /// CAs of the clients, PEM
    #[arg(long)]
    client_cas: PathBuf,
}

impl Bare {
    /// Serves until it is killed. Says `ready PORT` first.
    pub(crate) fn run(&self) -> Result<()> {
        let configuration = Arc::new(self.configuration()?);
        let _ = muster_gateway::limit::raise_open_files(100_000);
        tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(configuration))
    }

    fn configuration(&self) -> Result<ServerConfig> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let roots = Arc::new(roots(&self.client_cas)?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(&provider)).build()?;
        let chain = CertificateDer::pem_file_iter(&self.certificate)?.collect::<Result<_, _>>()?;
        let mut configuration = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, PrivateKeyDer::from_pem_file(&self.key)?)?;
        configuration.session_storage = Arc::new(NoServerSessionStorage {});
        configuration.send_tls13_tickets = 0;
        Ok(configuration)
    }
}

/// CA certificates of a file.
pub(crate) fn roots(path: &Path) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).with_context(|| format!("cannot read {}", path.display()))? {
        roots.add(certificate?)?;
    }
    Ok(roots)
}

async fn serve(configuration: Arc<ServerConfig>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(std::io::stdout(), "ready {}", listener.local_addr()?.port())?;
    let acceptor = TlsAcceptor::from(configuration);
    loop {
        let (socket, _) = listener.accept().await?;
        tokio::spawn(session(acceptor.clone(), socket));
    }
}

/// Answers the first packet with CONNACK and reads on until the client goes.
async fn session(acceptor: TlsAcceptor, socket: TcpStream) -> Option<()> {
    socket.set_nodelay(true).ok()?;
    let mut stream = Box::new(acceptor.accept(socket).await.ok()?);
    let mut input = [0; 256];
    if stream.read(&mut input).await.ok()? > 0 {
        stream.write_all(&[0x20, 3, 0, 0, 0]).await.ok()?;
        stream.flush().await.ok()?;
    }
    while stream.read(&mut input).await.ok()? > 0 {}
    stream.shutdown().await.ok()
}
