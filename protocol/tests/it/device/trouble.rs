//! Refusals, clocks, stores and key stores that fail, answers that are wrong, late or doubled.

use muster_protocol::device::{Credential, Event, Failure, Input, StateName};
use muster_protocol::message::Down;
use muster_protocol::slot::{Phase, SlotId};
use muster_protocol::time::Millis;
use muster_protocol::{Code, UnixTime};

use super::bench::{Bench, Seen};
use crate::pki::maker::{DAY, Key, NOW, Recipe, World};

fn lost(bench: &mut Bench, failure: Failure) -> Vec<Seen> {
    let mut seen = bench.give(Input::Disconnected(failure));
    seen.extend(bench.wait());
    seen
}

#[test]
fn a_store_that_fails_silences_the_device_until_it_starts_again() {
    let mut bench = Bench::new();
    bench.connected();
    bench.store_fails = true;
    let seen = bench.welcomed(None);
    assert_eq!(seen[seen.len() - 3..], [Seen::Event(Event::StoreFailed), Seen::Disconnect, Seen::Restart]);
    assert!(!seen.contains(&Seen::Request), "{seen:?}");
    assert_eq!(bench.device.poll_timeout(), None);
    bench.uptime += 3_600_000;
    assert_eq!(bench.give(Input::Timeout), []);
    assert_eq!(bench.welcomed(None), []);
    bench.store_fails = false;
    assert!(bench.boot().contains(&Seen::Connect(Credential::Idevid)));
}

#[test]
fn a_key_store_that_fails_is_asked_again_later_and_never_in_a_spin() {
    let mut bench = Bench::new();
    bench.connected();
    bench.key_store_fails = true;
    assert!(bench.welcomed(None).contains(&Seen::Event(Event::KeyStoreFailed)));
    assert!(bench.device.poll_timeout() > Some(Millis(bench.uptime)));
    bench.give(Input::Disconnected(Failure::Unreachable));
    // The answer of a slow key store comes when the connection is gone.
    bench.give(Input::KeyFailed);
    assert!(bench.device.poll_timeout() > Some(Millis(bench.uptime)));
    bench.key_store_fails = false;
    bench.wait();
    bench.connected();
    let seen = [bench.welcomed(None), bench.wait()].concat();
    assert!(seen.contains(&Seen::Request), "{seen:?}");
}

#[test]
fn a_certificate_for_somebody_else_or_another_key_is_not_stored() {
    let mut bench = Bench::operational();
    bench.give(Input::Rotate);
    let ca = World::new().device_ca;
    let key = bench.keys[1].clone().unwrap();
    let other = "urn:muster:acme:dev-2";
    for (what, certificate) in [
        ("another device", Recipe::client(other).signed_by(&key, &ca)),
        ("another key", Recipe::client("urn:muster:acme:dev-1").signed_by(&Key::new(9), &ca)),
        ("a server", Recipe::server(&["gw.acme.example"]).signed_by(&key, &ca)),
        ("a CA", ca.der.clone()),
        ("junk", b"junk".to_vec()),
    ] {
        let seen = bench.issued(&certificate);
        assert!(matches!(seen[..], [Seen::Event(Event::GatewayRefused(_))]), "{what}: {seen:?}");
        assert_eq!(bench.slots[1].as_ref().unwrap().phase, Phase::Keyed, "{what}");
        assert_eq!(bench.wait(), [Seen::Request], "{what}: it asks again");
    }
}

/// What a refusal means while a rotation is under way. The old credential stays whole in every case.
#[test]
fn refusals_of_a_rotation() {
    for (code, state, asks_again_within_millis) in [
        (Code::Unavailable, StateName::Rekeying, 2_000),
        (Code::DeviceSuspended, StateName::Rekeying, 120_000),
        (Code::CsrWrongName, StateName::Operational, 3_700_000),
        (Code::EnrolKeyReused, StateName::Operational, 10_000),
        (Code::EnrolIdevidRequired, StateName::Enrolling, 2_000),
    ] {
        let mut bench = Bench::operational();
        bench.give(Input::Rotate);
        let seen = bench.refused(code);
        assert!(seen.contains(&Seen::Event(Event::Refused(code))), "{code}");
        assert_eq!(bench.device.state(), state, "{code}");
        assert_eq!(bench.slots[0].as_ref().unwrap().phase, Phase::Confirmed, "{code}");
        let Millis(at) = bench.device.poll_timeout().unwrap();
        assert!(at > bench.uptime && at - bench.uptime <= asks_again_within_millis, "{code}: {at}");
    }
}

