//! The verifier that embedded-tls asks: it takes down what the peer shows, and has the gate hold the connection until
//! the guard has judged it ([`super::shown`]).

use core::cell::RefCell;

use embedded_tls::{CertificateEntryRef, CertificateRef, CertificateVerifyRef, Sha256, SignatureScheme};
use embedded_tls::{TlsError, TlsVerifier};
use sha2::Digest as _;

use super::link::Link;
use super::shown::Shown;
use super::suite::GuardedSuite;

/// How the server is judged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Judge {
    /// By the guard, before anything else goes in or out.
    Guard,
    /// By nobody; what it serves carries its own signature.
    Nobody,
}

/// The library's way to what the peer shows.
pub(super) struct Verifier<'a, 's> {
    pub(super) judge: Judge,
    pub(super) link: &'a Link,
    pub(super) shown: &'a RefCell<Shown<'s>>,
}

impl Verifier<'_, '_> {
    fn take(&self, show: impl FnOnce(&mut Shown<'_>) -> bool) -> bool {
        // The guard has it only while the library waits.
        let Ok(mut shown) = self.shown.try_borrow_mut() else { return false };
        let is_taken = show(&mut shown);
        match (is_taken, self.judge) {
            (false, _) => {}
            (true, Judge::Guard) => self.link.hold(),
            (true, Judge::Nobody) => shown.accept(self.link),
        }
        is_taken
    }
}

impl TlsVerifier<GuardedSuite> for Verifier<'_, '_> {
    /// The name is known since the start, for the chain check.
    fn set_hostname_verification(&mut self, _hostname: &str) -> Result<(), TlsError> {
        Ok(())
    }

    fn verify_certificate(&mut self, transcript: &Sha256, certificate: CertificateRef<'_>) -> Result<(), TlsError> {
        let transcript = transcript.clone().finalize().into();
        let chain = certificate.entries.iter().map(|entry| {
            let (CertificateEntryRef::X509(der) | CertificateEntryRef::RawPublicKey(der)) = *entry;
            der
        });
        // Of a peer that is not judged nothing is kept.
        let kept = if self.judge == Judge::Guard { usize::MAX } else { 0 };
        let is_taken = self.take(|shown| shown.show_chain(chain.take(kept), transcript).is_ok());
        if is_taken { Ok(()) } else { Err(TlsError::InvalidCertificate) }
    }

    fn verify_signature(&mut self, proof: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        let is_ours = proof.signature_scheme == SignatureScheme::EcdsaSecp256r1Sha256;
        let is_taken = self.take(|shown| shown.show_proof(is_ours.then_some(proof.signature)).is_ok());
        if is_taken { Ok(()) } else { Err(TlsError::InvalidSignature) }
    }
}
