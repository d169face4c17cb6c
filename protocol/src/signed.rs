//! Signed documents: one container for trust bundles and shipment manifests.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `MSTR` |
//! | 4 | 1 | kind ([`Kind`]) |
//! | 5 | 1 | format version of the kind's body |
//! | 6 | 4 | length of the body, little endian |
//! | 10 | n | body |
//! | 10+n | 1 | number of signatures, 1 to 2 |
//! | 11+n | 129 each | signer's public key (65, SEC1 uncompressed) and signature (64, r and s) |
//!
//! A signature covers `muster-signed-v1`, a zero octet, and everything from the magic to the end of the body, with
//! ECDSA P-256 and SHA-256. Nothing may follow the last signature.

use core::fmt;

use crate::limits::SIGNATURES_MAX;
use crate::pki::key::{PublicKey, Signature};

/// What is put before the signed bytes, so that a signature for this container is good for nothing else.
pub const DOMAIN: &[u8; 17] = b"muster-signed-v1\0";
/// Bytes before the body.
pub const HEADER_BYTES: usize = 10;
/// Bytes of one signature entry.
pub const SIGNATURE_ENTRY_BYTES: usize = 65 + 64;

const MAGIC: [u8; 4] = *b"MSTR";

/// What a signed document holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Kind {
    /// A [`crate::trust::TrustBundle`].
    TrustBundle = 1,
    /// A [`crate::manifest::Manifest`].
    Manifest = 2,
}

/// Why bytes are not a signed document.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SignedError {
    /// Not the container's shape, or another kind of document.
    Malformed,
    /// A body format that this version does not read.
    Version,
    /// A signature does not fit the bytes and the key beside it.
    BadSignature,
}

impl fmt::Display for SignedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a signed document of this kind",
            Self::Version => "a format version that is not known here",
            Self::BadSignature => "a signature does not fit",
        })
    }
}

impl core::error::Error for SignedError {}

/// A document whose every signature fits the key beside it. Whether these keys may sign is the reader's question.
#[derive(Clone, Debug)]
pub struct SignedDocument<'a> {
    body: &'a [u8],
    signers: heapless::Vec<PublicKey, SIGNATURES_MAX>,
}

impl<'a> SignedDocument<'a> {
    /// Takes a container apart and checks every signature.
    pub fn parse(bytes: &'a [u8], kind: Kind, version: u8) -> Result<Self, SignedError> {
        let (body, tail) = take_apart(bytes, kind, version)?;
        let covered = bytes.get(..HEADER_BYTES + body.len()).ok_or(SignedError::Malformed)?;
        let (&count, entries) = tail.split_first().ok_or(SignedError::Malformed)?;
        let count = usize::from(count);
        if count == 0 || count > SIGNATURES_MAX || entries.len() != count * SIGNATURE_ENTRY_BYTES {
            return Err(SignedError::Malformed);
        }
        let mut signers = heapless::Vec::new();
        for entry in entries.chunks_exact(SIGNATURE_ENTRY_BYTES) {
            let (key, signature) = entry.split_at(65);
            let key = PublicKey::from_sec1(key).map_err(|_| SignedError::Malformed)?;
            let signature = Signature::from_slice(signature).ok_or(SignedError::Malformed)?;
            key.verify_parts(&[DOMAIN, covered], &signature).map_err(|_| SignedError::BadSignature)?;
            if signers.contains(&key) {
                return Err(SignedError::Malformed);
            }
            signers.push(key).map_err(|_| SignedError::Malformed)?;
        }
        Ok(Self { body, signers })
    }

    /// The body, without the container.
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The keys that signed, each once.
    #[must_use]
    pub fn signers(&self) -> &[PublicKey] {
        &self.signers
    }
}

/// The body of a container, whoever signed it.
pub(crate) fn body_of(bytes: &[u8], kind: Kind, version: u8) -> Result<&[u8], SignedError> {
    take_apart(bytes, kind, version).map(|(body, _)| body)
}

/// Body, and the signatures behind it.
fn take_apart(bytes: &[u8], kind: Kind, version: u8) -> Result<(&[u8], &[u8]), SignedError> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>().ok_or(SignedError::Malformed)?;
    let [m0, m1, m2, m3, found_kind, found_version, l0, l1, l2, l3] = *header;
    if [m0, m1, m2, m3] != MAGIC || found_kind != kind as u8 {
        return Err(SignedError::Malformed);
    }
    if found_version != version {
        return Err(SignedError::Version);
    }
    let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).map_err(|_| SignedError::Malformed)?;
    rest.split_at_checked(length).ok_or(SignedError::Malformed)
}

/// The header in front of a body of `body_bytes`; the writer signs [`DOMAIN`], this header and the body.
#[must_use]
pub fn header(kind: Kind, version: u8, body_bytes: u32) -> [u8; HEADER_BYTES] {
    let [m0, m1, m2, m3] = MAGIC;
    let [l0, l1, l2, l3] = body_bytes.to_le_bytes();
    [m0, m1, m2, m3, kind as u8, version, l0, l1, l2, l3]
}
