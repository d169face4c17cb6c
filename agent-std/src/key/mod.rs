//! Key stores: who makes, keeps and uses the private keys. No private key ever leaves one.
//!
//! A store has one key per slot and knows the IDevID's. What the keys are for, and which certificate goes with which,
//! is the core's business. PKCS#11 and TPM stores come behind the same trait, one file each.

use std::io;
use std::path::PathBuf;

use muster_protocol::device::Credential;
use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::slot::SlotId;

mod file;

pub use file::FileKeyStore;

/// Keeps the private keys of one device. Calls may block: on a disk, a token, a chip.
pub trait KeyStore: Send + Sync {
    /// The public half of the IDevID's key.
    fn idevid(&self) -> &PublicKey;

    /// The public half of the slot's key; `None` when the slot has no usable key.
    fn public_key(&self, slot: SlotId) -> Result<Option<PublicKey>, KeyError>;

    /// Makes a P-256 key in the slot's place, durably, in place of whatever was there.
    fn generate(&self, slot: SlotId) -> Result<PublicKey, KeyError>;

    /// Signs `message`: ECDSA P-256 over its SHA-256.
    fn sign(&self, key: Credential, message: &[u8]) -> Result<Signature, KeyError>;

    /// Destroys the slot's key; it is no error when there is none.
    fn wipe(&self, slot: SlotId) -> Result<(), KeyError>;
}

/// Why a key store failed. Never says anything of a key itself.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The file can be read by others.
    #[error("{} has mode {mode:03o}, and a private key must have 600", path.display())]
    Mode {
        /// The key's file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file is somebody else's.
    #[error("{} belongs to user {owner}, and the agent runs as user {runner}", path.display())]
    Owner {
        /// The key's file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The agent's effective user.
        runner: u32,
    },
    /// The file is no PKCS#8 key on P-256 in PEM.
    #[error("{} is not a P-256 key in PKCS#8 PEM", path.display())]
    Malformed {
        /// The key's file.
        path: PathBuf,
    },
    /// The slot, or the identity folder, has no key.
    #[error("there is no key at {}", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The disk failed.
    #[error("cannot use the key file {}", path.display())]
    Io {
        /// The key's file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl KeyError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Mode { path, .. } => format!("chmod 600 {}", path.display()),
            Self::Owner { path, runner, .. } => format!("chown {runner} {}", path.display()),
            Self::Malformed { .. } => "the factory's tool writes this file; make the identity anew".to_owned(),
            Self::Missing { .. } => "check the identity folder in the configuration".to_owned(),
            Self::Io { .. } => "check the disk and the permissions of the folder".to_owned(),
        }
    }
}