#[test]
fn a_credential_that_is_refused_for_good_takes_turns_with_the_idevid() {
    for code in [Code::CertificateExpired, Code::CertificateRevoked, Code::CertificateUnknown] {
        let mut bench = Bench::operational();
        let seen = lost(&mut bench, Failure::Refused(code));
        assert!(seen.contains(&Seen::Connect(Credential::Idevid)), "{code}: {seen:?}");
        bench.give(Input::ConnectFailed(Failure::Refused(Code::DeviceRevoked)));
        let seen = bench.wait();
        assert!(seen.contains(&Seen::Connect(Credential::Slot(SlotId::A))), "{code}: {seen:?}");
    }
}

#[test]
fn whoever_is_kept_out_asks_in_minutes_and_then_hours() {
    let mut bench = Bench::operational();
    bench.give(Input::Disconnected(Failure::Refused(Code::DeviceSuspended)));
    let mut waits = Vec::new();
    for _ in 0..12 {
        let before = bench.uptime;
        assert!(bench.wait().contains(&Seen::Connect(Credential::Slot(SlotId::A))));
        waits.push(bench.uptime - before);
        bench.give(Input::ConnectFailed(Failure::Refused(Code::DeviceSuspended)));
    }
    assert!(waits[0] >= 30_000, "{waits:?}");
    assert!(waits[11] >= 2 * 3_600_000 && waits[11] <= 4 * 3_600_000, "{waits:?}");
}

#[test]
fn a_gateway_that_is_not_trusted_makes_the_device_look_for_a_newer_bundle() {
    let mut bench = Bench::operational();
    bench.boot();
    let seen = bench.give(Input::ConnectFailed(Failure::GatewayUntrusted(Code::CertificateUntrusted)));
    assert!(seen.contains(&Seen::FetchBundle), "{seen:?}");
}

#[test]
fn a_hello_that_is_refused_while_enrolling_ends_the_session() {
    let mut bench = Bench::new();
    bench.connected();
    bench.welcomed(None);
    lost(&mut bench, Failure::Unreachable);
    bench.connected();
    let seen = bench.refused(Code::Unavailable);
    assert!(seen.contains(&Seen::Disconnect), "{seen:?}");
    assert!(bench.wait().contains(&Seen::Connect(Credential::Idevid)));
}

#[test]
fn a_welcome_that_comes_twice_does_not_answer_the_request() {
    let mut bench = Bench::new();
    bench.connected();
    bench.welcomed(None);
    bench.welcomed(None);
    let seen = bench.wait();
    assert!(seen.contains(&Seen::Disconnect), "the answer is still due: {seen:?}");
}

#[test]
fn a_clock_that_is_ahead_costs_no_certificate() {
    let mut bench = Bench::new();
    bench.civil = Some(UnixTime(NOW.0 + 60 * DAY));
    bench.connected();
    bench.welcomed(None);
    let certificate = bench.certificate(SlotId::A, 0x11);
    bench.issued(&certificate);
    bench.confirm(SlotId::A);
    assert_eq!(bench.device.state(), StateName::Operational, "the gateway's date counts");
}

#[test]
fn without_a_session_nothing_that_is_heard_counts() {
    let mut bench = Bench::operational();
    bench.boot();
    for message in [Down::Rotate { order: 1 }, Down::Retired, Down::Bundle { signed: b"x" }] {
        assert_eq!(bench.hears(&message), [], "{message:?}");
    }
    let mut bench = Bench::operational();
    assert_eq!(bench.hears(&Down::Retired), [], "nobody asked for it");
    assert_eq!(bench.give(Input::Message(&[2, 0])), [Seen::Event(Event::GatewayRefused(Code::MessageVersion))]);
    assert_eq!(bench.device.state(), StateName::Operational);
}

#[test]
fn an_attempt_that_nobody_answers_is_given_up() {
    let mut bench = Bench::new();
    let seen = [bench.wait(), bench.wait()].concat();
    assert!(seen.contains(&Seen::Disconnect) && seen.contains(&Seen::Connect(Credential::Idevid)), "{seen:?}");
}
