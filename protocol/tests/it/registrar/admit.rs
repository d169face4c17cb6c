//! Who gets a session, and every reason for which nobody does.

use muster_protocol::Code;
use muster_protocol::registrar::{Act, Event, Reason, Standing};

use super::desk::{DEVICE, Desk, Seen, client};
use crate::pki::maker::{Key, NOW, Recipe};

fn refused(desk: &mut Desk, who: &muster_protocol::pki::VerifiedClient) -> Code {
    let row = desk.row.clone();
    let seen = desk.arrives(who);
    let [Seen::Event(Event::Refused(audited)), Seen::Refuse(code)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!(audited, code, "the audit stream says the same");
    assert_eq!(desk.row, row, "nothing changed");
    code
}

#[test]
fn a_device_that_is_expected_is_claimed_by_its_first_arrival() {
    let mut desk = Desk::new();
    let idevid = desk.idevid.clone();
    assert_eq!(desk.arrives(&idevid), [Seen::Stored(Event::Claimed), Seen::Admit]);
    assert_eq!(desk.row.standing, Standing::Claimed);
    assert_eq!(desk.arrives(&idevid), [Seen::Admit], "once");
}

#[test]
fn every_arrival_that_is_refused_has_its_code() {
    let (mut desk, active) = Desk::active();
    let wrong_idevid = Recipe::leaf(DEVICE).signed_by(&Key::new(0x32), &desk.world.factory);
    let wrong_idevid = client(&desk.world, &wrong_idevid, NOW);
    let other = Recipe::leaf("urn:muster:acme:dev-2").signed_by(&Key::new(0x31), &desk.world.factory);
    let other = client(&desk.world, &other, NOW);
    // Signed by our device CA, and nowhere in our books.
    let unbooked = Recipe::client(DEVICE).serial(&[0x66; 16]).signed_by(&Key::new(0x33), &desk.world.device_ca);
    let unbooked = client(&desk.world, &unbooked, NOW);
    assert_eq!(refused(&mut desk, &wrong_idevid), Code::DeviceWrongIdevid);
    assert_eq!(refused(&mut desk, &other), Code::DeviceUnknown);
    assert_eq!(refused(&mut desk, &unbooked), Code::CertificateUnknown);

    let next = desk.rotated(&active, 0x42);
    desk.settles(&next);
    assert_eq!(refused(&mut desk, &active), Code::CertificateSuperseded);
    for (act, code) in [
        (Act::Suspend(None), Code::DeviceSuspended),
        (Act::Revoke(Reason::KeyCompromise), Code::DeviceRevoked),
        (Act::Resume, Code::CertificateRevoked),
        (Act::Retire, Code::DeviceRetired),
    ] {
        desk.operates(act);
        assert_eq!(refused(&mut desk, &next), code, "{act:?}");
    }
    let idevid = desk.idevid.clone();
    assert_eq!(refused(&mut desk, &idevid), Code::DeviceRetired);
}

#[test]
fn an_arrival_that_cannot_be_stored_is_told_to_come_back() {
    let mut desk = Desk::new();
    desk.store_fails = true;
    let idevid = desk.idevid.clone();
    assert_eq!(desk.arrives(&idevid), [Seen::Refuse(Code::Unavailable)]);
    assert_eq!(desk.row.standing, Standing::Expected);
}
