//! The agent's TLS: 1.3 only (RFC 9846), the gateway checked by the core's own rules, the client key behind a closure.
//!
//! Nothing is resumed: a ticket would carry the identity of an older credential. What the core does with a refusal is
//! not known here, nor where keys and trust anchors come from; the loop brings them.
//!
//! | file | idea |
//! |---|---|
//! | `verifier` | the gateway's chain, judged by `pki::chain` |
//! | `signer` | the client certificate, with a key that signs elsewhere |
//! | `alert` | what a TLS failure means |

use std::io;
use std::sync::{Arc, OnceLock};

use muster_protocol::Code;
use muster_protocol::pki::{GatewayClock, VerifiedGateway};
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, version};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod alert;
mod signer;
mod verifier;

pub use alert::refusal;
pub use signer::Sign;
pub use verifier::GatewayCheck;

/// With which certificate, and whose key.
#[derive(Clone)]
pub struct ClientCredential {
    /// Leaf first; the issuing CA behind it where the gateway does not hold it.
    pub chain: Vec<CertificateDer<'static>>,
    /// Signs with the leaf's key.
    pub sign: Sign,
}

/// Whom we expect at the other end.
#[derive(Clone, Debug)]
pub struct Expected {
    /// DNS name or IP address that was dialled.
    pub host: String,
    /// The gateway CAs of the trust bundle in force, DER.
    pub gateway_cas: Arc<[Vec<u8>]>,
    /// What is known of the date.
    pub clock: GatewayClock,
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// We refused the gateway.
    #[error("the gateway's certificate was refused: {0}")]
    GatewayUntrusted(Code),
    /// The gateway refused us, by an alert.
    #[error("the gateway refused the handshake: {0}")]
    Refused(Code),
    /// Anything else below or beside TLS.
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
}

/// Shakes hands over an open connection. The evidence is of this very handshake, and comes only with its end.
///
/// In TLS 1.3 the gateway judges the client after this: its refusal arrives as an alert on the first read.
pub async fn connect(
    tcp: TcpStream,
    expected: &Expected,
    credential: &ClientCredential,
) -> Result<(TlsStream<TcpStream>, VerifiedGateway), TlsError> {
    let name = ServerName::try_from(expected.host.clone())
        .map_err(|_| TlsError::GatewayUntrusted(Code::CertificateWrongName))?;
    let check = Arc::new(GatewayCheck::new(expected.clone()));
    let config = client_config(&check, credential).map_err(|error| TlsError::Io(io::Error::other(error)))?;
    let shaken = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
    match (shaken, check.verdict()) {
        (Ok(stream), Some(Ok(gateway))) => Ok((stream, gateway)),
        // Cannot be: a handshake does not end without the verifier. If it ever does, nobody was verified.
        (Ok(_), None) => Err(TlsError::GatewayUntrusted(Code::CertificateMissing)),
        (_, Some(Err(code))) => Err(TlsError::GatewayUntrusted(code)),
        (Err(error), _) => Err(match alert::blame(&error) {
            alert::Blame::Gateway(code) => TlsError::GatewayUntrusted(code),
            alert::Blame::Refused(code) => TlsError::Refused(code),
            alert::Blame::Nobody => TlsError::Io(error),
        }),
    }
}

/// The configuration of one connection: rustls 0.23 has no per-connection verifier, and making one is cheap.
fn client_config(check: &Arc<GatewayCheck>, credential: &ClientCredential) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(check) as Arc<_>)
        .with_client_cert_resolver(signer::resolver(credential));
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// aws-lc-rs, made once for the whole process.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}
