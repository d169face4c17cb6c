//! The proof that the core needs no operating system: it is built for a Cortex-M4F.
//!
//! The target comes from rustup; where rustup cannot add one, from Debian's packaged toolchain, which has the library's
//! sources and builds `core` itself (a compiler and a target folder of its own).

use std::path::Path;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::tools;
use crate::workspace::{capture, cargo, program, run_command, succeeds};

/// Arguments of `cargo xtask nostd`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which compiler; the first that works when absent
    #[arg(long)]
    compiler: Option<Compiler>,
}

/// Where the bare-metal `core` comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Compiler {
    /// rustup's, with the target added
    Rustup,
    /// Debian's rustc-web, building core itself
    Debian,
}

/// `cargo xtask nostd`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    eprintln!("{}", build(arguments.compiler)?);
    Ok(())
}

/// Builds the core for the bare target; says with which compiler.
pub(crate) fn build(wanted: Option<Compiler>) -> Result<String> {
    let compiler = match wanted {
        Some(compiler) => compiler,
        None if rustup_has_target() => Compiler::Rustup,
        None => Compiler::Debian,
    };
    match compiler {
        Compiler::Rustup => {
            run_command(&mut cargo(&["build", "-p", PACKAGE, "--lib", "--locked", "--target", TARGET]))?;
            Ok(format!("{TARGET}, rustup's compiler"))
        }
        Compiler::Debian => {
            build_with_debian()?;
            Ok(format!("{TARGET}, Debian's compiler"))
        }
    }
}

/// Whether rustup's compiler has a `core` for the target, adding it if that can be done.
fn rustup_has_target() -> bool {
    let has_core = || {
        let folder = capture(&mut program("rustc", &["--print", "target-libdir", "--target", TARGET]));
        folder.is_ok_and(|folder| contains_core(Path::new(folder.trim())))
    };
    has_core() || (succeeds(&mut program("rustup", &["target", "add", TARGET])) && has_core())
}

fn contains_core(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn build_with_debian() -> Result<()> {
    if !DEBIAN_FILES.iter().all(|file| Path::new(file).exists()) {
        let otherwise = format!("or, with rustup and a network: rustup target add {TARGET}");
        tools::install(&["rustc-web", "cargo-web", "rust-web-src"]).context(otherwise)?;
    }
    let arguments = ["build", "-Zbuild-std=core", "-p", PACKAGE, "--lib", "--locked", "--target", TARGET];
    let mut command = program(DEBIAN_FILES[1], &arguments);
    // This compiler's own sources, and no stable-only guard: build-std is how a distribution's Rust gets a target.
    command.env("RUSTC", DEBIAN_FILES[0]).env("RUSTC_BOOTSTRAP", "1").env("CARGO_TARGET_DIR", "target-bare");
    command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER").env_remove("CARGO");
    run_command(&mut command)
}

const PACKAGE: &str = "muster-protocol";
const TARGET: &str = "thumbv7em-none-eabihf";
/// Compiler, builder, and the sources they were made with.
const DEBIAN_FILES: [&str; 3] = ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/lib/rustlib/src/rust/library/core"];
