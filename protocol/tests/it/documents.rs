//! Writes signed documents of any kind, good and bad, for the tests of bundles and manifests.

use muster_protocol::pki::{KeyFingerprint, Serial};
use muster_protocol::signed::{self, Kind, SignedDocument, SignedError};
use muster_protocol::trust::{GatewayAddress, Pins, Policy, TrustBundle};

use super::pki::maker::{Key, fleet};

/// The container with these signatures.
pub(crate) fn sign(kind: Kind, version: u8, body: &[u8], signers: &[&Key]) -> Vec<u8> {
    let header = signed::header(kind, version, u32::try_from(body.len()).unwrap());
    let covered = [&signed::DOMAIN[..], &header, body].concat();
    let mut document = [&header[..], body, &[u8::try_from(signers.len()).unwrap()]].concat();
    for signer in signers {
        document.extend_from_slice(signer.public().as_sec1());
        document.extend_from_slice(signer.sign_bytes(&covered).as_bytes());
    }
    document
}

/// The fleet root of the tests.
pub(crate) fn root() -> Key {
    Key::new(0x21)
}

/// Its backup.
pub(crate) fn backup() -> Key {
    Key::new(0x22)
}

/// Pins for two keys.
pub(crate) fn pins(root: &Key, backup: &Key) -> Pins {
    Pins { root: root.public().fingerprint(), backup: backup.public().fingerprint() }
}

/// A bundle that trusts `cas`.
pub(crate) fn bundle<'a>(number: u32, cas: &[&'a [u8]]) -> TrustBundle<'a> {
    let address = GatewayAddress { host: "gw.acme.example".try_into().unwrap(), mqtt_port: 8883, https_port: 8443 };
    TrustBundle {
        fleet: fleet(),
        number,
        gateway_cas: heapless::Vec::from_slice(cas).unwrap(),
        gateways: core::iter::once(address).collect(),
        policy: Policy::default(),
        next_pins: None,
    }
}

/// A signed bundle.
pub(crate) fn sign_bundle(bundle: &TrustBundle<'_>, signers: &[&Key]) -> Vec<u8> {
    let mut buffer = [0; 4096];
    let body = postcard::to_slice(bundle, &mut buffer).unwrap();
    sign(Kind::TrustBundle, muster_protocol::trust::VERSION, body, signers)
}

/// A serial number.
pub(crate) fn serial(first: u8) -> Serial {
    Serial::new(&[first, 0x5a, 0x5a]).unwrap()
}

/// A fingerprint.
pub(crate) fn fingerprint(byte: u8) -> KeyFingerprint {
    KeyFingerprint([byte; 32])
}

#[test]
fn a_container_is_exactly_what_it_says() {
    let document = sign(Kind::Manifest, 1, b"body", &[&root(), &backup()]);
    let parsed = SignedDocument::parse(&document, Kind::Manifest, 1).unwrap();
    assert_eq!(parsed.body(), b"body");
    assert_eq!(parsed.signers(), [root().public(), backup().public()]);

    let is = |bytes: &[u8], kind, version| SignedDocument::parse(bytes, kind, version).map(|_| ()).unwrap_err();
    assert_eq!(is(&document, Kind::TrustBundle, 1), SignedError::Malformed, "another kind");
    assert_eq!(is(&document, Kind::Manifest, 2), SignedError::Version);
    for end in 0..document.len() {
        assert_eq!(is(&document[..end], Kind::Manifest, 1), SignedError::Malformed, "cut at {end}");
    }
    let longer = [&document[..], &[0]].concat();
    assert_eq!(is(&longer, Kind::Manifest, 1), SignedError::Malformed, "a byte more");
    for at in 0..document.len() {
        let mut changed = document.clone();
        changed[at] ^= 0x40;
        assert!(SignedDocument::parse(&changed, Kind::Manifest, 1).is_err(), "byte {at} changed");
    }
}

#[test]
fn a_container_has_one_or_two_signatures_of_different_keys() {
    for signers in [&[][..], &[&root(), &root()], &[&root(), &backup(), &Key::new(9)]] {
        let document = sign(Kind::Manifest, 1, b"body", signers);
        let error = SignedDocument::parse(&document, Kind::Manifest, 1).map(|_| ()).unwrap_err();
        assert_eq!(error, SignedError::Malformed, "{} signatures", signers.len());
    }
}
