//! Writing signed documents: the container of [`muster_protocol::signed`].

use muster_protocol::signed::{DOMAIN, Kind, SignedDocument, header};

use crate::key::KeyPair;

/// Why a document could not be sealed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// More than a 32-bit length can say.
    #[error("the document is too long")]
    TooLong,
    /// No keys, too many, or one twice.
    #[error("a document is signed by one key, or by two different ones")]
    Signers,
}

/// Puts `body` into the container, signed by each of `keys`.
pub fn seal(kind: Kind, version: u8, body: &[u8], keys: &[&KeyPair]) -> Result<Vec<u8>, SealError> {
    let length = u32::try_from(body.len()).map_err(|_| SealError::TooLong)?;
    let count = u8::try_from(keys.len()).map_err(|_| SealError::Signers)?;
    let mut covered = DOMAIN.to_vec();
    covered.extend_from_slice(&header(kind, version, length));
    covered.extend_from_slice(body);
    let mut bytes = covered.get(DOMAIN.len()..).unwrap_or_default().to_vec();
    bytes.push(count);
    for key in keys {
        bytes.extend_from_slice(key.public_key().as_sec1());
        bytes.extend_from_slice(key.sign(&covered).as_bytes());
    }
    SignedDocument::parse(&bytes, kind, version).map_err(|_| SealError::Signers)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use muster_protocol::signed::SignedError;

    use super::*;

    #[test]
    fn a_sealed_document_opens_and_a_flipped_bit_is_seen() {
        let (root, backup) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let bytes = seal(Kind::TrustBundle, 1, b"body", &[&root, &backup]).unwrap();
        let document = SignedDocument::parse(&bytes, Kind::TrustBundle, 1).unwrap();
        assert_eq!(document.body(), b"body");
        assert_eq!(document.signers(), [root.public_key(), backup.public_key()]);
        for index in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[index] ^= 1;
            assert!(SignedDocument::parse(&flipped, Kind::TrustBundle, 1).is_err(), "byte {index}");
        }
        for length in 0..bytes.len() {
            assert!(SignedDocument::parse(&bytes[..length], Kind::TrustBundle, 1).is_err(), "{length} bytes");
        }
        assert_eq!(SignedDocument::parse(&bytes, Kind::Manifest, 1).unwrap_err(), SignedError::Malformed);
        assert_eq!(SignedDocument::parse(&bytes, Kind::TrustBundle, 2).unwrap_err(), SignedError::Version);
    }

    #[test]
    fn signers_are_one_or_two_and_different() {
        let key = KeyPair::generate().unwrap();
        assert_eq!(seal(Kind::Manifest, 1, b"", &[]), Err(SealError::Signers));
        assert_eq!(seal(Kind::Manifest, 1, b"", &[&key, &key]), Err(SealError::Signers));
        assert_eq!(seal(Kind::Manifest, 1, b"", &[&key, &key, &key]), Err(SealError::Signers));
    }
}
