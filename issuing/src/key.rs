//! P-256 key pairs. They have no `Debug` that shows anything and no serde; memory is wiped when they go.

use std::fmt;

use muster_protocol::pki::key::{PublicKey, Signature};
use p256::SecretKey;
use p256::ecdsa::signature::Signer as _;
use p256::elliptic_curve::sec1::ToEncodedPoint as _;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _, LineEnding};
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, PrivateKeyInfo, SecretDocument};
use rand_core::{OsRng, RngCore as _};
use zeroize::Zeroizing;

/// The PEM label of an encrypted key (RFC 7468, section 11).
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// scrypt's cost: 2^14 blocks of 8, 16 MiB: what OpenSSL opens without being told to take more memory.
const SCRYPT_LOG_N: u8 = 14;

/// Why a key could not be made, read or written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not a PKCS#8 P-256 key in PEM.
    #[error("not a P-256 private key (PKCS#8 in PEM)")]
    Malformed,
    /// The password does not open it.
    #[error("the password does not open this key")]
    Password,
    /// The system has no randomness to give.
    #[error("the system's random source failed")]
    Random,
    /// Encoding failed.
    #[error("the key could not be encoded")]
    Encoding,
}

/// A key pair.
#[derive(Clone)]
pub struct KeyPair {
    secret: SecretKey,
    public: PublicKey,
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPair({})", self.public.fingerprint())
    }
}

impl KeyPair {
    /// A new key from the system's random source.
    pub fn generate() -> Result<Self, KeyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        loop {
            OsRng.try_fill_bytes(&mut *bytes).map_err(|_| KeyError::Random)?;
            // All but one in 2^32 draws are a scalar.
            if let Ok(secret) = SecretKey::from_slice(&*bytes) {
                return Self::from_secret(secret);
            }
        }
    }

    /// A key from its 32 secret octets, for worlds that are made from a seed.
    pub fn from_scalar(octets: &[u8; 32]) -> Result<Self, KeyError> {
        SecretKey::from_slice(octets).map_err(|_| KeyError::Malformed).and_then(Self::from_secret)
    }

    /// Reads PKCS#8 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        SecretKey::from_pkcs8_pem(pem).map_err(|_| KeyError::Malformed).and_then(Self::from_secret)
    }

    /// Reads encrypted PKCS#8 in PEM.
    pub fn from_encrypted_pem(pem: &str, password: &[u8]) -> Result<Self, KeyError> {
        let (label, document) = SecretDocument::from_pem(pem).map_err(|_| KeyError::Malformed)?;
        if label != ENCRYPTED_LABEL {
            return Err(KeyError::Malformed);
        }
        let encrypted = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| KeyError::Malformed)?;
        let plain = encrypted.decrypt(password).map_err(|_| KeyError::Password)?;
        SecretKey::from_pkcs8_der(plain.as_bytes()).map_err(|_| KeyError::Password).and_then(Self::from_secret)
    }

    /// PKCS#8 in PEM.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        self.secret.to_pkcs8_pem(LineEnding::LF).map_err(|_| KeyError::Encoding)
    }

    /// Encrypted PKCS#8 in PEM: PBES2 with scrypt and AES-256-CBC (RFC 8018, RFC 7914), as OpenSSL reads it.
    pub fn to_encrypted_pem(&self, password: &[u8]) -> Result<Zeroizing<String>, KeyError> {
        let mut salt = [0; 16];
        let mut iv = [0; 16];
        for random in [&mut salt, &mut iv] {
            OsRng.try_fill_bytes(random).map_err(|_| KeyError::Random)?;
        }
        let cost = scrypt::Params::new(SCRYPT_LOG_N, 8, 1, 32).map_err(|_| KeyError::Encoding)?;
        let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, &salt, &iv).map_err(|_| KeyError::Encoding)?;
        let plain = self.secret.to_pkcs8_der().map_err(|_| KeyError::Encoding)?;
        let plain = PrivateKeyInfo::try_from(plain.as_bytes()).map_err(|_| KeyError::Encoding)?;
        let encrypted = plain.encrypt_with_params(scheme, password).map_err(|_| KeyError::Encoding)?;
        encrypted.to_pem(ENCRYPTED_LABEL, LineEnding::LF).map_err(|_| KeyError::Encoding)
    }

    /// PKCS#8 in DER.
    pub fn to_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let document = self.secret.to_pkcs8_der().map_err(|_| KeyError::Encoding)?;
        Ok(Zeroizing::new(document.as_bytes().to_vec()))
    }

    /// The public half.
    #[must_use]
    pub const fn public_key(&self) -> PublicKey {
        self.public
    }

    /// The same, by reference.
    #[must_use]
    pub const fn public_key_ref(&self) -> &PublicKey {
        &self.public
    }

    /// ECDSA with SHA-256, deterministic (RFC 6979).
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        let signature: p256::ecdsa::Signature = p256::ecdsa::SigningKey::from(&self.secret).sign(message);
        Signature::new(signature.to_bytes().into())
    }

    fn from_secret(secret: SecretKey) -> Result<Self, KeyError> {
        let point = secret.public_key().to_encoded_point(false);
        let public = PublicKey::from_sec1(point.as_bytes()).map_err(|_| KeyError::Malformed)?;
        Ok(Self { secret, public })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_survive_both_kinds_of_pem() {
        let key = KeyPair::generate().unwrap();
        assert_eq!(KeyPair::from_pem(&key.to_pem().unwrap()).unwrap().public_key(), key.public_key());
        let encrypted = key.to_encrypted_pem(b"correct horse").unwrap();
        assert!(encrypted.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"));
        assert_eq!(KeyPair::from_encrypted_pem(&encrypted, b"correct horse").unwrap().public_key(), key.public_key());
        assert_eq!(KeyPair::from_encrypted_pem(&encrypted, b"wrong").unwrap_err(), KeyError::Password);
        assert_eq!(KeyPair::from_pem(&encrypted).unwrap_err(), KeyError::Malformed);
        assert_eq!(KeyPair::from_encrypted_pem(&key.to_pem().unwrap(), b"x").unwrap_err(), KeyError::Malformed);
    }

    #[test]
    fn signatures_are_taken_by_the_core_and_keys_stay_mute() {
        let key = KeyPair::generate().unwrap();
        let signature = key.sign(b"message");
        assert!(key.public_key().verify(b"message", &signature).is_ok());
        assert!(key.public_key().verify(b"another", &signature).is_err());
        assert_eq!(format!("{key:?}"), format!("KeyPair({})", key.public_key().fingerprint()));
    }
}
