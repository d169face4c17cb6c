//! P-256 public keys, their fingerprints, and ECDSA signatures. Public data only: no private key ever is in the core.

use core::fmt;
use core::str::FromStr;

use p256::ecdsa::VerifyingKey;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::bytes::{self, Hex};
use super::curve::{self, Chosen};
use super::tlv::{self, Cursor, Malformed, Tag};
use crate::code::Code;

/// Bytes of an uncompressed SEC1 point.
pub const PUBLIC_KEY_BYTES: usize = 65;
/// Bytes of a SubjectPublicKeyInfo with a P-256 key.
pub const SPKI_BYTES: usize = SPKI_PREFIX.len() + PUBLIC_KEY_BYTES;
/// Bytes of a signature as `r || s`.
pub const SIGNATURE_BYTES: usize = 64;
/// Longest signature in DER.
pub const SIGNATURE_DER_BYTES_MAX: usize = 72;

/// The bytes are not an uncompressed point on P-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadKey;

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an uncompressed point on P-256")
    }
}

impl core::error::Error for BadKey {}

/// The signature is malformed or does not fit the message and the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not fit")
    }
}

impl core::error::Error for BadSignature {}

/// A P-256 public key, known to be a point on the curve.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PublicKey([u8; PUBLIC_KEY_BYTES]);

impl PublicKey {
    /// Reads an uncompressed SEC1 point (65 bytes, the first one 0x04) and checks that it is on the curve.
    pub fn from_sec1(point: &[u8]) -> Result<Self, BadKey> {
        let bytes: [u8; PUBLIC_KEY_BYTES] = point.try_into().map_err(|_| BadKey)?;
        if bytes[0] != 0x04 {
            return Err(BadKey);
        }
        VerifyingKey::from_sec1_bytes(&bytes).map_err(|_| BadKey)?;
        Ok(Self(bytes))
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5480, section 2); whatever is not a P-256 key in uncompressed form is
    /// [`Code::CsrWrongKeyType`].
    pub fn from_spki(der: &[u8]) -> Result<Self, Code> {
        let point = der.strip_prefix(&SPKI_PREFIX).ok_or(Code::CsrWrongKeyType)?;
        Self::from_sec1(point).map_err(|_| Code::CsrWrongKeyType)
    }

    /// The uncompressed SEC1 point.
    #[must_use]
    pub const fn as_sec1(&self) -> &[u8; PUBLIC_KEY_BYTES] {
        &self.0
    }

    /// The SubjectPublicKeyInfo, DER.
    #[must_use]
    pub fn to_spki(&self) -> [u8; SPKI_BYTES] {
        let mut spki = [0; SPKI_BYTES];
        let (prefix, point) = spki.split_at_mut(SPKI_PREFIX.len());
        prefix.copy_from_slice(&SPKI_PREFIX);
        point.copy_from_slice(&self.0);
        spki
    }

    /// SHA-256 of the SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        KeyFingerprint(Sha256::digest(self.to_spki()).into())
    }

    /// Checks an ECDSA signature over the SHA-256 of `message`.
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.verify_parts(&[message], signature)
    }

    /// The same over several parts, as if they stood in one message.
    pub fn verify_parts(&self, parts: &[&[u8]], signature: &Signature) -> Result<(), BadSignature> {
        let mut hash = Sha256::new();
        parts.iter().for_each(|part| hash.update(part));
        curve::verify::<Chosen>(self, &hash.finalize().into(), signature)
    }
}

impl From<&p256::PublicKey> for PublicKey {
    /// A key of that crate is a point on the curve, and not infinity.
    fn from(key: &p256::PublicKey) -> Self {
        let point = key.to_encoded_point(false);
        let mut bytes = [0; PUBLIC_KEY_BYTES];
        for (byte, of_point) in bytes.iter_mut().zip(point.as_bytes()) {
            *byte = *of_point;
        }
        Self(bytes)
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", Hex(&self.0))
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let point = bytes::deserialize::<D, PUBLIC_KEY_BYTES>(deserializer)?;
        Self::from_sec1(&point).map_err(D::Error::custom)
    }
}

