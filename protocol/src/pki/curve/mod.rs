//! Whether an ECDSA signature fits a P-256 key: the one place where curve arithmetic is chosen (SEC 1, section 4.1.4).
//!
//! Signatures, digests and public keys are public: nothing here takes constant time, and nothing secret may come here.
//! Ranges and the curve's equation are checked before an implementation sees a number, by the same lines for each of
//! them. They differ in speed, and in nothing else.

use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;

use super::key::{BadSignature, PublicKey, Signature};

#[cfg(all(feature = "cortex-m4", target_arch = "arm"))]
mod cortex_m4;
#[cfg(any(test, all(feature = "cortex-m4", target_arch = "arm")))]
mod inverse;

#[cfg(all(feature = "cortex-m4", target_arch = "arm"))]
pub use cortex_m4::CortexM4;

#[cfg(all(feature = "cortex-m4", not(all(target_arch = "arm", target_os = "none", target_has_atomic = "32"))))]
compile_error!(
    "the feature `cortex-m4` is assembly for Arm cores with DSP instructions (Cortex-M4, Cortex-M7: thumbv7em-none-eabi \
     or -eabihf); build for another target without it"
);

/// An implementation of the curve.
pub trait Curve {
    /// Whether the signature fits. The key is a point on the curve and not infinity; `r` and `s` are in `1..n`.
    fn fits(key: &VerifyingKey, digest: &[u8; 32], signature: &p256::ecdsa::Signature) -> bool;
}

/// The `p256` crate's own: every host, and every core without anything faster.
#[derive(Clone, Copy, Debug)]
pub struct Portable;

impl Curve for Portable {
    fn fits(key: &VerifyingKey, digest: &[u8; 32], signature: &p256::ecdsa::Signature) -> bool {
        key.verify_prehash(digest, signature).is_ok()
    }
}

/// What this build verifies with.
#[cfg(not(all(feature = "cortex-m4", target_arch = "arm")))]
pub type Chosen = Portable;
/// What this build verifies with.
#[cfg(all(feature = "cortex-m4", target_arch = "arm"))]
pub type Chosen = CortexM4;

/// Checks a signature over a digest of SHA-256. Both halves of each pair `s`, `n - s` fit, as the standard has it.
pub fn verify<C: Curve>(key: &PublicKey, digest: &[u8; 32], signature: &Signature) -> Result<(), BadSignature> {
    let key = VerifyingKey::from_sec1_bytes(key.as_sec1()).map_err(|_| BadSignature)?;
    let signature = p256::ecdsa::Signature::from_slice(signature.as_bytes()).map_err(|_| BadSignature)?;
    if C::fits(&key, digest, &signature) { Ok(()) } else { Err(BadSignature) }
}
