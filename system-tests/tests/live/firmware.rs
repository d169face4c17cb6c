//! The firmware agent on the host board, against the real gateway: the same library as on a microcontroller, with a file
//! for the flash.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process;

use muster_protocol::message::application::Command;
use muster_protocol::message::encode;
use muster_system_tests::live::{Device, Options, Ports, Process, Said, World, until};
use serde_json::{Value, json};

/// A device of the batch, in a flash file of its own.
struct Board {
    device: Device,
    flash: PathBuf,
}

impl Board {
    fn new(world: &World, index: u32) -> Self {
        let device = world.device(index).unwrap();
        let flash = world.path(&format!("{}.flash", device.id));
        let mut provision = world.program("muster-host-board");
        provision.arg("provision").arg(&flash).arg("--identity").arg(&device.identity);
        Said::by(&mut provision).unwrap().done().unwrap();
        Self { device, flash }
    }

    fn run(&self, world: &World, more: &[&str]) -> Process {
        let mut command = world.program("muster-host-board");
        command.arg("run").arg(&self.flash).args(PATIENCE).args(more);
        let log = world.path(&format!("{}.log", self.device.id));
        Process::start(&mut command, &self.device.id, &log).unwrap()
    }

    fn online(&self, world: &World) -> Value {
        until(&format!("{} online and settled", self.device.id), || {
            let shown = world.show(&self.device)?;
            Ok((shown["online"] == true && shown["standing"] == "active").then_some(shown))
        })
        .unwrap_or_else(|error| panic!("{error:#}\n{}", world.log_tail(&format!("{}.log", self.device.id))))
    }
}

/// As the Linux agents of the live world have it.
const PATIENCE: [&str; 12] = [
    "--backoff-millis",
    "100",
    "1000",
    "--operator-backoff-millis",
    "500",
    "1000",
    "--trial-pause-millis",
    "200",
    "--answer-millis-max",
    "5000",
    "--telemetry-secs",
    "1",
];

fn says(process: &mut Process, wanted: &str) {
    process.line(wanted, |line| (line == wanted).then_some(())).unwrap();
}

fn mosquitto(world: &World, program: &str) -> process::Command {
    let mut command = process::Command::new(program);
    command.args(["-V", "5", "-i", "ingest", "-q", "1"]);
    command.args(["-h", "localhost", "-p", &world.ports().unwrap().mqtt.to_string()]);
    command.arg("--cafile").arg(world.path("gateway/ca/gateway-ca.crt"));
    command.arg("--cert").arg(world.path("services/ingest.crt")).arg("--key").arg(world.path("services/ingest.key"));
    command
}

#[test]
fn a_firmware_device_from_factory_to_retired() {
    let world = World::new(Options::default()).unwrap();
    let board = Board::new(&world, 0);
    let device = &board.device;
    let mut agent = board.run(&world, &[]);
    let enrolled = board.online(&world);
    says(&mut agent, "device.state operational");
    until("telemetry", || {
        let text = world.show(device)?["telemetry"]["text"].to_string();
        Ok(text.contains("uptime_secs").then_some(()))
    })
    .unwrap();

    let answer = until("the device listens", || {
        let said = world.gateway_says(&["device", "command", &device.id, "echo", "hello"])?;
        Ok(if said.err.contains("command.not_heard") { None } else { Some(said.done()?.out) })
    })
    .unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!((&answer["outcome"], &answer["result"]), (&json!("done"), &json!("hello")));
    says(&mut agent, "command echo hello");
    // A back-end service with the right to do so speaks the same postcard, byte for byte.
    let (publish, services) = (format!("devices/{}/command", device.id), world.text("services"));
    let subscribe = format!("devices/{}/answer", device.id);
    let issue = ["service", "issue", "ingest", "--publish", &publish, "--subscribe", &subscribe, "--out", &services];
    world.gateway(&issue).unwrap();
    let message = encode(&Command { number: 77, name: "echo", argument: b"again" }).unwrap();
    let file = world.path("command.bin");
    fs::write(&file, &message).unwrap();
    let mut mouth = mosquitto(&world, "mosquitto_pub");
    Said::by(mouth.args(["-t", &publish, "-f", &file.to_string_lossy()])).unwrap().done().unwrap();
    says(&mut agent, "command echo again");

    world.gateway(&["device", "rotate", &device.id]).unwrap();
    let rotated = until("a new certificate, and the old one withdrawn", || {
        let shown = world.show(device)?;
        let superseded = shown["certificates"].to_string().contains("superseded");
        Ok((shown["serial"] != enrolled["serial"] && superseded && shown["standing"] == "active").then_some(shown))
    })
    .unwrap_or_else(|error| panic!("{error:#}\n{}", agent.tail()));
    board.online(&world);

    world.gateway(&["device", "revoke", &device.id, "--reason", "key_compromise", "--yes"]).unwrap();
    until("the session is cut", || Ok((world.show(device)?["online"] == false).then_some(()))).unwrap();
    says(&mut agent, "device.refused device.revoked");
    world.gateway(&["device", "resume", &device.id]).unwrap();
    assert_ne!(board.online(&world)["serial"], rotated["serial"], "a revoked certificate never comes back");

    agent.signal("USR2").unwrap();
    world.wait_standing(device, "retired").unwrap();
    says(&mut agent, "retired");
    world.gateway(&["audit", "verify"]).unwrap();
}

