//! Whoever shares a processor with a handshake gets a turn between any two operations with keys.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};

use embassy_time::{Duration, Instant};
use muster_agent_nostd::tls::{self, Buffers, Credential, Expected};
use muster_protocol::pki::{ECDSA_P256_SHA256, GatewayClock};
use muster_system_tests::corpus::{CorpusKey, NAME, NOW, World};
use muster_system_tests::rogue::shake_hands;
use rand_core::OsRng;
use rustls::pki_types::{AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm};
use tokio::net::TcpStream;

use crate::device::Socket;
use crate::servers::{material, serve};

/// Counts what it checks.
#[derive(Debug, Default)]
struct Counting(AtomicU32);

impl SignatureVerificationAlgorithm for Counting {
    fn verify_signature(&self, key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), InvalidSignature> {
        self.0.fetch_add(1, Ordering::Relaxed);
        ECDSA_P256_SHA256.verify_signature(key, message, signature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        ECDSA_P256_SHA256.public_key_alg_id()
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        ECDSA_P256_SHA256.signature_alg_id()
    }
}

#[tokio::test]
async fn no_turn_of_a_handshake_takes_two_signatures() {
    let (world, key, material) = (World::new(), CorpusKey::new(101), material());
    let certificates = material.chain.len() as u32;
    let (address, server) = serve(move |tls| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established).map(drop)
    });
    let (counting, signed, gateway_cas) = (Counting::default(), Cell::new(0), world.gateway_cas());
    let expected = Expected {
        name: NAME,
        gateway_cas: &gateway_cas,
        clock: GatewayClock { floor: NOW, civil: Some(NOW) },
        algorithm: &counting,
    };
    let mut sign = |message: &[u8]| {
        signed.set(signed.get() + 1);
        Some(key.pair().sign(message))
    };
    let credential = Credential { certificate: b"a certificate", sign: &mut sign };
    let mut buffers = Box::new(Buffers::new());
    let socket = Socket(TcpStream::connect(address).await.unwrap());
    let deadline = Instant::now() + Duration::from_secs(5);
    let mut rng = OsRng;
    let mut shaken = pin!(tls::connect(socket, &mut buffers, &expected, credential, &mut rng, deadline));
    let signatures = || counting.0.load(Ordering::Relaxed) + signed.get();
    let mut most = 0;
    let outcome = poll_fn(|context| {
        let before = signatures();
        let polled = shaken.as_mut().poll(context);
        most = most.max(signatures() - before);
        polled
    });
    drop(outcome.await.unwrap());
    // Each certificate once, the gateway's proof, and ours.
    assert_eq!((most, signatures()), (1, certificates + 2));
    server.join().unwrap();
}
