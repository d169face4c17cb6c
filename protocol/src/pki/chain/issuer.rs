//! Who may sign shipment manifests: the issuing CA of a registered factory.

use super::check_algorithm;
use crate::code::Code;
use crate::pki::certificate::Certificate;
use crate::pki::extension::KeyUsage;
use crate::pki::key::{KeyFingerprint, PublicKey};
use crate::pki::trust_anchor::TrustAnchor;
use crate::time::UnixTime;

/// Evidence that a CA belongs to a registered factory. Only [`verify_issuing_ca`] makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedIssuer {
    public_key: PublicKey,
}

impl VerifiedIssuer {
    /// The CA's key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.public_key.fingerprint()
    }
}

/// Checks that the CA certificate `der` is one of `anchors` or issued by one, and valid at `now`.
///
/// A manifest is signed with a CA's key, so its keyUsage has to have digitalSignature beside keyCertSign (RFC 5280,
/// section 4.2.1.3). An anchor is taken by its key, whatever its dates say.
pub fn verify_issuing_ca(der: &[u8], anchors: &[TrustAnchor<'_>], now: UnixTime) -> Result<VerifiedIssuer, Code> {
    let certificate = Certificate::parse(der)?;
    let public_key = certificate.public_key()?;
    let is_anchor = |anchor: &&TrustAnchor<'_>| {
        *anchor.public_key() == public_key && anchor.certificate().subject_der() == certificate.subject_der()
    };
    let named = |anchor: &&TrustAnchor<'_>| anchor.certificate().subject_der() == certificate.issuer_der();
    if anchors.iter().find(is_anchor).is_some() {
        certificate.check_issuer()?;
    } else {
        let mut named = anchors.iter().filter(named).peekable();
        if named.peek().is_none() {
            let own = certificate.is_self_signed();
            return Err(if own { Code::CertificateSelfSigned } else { Code::CertificateUntrusted });
        }
        check_algorithm(&certificate)?;
        let anchor = named
            .find(|anchor| certificate.verify_signed_by(anchor.public_key()).is_ok())
            .ok_or(Code::CertificateBadSignature)?;
        if now < certificate.not_before() {
            return Err(Code::CertificateNotYetValid);
        }
        if now > certificate.not_after() {
            return Err(Code::CertificateExpired);
        }
        certificate.check_issuer()?;
        if anchor.path_len() == Some(0) && !certificate.is_self_issued() {
            return Err(Code::CertificateProfile);
        }
    }
    if !certificate.key_usage().is_some_and(|usage| usage.contains(KeyUsage::DIGITAL_SIGNATURE)) {
        return Err(Code::CertificateWrongUsage);
    }
    Ok(VerifiedIssuer { public_key })
}
