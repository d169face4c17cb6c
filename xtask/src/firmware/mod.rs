//! `cargo xtask firmware build|test|size` and `cargo xtask flash`: images for boards, each from the compiler that can be
//! had, in the emulator that can be had. What is missing is installed or named, never passed over.

use std::path::PathBuf;

use anyhow::Result;
use clap::Subcommand;

use crate::workspace::{cargo, run_command};

mod board;
mod build;
mod emulator;
pub(crate) mod flash;
mod image;
pub(crate) mod size;
pub(crate) mod toolchain;

/// Tasks on firmware.
#[derive(Subcommand)]
pub(crate) enum Task {
    /// Build boards' images and see that they fit
    Build(build::Arguments),
    /// Build what runs in the emulator, and run its tests against the real gateway
    Test,
    /// Measure flash, RAM, stack and instructions, and hold them against what they may be
    Size(size::Arguments),
}

/// `cargo xtask firmware`.
pub(crate) fn run(task: &Task) -> Result<()> {
    match task {
        Task::Build(arguments) => build::run(arguments),
        Task::Test => test(),
        Task::Size(arguments) => size::run(arguments),
    }
}

/// Every board's image, fitted into its memory, and the emulator, for the tests to find; says how many.
pub(crate) fn prepare() -> Result<String> {
    let boards = build::all(None, None)?;
    for board in board::Board::select(None)?.iter().filter(|board| board.tier == board::Tier::Run) {
        build_other_images(board)?;
    }
    let emulator = emulator::ensure()?;
    Ok(format!("{boards} board(s), {emulator}"))
}

/// The other images of a board that runs in tests: for flash of other words, and the check of the curve.
fn build_other_images(board: &board::Board) -> Result<()> {
    build::build(board, build::Variant::CurveCheck, None)?;
    for bytes in build::WORDS {
        build::build(board, build::Variant::Words(bytes), None)?;
    }
    Ok(())
}

/// The boards' manifests, each of a workspace of its own, and what they are built for.
pub(crate) fn workspaces() -> Result<Vec<(PathBuf, String)>> {
    let boards = board::Board::select(None)?;
    Ok(boards.into_iter().map(|board| (board.folder.join("Cargo.toml"), board.target)).collect())
}

fn test() -> Result<()> {
    for board in board::Board::select(None)?.iter().filter(|board| board.tier == board::Tier::Run) {
        build::build(board, build::Variant::Usual, None)?;
        build_other_images(board)?;
    }
    eprintln!("{}", emulator::ensure()?);
    run_command(&mut cargo(&["build", "--workspace", "--bins", "--locked"]))?;
    run_command(&mut cargo(&["test", "--locked", "-p", "muster-system-tests", "--test", "firmware"]))
}
