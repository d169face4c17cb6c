//! P-256 keys in software: made from the board's randomness, signing with RFC 6979, wiped when they are dropped.

use ecdsa::hazmat::SignPrimitive as _;
use muster_protocol::pki::{PublicKey, Signature};
use p256::elliptic_curve::ops::{Invert, Reduce as _};
use p256::elliptic_curve::subtle::CtOption;
use p256::elliptic_curve::{Curve as _, FieldBytesEncoding as _};
use p256::{FieldBytes, NistP256, Scalar, SecretKey};
use rand_core::CryptoRngCore;
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use super::{DeviceKey, KeyError};

/// A private key in RAM. No Debug, no copy; zeroed on drop.
pub struct SoftKey {
    secret: SecretKey,
}

impl SoftKey {
    /// Makes a key; with it the 32 bytes to be stored.
    pub fn generate(rng: &mut impl CryptoRngCore) -> (Self, Zeroizing<[u8; 32]>) {
        let mut secret = Zeroizing::new([0; 32]);
        loop {
            rng.fill_bytes(&mut *secret);
            // All but one in 2^32 draws are a key of this curve.
            if let Some(key) = Self::from_secret(&secret) {
                return (key, secret);
            }
        }
    }

    /// Takes stored bytes; `None` when they are no private key of this curve.
    #[must_use]
    pub fn from_secret(secret: &[u8; 32]) -> Option<Self> {
        SecretKey::from_slice(secret).ok().map(|secret| Self { secret })
    }
}

impl DeviceKey for SoftKey {
    /// Costs as much as a signature: it is worked out when it is wanted, and most keys that are loaded only sign.
    fn public_key(&self) -> PublicKey {
        PublicKey::from(&self.secret.public_key())
    }

    fn sign_digest(&mut self, digest: &[u8; 32]) -> Result<Signature, KeyError> {
        let scalar = Zeroizing::new(self.secret.to_nonzero_scalar());
        let digest = FieldBytes::from_slice(digest);
        let nonce = Nonce::new(&self.secret, digest);
        let (signature, _) = scalar.try_sign_prehashed(&nonce, digest).map_err(|_| KeyError::Storage)?;
        Ok(Signature::new(signature.to_bytes().into()))
    }
}

/// The `k` of one signature (RFC 6979, section 3.2), and a mask under which it is inverted: the fast inverse takes a time
/// that depends on what it inverts, which so is no secret. The constant-time one costs a million instructions more.
struct Nonce {
    k: Scalar,
    mask: Scalar,
}

impl Nonce {
    fn new(secret: &SecretKey, digest: &FieldBytes) -> Self {
        let bytes = Zeroizing::new(<[u8; 32]>::from(secret.to_bytes()));
        let order = NistP256::ORDER.encode_field_bytes();
        let secret = FieldBytes::from_slice(&*bytes);
        let mut k = rfc6979::generate_k::<Sha256, _>(secret, &order, digest, &[]);
        // As secret as `k`, and independent of it to whoever knows neither: nobody but the key's holder can make it.
        let mut mask = Sha256::new().chain_update(MASK).chain_update(secret).chain_update(k).finalize();
        let nonce = Self { k: Scalar::reduce_bytes(&k), mask: Scalar::reduce_bytes(&mask) };
        k.as_mut_slice().zeroize();
        mask.as_mut_slice().zeroize();
        nonce
    }
}

impl AsRef<Scalar> for &Nonce {
    fn as_ref(&self) -> &Scalar {
        &self.k
    }
}

impl Invert for &Nonce {
    type Output = CtOption<Scalar>;

    fn invert(&self) -> CtOption<Scalar> {
        let masked = Zeroizing::new(self.k * self.mask);
        masked.invert_vartime().map(|inverse| inverse * self.mask)
    }
}

impl Drop for Nonce {
    fn drop(&mut self) {
        self.k.zeroize();
        self.mask.zeroize();
    }
}

const MASK: &[u8] = b"muster mask of an inverse";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use p256::ecdsa::signature::hazmat::PrehashSigner as _;

    use super::*;

    /// RFC 6979, appendix A.2.5: the key, and its signature over SHA-256 of `sample`.
    #[test]
    fn signs_as_rfc_6979_says() {
        let hex = |text: &str| -> [u8; 32] {
            core::array::from_fn(|index| u8::from_str_radix(&text[2 * index..2 * index + 2], 16).unwrap())
        };
        let secret = hex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721");
        let mut key = SoftKey::from_secret(&secret).unwrap();
        let signature = key.sign(b"sample").unwrap();
        let (r, s) = signature.as_bytes().split_at(32);
        assert_eq!(r, hex("EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"));
        assert_eq!(s, hex("F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"));
        assert_eq!(key.public_key().verify(b"sample", &signature), Ok(()));
        assert!(SoftKey::from_secret(&[0; 32]).is_none() && SoftKey::from_secret(&[0xff; 32]).is_none());
    }

    #[test]
    fn signs_what_the_curves_own_signer_signs() {
        let mut bytes = [0; 32];
        for round in 0..500_u32 {
            bytes = Sha256::new().chain_update(bytes).chain_update(round.to_le_bytes()).finalize().into();
            let mut digest: [u8; 32] = Sha256::digest(bytes).into();
            if round % 50 == 0 {
                // Not below the order of the curve.
                digest[..16].fill(0xff);
            }
            let Some(mut key) = SoftKey::from_secret(&bytes) else { continue };
            let theirs: p256::ecdsa::Signature =
                p256::ecdsa::SigningKey::from_slice(&bytes).unwrap().sign_prehash(&digest).unwrap();
            let ours = key.sign_digest(&digest).unwrap();
            assert_eq!(ours.as_bytes().as_slice(), theirs.to_bytes().as_slice(), "round {round}");
        }
    }
}
