//! Keys: who signs, and who keeps what signs. No private key ever leaves a key store.
//!
//! [`DeviceKey`] is the seam to TLS and to the CSR: a public key, and something that signs. Here it is software on the
//! p256 crate; a secure element is another type behind the same trait.

mod soft;

pub use soft::SoftKey;

use muster_protocol::device::Credential;
use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::slot::SlotId;
use rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256};

/// Why a key store failed. Never says anything of a key itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum KeyError {
    /// There is no usable key in that place.
    Missing,
    /// The flash or the element failed.
    Storage,
}

/// One P-256 private key, wherever it lies.
pub trait DeviceKey {
    /// Its public half.
    fn public_key(&self) -> PublicKey;

    /// Signs a SHA-256 digest, ECDSA P-256. May block for as long as the hardware takes.
    fn sign_digest(&mut self, digest: &[u8; 32]) -> Result<Signature, KeyError>;

    /// Signs `message`, not hashed yet: ECDSA P-256 over its SHA-256.
    fn sign(&mut self, message: &[u8]) -> Result<Signature, KeyError> {
        self.sign_digest(&Sha256::digest(message).into())
    }
}

/// Keeps the private keys of one device: one per slot, and the IDevID's.
pub trait KeyStore {
    /// A key in use.
    type Key<'a>: DeviceKey
    where
        Self: 'a;

    /// The public half of the slot's key; `None` when the slot has no usable key.
    fn public_key(&mut self, slot: SlotId) -> Result<Option<PublicKey>, KeyError>;

    /// Makes a P-256 key in the slot's place, durably, in place of whatever was there.
    fn generate(&mut self, slot: SlotId, rng: &mut impl CryptoRngCore) -> Result<PublicKey, KeyError>;

    /// The key that goes with a credential.
    fn key(&mut self, credential: Credential) -> Result<Self::Key<'_>, KeyError>;

    /// Destroys the slot's key; it is no error when there is none.
    fn wipe(&mut self, slot: SlotId) -> Result<(), KeyError>;
}
