//! The proof that the core needs no operating system: it is built for a Cortex-M4F.

use anyhow::Result;

use crate::firmware::toolchain::{Compiler, Toolchain};
use crate::workspace::{root, run_command};

/// Arguments of `cargo xtask nostd`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which compiler; the first that works when absent
    #[arg(long)]
    compiler: Option<Compiler>,
}

/// `cargo xtask nostd`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    eprintln!("{}", build(arguments.compiler)?);
    Ok(())
}

/// Builds the core for the bare target; says with which compiler.
pub(crate) fn build(wanted: Option<Compiler>) -> Result<String> {
    let toolchain = Toolchain::find(TARGET, wanted)?;
    run_command(&mut toolchain.cargo("build", &root(), &["-p", PACKAGE, "--lib", "--locked"])?)?;
    Ok(format!("{TARGET}, {}", toolchain.name()))
}

const PACKAGE: &str = "muster-protocol";
const TARGET: &str = "thumbv7em-none-eabihf";
