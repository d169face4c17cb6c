//! Shipment manifests: golden bytes, order, number, and every flipped byte.

use muster_protocol::limits::MANIFEST_DEVICES_MAX;
use muster_protocol::manifest::{Entry, Header, Manifest, VERSION, frame};
use muster_protocol::signed::Kind;
use muster_protocol::{Code, DeviceId, UnixTime};

use super::documents::{fingerprint, root, serial, sign};
use super::pki::maker::fleet;
use super::vectors;

const VECTORS: &str = include_str!("../vectors/document.hex");

fn header(devices: u32) -> Header<'static> {
    Header {
        fleet: fleet(),
        product: "valve".try_into().unwrap(),
        lot: "2026-01".try_into().unwrap(),
        made_at: UnixTime(1_767_225_600),
        devices,
        issuing_ca: &[0x30, 0x03, 1, 2, 3],
    }
}

fn entry(id: &str) -> Entry {
    Entry { device: DeviceId::new(id).unwrap(), key: fingerprint(0x11), serial: serial(0x22) }
}

fn body(devices: u32, ids: &[&str]) -> Vec<u8> {
    let mut buffer = [0; 1024];
    let mut body = frame(&header(devices), &mut buffer).unwrap().to_vec();
    for id in ids {
        body.extend_from_slice(frame(&entry(id), &mut buffer).unwrap());
    }
    body
}

fn manifest(devices: u32, ids: &[&str]) -> Vec<u8> {
    sign(Kind::Manifest, VERSION, &body(devices, ids), &[&root()])
}

fn verify(bytes: &[u8]) -> Result<(), Code> {
    Manifest::verify(bytes).map(|_| ())
}

#[test]
fn a_manifest_has_its_golden_bytes() {
    vectors::hold(VECTORS, "manifest", &manifest(2, &["dev-1", "dev-2"]));
    let bytes = vectors::bytes(VECTORS, "manifest");
    let read = Manifest::verify(&bytes).unwrap();
    assert_eq!(*read.header(), header(2));
    assert_eq!(*read.signer(), root().public());
    assert_eq!(read.entries().collect::<Vec<_>>(), [entry("dev-1"), entry("dev-2")]);
}

#[test]
fn the_same_devices_make_the_same_manifest() {
    let (once, again) = (manifest(1, &["dev-1"]), manifest(1, &["dev-1"]));
    let (once, again) = (Manifest::verify(&once).unwrap(), Manifest::verify(&again).unwrap());
    assert_eq!(once.id(), again.id());
    let other = manifest(1, &["dev-2"]);
    assert_ne!(Manifest::verify(&other).unwrap().id(), once.id());
}

#[test]
fn entries_rise_and_are_as_many_as_the_header_says() {
    assert_eq!(verify(&manifest(0, &[])), Ok(()));
    for (what, devices, ids) in [
        ("twice the same", 2, &["dev-1", "dev-1"][..]),
        ("falling", 2, &["dev-2", "dev-1"]),
        ("too few", 2, &["dev-1"]),
        ("too many", 1, &["dev-1", "dev-2"]),
    ] {
        assert_eq!(verify(&manifest(devices, ids)), Err(Code::ManifestMalformed), "{what}");
    }
    assert_eq!(verify(&manifest(MANIFEST_DEVICES_MAX + 1, &[])), Err(Code::MessageOversized));
}

#[test]
fn no_byte_can_be_flipped_cut_or_added() {
    let whole = manifest(2, &["dev-1", "dev-2"]);
    for at in 0..whole.len() {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        assert!(verify(&flipped).is_err(), "byte {at} flipped");
        assert!(verify(&whole[..at]).is_err(), "cut at {at}");
    }
    let mut flipped = whole.clone();
    flipped[20] ^= 1;
    assert_eq!(verify(&flipped), Err(Code::ManifestBadSignature));
    let torn = [&body(1, &["dev-1"])[..], &[5, 0, 1]].concat();
    assert_eq!(verify(&sign(Kind::Manifest, VERSION, &torn, &[&root()])), Err(Code::ManifestMalformed));
    assert_eq!(verify(&sign(Kind::Manifest, VERSION + 1, &body(0, &[]), &[&root()])), Err(Code::MessageVersion));
    assert_eq!(verify(&sign(Kind::TrustBundle, VERSION, &body(0, &[]), &[&root()])), Err(Code::ManifestMalformed));
}
