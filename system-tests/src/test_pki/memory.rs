//! Signatures that are made and checked once. P-256 is nearly all that a history costs.
//!
//! A history connects hundreds of times with the same few certificates, and thousands of histories ask for
//! certificates for the same few keys. The verdict of a signature is a function of key, message and signature, so a
//! good one is remembered; a bad one is checked each time. A signature is a function of key and message, since our
//! signing is deterministic.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, Mutex, PoisonError};

use muster_protocol::pki::Signature;
use rustls_pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id};
use sha2::{Digest, Sha256};

use super::TestKey;

/// How many verdicts are kept before it starts anew: it bounds the memory of a long run.
const REMEMBERED_MAX: usize = 200_000;

/// Remembers the good verdicts of another algorithm.
#[derive(Debug)]
pub struct Remembering {
    inner: &'static dyn SignatureVerificationAlgorithm,
    good: Mutex<HashSet<[u8; 32]>>,
}

/// What the devices of simulated worlds verify with: the core's own algorithm, as firmware does.
pub static DEVICE: LazyLock<Remembering> = LazyLock::new(|| Remembering::new(muster_protocol::pki::ECDSA_P256_SHA256));

/// What the simulated gateway verifies with: that of its TLS library, as the real one does.
pub static GATEWAY: LazyLock<Remembering> = LazyLock::new(|| {
    let all = rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.all;
    let ours = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
        algorithm.public_key_alg_id() == alg_id::ECDSA_P256 && algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
    };
    Remembering::new(all.iter().find(ours).copied().unwrap_or(muster_protocol::pki::ECDSA_P256_SHA256))
});

static SIGNED: LazyLock<Mutex<HashMap<[u8; 32], Signature>>> = LazyLock::new(Mutex::default);

/// Signs, or gives the signature that the same key made for the same message before.
#[must_use]
pub fn sign(key: &TestKey, message: &[u8]) -> Signature {
    let question = question(&[key.public().as_sec1(), message]);
    let known = SIGNED.lock().unwrap_or_else(PoisonError::into_inner).get(&question).copied();
    known.unwrap_or_else(|| {
        let signature = key.sign(message);
        let mut signed = SIGNED.lock().unwrap_or_else(PoisonError::into_inner);
        if signed.len() >= REMEMBERED_MAX {
            signed.clear();
        }
        signed.insert(question, signature);
        signature
    })
}

fn question(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Remembering {
    fn new(inner: &'static dyn SignatureVerificationAlgorithm) -> Self {
        Self { inner, good: Mutex::default() }
    }
}

impl SignatureVerificationAlgorithm for Remembering {
    fn verify_signature(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        let question = question(&[public_key, message, signature]);
        if self.good.lock().unwrap_or_else(PoisonError::into_inner).contains(&question) {
            return Ok(());
        }
        self.inner.verify_signature(public_key, message, signature)?;
        let mut good = self.good.lock().unwrap_or_else(PoisonError::into_inner);
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
