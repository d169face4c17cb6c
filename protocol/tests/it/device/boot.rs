//! What a boot makes of what is stored: every pair of slots that a power cut can leave.

use muster_protocol::device::{Credential, StateName};
use muster_protocol::slot::{Phase, SlotId, SlotRecord};

use super::bench::{Bench, Seen};
use crate::pki::maker::{Key, Recipe, World};

fn record(key: &Key, phase: Phase, generation: u32) -> SlotRecord {
    let mut record = SlotRecord::keyed(generation, key.public());
    record.phase = phase;
    if !matches!(phase, Phase::Keyed | Phase::Wiped) {
        let serial = [0x40 + generation as u8; 16];
        let certificate = Recipe::client("urn:muster:acme:dev-1").serial(&serial);
        let certificate = certificate.signed_by(key, &World::new().device_ca);
        record.certificate = heapless::Vec::from_slice(&certificate).unwrap();
    }
    record
}

type Slot = Option<(Phase, u32)>;

fn booted(a: Slot, b: Slot) -> (StateName, Vec<Seen>, Bench) {
    let keys = [Key::new(0x71), Key::new(0x72)];
    let make = |slot: Slot, key: &Key| slot.map(|(phase, generation)| record(key, phase, generation));
    let slots = [make(a, &keys[0]), make(b, &keys[1])];
    let mut bench = Bench::stored(slots.clone(), keys.clone().map(Some));
    (bench.slots, bench.keys) = (slots, keys.map(Some));
    let seen = bench.boot();
    (bench.device.state(), seen, bench)
}

#[test]
fn every_pair_of_slots_has_one_meaning() {
    use Phase::{Confirmed, Issued, Keyed, Superseded, Trial, Wiped};
    let (idevid, a, b) = (Credential::Idevid, Credential::Slot(SlotId::A), Credential::Slot(SlotId::B));
    for (slot_a, slot_b, state, connects_with) in [
        (None, None, StateName::Manufactured, idevid),
        (Some((Wiped, 4)), None, StateName::Manufactured, idevid),
        (Some((Superseded, 4)), Some((Wiped, 5)), StateName::Manufactured, idevid),
        (Some((Keyed, 1)), None, StateName::Enrolling, idevid),
        (Some((Issued, 1)), None, StateName::Confirming, a),
        (Some((Trial(1), 1)), None, StateName::Confirming, a),
        (Some((Trial(3), 1)), None, StateName::Confirming, idevid),
        (Some((Confirmed, 1)), None, StateName::Operational, a),
        (Some((Confirmed, 1)), Some((Keyed, 2)), StateName::Rekeying, a),
        (Some((Confirmed, 1)), Some((Issued, 2)), StateName::Confirming, b),
        (Some((Confirmed, 1)), Some((Trial(2), 2)), StateName::Confirming, b),
        (Some((Confirmed, 1)), Some((Trial(3), 2)), StateName::Confirming, a),
        (Some((Confirmed, 1)), Some((Wiped, 2)), StateName::Operational, a),
        (Some((Confirmed, 1)), Some((Confirmed, 2)), StateName::Operational, b),
        (Some((Confirmed, 3)), Some((Confirmed, 2)), StateName::Operational, a),
        (Some((Superseded, 1)), Some((Confirmed, 2)), StateName::Operational, b),
        (Some((Confirmed, 3)), Some((Trial(1), 2)), StateName::Operational, a),
        (Some((Confirmed, 3)), Some((Keyed, 2)), StateName::Operational, a),
    ] {
        let (found, seen, _) = booted(slot_a, slot_b);
        assert_eq!(found, state, "{slot_a:?} {slot_b:?}");
        let connects = seen.iter().find(|seen| matches!(seen, Seen::Connect(_)));
        assert_eq!(connects, Some(&Seen::Connect(connects_with)), "{slot_a:?} {slot_b:?}");
    }
}

#[test]
fn of_two_confirmed_ones_the_older_goes() {
    let (_, seen, bench) = booted(Some((Phase::Confirmed, 1)), Some((Phase::Confirmed, 2)));
    assert!(seen.contains(&Seen::Wiped(SlotId::A)), "{seen:?}");
    assert_eq!(bench.slots[0].as_ref().unwrap().phase, Phase::Superseded);
    assert_eq!(bench.slots[1].as_ref().unwrap().phase, Phase::Confirmed);
}

#[test]
fn a_record_without_its_key_is_no_credential() {
    let key = Key::new(0x71);
    let confirmed = Some(record(&key, Phase::Confirmed, 7));
    for held in [None, Some(Key::new(0x73))] {
        let mut bench = Bench::stored([confirmed.clone(), None], [held, None]);
        assert_eq!(bench.device.state(), StateName::Manufactured);
        assert_eq!(bench.slots[0].as_ref().unwrap().phase, Phase::Wiped);
        bench.connected();
        bench.welcomed(None);
        let generation = bench.slots.iter().flatten().map(|record| record.generation).max();
        assert_eq!(generation, Some(8), "its generation still counts");
    }
}

#[test]
fn what_is_spent_loses_its_key_at_the_latest_at_the_next_boot() {
    let (_, seen, bench) = booted(Some((Phase::Superseded, 1)), Some((Phase::Confirmed, 2)));
    assert!(seen.contains(&Seen::Wiped(SlotId::A)) && bench.keys[0].is_none(), "{seen:?}");
}
