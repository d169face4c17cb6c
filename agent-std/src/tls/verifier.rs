//! The gateway's certificate, judged by [`verify_gateway`] and nothing else: its CAs, the name asked for, the clock rule.

use std::sync::Mutex;

use muster_protocol::Code;
use muster_protocol::pki::{VerifiedGateway, verify_gateway};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::{Expected, provider};

/// The check of one handshake, and its verdict. For one connection only: a verdict is about one peer.
#[derive(Debug)]
pub struct GatewayCheck {
    expected: Expected,
    verdict: Mutex<Option<Result<VerifiedGateway, Code>>>,
}

impl GatewayCheck {
    /// Nothing seen yet.
    #[must_use]
    pub const fn new(expected: Expected) -> Self {
        Self { expected, verdict: Mutex::new(None) }
    }

    /// What was found; `None` while no certificate was shown. Evidence only together with a finished handshake, which
    /// alone proves that the peer has the key.
    #[must_use]
    pub fn verdict(&self) -> Option<Result<VerifiedGateway, Code>> {
        self.verdict.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    fn judge(&self, chain: &[&[u8]], name: &str) -> Result<VerifiedGateway, Code> {
        let Expected { gateway_cas, clock, .. } = &self.expected;
        let cas: Vec<&[u8]> = gateway_cas.iter().map(Vec::as_slice).collect();
        verify_gateway(chain, &cas, name, *clock, algorithms())
    }
}

impl ServerCertVerifier for GatewayCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut chain: Vec<&[u8]> = vec![end_entity];
        chain.extend(intermediates.iter().map(AsRef::<[u8]>::as_ref));
        let verdict = self.judge(&chain, &server_name.to_str());
        let code = verdict.as_ref().err().copied();
        *self.verdict.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Some(verdict);
        match code {
            None => Ok(ServerCertVerified::assertion()),
            Some(code) => Err(Error::InvalidCertificate(for_the_alert(code))),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is never offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

/// ECDSA P-256 with SHA-256 alone, as everywhere in the system: with more of them the same chain would be refused by
/// another code than the gateway's and the firmware agent's. It is the first of what the scheme stands for.
fn algorithms() -> &'static [&'static dyn SignatureVerificationAlgorithm] {
    let mapping = provider().signature_verification_algorithms.mapping;
    let ours = mapping.iter().find(|(scheme, _)| *scheme == SignatureScheme::ECDSA_NISTP256_SHA256);
    ours.and_then(|(_, all)| all.get(..1)).unwrap_or_default()
}

/// rustls chooses the alert that the gateway sees by its own error.
fn for_the_alert(code: Code) -> CertificateError {
    match code {
        Code::CertificateExpired => CertificateError::Expired,
        Code::CertificateNotYetValid => CertificateError::NotValidYet,
        Code::CertificateUntrusted | Code::CertificateSelfSigned => CertificateError::UnknownIssuer,
        Code::CertificateBadSignature => CertificateError::BadSignature,
        Code::CertificateWrongName => CertificateError::NotValidForName,
        Code::CertificateWrongUsage => CertificateError::InvalidPurpose,
        _ => CertificateError::BadEncoding,
    }
}
