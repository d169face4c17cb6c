//! TLS of the gateway: rustls with aws-lc-rs, TLS 1.3 only, no resumption in any form.
//!
//! | file | one idea |
//! |---|---|
//! | [`anchors`] | the CAs that clients are checked against, replaced while the gateway runs |
//! | [`verifier`] | the core's chain check as rustls asks for it; refusals as codes and alerts |
//! | [`credential`] | the gateway's own certificate and key, verified before they are used, replaced without a restart |
//! | [`handshake`] | one handshake: deadline, evidence, and how it ended |
//! | [`record`] | one structured record for each handshake |
//!
//! Resumption would let a revoked device in again without a look at its certificate (RFC 9846, section 2.2), so there are
//! no tickets, no session storage and no early data. secp256r1 is always accepted: firmware offers nothing else.

pub mod anchors;
pub mod credential;
pub mod handshake;
pub mod record;
pub mod verifier;

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::server::NoServerSessionStorage;

pub use anchors::{Anchors, LiveAnchors};
pub use credential::{Credential, CredentialError, LiveCredential};
pub use handshake::{Established, Handshake};
pub use record::{HandshakeRecord, Verdict};
pub use verifier::{ClientVerifier, Demand};

/// The provider: TLS 1.3 suites and the three groups, the hybrid one first.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
    Arc::new(provider)
}

/// The configuration of one listener.
///
/// # Errors
/// Never with [`provider`]; an error of rustls otherwise.
pub fn server_config(
    verifier: Arc<ClientVerifier>,
    credential: Arc<LiveCredential>,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(credential);
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}
