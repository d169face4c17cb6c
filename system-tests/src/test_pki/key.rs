//! Key pairs of simulated worlds. Made from a label, so that a world is the same whenever it is run again, and signing
//! deterministically (RFC 6979), so that certificates have the same length each time.

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{Signature as EcdsaSignature, SigningKey};
use p256::pkcs8::DecodePrivateKey as _;
use sha2::{Digest, Sha256};

use muster_protocol::pki::{PublicKey, Signature};

/// A P-256 key pair. Good for nothing outside tests: whoever knows the label knows the key.
#[derive(Clone)]
pub struct TestKey {
    signing: SigningKey,
    public: PublicKey,
}

impl TestKey {
    /// The key of a label and a number.
    ///
    /// # Panics
    /// Never for labels in use: one in 2^224 hashes is no scalar.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn new(label: &str, number: u64) -> Self {
        let secret = Sha256::new_with_prefix(b"muster test key").chain_update(label).chain_update(number.to_be_bytes());
        Self::of(SigningKey::from_bytes(&secret.finalize()).expect("a hash is a scalar"))
    }

    /// The key in a PKCS#8 file of the factory's or the gateway's, for tests that play a thief.
    ///
    /// # Panics
    /// When it is no P-256 key.
    #[must_use]
    #[allow(clippy::expect_used)]
    pub fn stolen(pem: &str) -> Self {
        Self::of(SigningKey::from_pkcs8_pem(pem).expect("a P-256 key in PKCS#8"))
    }

    #[allow(clippy::expect_used)]
    fn of(signing: SigningKey) -> Self {
        let point = signing.verifying_key().to_encoded_point(false);
        let public = PublicKey::from_sec1(point.as_bytes()).expect("a key of our own");
        Self { signing, public }
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// ECDSA with SHA-256.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature: EcdsaSignature = self.signing.sign(message);
        Signature::new(signature.to_bytes().into())
    }

    /// Whether the private half stands anywhere in `bytes`.
    #[must_use]
    pub fn leaks_in(&self, bytes: &[u8]) -> bool {
        let secret = self.signing.to_bytes();
        bytes.windows(secret.len()).any(|window| window == secret.as_slice())
    }
}
