//! Candidates that do not work, gateways that are away, and which of the two it was.

use muster_protocol::Code;
use muster_protocol::device::{Credential, Event, Failure, Input, StateName};
use muster_protocol::limits::TRIALS_MAX;
use muster_protocol::message::Down;
use muster_protocol::slot::{Phase, SlotId};

use super::bench::{Bench, Seen, serial};

fn phase(bench: &Bench, slot: SlotId) -> Option<Phase> {
    bench.slots[slot.index()].as_ref().map(|record| record.phase)
}

/// The attempt that is under way fails; says with what the next one is made.
fn fails(bench: &mut Bench, failure: Failure) -> Option<Credential> {
    let connect = |seen: Vec<Seen>| {
        seen.into_iter().find_map(|seen| match seen {
            Seen::Connect(credential) => Some(credential),
            _ => None,
        })
    };
    let at_once = bench.give(Input::ConnectFailed(failure));
    connect(at_once).or_else(|| connect(bench.wait()))
}

#[test]
fn a_candidate_that_fails_while_the_old_one_works_is_given_up_after_three_trials() {
    let mut bench = Bench::confirming();
    for trial in 1..=TRIALS_MAX {
        assert_eq!(phase(&bench, SlotId::B), Some(Phase::Trial(trial)));
        let next = fails(&mut bench, Failure::Refused(Code::CertificateUntrusted));
        assert_eq!(next, Some(Credential::Slot(SlotId::A)), "what worked before is asked");
        let seen = bench.connected();
        assert!(seen.contains(&Seen::Event(Event::TrialCounted(trial))), "{seen:?}");
        bench.welcomed(None);
        if trial < TRIALS_MAX {
            bench.wait();
        }
    }
    assert_eq!((bench.device.state(), phase(&bench, SlotId::B)), (StateName::Operational, Some(Phase::Wiped)));
    assert_eq!(phase(&bench, SlotId::A), Some(Phase::Confirmed));
    assert!(bench.keys[0].is_some() && bench.keys[1].is_none());
}

#[test]
fn an_outage_burns_no_trial() {
    let mut bench = Bench::confirming();
    for round in 0..10 {
        assert_eq!(phase(&bench, SlotId::B), Some(Phase::Trial(1)), "round {round}");
        assert_eq!(fails(&mut bench, Failure::Unreachable), Some(Credential::Slot(SlotId::A)));
        assert_eq!(fails(&mut bench, Failure::Unreachable), Some(Credential::Slot(SlotId::B)));
    }
    bench.confirm(SlotId::B);
    assert_eq!(bench.device.state(), StateName::Operational);
}

#[test]
fn a_power_cut_in_a_trial_counts_it() {
    let mut bench = Bench::confirming();
    for trial in 1..=TRIALS_MAX {
        assert_eq!(phase(&bench, SlotId::B), Some(Phase::Trial(trial)));
        let seen = bench.boot();
        let with = if trial < TRIALS_MAX { SlotId::B } else { SlotId::A };
        assert!(seen.contains(&Seen::Connect(Credential::Slot(with))), "{trial}: {seen:?}");
    }
}

#[test]
fn a_candidate_fails_its_way_back_to_the_idevid_when_the_old_one_is_refused_too() {
    let mut bench = Bench::confirming();
    let superseded = Failure::Refused(Code::CertificateSuperseded);
    assert_eq!(fails(&mut bench, Failure::Unreachable), Some(Credential::Slot(SlotId::A)));
    assert_eq!(fails(&mut bench, superseded), Some(Credential::Idevid));
    bench.connected();
    bench.welcomed(None);
    let seen = bench.wait();
    assert!(seen.contains(&Seen::Connect(Credential::Slot(SlotId::B))), "the candidate again: {seen:?}");
}

/// Each failed candidate costs a certificate, so the next one is asked for later and later.
#[test]
fn candidates_that_never_work_are_asked_for_ever_more_rarely() {
    let mut bench = Bench::operational();
    bench.give(Input::Rotate);
    let mut waits = Vec::new();
    for number in 0..6_u8 {
        let certificate = bench.certificate(SlotId::B, 0x30 + number);
        bench.issued(&certificate);
        while bench.device.state() == StateName::Confirming {
            fails(&mut bench, Failure::Refused(Code::CertificateUntrusted));
            bench.connected();
            bench.welcomed(None);
            if bench.device.state() == StateName::Confirming {
                bench.wait();
            }
        }
        let since = bench.uptime;
        bench.give(Input::Rotate);
        while bench.device.state() == StateName::Operational {
            bench.wait();
        }
        waits.push(bench.uptime - since);
    }
    assert!(waits[0] >= 30_000 && waits[5] >= 10 * waits[0], "{waits:?}");
}

#[test]
fn only_the_candidates_own_session_and_serial_confirm_it() {
    let mut bench = Bench::confirming();
    let (old, new) = (serial(&bench.slots[0]), serial(&bench.slots[1]));
    bench.connected();
    bench.welcomed(None);
    assert_eq!(bench.hears(&Down::Confirmed { serial: old }), []);
    assert_eq!(bench.device.state(), StateName::Confirming);
    // The old credential's session hears of it: not proof that the new one connects.
    bench.give(Input::Disconnected(Failure::Unreachable));
    assert_eq!(bench.connected().first(), Some(&Seen::Event(Event::TrialCounted(1))));
    bench.welcomed(None);
    assert_eq!(bench.hears(&Down::Confirmed { serial: new }), []);
    assert_eq!(bench.device.state(), StateName::Confirming);
}
