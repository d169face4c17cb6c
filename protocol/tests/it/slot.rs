//! Stored records: golden bytes, and what a torn or worn write turns into.

use muster_protocol::UnixTime;
use muster_protocol::device::LifeRecord;
use muster_protocol::limits::{CERTIFICATE_BYTES_MAX, SLOT_RECORD_BYTES_MAX, TRIALS_MAX};
use muster_protocol::slot::{Phase, SlotRecord};

use super::pki::maker::Key;
use super::vectors;

const VECTORS: &str = include_str!("../vectors/record.hex");

fn record(phase: Phase) -> SlotRecord {
    let mut record = SlotRecord::keyed(0x0102_0304, Key::new(7).public());
    record.phase = phase;
    if !matches!(phase, Phase::Keyed | Phase::Wiped) {
        record.certificate = heapless::Vec::from_slice(&[0x30, 0x03, 1, 2, 3]).unwrap();
    }
    record
}

const PHASES: [(&str, Phase); 6] = [
    ("slot-keyed", Phase::Keyed),
    ("slot-issued", Phase::Issued),
    ("slot-trial", Phase::Trial(2)),
    ("slot-confirmed", Phase::Confirmed),
    ("slot-superseded", Phase::Superseded),
    ("slot-wiped", Phase::Wiped),
];

#[test]
fn slot_records_have_their_golden_bytes() {
    for (name, phase) in PHASES {
        vectors::hold(VECTORS, name, &record(phase).encode());
        assert_eq!(SlotRecord::decode(&vectors::bytes(VECTORS, name)), Some(record(phase)), "{name}");
    }
}

#[test]
fn a_torn_or_worn_slot_record_is_an_empty_slot() {
    for (name, phase) in PHASES {
        let bytes = record(phase).encode();
        for at in 0..bytes.len() {
            assert_eq!(SlotRecord::decode(&bytes[..at]), None, "{name} cut at {at}");
            let mut torn = bytes.to_vec();
            torn[at..].fill(0xff);
            assert_eq!(SlotRecord::decode(&torn), None, "{name} programmed up to {at}");
            for bit in 0..8 {
                let mut worn = bytes.to_vec();
                worn[at] ^= 1 << bit;
                assert_eq!(SlotRecord::decode(&worn), None, "{name} with bit {bit} of {at} worn");
            }
        }
    }
    assert_eq!(SlotRecord::decode(&[]), None);
    assert_eq!(SlotRecord::decode(&[0xff; SLOT_RECORD_BYTES_MAX]), None);
}

#[test]
fn the_longest_certificate_fits() {
    let mut longest = record(Phase::Confirmed);
    longest.certificate = heapless::Vec::from_slice(&[0x5a; CERTIFICATE_BYTES_MAX]).unwrap();
    assert_eq!(SlotRecord::decode(&longest.encode()), Some(longest));
}

/// A record whose fields do not fit its phase was written by nobody.
#[test]
fn records_that_mean_nothing_are_empty_slots() {
    let with = |phase, certificate: &[u8]| {
        let mut odd = record(phase);
        odd.certificate = heapless::Vec::from_slice(certificate).unwrap();
        SlotRecord::decode(&odd.encode())
    };
    assert_eq!(with(Phase::Keyed, &[1]), None, "a certificate before it was asked for");
    assert_eq!(with(Phase::Confirmed, &[]), None, "confirmed without a certificate");
    assert_eq!(with(Phase::Trial(0), &[1]), None, "a trial that was not counted");
    assert_eq!(with(Phase::Trial(TRIALS_MAX + 1), &[1]), None, "more trials than there are");
    assert!(with(Phase::Trial(TRIALS_MAX), &[1]).is_some());
}

#[test]
fn life_records_have_their_golden_bytes() {
    for (name, life) in [
        ("life-young", LifeRecord { floor: UnixTime(1_767_225_600), retired: false }),
        ("life-retired", LifeRecord { floor: UnixTime::FOREVER, retired: true }),
    ] {
        let bytes = life.encode();
        vectors::hold(VECTORS, name, &bytes);
        assert_eq!(LifeRecord::decode(&vectors::bytes(VECTORS, name)), Some(life), "{name}");
        for at in 0..bytes.len() {
            assert_eq!(LifeRecord::decode(&bytes[..at]), None, "{name} cut at {at}");
            let mut worn = bytes;
            worn[at] ^= 1;
            assert_eq!(LifeRecord::decode(&worn), None, "{name} worn at {at}");
        }
    }
}
