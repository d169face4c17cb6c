//! Signature checks that are done once: an algorithm for the seam of the chain check, in front of a real one.
//!
//! A history connects hundreds of times with the same few certificates. The verdict of a signature is a function of
//! key, message and signature, so a good one is remembered; a bad one is checked each time.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256};

/// How many verdicts are kept before it starts anew: it bounds the memory of a long run.
const REMEMBERED_MAX: usize = 200_000;

/// Remembers the good verdicts of another algorithm.
#[derive(Debug)]
pub struct Remembering {
    inner: &'static dyn SignatureVerificationAlgorithm,
    good: Mutex<Option<HashSet<[u8; 32]>>>,
}

/// What the devices of simulated worlds verify with: the core's own algorithm, as firmware does.
pub static DEVICE: Remembering = Remembering::new(muster_protocol::pki::ECDSA_P256_SHA256);
/// What the simulated gateway verifies with.
pub static GATEWAY: Remembering = Remembering::new(muster_protocol::pki::ECDSA_P256_SHA256);

impl Remembering {
    const fn new(inner: &'static dyn SignatureVerificationAlgorithm) -> Self {
        Self { inner, good: Mutex::new(None) }
    }
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let mut hash = Sha256::new();
        for part in [public_key, message, signature] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let question: [u8; 32] = hash.finalize().into();
        if self
            .good
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|good| good.contains(&question))
        {
            return Ok(());
        }
        self.inner.verify_signature(public_key, message, signature)?;
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
        let good = good.get_or_insert_with(HashSet::new);
        if good.len() >= REMEMBERED_MAX {
            good.clear();
        }
        good.insert(question);
        Ok(())
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_P256
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        alg_id::ECDSA_SHA256
    }
}
