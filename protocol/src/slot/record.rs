//! The stored form of a slot.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `MSLT` |
//! | 4 | 1 | version, 0x01 |
//! | 5 | 1 | phase: 1 keyed, 2 issued, 3 trial, 4 confirmed, 5 superseded, 6 wiped |
//! | 6 | 1 | trials; 0 outside phase 3 |
//! | 7 | 4 | generation, little endian |
//! | 11 | 65 | public key, SEC1 uncompressed |
//! | 76 | 2 | certificate length, little endian; 0 in phases 1 and 6 |
//! | 78 | n | certificate, DER |
//! | 78+n | 16 | first 16 bytes of the SHA-256 of all before |
//!
//! The check sum finds torn and worn writes; it is no protection against somebody who can write the store.

use sha2::{Digest, Sha256};

use crate::limits::{CERTIFICATE_BYTES_MAX, SLOT_RECORD_BYTES_MAX, TRIALS_MAX};
use crate::pki::key::PublicKey;

const MAGIC: [u8; 4] = *b"MSLT";
const VERSION: u8 = 1;
const FIXED_BYTES: usize = 78;
const CHECK_BYTES: usize = 16;

/// Where the credential of a slot stands in its life. An empty slot has no record.
///
/// ```text
/// Keyed -> Issued -> Trial(n) -> Confirmed -> Superseded
///    \________\________\__________________-> Wiped
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// The key exists; no certificate yet.
    Keyed,
    /// A certificate was issued and never tried.
    Issued,
    /// Tried so many times, each counted before connecting.
    Trial(u8),
    /// It connected, the gateway confirmed it.
    Confirmed,
    /// A newer one was confirmed.
    Superseded,
    /// Given up.
    Wiped,
}

/// One slot's credential.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SlotRecord {
    /// Where it stands.
    pub phase: Phase,
    /// Rises with every key; the higher generation wins.
    pub generation: u32,
    /// The key it belongs to.
    pub public_key: PublicKey,
    /// The certificate, DER; empty while there is none.
    pub certificate: heapless::Vec<u8, CERTIFICATE_BYTES_MAX>,
}

/// The encoded form.
pub type Encoded = heapless::Vec<u8, SLOT_RECORD_BYTES_MAX>;

impl SlotRecord {
    /// A key without a certificate.
    #[must_use]
    pub const fn keyed(generation: u32, public_key: PublicKey) -> Self {
        Self { phase: Phase::Keyed, generation, public_key, certificate: heapless::Vec::new() }
    }

    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> Encoded {
        let mut bytes = Encoded::new();
        self.encode_into(&mut bytes);
        bytes
    }

    /// Appends the bytes to store to an empty `bytes`, which has to hold [`SLOT_RECORD_BYTES_MAX`].
    pub(crate) fn encode_into<const N: usize>(&self, bytes: &mut heapless::Vec<u8, N>) {
        const { assert!(N >= SLOT_RECORD_BYTES_MAX) };
        let (phase, trials) = match self.phase {
            Phase::Keyed => (1, 0),
            Phase::Issued => (2, 0),
            Phase::Trial(trials) => (3, trials),
            Phase::Confirmed => (4, 0),
            Phase::Superseded => (5, 0),
            Phase::Wiped => (6, 0),
        };
        // SLOT_RECORD_BYTES_MAX leaves room for the longest certificate, so no part is ever cut.
        let mut put = |part: &[u8]| drop(bytes.extend_from_slice(part));
        put(&MAGIC);
        put(&[VERSION, phase, trials]);
        put(&self.generation.to_le_bytes());
        put(self.public_key.as_sec1());
        put(&(self.certificate.len() as u16).to_le_bytes());
        put(&self.certificate);
        let check = Sha256::digest(&*bytes);
        let _ = bytes.extend_from_slice(check.get(..CHECK_BYTES).unwrap_or_default());
    }

    /// Reads stored bytes; `None` for anything torn, worn or unknown, which counts as an empty slot.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, check) = bytes.split_at_checked(bytes.len().checked_sub(CHECK_BYTES)?)?;
        if Sha256::digest(body).get(..CHECK_BYTES)? != check {
            return None;
        }
        let (fixed, certificate) = body.split_at_checked(FIXED_BYTES)?;
        let (head, rest) = fixed.split_at_checked(11)?;
        let (key, length) = rest.split_at_checked(65)?;
        let &[m0, m1, m2, m3, version, phase, trials, g0, g1, g2, g3] = head else { return None };
        if [m0, m1, m2, m3] != MAGIC || version != VERSION {
            return None;
        }
        let has_certificate = !certificate.is_empty();
        let phase = match (phase, trials, has_certificate) {
            (1, 0, false) => Phase::Keyed,
            (2, 0, true) => Phase::Issued,
            (3, 1..=TRIALS_MAX, true) => Phase::Trial(trials),
            (4, 0, true) => Phase::Confirmed,
            (5, 0, true) => Phase::Superseded,
            (6, 0, false) => Phase::Wiped,
            _ => return None,
        };
        if length.try_into().map(u16::from_le_bytes).ok()? as usize != certificate.len() {
            return None;
        }
        Some(Self {
            phase,
            generation: u32::from_le_bytes([g0, g1, g2, g3]),
            public_key: PublicKey::from_sec1(key).ok()?,
            certificate: heapless::Vec::from_slice(certificate).ok()?,
        })
    }
}
