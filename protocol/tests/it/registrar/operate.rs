//! What operators do, in every standing, and what becomes of a live session.

use muster_protocol::Code;
use muster_protocol::message::Up;
use muster_protocol::registrar::{Act, Event, Reason, Standing};

use super::desk::{Desk, Seen};

fn desk_at(standing: Standing) -> Desk {
    let mut desk = Desk::new();
    let idevid = desk.idevid.clone();
    if standing == Standing::Expected {
        return desk;
    }
    desk.arrives(&idevid);
    if standing == Standing::Enrolling {
        desk.issued(&idevid, 0x41);
    }
    if matches!(standing, Standing::Claimed | Standing::Enrolling) {
        return desk;
    }
    let (mut desk, active) = Desk::active();
    match standing {
        Standing::Rotating => drop(desk.issued(&active, 0x42)),
        Standing::Suspended => drop(desk.operates(Act::Suspend(Some(Reason::PrivilegeWithdrawn)))),
        Standing::Revoked => drop(desk.operates(Act::Revoke(Reason::KeyCompromise))),
        Standing::Retired => drop(desk.operates(Act::Retire)),
        _ => {}
    }
    desk
}

#[test]
fn every_act_in_every_standing() {
    use Standing::{Active, Claimed, Enrolling, Expected, Retired, Revoked, Rotating, Suspended};
    let (suspend, revoke) = (Act::Suspend(None), Act::Revoke(Reason::Unspecified));
    let (state, out, gone) = (Err(Code::DeviceState), Err(Code::DeviceRevoked), Err(Code::DeviceRetired));
    for (standing, rotate, suspended, resumed, revoked, retired) in [
        (Expected, state, Ok(Suspended), Ok(Expected), Ok(Revoked), Ok(Retired)),
        (Claimed, state, Ok(Suspended), Ok(Claimed), Ok(Revoked), Ok(Retired)),
        (Enrolling, Ok(Enrolling), Ok(Suspended), Ok(Enrolling), Ok(Revoked), Ok(Retired)),
        (Active, Ok(Active), Ok(Suspended), Ok(Active), Ok(Revoked), Ok(Retired)),
        (Rotating, Ok(Rotating), Ok(Suspended), Ok(Rotating), Ok(Revoked), Ok(Retired)),
        (Suspended, Err(Code::DeviceSuspended), Ok(Suspended), Ok(Active), Ok(Revoked), Ok(Retired)),
        (Revoked, out, out, Ok(Claimed), Ok(Revoked), Ok(Retired)),
        (Retired, gone, gone, gone, gone, Ok(Retired)),
    ] {
        for (act, expected) in [
            (Act::Rotate, rotate),
            (suspend, suspended),
            (Act::Resume, resumed),
            (revoke, revoked),
            (Act::Retire, retired),
        ] {
            let mut desk = desk_at(standing);
            let before = desk.row.clone();
            let seen = desk.operates(act);
            assert_eq!(seen.last(), Some(&Seen::Done(expected.map(|_| ()))), "{act:?} when {standing:?}");
            assert_eq!(desk.row.standing, expected.unwrap_or(standing), "{act:?} when {standing:?}");
            assert!(expected.is_ok() || desk.row == before, "{act:?} when {standing:?} changed the row");
        }
    }
}

#[test]
fn every_act_that_keeps_out_is_stored_and_then_cuts() {
    for (act, event, code) in [
        (Act::Suspend(None), Event::Suspended, Code::DeviceSuspended),
        (Act::Revoke(Reason::KeyCompromise), Event::Revoked(Reason::KeyCompromise), Code::DeviceRevoked),
        (Act::Retire, Event::Retired, Code::DeviceRetired),
    ] {
        let (mut desk, _) = Desk::active();
        assert_eq!(desk.operates(act), [Seen::Stored(event), Seen::Cut(code), Seen::Done(Ok(()))]);
    }
}

#[test]
fn suspension_leaves_certificates_as_they_are_and_revocation_withdraws_every_one() {
    let (mut desk, active) = Desk::active();
    let candidate = desk.issued(&active, 0x42);
    desk.operates(Act::Suspend(None));
    desk.operates(Act::Resume);
    assert_eq!(desk.arrives(&active), [Seen::Admit]);
    assert_eq!(desk.arrives(&candidate), [Seen::Admit]);
    desk.operates(Act::Revoke(Reason::KeyCompromise));
    for client in [&active, &candidate] {
        assert_eq!(desk.withdrawn[client.serial()], Some(Reason::KeyCompromise));
    }
    let idevid = desk.idevid.clone();
    assert_eq!(desk.arrives(&idevid).last(), Some(&Seen::Refuse(Code::DeviceRevoked)), "enrolment included");
    desk.operates(Act::Resume);
    assert_eq!(desk.arrives(&idevid), [Seen::Admit]);
    desk.rotated(&idevid, 0x43);
}

#[test]
fn a_message_of_a_device_that_is_kept_out_ends_its_session() {
    let (mut desk, active) = Desk::active();
    desk.operates(Act::Suspend(None));
    let seen = desk.settles(&active);
    assert_eq!(seen.last(), Some(&Seen::Cut(Code::DeviceSuspended)), "{seen:?}");
    assert!(seen.contains(&Seen::Refused(Code::DeviceSuspended)));
}

#[test]
fn a_device_that_retires_itself_is_answered_and_cut() {
    let (mut desk, active) = Desk::active();
    let seen = desk.says(&active, &Up::Retire);
    assert_eq!(seen, [Seen::Stored(Event::Retired), Seen::Retired, Seen::Cut(Code::DeviceRetired)]);
    assert_eq!(desk.row.standing, Standing::Retired);
    assert_eq!(desk.withdrawn[active.serial()], Some(Reason::CessationOfOperation));
}

#[test]
fn an_act_that_cannot_be_stored_did_not_happen() {
    let (mut desk, _) = Desk::active();
    desk.store_fails = true;
    for act in [Act::Rotate, Act::Suspend(None), Act::Revoke(Reason::Unspecified), Act::Retire] {
        let before = desk.row.clone();
        assert_eq!(desk.operates(act), [Seen::Done(Err(Code::Unavailable))], "nobody is cut for it");
        assert_eq!(desk.row, before);
    }
}
