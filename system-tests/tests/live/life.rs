//! A device's whole life, as an operator sees it and as the device does.

use std::time::{Duration, Instant};

use muster_system_tests::live::{Device, Options, World, until};
use serde_json::Value;

/// From an operator's act to the end of the session.
const CUT_MAX: Duration = Duration::from_secs(1);

fn online(world: &World, device: &Device) -> Value {
    until(&format!("{} online and settled", device.id), || {
        let shown = world.show(device)?;
        Ok((shown["online"] == true && shown["standing"] == "active").then_some(shown))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", world.log_tail(&format!("{}.log", device.id))))
}

/// How long after `act` the device has no session any more.
fn cut_by(world: &World, device: &Device, act: &[&str]) -> Duration {
    let arguments = [&act[..2], &[&device.id], &act[2..]].concat();
    let start = Instant::now();
    world.gateway(&arguments).unwrap();
    until("the session is cut", || Ok((world.show(device)?["online"] == false).then_some(()))).unwrap();
    start.elapsed()
}

fn refused_with(world: &World, device: &Device, code: &str) {
    until(&format!("the device hears {code}"), || {
        let status = world.agent_status(device)?;
        Ok(status.to_string().contains(&format!("\"{code}\"")).then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", world.log_tail(&format!("{}.log", device.id))));
    until("an audit record of the refusal", || {
        let shown = world.show(device)?;
        Ok(shown["refusals"].to_string().contains(code).then_some(()))
    })
    .unwrap();
}

#[test]
fn from_factory_to_retired() {
    let world = World::new(Options::default()).unwrap();
    let device = world.device(0).unwrap();
    assert_eq!(world.show(&device).unwrap()["standing"], "expected");

    let _agent = world.start_agent(&device).unwrap();
    let enrolled = online(&world, &device);
    until("telemetry", || Ok(world.show(&device)?["telemetry"]["text"].is_string().then_some(()))).unwrap();

    world.gateway(&["device", "rotate", &device.id]).unwrap();
    let rotated = until("a new certificate, and the old one withdrawn", || {
        let shown = world.show(&device)?;
        let superseded = shown["certificates"].to_string().contains("superseded");
        Ok((shown["serial"] != enrolled["serial"] && superseded && shown["standing"] == "active").then_some(shown))
    })
    .unwrap();
    assert!(rotated["ordered_rotation"].is_null(), "the order is done: {rotated}");

    online(&world, &device);
    assert!(cut_by(&world, &device, &["device", "suspend"]) < CUT_MAX);
    refused_with(&world, &device, "device.suspended");
    world.gateway(&["device", "resume", &device.id]).unwrap();
    assert_eq!(online(&world, &device)["serial"], rotated["serial"], "suspension takes nothing away");

    assert!(cut_by(&world, &device, &["device", "revoke", "--reason", "key_compromise", "--yes"]) < CUT_MAX);
    refused_with(&world, &device, "device.revoked");
    world.gateway(&["device", "resume", &device.id]).unwrap();
    let anew = online(&world, &device);
    assert_ne!(anew["serial"], rotated["serial"], "a revoked certificate never comes back");

    assert!(cut_by(&world, &device, &["device", "retire", "--yes"]) < CUT_MAX);
    refused_with(&world, &device, "device.retired");
    let said = world.gateway_says(&["device", "resume", &device.id]).unwrap();
    assert_eq!((said.code, said.err.contains("device.retired")), (3, true), "{said:?}");
    assert_eq!(world.gateway_says(&["device", "show", "nobody"]).unwrap().code, 4);

    world.gateway(&["audit", "verify"]).unwrap();
}

#[test]
fn an_expired_device_comes_back_by_itself() {
    let mut world = World::new(Options::default()).unwrap();
    let device = world.device(0).unwrap();
    world.reload_gateway("device_secs", "5").unwrap();
    let agent = world.start_agent(&device).unwrap();
    let first = online(&world, &device);
    agent.kill().unwrap();
    world.reload_gateway("device_secs", "604800").unwrap();
    until("the certificate has expired", || {
        let shown = world.show(&device)?;
        let current = shown["certificates"].as_array().and_then(|all| all.iter().find(|one| one["part"] == "current"));
        Ok(current.is_some_and(|one| one["status"] == "expired").then_some(()))
    })
    .unwrap();

    let _agent = world.start_agent(&device).unwrap();
    until("a new certificate", || {
        let shown = world.show(&device)?;
        Ok((shown["serial"] != first["serial"] && shown["online"] == true && shown["standing"] == "active")
            .then_some(()))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", world.log_tail(&format!("{}.log", device.id))));
}

#[test]
fn the_device_retires_itself() {
    let world = World::new(Options::default()).unwrap();
    let device = world.device(0).unwrap();
    let _agent = world.start_agent(&device).unwrap();
    online(&world, &device);
    let mut retire = world.program("muster-agent");
    retire.args(["retire", "--yes", "--config"]).arg(&device.config);
    muster_system_tests::live::Said::by(&mut retire).unwrap().done().unwrap();
    world.wait_standing(&device, "retired").unwrap();
    let status = world.agent_status(&device).unwrap();
    assert_eq!(status["state"], "retired", "{status}");
}
