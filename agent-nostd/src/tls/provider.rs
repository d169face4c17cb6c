//! What embedded-tls asks its surroundings for. The library takes an error of `verifier` for "skip it", so that never
//! is one. The signature is made only for a peer that is authenticated, whatever the library believes; the certificate is
//! put into its record once all was shown, and the gate keeps that record until all is judged.

use embedded_tls::{Certificate, CryptoProvider, SignatureScheme, TlsError, TlsVerifier};
use muster_protocol::pki::key::SIGNATURE_DER_BYTES_MAX;
use p256::ecdsa::signature;
use rand_core::CryptoRngCore;

use super::Credential;
use super::suite::GuardedSuite;
use super::verifier::Verifier;

/// For one handshake, by reference.
pub(super) struct Provider<'a, 's, 'c> {
    pub(super) verifier: Verifier<'a, 's>,
    pub(super) rng: &'a mut dyn CryptoRngCore,
    /// None for a server that is not judged: it gets nothing.
    pub(super) credential: Option<Credential<'c>>,
    pub(super) showing: Showing,
}

/// What became of our own certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Showing {
    /// It was not asked for.
    NotAsked,
    /// It was shown, with a signature.
    Shown,
    /// The key did not sign.
    KeyFailed,
}

/// A signature in DER; empty when the key failed, which no server takes.
pub(super) struct DerSignature(heapless::Vec<u8, SIGNATURE_DER_BYTES_MAX>);

impl AsRef<[u8]> for DerSignature {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// The device's key for one signature.
pub(super) struct Signer<'s, 'c> {
    credential: &'s mut Credential<'c>,
    showing: &'s mut Showing,
}

impl signature::SignerMut<DerSignature> for Signer<'_, '_> {
    /// Never an error: the library would panic. The guard looks at `showing`.
    fn try_sign(&mut self, message: &[u8]) -> Result<DerSignature, signature::Error> {
        let signature = (self.credential.sign)(message);
        *self.showing = if signature.is_some() { Showing::Shown } else { Showing::KeyFailed };
        Ok(DerSignature(signature.map(|signature| signature.to_der()).unwrap_or_default()))
    }
}

impl CryptoProvider for Provider<'_, '_, '_> {
    type CipherSuite = GuardedSuite;
    type Signature = DerSignature;

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut *self.rng
    }

    fn verifier(&mut self) -> Result<&mut impl TlsVerifier<GuardedSuite>, TlsError> {
        Ok(&mut self.verifier)
    }

    fn signer(&mut self) -> Result<(impl signature::SignerMut<DerSignature>, SignatureScheme), TlsError> {
        if !self.verifier.shown.try_borrow().is_ok_and(|shown| shown.is_authenticated()) {
            return Err(TlsError::InvalidHandshake);
        }
        let credential = self.credential.as_mut().ok_or(TlsError::InvalidHandshake)?;
        Ok((Signer { credential, showing: &mut self.showing }, SignatureScheme::EcdsaSecp256r1Sha256))
    }

    fn client_cert(&mut self) -> Option<Certificate<impl AsRef<[u8]>>> {
        let is_whole = self.verifier.shown.try_borrow().is_ok_and(|shown| shown.is_whole());
        self.credential.as_ref().filter(|_| is_whole).map(|credential| Certificate::X509(credential.certificate))
    }
}
