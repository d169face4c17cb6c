//! The core's chain check as rustls asks for it, with the algorithms of aws-lc-rs.
//!
//! rustls gives a verifier no way to hand its evidence on, so each handshake runs in a scope of its own
//! ([`observed`]): the verifier, called from within that scope, leaves its verdict there. No other handshake can see it.
//! A verifier that is called outside of a scope refuses.

use std::cell::RefCell;
use std::future::Future;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use muster_protocol::pki::chain::VerifiedClient;
use muster_protocol::pki::{Certificate, Serial};
use muster_protocol::{Code, FleetId, Identity, UnixTime};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme};
use rustls_pki_types::SignatureVerificationAlgorithm;

use super::anchors::LiveAnchors;

/// Whether a client may stay without a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Demand {
    /// No certificate, no connection.
    Mandatory,
    /// Without one the connection stands, and proves nothing.
    Optional,
}

/// Checks client certificates against the anchors in force.
#[derive(Debug)]
pub struct ClientVerifier {
    anchors: Arc<LiveAnchors>,
    fleet: FleetId,
    demand: Demand,
}

impl ClientVerifier {
    /// A verifier for one listener.
    #[must_use]
    pub const fn new(anchors: Arc<LiveAnchors>, fleet: FleetId, demand: Demand) -> Self {
        Self { anchors, fleet, demand }
    }
}

/// What the verifier found in one handshake.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum Finding {
    /// It was not asked: the client presented nothing, or the handshake did not get that far.
    #[default]
    Nothing,
    /// The chain is good. Whether the client also has the key is known when the handshake is over.
    Client(Box<VerifiedClient>),
    /// The chain was refused, or the client did not prove that it has the key.
    Refused(Code, Option<Box<Claim>>),
}

/// What a refused leaf says of itself. Proves nothing; tells an operator where to look.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claim {
    /// Its serial number.
    pub serial: Serial,
    /// The name in its SAN, if it is one of ours.
    pub identity: Option<Identity>,
}

impl Claim {
    fn read(leaf: &CertificateDer<'_>) -> Option<Box<Self>> {
        let leaf = Certificate::parse(leaf).ok()?;
        Some(Box::new(Self { serial: leaf.serial().clone(), identity: leaf.identity().ok() }))
    }
}

tokio::task_local! {
    static FINDING: RefCell<Finding>;
}

/// Runs a handshake and gives what the verifier found in it. The verifier is called while the future is polled.
pub async fn observed<T>(handshake: impl Future<Output = T>) -> (T, Finding) {
    FINDING
        .scope(RefCell::default(), async {
            let outcome = handshake.await;
            (outcome, FINDING.with(|finding| finding.take()))
        })
        .await
}

/// ECDSA P-256 with SHA-256, by aws-lc-rs: the only algorithm of every profile.
pub const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[webpki::aws_lc_rs::ECDSA_P256_SHA256];

const SUPPORTED: WebPkiSupportedAlgorithms =
    WebPkiSupportedAlgorithms { all: ALGORITHMS, mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, ALGORITHMS)] };

impl ClientCertVerifier for ClientVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.demand == Demand::Mandatory
    }

    /// Empty: a client has one certificate, and the names of our CAs are nobody's business.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: rustls::pki_types::UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<&[u8]> = std::iter::once(end_entity).chain(intermediates).map(AsRef::as_ref).collect();
        let verdict = self.anchors.now().verify(&chain, &self.fleet, UnixTime(now.as_secs()), ALGORITHMS);
        match verdict {
            Ok(client) => leave(Finding::Client(Box::new(client))).map(|()| ClientCertVerified::assertion()),
            Err(code) => {
                let _ = leave(Finding::Refused(code, Claim::read(end_entity)));
                Err(refusal(code))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &SUPPORTED).inspect_err(|_| {
            let _ = leave(Finding::Refused(Code::CertificateBadSignature, Claim::read(certificate)));
        })
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        SUPPORTED.supported_schemes()
    }
}

/// The time by the machine's clock.
#[must_use]
pub fn civil_now() -> UnixTime {
    UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs()))
}

fn leave(finding: Finding) -> Result<(), Error> {
    FINDING
        .try_with(|slot| slot.replace(finding))
        .map(|_| ())
        .map_err(|_| Error::General("a client was verified outside of a handshake's scope".to_owned()))
}

/// The error whose alert says to the client what the code says to the record (RFC 9846, section 6.2):
///
/// | code | alert |
/// |---|---|
/// | expired, not yet valid | certificate_expired |
/// | untrusted, self-signed | unknown_ca |
/// | bad signature | decrypt_error |
/// | wrong usage | unsupported_certificate |
/// | malformed | bad_certificate |
/// | of another fleet, without identity | access_denied |
/// | anything else | certificate_unknown |
fn refusal(code: Code) -> Error {
    Error::InvalidCertificate(match code {
        Code::CertificateExpired => CertificateError::Expired,
        Code::CertificateNotYetValid => CertificateError::NotValidYet,
        Code::CertificateUntrusted | Code::CertificateSelfSigned => CertificateError::UnknownIssuer,
        Code::CertificateBadSignature => CertificateError::BadSignature,
        Code::CertificateWrongUsage => CertificateError::InvalidPurpose,
        Code::CertificateMalformed => CertificateError::BadEncoding,
        Code::CertificateWrongFleet | Code::CertificateNoIdentity => CertificateError::ApplicationVerificationFailure,
        _ => CertificateError::Other(OtherError(Arc::new(code))),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn every_refusal_has_its_alert() {
        for (code, alert) in [
            (Code::CertificateExpired, AlertDescription::CertificateExpired),
            (Code::CertificateNotYetValid, AlertDescription::CertificateExpired),
            (Code::CertificateUntrusted, AlertDescription::UnknownCA),
            (Code::CertificateSelfSigned, AlertDescription::UnknownCA),
            (Code::CertificateBadSignature, AlertDescription::DecryptError),
            (Code::CertificateWrongUsage, AlertDescription::UnsupportedCertificate),
            (Code::CertificateMalformed, AlertDescription::BadCertificate),
            (Code::CertificateWrongFleet, AlertDescription::AccessDenied),
            (Code::CertificateNoIdentity, AlertDescription::AccessDenied),
            (Code::CertificateProfile, AlertDescription::CertificateUnknown),
        ] {
            let Error::InvalidCertificate(error) = refusal(code) else { panic!("{code}") };
            assert_eq!(AlertDescription::from(error), alert, "{code}");
        }
    }

    #[tokio::test]
    async fn a_finding_stays_in_its_own_handshake() {
        let refused = observed(async {
            leave(Finding::Refused(Code::CertificateExpired, None)).unwrap();
            let inner = observed(async {}).await;
            assert_eq!(inner.1, Finding::Nothing);
        });
        assert_eq!(refused.await.1, Finding::Refused(Code::CertificateExpired, None));
        leave(Finding::Nothing).unwrap_err();
    }
}
