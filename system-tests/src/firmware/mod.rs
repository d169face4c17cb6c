//! The firmware agent in the live world: the emulated board as a process, its flash as a file.
//!
//! `cargo xtask firmware build` makes the images and finds the emulator; here they are only looked for, beside the
//! programs of the live world. What is not there is an error that says so.

mod board;
mod door;
mod flash;
mod monitor;
mod stage;

pub use board::{Board, EmulatedBoard, STEP, Serial, Time};
pub use door::{Behind, Door};
pub use flash::{FactoryMade, MemoryFlash, UNIT_BYTES, UNITS, WORD_BYTES};
pub use monitor::{Monitor, Plug};
pub use stage::Stage;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::live::bin_dir;

/// Where the host is, seen from an emulated board.
pub const HOST_ADDRESS: &str = "10.0.2.2";

/// The image of the board that runs in tests.
pub fn image() -> Result<PathBuf> {
    made("qemu-mps2-an386")
}

/// The same, for a flash that programs this many bytes at once.
pub fn image_of_words(bytes: usize) -> Result<PathBuf> {
    if bytes == WORD_BYTES { image() } else { made(&format!("qemu-mps2-an386-word-{bytes}")) }
}

/// The program that judges and measures both implementations of the curve.
pub fn curve_check() -> Result<PathBuf> {
    made("qemu-mps2-an386-curve-check")
}

fn made(name: &str) -> Result<PathBuf> {
    let file = target_dir()?.join(format!("firmware/{name}.elf"));
    if !file.is_file() {
        bail!("{} is not there; build it first: cargo xtask firmware build", file.display());
    }
    Ok(file)
}

/// The folder that cargo builds into.
fn target_dir() -> Result<PathBuf> {
    let bins = bin_dir()?;
    bins.parent().map(PathBuf::from).context("programs without a folder above theirs")
}
