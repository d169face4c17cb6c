//! The live world: the real programs as processes, on loopback, in a folder of its own.
//!
//! Used by the live tests and by the demo. Nothing here knows how a program works inside; everything goes through
//! command lines, files and sockets, as a person's would. Waiting is always for an event, with a deadline that only
//! says when to give up.

mod process;
mod world;

pub use process::{Process, Said};
pub use world::{Device, Options, Ports, World};

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// How long a live wait may take before it is given up as failed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The folder with the programs: beside the test's or demo's own executable.
pub fn bin_dir() -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this program lies")?;
    let mut dir = own.parent().context("no folder")?.to_owned();
    if dir.ends_with("deps") {
        dir.pop();
    }
    for program in ["muster-gateway", "muster-agent", "muster-provision"] {
        if !dir.join(program).is_file() {
            bail!("{program} is not in {}; build it first: cargo build --workspace --bins", dir.display());
        }
    }
    Ok(dir)
}

/// Asks `question` until it answers or [`PATIENCE`] ends. For states that nobody announces; the pause between two looks
/// keeps the processor free for the processes that are watched.
pub fn until<T>(what: &str, mut question: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let give_up_at = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = question()? {
            return Ok(answer);
        }
        if Instant::now() > give_up_at {
            bail!("{what}: not within {} seconds", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(25));
    }
}