/// SHA-256 of a key's SubjectPublicKeyInfo. Names a key in registries, pins and manifests.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyFingerprint(pub [u8; 32]);

impl KeyFingerprint {
    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

impl fmt::Debug for KeyFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

/// The text is not 64 hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadFingerprint;

impl fmt::Display for BadFingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key fingerprint has 64 hex digits")
    }
}

impl core::error::Error for BadFingerprint {}

impl FromStr for KeyFingerprint {
    type Err = BadFingerprint;

    fn from_str(text: &str) -> Result<Self, BadFingerprint> {
        let bytes = bytes::from_hex::<32>(text).ok_or(BadFingerprint)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| BadFingerprint)
    }
}

impl Serialize for KeyFingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for KeyFingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = bytes::deserialize::<D, 32>(deserializer)?;
        bytes.as_slice().try_into().map(Self).map_err(|_| D::Error::custom(BadFingerprint))
    }
}

/// An ECDSA P-256 signature as `r || s`, each 32 bytes big endian. Says nothing until it is verified.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Signature([u8; SIGNATURE_BYTES]);

impl Signature {
    /// Takes `r || s` as it is.
    #[must_use]
    pub const fn new(bytes: [u8; SIGNATURE_BYTES]) -> Self {
        Self(bytes)
    }

    /// Takes `r || s`, if it has 64 bytes.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// Reads `SEQUENCE { r INTEGER, s INTEGER }` in strict DER (RFC 3279, section 2.2.3).
    pub fn from_der(der: &[u8]) -> Result<Self, BadSignature> {
        read_sig_value(der).map(Self).map_err(|Malformed| BadSignature)
    }

    /// The same in DER.
    #[must_use]
    pub fn to_der(&self) -> heapless::Vec<u8, SIGNATURE_DER_BYTES_MAX> {
        let (r, s) = self.0.split_at(32);
        let mut der = heapless::Vec::new();
        // SIGNATURE_DER_BYTES_MAX is 2 + 2 * (2 + 33), so nothing is ever cut.
        let _ = der.extend_from_slice(&[0x30, 0]);
        for number in [r, s] {
            let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
            let digits = number.get(zeros..).unwrap_or_default();
            let sign = digits.first().is_some_and(|byte| *byte >= 0x80);
            let length = digits.len() + usize::from(sign);
            let _ = der.extend_from_slice(&[0x02, u8::try_from(length).unwrap_or(0)]);
            if sign {
                let _ = der.push(0);
            }
            let _ = der.extend_from_slice(digits);
        }
        let length = u8::try_from(der.len() - 2).unwrap_or(0);
        if let Some(byte) = der.get_mut(1) {
            *byte = length;
        }
        der
    }

    /// `r || s`.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({})", Hex(&self.0))
    }
}

impl Serialize for Signature {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Signature {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = bytes::deserialize::<D, SIGNATURE_BYTES>(deserializer)?;
        Self::from_slice(&bytes).ok_or_else(|| D::Error::custom("a signature has 64 bytes"))
    }
}

/// That both numbers are of the curve's range is for the verification to say.
fn read_sig_value(der: &[u8]) -> Result<[u8; SIGNATURE_BYTES], Malformed> {
    let mut numbers = Cursor::new(tlv::only(der, Tag::SEQUENCE)?);
    let mut bytes = [0; SIGNATURE_BYTES];
    for half in bytes.chunks_exact_mut(SIGNATURE_BYTES / 2) {
        tlv::unsigned(numbers.expect(Tag::INTEGER)?.value, half)?;
    }
    numbers.finish()?;
    Ok(bytes)
}

/// `SEQUENCE { SEQUENCE { id-ecPublicKey, secp256r1 }, BIT STRING` up to the point (RFC 5480, section 2).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
