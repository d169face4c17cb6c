//! Chains, and the evidence that only a checked chain can make.
//!
//! rustls-webpki builds the path (RFC 5280, section 6.1: names, signatures, validity, CA flags, path lengths, name
//! constraints, unknown critical extensions). What it leaves open is closed in this module, for every certificate of
//! the path: serial numbers, keyUsage, the anchor's own pathLenConstraint, P-256 and ecdsa-with-SHA256 only, and for the
//! leaf one key purpose, one SAN, one role. Revocation and the registry are asked elsewhere.
//!
//! Order of the verdicts: form of every certificate presented, trust, validity, usage, profile, identity, fleet, role.
//! So nothing is said about a name before the chain is known to be good.

mod client;
mod gateway;
mod issued;
mod issuer;

use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, alg_id};
use webpki::{EndEntityCert, KeyUsage as RequiredUsage};

pub use client::{ClientAnchors, Role, VerifiedClient, verify_client};
pub use gateway::{GatewayClock, VerifiedGateway, verify_gateway};
pub use issued::{IssuedCertificate, verify_issued};
pub use issuer::{VerifiedIssuer, verify_issuing_ca};

use super::certificate::Certificate;
use super::extension::KeyUsage;
use super::key::{PUBLIC_KEY_BYTES, PublicKey};
use super::oid;
use super::trust_anchor::TrustAnchor;
use crate::code::Code;
use crate::limits::CHAIN_CERTIFICATES_MAX;
use crate::time::UnixTime;

/// What a TLS peer shows that it may be used for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Usage {
    Client,
    Server,
}

impl Usage {
    fn as_webpki(self) -> RequiredUsage {
        match self {
            Self::Client => RequiredUsage::client_auth(),
            Self::Server => RequiredUsage::server_auth(),
        }
    }

    const fn oid(self) -> &'static [u8] {
        match self {
            Self::Client => oid::CLIENT_AUTH,
            Self::Server => oid::SERVER_AUTH,
        }
    }
}

/// The certificates that a peer presented, read.
struct Presented<'a> {
    leaf: Certificate<'a>,
    others: heapless::Vec<Certificate<'a>, { CHAIN_CERTIFICATES_MAX - 1 }>,
}

/// A path from the leaf to an anchor that was checked.
struct Path {
    /// Key of the CA that signed the leaf.
    issuer_key: PublicKey,
    /// The newest notBefore of leaf and intermediates.
    newest_not_before: UnixTime,
}

impl<'a> Presented<'a> {
    fn read(chain: &[&'a [u8]]) -> Result<Self, Code> {
        let (leaf, others) = chain.split_first().ok_or(Code::CertificateMissing)?;
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(Code::CertificateProfile);
        }
        let leaf = Certificate::parse(leaf)?;
        let others = others.iter().map(|der| Certificate::parse(der)).collect::<Result<_, _>>()?;
        Ok(Self { leaf, others })
    }

