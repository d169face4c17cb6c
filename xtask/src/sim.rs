//! Simulated histories by seed: the same seed is the same history, on any machine.

use anyhow::Result;

use crate::workspace::{become_program, cargo};

/// Arguments of `cargo xtask sim`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// One history, told event by event
    #[arg(long, value_name = "N", conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Histories A up to, and without, B
    #[arg(long, value_name = "A..B", default_value = "0..10000")]
    seeds: String,
}

/// `cargo xtask sim`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let (flag, value) = match arguments.seed {
        Some(seed) => ("--seed", seed.to_string()),
        None => ("--seeds", arguments.seeds.clone()),
    };
    let build = ["run", "--release", "--locked", "-p", "muster-system-tests", "--bin", "replay", "--", flag, &value];
    become_program(&mut cargo(&build))
}
