//! `bench-gateway`: what the gateway costs, beside mosquitto and a bare TLS server on the same machine in the same run.
//!
//! All servers are processes of their own on loopback, with the same certificates, TLS 1.3 only, client certificates
//! demanded, logging as they do by default. The clients are in this process and count for nobody: what is measured is the
//! processor time and the memory of the server processes. The bare server does TLS and answers CONNECT, nothing else; it
//! says what the machine is worth at the moment.
//!
//! | file | one idea |
//! |---|---|
//! | `process` | processor time and memory of a process |
//! | `client` | a lean MQTT 5 client over mutual TLS |
//! | `peer`, `bare` | the servers |
//! | `connect`, `idle`, `fan_in` | what every server is measured by |
//! | `fleet` | what only Muster does: enrolment, rotation, revocation |
//! | `report` | figures as JSON and as a table, against the goals |

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::{Args, Parser, Subcommand};
use serde_json::{Value, json};

mod bare;
mod client;
mod connect;
mod fan_in;
mod fleet;
mod idle;
mod peer;
mod process;
mod report;

/// What the gateway costs, beside mosquitto and a bare TLS server
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(flatten)]
    measure: Measure,
    #[command(subcommand)]
    part: Option<Part>,
}

#[derive(Args, Debug)]
struct Measure {
    /// Write the figures to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Fewer devices and rounds: a look, no measurement
    #[arg(long)]
    quick: bool,
    /// Where the programs lie; beside this one when absent
    #[arg(long, value_name = "DIR")]
    bin_dir: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The bare server; started by the measurement
    #[command(hide = true)]
    Bare(bare::Bare),
}

/// How much is measured.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Devices that are made and enrolled, and sessions that are held.
    devices: u32,
    rotations: u32,
    revocations: u32,
    rounds: usize,
    /// Connections in a round.
    connections: usize,
    publishers: usize,
    /// Messages of each publisher in a round.
    messages: u32,
}

const FULL: Size = Size {
    devices: 2000,
    rotations: 300,
    revocations: 300,
    rounds: 5,
    connections: 600,
    publishers: 50,
    messages: 400,
};
const QUICK: Size =
    Size { devices: 300, rotations: 50, revocations: 50, rounds: 2, connections: 300, publishers: 50, messages: 100 };

fn main() -> ExitCode {
    let arguments = CommandLine::parse();
    let outcome = match &arguments.part {
        Some(Part::Bare(bare)) => bare.run(),
        None => measure(&arguments.measure),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn measure(arguments: &Measure) -> Result<()> {
    let size = if arguments.quick { QUICK } else { FULL };
    let files = muster_gateway::limit::raise_open_files(u64::from(size.devices) + 1000);
    anyhow::ensure!(files > u64::from(size.devices) + 200, "this process may open {files} files only; raise ulimit -n");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let load_before = process::load()?;

    note("a factory, a gateway, devices");
    let mut fleet = fleet::Fleet::make(size, arguments.bin_dir.clone())?;
    note("enrolments");
    let enrolment = fleet.enrol()?;
    note("rotations");
    let rotation = fleet.rotate()?;

    // Every server starts afresh, so that no memory of what was before counts.
    let peers = peer::Peers::start(&mut fleet)?;
    let dialer = client::Dialer::new(fleet.gateway_ca()?, fleet.credentials()?);
    let mut servers = serde_json::Map::new();
    for peer in peers.all() {
        note(&format!("{}: idle sessions", peer.name));
        let held = runtime.block_on(idle::measure(peer, &dialer))?;
        servers.insert(peer.name.to_owned(), json!({ "version": peer.version, "idle": held }));
    }
    note("handshakes with CONNECT");
    for (name, figures) in runtime.block_on(connect::measure(&peers.all(), &dialer, size))? {
        servers[&name]["connect"] = figures;
    }
    note("QoS 1 under fan-in");
    for (name, figures) in runtime.block_on(fan_in::measure(&peers.all(), &dialer, &fleet.service()?, size))? {
        servers[&name]["fan_in"] = figures;
    }
    note("revocations");
    let revocation = fleet.revoke(&runtime, &dialer, peers.muster_address())?;
    peers.stop();

    let muster = servers.get_mut(peer::MUSTER).context("nothing was measured")?;
    for (name, figures) in [("enrolment", enrolment), ("rotation", rotation), ("revocation", revocation)] {
        muster[name] = figures;
    }
    let mut figures = json!({
        "v": 1,
        "load_before": load_before,
        "load_after": process::load()?,
        "size": {
            "devices": size.devices, "rounds": size.rounds, "connections": size.connections,
            "publishers": size.publishers, "messages": size.messages,
        },
        "servers": Value::Object(servers),
    });
    report::judge(&mut figures);
    if let Some(path) = &arguments.json {
        let text = serde_json::to_string_pretty(&figures)? + "\n";
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let _ = write!(std::io::stdout(), "{}", report::table(&figures));
    Ok(())
}

/// Says what happens now, on stderr.
fn note(what: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {what}");
}

/// The middle value; 0 of none.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match (values.len(), values.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 0 => (values[middle - 1] + values[middle]) / 2.0,
        (_, middle) => values[middle],
    }
}

/// One decimal is as much as these figures bear.
fn rounded(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_many_and_of_none() {
        assert_eq!([median(vec![]), median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0])], [0.0, 2.0, 2.5]);
    }
}