    fn all(&self) -> impl Iterator<Item = &Certificate<'a>> {
        core::iter::once(&self.leaf).chain(&self.others)
    }

    /// Looks for a path to one of `anchors`. When there is none, the most telling reason.
    fn verify<'t>(
        &self,
        anchors: impl Iterator<Item = &'t TrustAnchor<'t>>,
        usage: Usage,
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Path, Code> {
        let mut verdict = Code::CertificateUntrusted;
        for anchor in anchors {
            // Whoever names none of our anchors as an issuer is untrusted before anything else.
            if !self.all().any(|certificate| certificate.issuer_der() == anchor.certificate().subject_der()) {
                continue;
            }
            match self.verify_to(anchor, usage, now, algorithms) {
                Ok(path) => return Ok(path),
                Err(code) if rank(code) >= rank(verdict) => verdict = code,
                Err(_) => {}
            }
        }
        Err(verdict)
    }

    /// Whoever is refused for want of an issuer may have signed for himself; that has a code of its own.
    fn or_self_signed(&self, code: Code, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> Code {
        match code {
            Code::CertificateUntrusted | Code::CertificateBadSignature if self.is_self_signed(algorithms) => {
                Code::CertificateSelfSigned
            }
            code => code,
        }
    }

    /// Asks `algorithms`, like webpki: whoever passes them in sees every check of a signature.
    fn is_self_signed(&self, algorithms: &[&dyn SignatureVerificationAlgorithm]) -> bool {
        let leaf = &self.leaf;
        let key = leaf.spki_der().last_chunk::<PUBLIC_KEY_BYTES>().filter(|_| leaf.public_key().is_ok());
        let is_ours = |algorithm: &&&dyn SignatureVerificationAlgorithm| {
            algorithm.public_key_alg_id() == alg_id::ECDSA_P256 && algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
        };
        let algorithm = algorithms.iter().find(is_ours).filter(|_| leaf.is_signed_with_our_algorithm());
        match (key, algorithm) {
            (Some(key), Some(algorithm)) => algorithm.verify_signature(key, leaf.tbs_der(), leaf.signature()).is_ok(),
            _ => false,
        }
    }

    fn verify_to(
        &self,
        anchor: &TrustAnchor<'_>,
        usage: Usage,
        now: UnixTime,
        algorithms: &[&dyn SignatureVerificationAlgorithm],
    ) -> Result<Path, Code> {
        let leaf = CertificateDer::from(self.leaf.der());
        let others: heapless::Vec<_, { CHAIN_CERTIFICATES_MAX - 1 }> =
            self.others.iter().map(|certificate| CertificateDer::from(certificate.der())).collect();
        let end_entity = EndEntityCert::try_from(&leaf).map_err(|error| code_of(&error))?;
        let time = rustls_pki_types::UnixTime::since_unix_epoch(core::time::Duration::from_secs(now.0));
        let path = end_entity
            .verify_for_usage(
                algorithms,
                core::slice::from_ref(anchor.as_webpki()),
                &others,
                time,
                usage.as_webpki(),
                None,
                None,
            )
            .map_err(|error| code_of(&error))?;

        let mut issuer_key = *anchor.public_key();
        let mut newest_not_before = self.leaf.not_before();
        let mut cas = 0;
        // From the anchor down, so that the leaf's own issuer comes last.
        for used in path.intermediate_certificates().rev() {
            let certificate = Certificate::parse(
                self.others
                    .iter()
                    .map(Certificate::der)
                    .find(|der| *der == used.der().as_ref())
                    .ok_or(Code::CertificateMalformed)?,
            )?;
            certificate.check_issuer()?;
            check_algorithm(&certificate)?;
            issuer_key = certificate.public_key()?;
            newest_not_before = newest_not_before.max(certificate.not_before());
            cas += u8::from(!certificate.is_self_issued());
        }
        if anchor.path_len().is_some_and(|longest| cas > longest) {
            return Err(Code::CertificateProfile);
        }
        check_algorithm(&self.leaf)?;
        Ok(Path { issuer_key, newest_not_before })
    }

    /// What every end entity has to have, whatever its role; gives its key.
    fn check_end_entity(&self) -> Result<PublicKey, Code> {
        let leaf = &self.leaf;
        if leaf.unknown_critical_extensions().next().is_some() {
            return Err(Code::CertificateProfile);
        }
        let key_usage = leaf.key_usage().ok_or(Code::CertificateProfile)?;
        if !key_usage.contains(KeyUsage::DIGITAL_SIGNATURE)
            || key_usage.contains(KeyUsage::KEY_CERT_SIGN)
            || key_usage.contains(KeyUsage::CRL_SIGN)
            || leaf.basic_constraints().is_some_and(|constraints| constraints.ca)
        {
            return Err(Code::CertificateWrongUsage);
        }
        leaf.public_key()
    }

    /// The leaf's key purpose has to be `usage` and nothing else.
    fn check_purpose(&self, usage: Usage) -> Result<(), Code> {
        let mut purposes = self.leaf.extended_key_usage().ok_or(Code::CertificateWrongUsage)?;
        if purposes.next() == Some(usage.oid()) && purposes.next().is_none() {
            Ok(())
        } else {
            Err(Code::CertificateWrongUsage)
        }
    }
}

fn check_algorithm(certificate: &Certificate<'_>) -> Result<(), Code> {
    if certificate.is_signed_with_our_algorithm() { Ok(()) } else { Err(Code::CertificateProfile) }
}

/// How much a verdict tells; among several anchors of one name the highest is reported.
const fn rank(code: Code) -> u8 {
    match code {
        Code::CertificateUntrusted => 0,
        Code::CertificateBadSignature => 1,
        _ => 2,
    }
}

/// The refusal code of a webpki error.
fn code_of(error: &webpki::Error) -> Code {
    use webpki::Error;
    match error {
        Error::CertExpired { .. } => Code::CertificateExpired,
        Error::CertNotValidYet { .. } => Code::CertificateNotYetValid,
        Error::CertNotValidForName(_) => Code::CertificateWrongName,
        Error::InvalidSignatureForPublicKey => Code::CertificateBadSignature,
        Error::UnknownIssuer
        | Error::MaximumPathBuildCallsExceeded
        | Error::MaximumPathDepthExceeded
        | Error::MaximumSignatureChecksExceeded => Code::CertificateUntrusted,
        Error::CaUsedAsEndEntity
        | Error::EndEntityUsedAsCa
        | Error::EmptyEkuExtension
        | Error::RequiredEkuNotFoundContext(_) => Code::CertificateWrongUsage,
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::UnsupportedCertVersion => {
            Code::CertificateMalformed
        }
        _ => Code::CertificateProfile,
    }
}
