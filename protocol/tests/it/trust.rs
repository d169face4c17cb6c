//! Trust bundles: golden bytes, who may sign them, when they count.

use muster_protocol::limits::{FLEET_ID_BYTES_MAX, GATEWAYS_MAX, TRUST_BUNDLE_BYTES_MAX};
use muster_protocol::signed::Kind;
use muster_protocol::trust::{GatewayAddress, Policy, TrustBundle, VERSION, VerifiedBundle, read_fleet_file};
use muster_protocol::{Code, FleetId};

use super::documents::{backup, bundle, pins, root, sign, sign_bundle};
use super::pki::maker::{Key, fleet};
use super::vectors;

const VECTORS: &str = include_str!("../vectors/document.hex");
const CA: &[u8] = &[0x30, 0x03, 1, 2, 3];

fn verify(bytes: &[u8]) -> Result<u32, Code> {
    VerifiedBundle::verify(bytes, &pins(&root(), &backup())).map(|verified| verified.bundle().number)
}

#[test]
fn a_bundle_has_its_golden_bytes() {
    let signed = sign_bundle(&bundle(7, &[CA]), &[&root()]);
    vectors::hold(VECTORS, "bundle", &signed);
    let renewed = TrustBundle { next_pins: Some(pins(&Key::new(9), &Key::new(10))), ..bundle(8, &[CA, CA]) };
    let signed_by_both = sign_bundle(&renewed, &[&root(), &backup()]);
    vectors::hold(VECTORS, "bundle-next-pins", &signed_by_both);
    for (name, number) in [("bundle", 7), ("bundle-next-pins", 8)] {
        assert_eq!(verify(&vectors::bytes(VECTORS, name)), Ok(number), "{name}");
    }
}

#[test]
fn only_a_pinned_key_makes_a_bundle_count() {
    let made = bundle(7, &[CA]);
    let stranger = Key::new(9);
    assert_eq!(verify(&sign_bundle(&made, &[&root()])), Ok(7));
    assert_eq!(verify(&sign_bundle(&made, &[&backup()])), Ok(7), "the backup is as good");
    assert_eq!(verify(&sign_bundle(&made, &[&stranger, &root()])), Ok(7));
    assert_eq!(verify(&sign_bundle(&made, &[&stranger])), Err(Code::BundleBadSignature));
}

#[test]
fn new_pins_take_both_keys() {
    let next = pins(&Key::new(9), &Key::new(10));
    let made = TrustBundle { next_pins: Some(next), ..bundle(7, &[CA]) };
    for signers in [&[&root()][..], &[&backup()], &[&root(), &Key::new(9)], &[&Key::new(9), &Key::new(10)]] {
        assert_eq!(verify(&sign_bundle(&made, signers)), Err(Code::BundleBadSignature));
    }
    let signed = sign_bundle(&made, &[&backup(), &root()]);
    let verified = VerifiedBundle::verify(&signed, &pins(&root(), &backup())).unwrap();
    assert_eq!(*verified.pins(), next);
    // Where one key has both pins, its two signatures are one: nobody else agreed.
    let one = pins(&root(), &root());
    assert!(VerifiedBundle::verify(&sign_bundle(&made, &[&root()]), &one).is_err());
}

#[test]
fn a_bundle_says_something_that_a_device_can_live_by() {
    let policy = |renew_at_percent, backoff_secs_max| Policy { backoff_secs_max, renew_at_percent };
    for (what, made) in [
        ("no gateway CA", bundle(7, &[])),
        ("no gateway", TrustBundle { gateways: heapless::Vec::new(), ..bundle(7, &[CA]) }),
        ("renewal at once", TrustBundle { policy: policy(9, 300), ..bundle(7, &[CA]) }),
        ("renewal too late", TrustBundle { policy: policy(96, 300), ..bundle(7, &[CA]) }),
        ("no patience", TrustBundle { policy: policy(66, 0), ..bundle(7, &[CA]) }),
    ] {
        assert_eq!(verify(&sign_bundle(&made, &[&root()])), Err(Code::BundleMalformed), "{what}");
    }
    assert_eq!(verify(&sign(Kind::TrustBundle, VERSION, b"", &[&root()])), Err(Code::BundleMalformed));
    assert_eq!(verify(&sign(Kind::TrustBundle, VERSION + 1, b"", &[&root()])), Err(Code::MessageVersion));
    assert_eq!(verify(&sign(Kind::Manifest, VERSION, b"", &[&root()])), Err(Code::BundleMalformed));
    assert_eq!(verify(&[0; TRUST_BUNDLE_BYTES_MAX + 1]), Err(Code::MessageOversized));
}

#[test]
fn only_a_newer_bundle_of_the_fleet_supersedes() {
    let signed = sign_bundle(&bundle(7, &[CA]), &[&root()]);
    let verified = VerifiedBundle::verify(&signed, &pins(&root(), &backup())).unwrap();
    assert_eq!(verified.supersedes(&fleet(), 6), Ok(()));
    assert_eq!(verified.supersedes(&fleet(), 7), Err(Code::BundleStale));
    assert_eq!(verified.supersedes(&fleet(), 8), Err(Code::BundleStale));
    let other = FleetId::new("other").unwrap();
    assert_eq!(verified.supersedes(&other, 6), Err(Code::BundleWrongFleet));
}

#[test]
fn a_fleet_file_is_pins_and_bundle() {
    let before = pins(&root(), &backup());
    let next = pins(&Key::new(9), &Key::new(10));
    let made = TrustBundle { next_pins: Some(next), ..bundle(7, &[CA]) };
    let signed = sign_bundle(&made, &[&root(), &backup()]);
    let file = [&before.root.0[..], &before.backup.0, &signed].concat();
    let read = read_fleet_file(&file).unwrap();
    assert_eq!((read.bundle().number, *read.pins()), (7, next), "the pins in force are the new ones");
    for end in [0, 63, 64, 65, file.len() - 1] {
        assert_eq!(read_fleet_file(&file[..end]).map(|_| ()), Err(Code::BundleMalformed), "cut at {end}");
    }
    let strange = [&next.root.0[..], &next.backup.0, &signed].concat();
    assert_eq!(read_fleet_file(&strange).map(|_| ()), Err(Code::BundleBadSignature));
}

#[test]
fn a_bundle_has_room_for_a_fleet() {
    for (cas, ca_bytes, name_bytes) in [(3, 450, 70), (2, 600, 100)] {
        let (ca, name) = (vec![0x30; ca_bytes], "g".repeat(name_bytes));
        let gateway = GatewayAddress { host: name.as_str().try_into().unwrap(), mqtt_port: 65_535, https_port: 65_535 };
        let made = TrustBundle {
            fleet: FleetId::new(&"f".repeat(FLEET_ID_BYTES_MAX)).unwrap(),
            gateways: std::iter::repeat_n(gateway, GATEWAYS_MAX).collect(),
            next_pins: Some(pins(&Key::new(9), &Key::new(10))),
            ..bundle(u32::MAX, &vec![ca.as_slice(); cas])
        };
        let signed = sign_bundle(&made, &[&root(), &backup()]);
        assert!(signed.len() <= TRUST_BUNDLE_BYTES_MAX, "{}", signed.len());
        assert_eq!(verify(&signed), Ok(u32::MAX));
    }
}
