//! A blank board on the factory's bench: made a device over its serial line, and then it lives as one.

use muster_system_tests::firmware::{EmulatedBoard, Serial, Stage};
use muster_system_tests::live::{Device, Said};

fn station(stage: &Stage, board: Serial) -> Said {
    let Serial::Tcp(port) = board else { panic!("no serial line") };
    let (link, world) = (format!("tcp:127.0.0.1:{port}"), &stage.world);
    let (pki, out, fleet) = (world.text("pki"), world.text("station"), world.text("gateway/fleet.muster"));
    let arguments = [
        "station",
        "--link",
        &link,
        "--pki",
        &pki,
        "--out",
        &out,
        "--product",
        "lamp",
        "--lot",
        "qemu",
        "--fleet",
        &fleet,
    ];
    world.provision(&arguments).unwrap()
}

fn device_named(stage: &Stage, id: &str) -> Device {
    Device { id: id.to_owned(), ..stage.world.device(0).unwrap() }
}

fn wait_factory(powered: &mut EmulatedBoard) {
    powered.says("factory.ready").unwrap();
}

#[test]
fn a_blank_board_becomes_a_device_that_enrols() {
    let stage = Stage::new(1).unwrap();
    let mut board = stage.blank_board("blank");
    board.serial = Serial::any_port().unwrap();
    let mut powered = board.start().unwrap();
    wait_factory(&mut powered);
    let said = station(&stage, board.serial).done().unwrap();
    // The manifest is the factory's word for it; the board has restarted by itself and tries to enrol meanwhile.
    stage.world.gateway(&["manifest", "import", &stage.world.text("station/manifest.muster")]).unwrap();
    let listed = stage.world.gateway(&["device", "list"]).unwrap();
    let ids = listed["items"].as_array().unwrap().iter().filter_map(|item| item["id"].as_str());
    let made = ids.filter(|id| id.contains("qemu")).collect::<Vec<_>>();
    assert_eq!(made.len(), 1, "{said:?} {listed}");
    let device = device_named(&stage, made[0]);
    stage.settled(&device, &powered).unwrap();

    // Once made it stays what it is.
    let again = station(&stage, board.serial);
    assert_eq!((again.code, again.err.contains("already")), (3, true), "{again:?}");
    powered.cut_power().unwrap();
}
