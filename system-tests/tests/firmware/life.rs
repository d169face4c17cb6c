//! A board's whole life, as an operator sees it and as the board says it.

use muster_system_tests::firmware::{EmulatedBoard, Stage};
use muster_system_tests::live::{Device, until};
use serde_json::{Value, json};

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
    let report = until("telemetry", || Ok(stage.world.show(&device)?["telemetry"]["text"].as_str().map(str::to_owned)));
    let report: Value = serde_json::from_str(&report.unwrap()).unwrap();
    assert!(report["memory_total_bytes"] == 98_304 && report["memory_used_bytes"].as_u64() > Some(10_000), "{report}");

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

#[test]
fn a_command_reaches_it_and_its_answer_comes_back() {
    let stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    let command = |words: &[&str]| {
        let whole = [&["device", "command", &device.id], words].concat();
        stage.world.gateway_says(&whole).unwrap()
    };
    let offline = command(&["echo"]);
    assert!(offline.err.contains("device.offline"), "{}", offline.err);
    let mut powered = board.start().unwrap();
    stage.settled(&device, &powered).unwrap();
    // It listens as soon as its session is the one that counts, a moment after the gateway knows.
    let done = until("the device listens", || {
        let said = command(&["echo", "three times"]);
        Ok((!said.err.contains("command.not_heard")).then_some(said))
    })
    .unwrap();
    let answer: Value = serde_json::from_str(&done.done().unwrap().out).unwrap();
    assert_eq!((&answer["outcome"], &answer["result"]), (&json!("done"), &json!("three times")));
    assert_eq!(powered.says("command").unwrap(), "echo three times");
    let failed = command(&["fail", "no lamp"]);
    assert!(failed.code == 1 && failed.err.contains("command.failed") && failed.err.contains("no lamp"), "{failed:?}");
    let unknown = command(&["dance"]);
    assert!(unknown.code == 4 && unknown.err.contains("command.unknown"), "{unknown:?}");
}