#[test]
fn clocks_of_all_ages_and_a_gateway_that_comes_and_goes() {
    let mut world = World::new(Options { devices: 4, ..Options::default() }).unwrap();
    // 1970, 2038, 2106, and none at all.
    let clocks: [&[&str]; 4] =
        [&["--date", "0"], &["--date", "2147483648"], &["--date", "4294967296"], &["--no-clock"]];
    let boards: Vec<Board> = (0..4).map(|index| Board::new(&world, index)).collect();
    let mut agents: Vec<Process> = boards.iter().zip(clocks).map(|(board, clock)| board.run(&world, clock)).collect();
    // One that is far ahead finds the gateway's certificate expired, doubts itself, and goes by the floor.
    for agent in &mut agents[1..3] {
        says(agent, "gateway.refused certificate.expired");
    }
    for board in &boards {
        board.online(&world);
    }
    world.kill_gateway().unwrap();
    // Ten years either way while the device is off.
    for (index, clock) in
        [["--date", "1478000000"], ["--date", "1779000000"], ["--date", "0"], ["--date", "1"]].iter().enumerate()
    {
        agents.remove(index).kill().unwrap();
        agents.insert(index, boards[index].run(&world, clock));
    }
    for agent in &mut agents {
        says(agent, "session.closed unreachable");
    }
    world.start_gateway().unwrap();
    for board in &boards {
        board.online(&world);
    }
}

#[test]
fn power_cuts_at_any_flash_step_strand_nobody() {
    let world = World::new(Options::default()).unwrap();
    let board = Board::new(&world, 0);
    // A rotation takes several hundred steps of the flash: fifty points of it.
    let mut cuts = 0;
    for steps in (1..400_u64).step_by(8) {
        let mut agent = board.run(&world, &["--cut-after", &steps.to_string()]);
        let _ = world.gateway_says(&["device", "rotate", &board.device.id]);
        // It dies in the middle of a write; or it comes to the end of what it had to write, and is killed there.
        let mut is_confirming = false;
        let settled = agent.line("operational again, or its end", |line| {
            is_confirming |= line == "device.state confirming";
            (is_confirming && line == "device.state operational").then_some(())
        });
        cuts += usize::from(settled.is_err() && !agent.is_running().unwrap());
    }
    assert!(cuts > 15, "only {cuts} cuts");
    let _agent = board.run(&world, &[]);
    board.online(&world);
    world.gateway(&["audit", "verify"]).unwrap();
}

/// What comes of `word` next, and the board's own time of it, in milliseconds.
fn said_at(process: &mut Process, word: &str) -> (String, u64) {
    let mut uptime = 0;
    let said = process.line(word, |line| {
        if let Some(millis) = line.strip_prefix("measured.uptime_millis ") {
            uptime = millis.parse().unwrap();
        }
        Some(line.strip_prefix(word)?.trim_start().to_owned())
    });
    (said.unwrap(), uptime)
}

#[test]
fn while_no_name_resolves_it_backs_off_and_then_it_comes() {
    let world = World::new(Options { names: vec!["localhost"], ..Options::default() }).unwrap();
    let board = Board::new(&world, 0);
    let names = world.path("names");
    fs::write(&names, "127.0.0.1 somebody-else\n").unwrap();
    let mut agent = board.run(&world, &["--names", &names.display().to_string()]);
    for failures in 0..8 {
        let (closed, closed_at) = said_at(&mut agent, "session.closed");
        assert_eq!(closed, "unreachable");
        let (_, dialled_at) = said_at(&mut agent, "session.dialling");
        // As PATIENCE says; late by what the host is busy with, early never.
        let (wait, whole) = (dialled_at - closed_at, (100_u64 << failures).min(1_000));
        assert!((whole / 2..whole + 2_000).contains(&wait), "wait {failures} of {whole} ms: {wait}");
    }
    fs::write(&names, "127.0.0.1 localhost\n").unwrap();
    board.online(&world);
}

/// The gateway CA is replaced while the device sleeps: nothing that the device trusts is left but the fleet's signature.
#[test]
fn a_device_that_slept_through_a_new_gateway_ca_catches_up() {
    let listeners = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [mqtt, https] = [0, 1].map(|index: usize| listeners[index].local_addr().unwrap().port());
    drop(listeners);
    let options = Options { names: vec!["localhost"], ports: Some(Ports { mqtt, https }), ..Options::default() };
    let mut world = World::new(options).unwrap();
    let board = Board::new(&world, 0);
    let agent = board.run(&world, &[]);
    let serial = board.online(&world)["serial"].clone();
    agent.kill().unwrap();
    world.replace_gateway_ca().unwrap();
    let mut agent = board.run(&world, &[]);
    says(&mut agent, "gateway.refused certificate.untrusted");
    says(&mut agent, "bundle.in_force 2");
    assert_eq!(board.online(&world)["serial"], serial);
    agent.kill().unwrap();
    let mut agent = board.run(&world, &[]);
    says(&mut agent, "session.opened a");
    board.online(&world);
}
