//! What factory mode asks of whoever keeps the IDevID: a trait, so that a secure element fits as well as flash.
//!
//! ```text
//! Empty -> Keyed -> Written -> Locked
//! ```
//!
//! Every step is durable when its call returns. A power cut inside a call leaves the step before or the step itself,
//! never a third: the key and the identity count from their commit word on, which is programmed last and after the
//! bytes were read back.

use muster_protocol::pki::{PublicKey, Signature};
use rand_core::CryptoRngCore;

/// The flash, the secure element or the lock failed, or gave back something else than was put in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StoreError;

/// How far the board is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// Nothing counts yet.
    Empty,
    /// There is a key for life. It is no identity yet.
    Keyed,
    /// Key, certificate and trust are there, whole.
    Written,
    /// The same, and nothing will change it any more: the agent may start.
    Locked,
}

/// Keeps the identity for life: the unit at the front of the identity partition, and the first trust bundle.
pub trait FactoryStore {
    /// How far it is, as read from the flash now.
    fn stage(&mut self) -> Result<Stage, StoreError>;

    /// The key of the IDevID, from [`Stage::Keyed`] on.
    fn public_key(&mut self) -> Result<Option<PublicKey>, StoreError>;

    /// Makes the key, durably. Only in [`Stage::Empty`]; what a torn attempt left behind is erased first.
    fn make_key(&mut self, rng: &mut impl CryptoRngCore) -> Result<PublicKey, StoreError>;

    /// Signs `message`, not hashed yet, with the key: ECDSA P-256 with SHA-256, deterministic (RFC 6979).
    fn sign(&mut self, message: &[u8]) -> Result<Signature, StoreError>;

    /// Writes certificate (DER) and fleet file ([`muster_protocol::trust`]) beside the key, then commits them together.
    /// Trust first, so that an identity is never without it. Not in [`Stage::Locked`]; in [`Stage::Written`] it writes the
    /// same again, and a power cut may leave the key alone.
    fn write(&mut self, certificate: &[u8], trust: &[u8]) -> Result<(), StoreError>;

    /// Reads the certificate back from where it lies; its length comes back.
    fn read_certificate(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError>;

    /// Reads the fleet file back from where it lies; its length comes back.
    fn read_trust(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError>;

    /// Commits the lock's own record, then locks the unit in hardware, as far as the chip can. Only from
    /// [`Stage::Written`] on; doing it twice is no error, so that a cut between the two is mended.
    fn lock(&mut self) -> Result<(), StoreError>;
}
