//! When all goes well: enrolment, rotation, retirement, trust bundles.

use muster_protocol::device::{Credential, Event, Input, StateName};
use muster_protocol::message::{Down, Welcome};
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{Phase, SlotId};
use muster_protocol::{Code, UnixTime};

use super::bench::{Bench, Seen, serial};
use crate::documents::{bundle, root, sign_bundle};
use crate::pki::maker::{DAY, Key, NOW};

const A: Item = Item::Slot(SlotId::A);
const B: Item = Item::Slot(SlotId::B);

fn phases(bench: &Bench) -> [Option<Phase>; 2] {
    SlotId::BOTH.map(|slot| bench.slots[slot.index()].as_ref().map(|record| record.phase))
}

/// What came out, without what is only for logs.
fn acts(seen: Vec<Seen>) -> Vec<Seen> {
    seen.into_iter().filter(|seen| !matches!(seen, Seen::Event(_))).collect()
}

#[test]
fn a_new_device_enrols_by_its_idevid() {
    let mut bench = Bench::new();
    assert_eq!(acts(bench.boot()), [Seen::Connect(Credential::Idevid)]);
    assert_eq!(acts(bench.connected()), [Seen::Stored(Item::Life), Seen::Hello], "the certificate's date is kept");
    let asked = [Seen::MadeKey(SlotId::A), Seen::Stored(A), Seen::Request];
    assert_eq!(acts(bench.welcomed(None)), [&[Seen::Stored(Item::Life)], &asked[..]].concat(), "and the gateway's");
    assert_eq!((bench.device.state(), phases(&bench)), (StateName::Enrolling, [Some(Phase::Keyed), None]));

    let certificate = bench.certificate(SlotId::A, 0x11);
    let tried = [Seen::Disconnect, Seen::Stored(A), Seen::Connect(Credential::Slot(SlotId::A))];
    assert_eq!(acts(bench.issued(&certificate)), [&[Seen::Stored(A)], &tried[..]].concat());
    assert_eq!(phases(&bench)[0], Some(Phase::Trial(1)), "counted before it is tried");

    assert_eq!(acts(bench.connected()), [Seen::Hello]);
    let serial = serial(&bench.slots[0]);
    assert_eq!(acts(bench.welcomed(None)), [Seen::Confirm(serial.clone())]);
    assert_eq!(
        acts(bench.hears(&Down::Confirmed { serial })),
        [Seen::Stored(A), Seen::Hello],
        "what it stored, it says"
    );
    assert_eq!((bench.device.state(), phases(&bench)), (StateName::Operational, [Some(Phase::Confirmed), None]));
}

#[test]
fn a_rotation_takes_the_other_slot_and_drops_the_old_one_last() {
    let mut bench = Bench::operational();
    assert_eq!(acts(bench.welcomed(Some(1))), [Seen::MadeKey(SlotId::B), Seen::Stored(B), Seen::Request]);
    let certificate = bench.certificate(SlotId::B, 0x22);
    bench.issued(&certificate);
    assert_eq!(phases(&bench), [Some(Phase::Confirmed), Some(Phase::Trial(1))]);
    bench.connected();
    bench.welcomed(None);
    let serial = serial(&bench.slots[1]);
    let seen = acts(bench.hears(&Down::Confirmed { serial }));
    assert_eq!(seen, [Seen::Stored(B), Seen::Stored(A), Seen::Wiped(SlotId::A), Seen::Hello]);
    assert_eq!(phases(&bench), [Some(Phase::Superseded), Some(Phase::Confirmed)]);
    assert!(bench.keys[0].is_none() && bench.keys[1].is_some());
}

#[test]
fn a_certificate_is_renewed_after_two_thirds_of_its_life_without_being_told() {
    let mut bench = Bench::operational();
    let mut days = 0;
    while bench.device.state() == StateName::Operational {
        bench.wait();
        days = bench.uptime / 86_400_000;
        assert!(days < 6, "not renewed in {days} days");
    }
    assert_eq!(bench.device.state(), StateName::Rekeying);
    assert!((3..=4).contains(&days), "66 % of 7 days, less up to a twentieth, of which one day is over: {days}");
}

#[test]
fn what_is_wanted_twice_happens_once() {
    let mut bench = Bench::operational();
    bench.give(Input::Rotate);
    bench.give(Input::Rotate);
    bench.hears(&Down::Rotate { order: 3 });
    let certificate = bench.certificate(SlotId::B, 0x22);
    bench.issued(&certificate);
    bench.confirm(SlotId::B);
    assert_eq!(bench.device.state(), StateName::Operational);
}

#[test]
fn a_device_that_is_retired_tells_the_gateway_first_when_it_can() {
    let mut bench = Bench::operational();
    assert_eq!(acts(bench.give(Input::Retire)), [Seen::Retire]);
    assert_eq!(bench.device.state(), StateName::Operational);
    bench.hears(&Down::Retired);
    assert_eq!(bench.device.state(), StateName::Retired);
    assert!(bench.life.retired && bench.keys.iter().all(Option::is_none));
    assert_eq!(phases(&bench), [Some(Phase::Wiped), None]);
    assert!(!acts(bench.boot()).iter().any(|seen| matches!(seen, Seen::Connect(_))), "for good");
    assert_eq!(bench.device.poll_timeout(), None);
}

#[test]
fn a_device_that_is_retired_offline_or_is_not_answered_is_retired_all_the_same() {
    let mut offline = Bench::operational();
    offline.boot();
    offline.give(Input::Retire);
    assert_eq!(offline.device.state(), StateName::Retired);

    let mut unanswered = Bench::operational();
    unanswered.give(Input::Retire);
    unanswered.uptime += 31_000;
    unanswered.give(Input::Timeout);
    assert_eq!(unanswered.device.state(), StateName::Retired);
}

#[test]
fn a_newer_bundle_is_stored_before_it_is_in_force_for_anybody() {
    let ca: &[u8] = &[0x30, 0];
    let mut bench = Bench::operational();
    let newer = sign_bundle(&bundle(2, &[ca]), &[&root()]);
    let seen = bench.hears(&Down::Bundle { signed: &newer });
    assert_eq!(seen, [Seen::Stored(Item::Trust), Seen::Event(Event::BundleInForce(2))]);
    assert_eq!(bench.device.bundle(), 2);
    for (what, signed, code) in [
        ("the same again", newer, Code::BundleStale),
        ("an older one", sign_bundle(&bundle(1, &[ca]), &[&root()]), Code::BundleStale),
        ("a stranger's", sign_bundle(&bundle(3, &[ca]), &[&Key::new(9)]), Code::BundleBadSignature),
        ("none", b"MSTR".to_vec(), Code::BundleMalformed),
    ] {
        let seen = bench.give(Input::Bundle(&signed));
        assert_eq!(seen, [Seen::Event(Event::BundleRefused(code))], "{what}");
    }
}

#[test]
fn the_floor_follows_the_gateway_and_no_further_than_its_certificate() {
    let mut bench = Bench::operational();
    let far = NOW.plus_secs(4000 * DAY);
    bench.hears(&Down::Welcome(Welcome { time: far, bundle: 1, order: None }));
    let end = NOW.0 + 6 * DAY;
    assert_eq!(bench.device.clock_floor(), UnixTime(end), "a wrong time counts up to the end of who said it");
    assert_eq!(bench.life.floor, UnixTime(end));
    bench.hears(&Down::Welcome(Welcome { time: UnixTime(0), bundle: 1, order: None }));
    assert_eq!(bench.device.clock_floor(), UnixTime(end), "it never falls");
}
