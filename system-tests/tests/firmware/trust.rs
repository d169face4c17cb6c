//! The gateway's CA is replaced while the board sleeps: it knows no gateway any more, finds the newest trust bundle at the
//! open address, and is operational again, with the certificate that it had.

use muster_system_tests::firmware::Stage;

#[test]
fn a_board_that_slept_through_a_new_gateway_ca_catches_up() {
    let mut stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    let powered = board.start().unwrap();
    let serial = stage.settled(&device, &powered).unwrap()["serial"].clone();
    powered.cut_power().unwrap();

    stage.world.replace_gateway_ca().unwrap();
    let mut powered = board.start().unwrap();
    assert_eq!(powered.says("gateway.refused").unwrap(), "certificate.untrusted");
    assert_eq!(powered.says("bundle.in_force").unwrap(), "2");
    assert_eq!(stage.settled(&device, &powered).unwrap()["serial"], serial);

    // It is kept: the next start asks nobody.
    powered.cut_power().unwrap();
    let mut powered = board.start().unwrap();
    let (word, _) = powered.says_one_of(&["session.opened", "gateway.refused"]).unwrap();
    assert_eq!(word, "session.opened");
    stage.settled(&device, &powered).unwrap();
}

/// Whoever never had the old gateway, neither: the bundle that the factory wrote is as old.
#[test]
fn a_board_that_the_factory_made_before_a_new_gateway_ca_enrols() {
    let mut stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    stage.world.replace_gateway_ca().unwrap();
    let mut powered = board.start().unwrap();
    assert_eq!(powered.says("bundle.in_force").unwrap(), "2");
    stage.settled(&device, &powered).unwrap();
}
