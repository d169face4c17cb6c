//! A board's whole life, as an operator sees it and as the board says it.

use std::process::Command;

use muster_system_tests::firmware::{EmulatedBoard, Stage};
use muster_system_tests::live::{Device, Process, Said, until};

/// Waits until the board says that it is refused, and why.
fn refused_with(board: &mut EmulatedBoard, code: &str) {
    loop {
        if board.says("device.refused").unwrap_or_else(|error| panic!("{code}: {error:#}")) == code {
            return;
        }
    }
}

fn offline(stage: &Stage, device: &Device) {
    until("the session is cut", || Ok((stage.world.show(device)?["online"] == false).then_some(()))).unwrap();
}

#[test]
fn from_first_power_on_to_revoked() {
    let stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    assert_eq!(stage.world.show(&device).unwrap()["standing"], "expected");

    let mut powered = board.start().unwrap();
    assert_eq!(powered.says("session.opened").unwrap(), "idevid", "enrols by the factory's identity");
    let enrolled = stage.settled(&device, &powered).unwrap();
    until("telemetry", || Ok(stage.world.show(&device)?["telemetry"]["text"].is_string().then_some(()))).unwrap();

    let rotated = stage.rotate(&device, &powered).unwrap();
    assert_ne!(rotated["serial"], enrolled["serial"]);
    stage.settled(&device, &powered).unwrap();

    // The certificate and its key outlive the power.
    powered.cut_power().unwrap();
    offline(&stage, &device);
    let mut powered = board.start().unwrap();
    let again = stage.settled(&device, &powered).unwrap();
    assert_eq!(again["serial"], rotated["serial"], "the same certificate after a power cut");

    stage.world.gateway(&["device", "suspend", &device.id]).unwrap();
    refused_with(&mut powered, "device.suspended");
    offline(&stage, &device);
    stage.world.gateway(&["device", "resume", &device.id]).unwrap();
    assert_eq!(stage.settled(&device, &powered).unwrap()["serial"], rotated["serial"]);

    stage.world.gateway(&["device", "revoke", &device.id, "--reason", "key_compromise", "--yes"]).unwrap();
    refused_with(&mut powered, "device.revoked");
    offline(&stage, &device);
    stage.world.gateway(&["audit", "verify"]).unwrap();
}

/// A client of somebody else's, connected as the service `name`.
fn service(stage: &Stage, program: &str, name: &str) -> Command {
    let world = &stage.world;
    let issue = ["service", "issue", name, "--publish", "devices/+/cmd/+", "--subscribe", "devices/+/answer/+"];
    world.gateway(&[&issue[..], &["--out", &world.text("services")]].concat()).unwrap();
    // Into a pipe it would keep its lines to itself until it ends.
    let mut command = Command::new("stdbuf");
    let port = world.ports().unwrap().mqtt.to_string();
    command.args(["-oL", program, "-V", "5", "-i", name, "-q", "1", "-h", "127.0.0.1", "-p", &port]);
    // The gateway's certificate is for the address that the board dials.
    command.arg("--insecure").arg("--cafile").arg(world.path("gateway/ca/gateway-ca.crt"));
    let credential = world.path("services").join(name);
    command.arg("--cert").arg(credential.with_extension("crt")).arg("--key").arg(credential.with_extension("key"));
    command
}

#[test]
fn a_command_reaches_it_and_its_answer_comes_back() {
    let stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    let mut powered = board.start().unwrap();
    stage.settled(&device, &powered).unwrap();
    let mut ears = service(&stage, "mosquitto_sub", "ears");
    ears.args(["-t", &format!("devices/{}/answer/+", device.id), "-C", "1", "-d", "-v"]);
    let mut ears = Process::start(&mut ears, "mosquitto_sub", &stage.world.path("ears.log")).unwrap();
    ears.line("subscribed", |line| line.contains("SUBACK").then_some(())).unwrap();
    let mut mouth = service(&stage, "mosquitto_pub", "mouth");
    mouth.args(["-t", &format!("devices/{}/cmd/blink", device.id), "-m", "three times"]);
    Said::by(&mut mouth).unwrap().done().unwrap();
    assert_eq!(powered.says("command").unwrap(), "blink three times");
    let answer = format!("devices/{}/answer/blink three times", device.id);
    ears.line("the answer", |line| (line == answer).then_some(())).unwrap();
}
