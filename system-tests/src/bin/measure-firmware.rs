//! Runs a firmware image on the emulated board through enrolment, reports and rotation against the real gateway, and
//! prints what the board measured of itself. `cargo xtask firmware size` asks for it.
//!
//! The emulator counts one instruction as one nanosecond, so the figures are the same on any host. They are
//! instructions, not cycles: no wait states, no caches.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser;
use muster_system_tests::firmware::{Stage, Time};
use serde_json::{Value, json};

/// Measure a firmware image on the emulated board.
#[derive(Parser)]
struct Arguments {
    /// The image, ELF
    #[arg(long)]
    image: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    let stage = Stage::new(1)?;
    let (device, mut board) = stage.board(0)?;
    board.image = Some(arguments.image.clone());
    board.time = Time::Instructions;
    let powered = board.start()?;
    stage.settled(&device, &powered)?;
    stage.rotate(&device, &powered)?;
    stage.settled(&device, &powered)?;
    // One report more, after everything that can go deep into the stack.
    let figures = figures(&board.log)?;
    drop(powered);
    let text = if arguments.json {
        figures.to_string()
    } else {
        serde_json::to_string_pretty(&figures).context("cannot write JSON")?
    };
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{text}").context("cannot write")
}

/// The last figure of each kind that the board said; of instructions the largest.
fn figures(log: &std::path::Path) -> Result<Value> {
    let log = std::fs::read_to_string(log).context("the board said nothing")?;
    let all = |word: &str| -> Vec<u64> {
        log.lines().filter_map(|line| line.strip_prefix(word)?.trim().parse().ok()).collect()
    };
    let largest = |word: &str| all(word).into_iter().max();
    Ok(json!({
        "v": 1,
        "stack_bytes": largest("measured.stack_bytes"),
        "handshake_instructions": largest("measured.handshake_instructions"),
        "connect_instructions": largest("measured.connect_instructions"),
        "turn_instructions": largest("measured.turn_instructions"),
        "connects": all("measured.connect_instructions").len(),
    }))
}
