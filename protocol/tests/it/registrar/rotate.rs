//! Requests, confirmations, and the moment at which an old certificate is withdrawn.

use muster_protocol::message::{self, Up};
use muster_protocol::pki::CsrDraft;
use muster_protocol::registrar::{Act, Event, Reason, Standing};
use muster_protocol::topic::Channel;
use muster_protocol::{Code, UnixTime};

use super::desk::{Desk, Seen};
use crate::pki::maker::{DAY, Key, device, identity};

#[test]
fn an_enrolment_is_stored_before_it_is_answered_and_answered_again_the_same() {
    let mut desk = Desk::new();
    let idevid = desk.idevid.clone();
    desk.arrives(&idevid);
    let key = Key::new(0x41);
    let seen = desk.asks(&idevid, &key);
    let [Seen::Stored(Event::Enrolled(serial)), Seen::Certificate(sent)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(serial, sent);
    assert_eq!(desk.row.standing, Standing::Enrolling);
    assert_eq!(desk.asks(&idevid, &key), [Seen::Certificate(serial.clone())], "the answer was lost: the same again");
    assert_eq!(desk.certificates.len(), 1);
}

#[test]
fn a_replayed_enrolment_gets_nothing() {
    let (mut desk, active) = Desk::active();
    let idevid = desk.idevid.clone();
    let row = desk.row.clone();
    for who in [&idevid, &active] {
        let seen = desk.asks(who, &Key::new(0x41));
        assert_eq!(seen, [Seen::Event(Event::Refused(Code::EnrolKeyReused)), Seen::Refused(Code::EnrolKeyReused)]);
    }
    assert_eq!(desk.row, row);
}

#[test]
fn requests_that_are_refused_change_nothing() {
    let (mut desk, active) = Desk::active();
    let key = Key::new(0x42);
    let other = CsrDraft::new(&identity("urn:muster:acme:dev-2"), &key.public());
    let other = other.clone().finish(&key.sign_bytes(other.to_be_signed()));
    let draft = CsrDraft::new(&device(), &key.public());
    let forged = draft.clone().finish(&Key::new(0x43).sign_bytes(draft.to_be_signed()));
    let row = desk.row.clone();
    for (csr, code) in
        [(&other[..], Code::CsrWrongName), (&forged, Code::CsrBadSignature), (&forged[..80], Code::CsrMalformed)]
    {
        let seen = desk.says(&active, &Up::Request { csr });
        assert_eq!(seen, [Seen::Event(Event::Refused(code)), Seen::Refused(code)]);
    }
    let hello = message::encode(&Up::Retire).unwrap();
    for (channel, bytes, code) in [
        (Channel::Enrol, &hello[..], Code::MessageUnexpected),
        (Channel::Control, &[2, 0], Code::MessageVersion),
        (Channel::Control, &[1, 0], Code::MessageMalformed),
        (Channel::Control, &[1; 4000], Code::MessageOversized),
    ] {
        let seen = desk.hears(&active, channel, bytes);
        assert_eq!(seen, [Seen::Event(Event::Refused(code)), Seen::Refused(code)]);
    }
    let idevid = desk.idevid.clone();
    let seen = desk.says(&idevid, &Up::Retire);
    assert_eq!(seen.last(), Some(&Seen::Refused(Code::MessageUnexpected)), "an IDevID does nothing but enrol");
    assert_eq!(desk.row, row);
}

#[test]
fn the_old_certificate_goes_when_the_device_says_that_it_stored_the_new_one() {
    let (mut desk, old) = Desk::active();
    let new = desk.rotated(&old, 0x42);
    assert_eq!(desk.withdrawn[old.serial()], None, "confirmed is not stored");
    assert_eq!(desk.arrives(&old), [Seen::Admit]);
    // The device lost the confirmation and says what it believes.
    desk.hello(&new, Some(old.serial()), Some(new.serial()));
    assert_eq!(desk.withdrawn[old.serial()], None);
    let seen = desk.settles(&new);
    assert_eq!(seen, [Seen::Stored(Event::Superseded(old.serial().clone())), Seen::Welcome(None), Seen::Bundle]);
    assert_eq!(desk.withdrawn[old.serial()], Some(Reason::Superseded));
}

#[test]
fn a_device_that_went_back_to_the_old_one_is_believed_by_whatever_way_it_comes() {
    for by_idevid in [false, true] {
        let (mut desk, old) = Desk::active();
        let new = desk.rotated(&old, 0x42);
        let session = if by_idevid { desk.idevid.clone() } else { old.clone() };
        let seen = desk.hello(&session, Some(old.serial()), None);
        assert_eq!(seen[0], Seen::Stored(Event::RolledBack(old.serial().clone())));
        assert_eq!(desk.withdrawn[new.serial()], Some(Reason::Superseded));
        assert_eq!(desk.withdrawn[old.serial()], None);
        let next = desk.rotated(&session, 0x43);
        assert_eq!(desk.withdrawn[old.serial()], None, "the device still lives on it");
        desk.settles(&next);
        assert_eq!(desk.withdrawn[old.serial()], Some(Reason::Superseded));
    }
}

#[test]
fn only_the_candidates_own_session_confirms_it() {
    let (mut desk, old) = Desk::active();
    let new = desk.issued(&old, 0x42);
    let row = desk.row.clone();
    for (who, serial) in [(&old, new.serial()), (&new, old.serial()), (&desk.idevid.clone(), new.serial())] {
        let seen = desk.says(who, &Up::Confirm { serial: serial.clone() });
        assert_eq!(seen.last(), Some(&Seen::Refused(Code::EnrolWrongConfirmation)));
    }
    assert_eq!(desk.row, row);
    let confirmed = Seen::Confirmed(new.serial().clone());
    let confirm = Up::Confirm { serial: new.serial().clone() };
    assert_eq!(desk.says(&new, &confirm).last(), Some(&confirmed));
    assert_eq!(desk.says(&new, &confirm), [confirmed], "the answer was lost: the same again");
}

#[test]
fn an_order_stands_until_a_certificate_that_is_younger_is_confirmed() {
    let (mut desk, old) = Desk::active();
    let before = desk.issued(&old, 0x42);
    assert_eq!(
        desk.operates(Act::Rotate),
        [Seen::Stored(Event::RotationOrdered(1)), Seen::Rotate(1), Seen::Done(Ok(()))]
    );
    desk.says(&before, &Up::Confirm { serial: before.serial().clone() });
    assert_eq!(desk.settles(&before)[1], Seen::Welcome(Some(1)), "it was issued before the order");
    let after = desk.rotated(&before, 0x43);
    assert_eq!(desk.settles(&after)[1], Seen::Welcome(None));
}

#[test]
fn a_new_key_takes_the_place_of_a_candidate_that_never_came() {
    let (mut desk, old) = Desk::active();
    let first = desk.issued(&old, 0x42);
    let second = desk.issued(&old, 0x43);
    assert_eq!(desk.withdrawn[first.serial()], Some(Reason::Superseded));
    assert_eq!(desk.arrives(&second), [Seen::Admit]);
    assert_eq!(desk.row.standing, Standing::Rotating);
}

#[test]
fn what_cannot_be_issued_or_stored_never_was() {
    for (issuer_fails, store_fails) in [(true, false), (false, true)] {
        let (mut desk, old) = Desk::active();
        (desk.issuer_fails, desk.store_fails) = (issuer_fails, store_fails);
        let row = desk.row.clone();
        assert_eq!(desk.asks(&old, &Key::new(0x42)), [Seen::Refused(Code::Unavailable)]);
        assert_eq!(desk.row, row);
        (desk.issuer_fails, desk.store_fails) = (false, false);
        desk.rotated(&old, 0x42);
    }
}

#[test]
fn certificates_that_were_never_settled_expire_by_themselves() {
    let (mut desk, old) = Desk::active();
    desk.issued(&old, 0x42);
    desk.now = UnixTime(desk.now.0 + 8 * DAY);
    let idevid = desk.idevid.clone();
    let new = desk.issued(&idevid, 0x43);
    assert_eq!(desk.row.candidate.as_ref().map(|candidate| &candidate.serial), Some(new.serial()));
    assert!(desk.withdrawn.values().all(Option::is_none), "nobody withdraws what is dead");
}
