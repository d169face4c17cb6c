//! Bytes that nobody made on purpose: no parser panics, and one changed byte never verifies.

use std::sync::LazyLock;

use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::lint::lint_issued_by;
use muster_protocol::pki::{
    ClientAnchors, CsrDraft, ECDSA_P256_SHA256, GatewayClock, Profile, PublicKey, Signature, TrustAnchor, lint,
    verify_client, verify_csr, verify_gateway, verify_issued, verify_issuing_ca,
};
use proptest::prelude::*;

use super::maker::{Key, NOW, Recipe, World, device, fleet};

struct Made {
    leaf: Vec<u8>,
    server: Vec<u8>,
    request: Vec<u8>,
    device_ca: Vec<u8>,
    gateway_ca: Vec<u8>,
    root: Vec<u8>,
    line: Vec<u8>,
    key: PublicKey,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let world = World::new();
    let key = Key::new(9);
    let draft = CsrDraft::new(&device(), &key.public());
    let signature = key.sign_bytes(draft.to_be_signed());
    Made {
        leaf: Recipe::client("urn:muster:acme:dev-1").signed_by(&key, &world.device_ca),
        server: Recipe::server(&["gw.example", "192.0.2.1"]).signed_by(&key, &world.gateway_ca),
        request: draft.finish(&signature).to_vec(),
        device_ca: world.device_ca.der,
        gateway_ca: world.gateway_ca.der,
        root: world.factory_root.der,
        line: world.factory.der,
        key: key.public(),
    }
});

fn verifies_as_client(der: &[u8]) -> bool {
    let device = [TrustAnchor::from_der(&MADE.device_ca).unwrap()];
    let anchors = ClientAnchors { device: &device, ..ClientAnchors::default() };
    verify_client(&[der], &anchors, &fleet(), NOW, &[ECDSA_P256_SHA256]).is_ok()
}

fn verifies_as_gateway(der: &[u8]) -> bool {
    let clock = GatewayClock { floor: NOW, civil: None };
    verify_gateway(&[der], &[&MADE.gateway_ca], "gw.example", clock, &[ECDSA_P256_SHA256]).is_ok()
}

/// Calls everything that takes bytes.
fn read_in_every_way(bytes: &[u8]) {
    let root = [TrustAnchor::from_der(&MADE.root).unwrap()];
    if let Ok(certificate) = Certificate::parse(bytes) {
        for profile in Profile::ALL {
            let _ = lint(&certificate, profile);
        }
        let issuer = Certificate::parse(&MADE.line).unwrap();
        let _ = (lint_issued_by(&certificate, &issuer), lint_issued_by(&issuer, &certificate));
        let _ = (certificate.identity(), certificate.authority_key_identifier(), certificate.is_self_signed());
    }
    let _ = TrustAnchor::from_der(bytes);
    let _ = verify_csr(bytes, &device());
    let _ = verify_issued(bytes, &device(), &MADE.key);
    let _ = verify_issuing_ca(bytes, &root, NOW);
    let _ = (PublicKey::from_spki(bytes), PublicKey::from_sec1(bytes), Signature::from_der(bytes));
    verifies_as_client(bytes);
    verifies_as_gateway(bytes);
}

#[test]
fn the_unchanged_ones_verify() {
    assert!(verifies_as_client(&MADE.leaf));
    assert!(verifies_as_gateway(&MADE.server));
    assert!(verify_csr(&MADE.request, &device()).is_ok());
}

#[test]
fn a_bit_flipped_anywhere_in_a_certificate_or_request_never_verifies() {
    for place in 0..MADE.leaf.len() {
        let mut changed = MADE.leaf.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(!verifies_as_client(&changed), "byte {place}");
    }
    for place in 0..MADE.server.len() {
        let mut changed = MADE.server.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(!verifies_as_gateway(&changed), "byte {place}");
    }
    for place in 0..MADE.request.len() {
        let mut changed = MADE.request.clone();
        changed[place] ^= 1 << (place % 8);
        assert!(verify_csr(&changed, &device()).is_err(), "byte {place}");
    }
}

#[test]
fn every_prefix_is_read_without_a_panic() {
    for whole in [&MADE.leaf, &MADE.server, &MADE.request, &MADE.line] {
        for end in 0..whole.len() {
            read_in_every_way(&whole[..end]);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        read_in_every_way(&bytes);
    }

    #[test]
    fn changed_bytes_are_read_without_a_panic_and_never_verify(
        which in 0usize..4,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        duplicated in 0usize..9,
    ) {
        let original = [&MADE.leaf, &MADE.server, &MADE.request, &MADE.line][which];
        let mut bytes = original.clone();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        let place = cut.index(bytes.len());
        let tail = bytes[place..].to_vec();
        bytes.extend(tail.into_iter().take(duplicated));
        read_in_every_way(&bytes);
        if bytes != *original {
            prop_assert!(!verifies_as_client(&bytes) && !verifies_as_gateway(&bytes));
            prop_assert!(verify_csr(&bytes, &device()).is_err());
        }
    }
}
