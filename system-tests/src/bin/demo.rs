//! `cargo xtask demo`: a device's whole life on real parts, as a timeline.
//!
//! A factory PKI, a batch of devices and their signed manifest, a gateway with its embedded database, Linux agents as
//! processes: enrolment, telemetry, rotation over the air, suspension, revocation, and a device whose certificate
//! expired while it was off. Every step is done with the programs that a user has, and waits for what an operator sees.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use clap::Parser;
use muster_system_tests::live::{Device, Options, Process, World, until};
use serde_json::Value;

/// A device's whole life, on real parts
#[derive(Debug, Parser)]
struct Arguments {
    /// Leave the folder with everything in it
    #[arg(long)]
    keep: bool,
    /// Where the programs lie; beside this one when absent
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

const DEVICES: u32 = 5;

fn main() -> ExitCode {
    match demo(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The timeline: what happens, when it began and how long it took.
struct Timeline {
    start: Instant,
}

impl Timeline {
    fn step<T>(&self, what: &str, act: impl FnOnce() -> Result<(T, String)>) -> Result<T> {
        let at = self.start.elapsed();
        let begun = Instant::now();
        let (value, note) = act().with_context(|| what.to_owned())?;
        say(&format!(
            "{:>7}  {:>8}  {what}{}{note}",
            seconds(at),
            took(begun.elapsed()),
            if note.is_empty() { "" } else { "  " }
        ));
        Ok(value)
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

fn took(time: Duration) -> String {
    if time < Duration::from_secs(1) { format!("{} ms", time.as_millis()) } else { seconds(time) }
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn demo(arguments: &Arguments) -> Result<()> {
    let timeline = Timeline { start: Instant::now() };
    say("     at      took  what happened");
    let mut world =
        World::empty(Options { devices: DEVICES, bin_dir: arguments.bin_dir.clone(), ..Options::default() })?;
    timeline.step("factory: root and issuing CA", || Ok((world.init_factory()?, String::new())))?;
    timeline.step("gateway: device CA, gateway CA, operator CA, fleet root, database", || {
        Ok((world.init_gateway()?, String::new()))
    })?;
    let ports = timeline.step("gateway: running", || {
        let ports = world.start_gateway()?;
        Ok((ports, format!("MQTT {}, HTTPS {}", ports.mqtt, ports.https)))
    })?;
    timeline.step("factory: a batch of devices with their identities, a signed manifest", || {
        world.gateway(&["factory-ca", "add", &world.text("pki/factory-ca.crt")])?;
        Ok((world.make_batch()?, format!("{DEVICES} devices")))
    })?;
    timeline.step("gateway: manifest imported", || {
        Ok((world.gateway(&["manifest", "import", &world.text("batch/manifest.muster")])?, String::new()))
    })?;

    let devices = (0..DEVICES).map(|index| world.device(index)).collect::<Result<Vec<_>>>()?;
    let (sleeper, rest) = devices.split_last().context("no devices")?;
    let asleep = enrol_for_a_short_life(&mut world, &timeline, sleeper)?;
    let _agents = enrol(&world, &timeline, rest)?;
    rotate(&world, &timeline, &rest[0])?;
    suspend(&world, &timeline, &rest[1])?;
    revoke(&world, &timeline, &rest[2])?;
    let _back = comes_back(&world, &timeline, sleeper, &asleep)?;
    timeline.step("gateway: the audit chain holds", || {
        let verified = world.gateway(&["audit", "verify"])?;
        Ok(((), format!("{} records", verified["records"])))
    })?;
    timeline.step("operator: a certificate for the console", || {
        let out = world.text("operators");
        Ok((world.gateway(&["operator", "issue", "ada", "--role", "admin", "--out", &out])?, String::new()))
    })?;
    let took = seconds(timeline.start.elapsed());
    say(&format!("\nA device was made, enrolled, used, rotated, cut off and recovered in {took}."));
    world.stop_gateway()?;
    next(world, arguments.keep, ports);
    Ok(())
}

fn active(world: &World, device: &Device, other_than: Option<&Value>) -> Result<Value> {
    until(&format!("{} active", device.id), || {
        let shown = world.show(device)?;
        let there = shown["standing"] == "active" && shown["online"] == true && other_than != Some(&shown["serial"]);
        Ok(there.then_some(shown))
    })
    .with_context(|| world.log_tail(&format!("{}.log", device.id)))
}

fn offline(world: &World, device: &Device) -> Result<()> {
    until(&format!("{} cut off", device.id), || Ok((world.show(device)?["online"] == false).then_some(())))
}

/// Enrols a device for a few seconds and switches it off; its serial comes back.
fn enrol_for_a_short_life(world: &mut World, timeline: &Timeline, device: &Device) -> Result<Value> {
    timeline.step("one device enrols for five seconds only, and is switched off", || {
        world.reload_gateway("device_secs", "5")?;
        let agent = world.start_agent(device)?;
        let shown = active(world, device, None)?;
        agent.kill()?;
        world.reload_gateway("device_secs", "604800")?;
        Ok((shown["serial"].clone(), device.id.clone()))
    })
}

fn enrol(world: &World, timeline: &Timeline, devices: &[Device]) -> Result<Vec<Process>> {
    let agents = timeline.step("devices enrol: key made, CSR, certificate, trial, confirmation", || {
        let agents = devices.iter().map(|device| world.start_agent(device)).collect::<Result<Vec<_>>>()?;
        for device in devices {
            active(world, device, None)?;
        }
        Ok((agents, format!("{} agents", devices.len())))
    })?;
    timeline.step("telemetry over mutual TLS", || {
        let text =
            until("telemetry", || Ok(world.show(&devices[0])?["telemetry"]["text"].as_str().map(str::to_owned)))?;
        Ok(((), text))
    })?;
    Ok(agents)
}

fn rotate(world: &World, timeline: &Timeline, device: &Device) -> Result<()> {
    let before = world.show(device)?["serial"].clone();
    timeline.step("operator: rotate; a new key, the old certificate withdrawn", || {
        world.gateway(&["device", "rotate", &device.id])?;
        until("the old certificate withdrawn", || {
            let shown = world.show(device)?;
            let done = shown["serial"] != before && shown["certificates"].to_string().contains("superseded");
            Ok(done.then_some(()))
        })?;
        Ok(((), device.id.clone()))
    })
}

fn suspend(world: &World, timeline: &Timeline, device: &Device) -> Result<()> {
    timeline.step("operator: suspend; the session is cut", || {
        world.gateway(&["device", "suspend", &device.id])?;
        Ok((offline(world, device)?, device.id.clone()))
    })?;
    timeline.step("operator: resume; the device is back under the same certificate", || {
        world.gateway(&["device", "resume", &device.id])?;
        active(world, device, None)?;
        Ok(((), device.id.clone()))
    })
}

fn revoke(world: &World, timeline: &Timeline, device: &Device) -> Result<()> {
    timeline.step("operator: revoke for key compromise; the session drops", || {
        world.gateway(&["device", "revoke", &device.id, "--reason", "key_compromise", "--yes"])?;
        Ok((offline(world, device)?, device.id.clone()))
    })?;
    timeline.step("the device hears why, and stays out", || {
        until("the device hears why", || {
            Ok(world.agent_status(device)?.to_string().contains("device.revoked").then_some(()))
        })?;
        Ok(((), "device.revoked".to_owned()))
    })
}

fn comes_back(world: &World, timeline: &Timeline, device: &Device, serial: &Value) -> Result<Process> {
    timeline.step("the device that was off: its certificate is expired", || {
        until("expired", || {
            let shown = world.show(device)?;
            let mut all = shown["certificates"].as_array().into_iter().flatten();
            Ok(all.any(|one| one["part"] == "current" && one["status"] == "expired").then_some(()))
        })?;
        Ok(((), device.id.clone()))
    })?;
    timeline.step("it is switched on and comes back by itself, by its IDevID", || {
        let agent = world.start_agent(device)?;
        active(world, device, Some(serial))?;
        Ok((agent, device.id.clone()))
    })
}

fn next(world: World, keep: bool, ports: muster_system_tests::live::Ports) {
    if !keep {
        say("Nothing is left behind. To look around, run it again with --keep.");
        return;
    }
    let programs = world.bin_dir().display().to_string();
    let root = world.keep();
    let root = root.display();
    say(&format!(
        "\nEverything is in {root}. To go on:\n\
         \x20 {programs}/muster-gateway run --dir {root}/gateway --mqtt-listen 127.0.0.1:{} --https-listen 127.0.0.1:{}\n\
         \x20 {programs}/muster-gateway device list --dir {root}/gateway\n\
         \x20 {programs}/muster-agent run --config {root}/lamp-000001.toml\n\
         \x20 {programs}/muster-gateway audit tail --dir {root}/gateway\n\
         The console: https://localhost:{}/ with the certificate {root}/operators/ada.crt and its key.\n\
         The folder is yours to remove.",
        ports.mqtt, ports.https, ports.https
    ));
}
