//! Where a compiler for a bare target comes from.
//!
//! rustup's, with the target added; where rustup cannot add one, Debian's packaged toolchain, which has the library's
//! sources and builds `core` itself. What the two make never shares a folder.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;

use crate::tools;
use crate::workspace::{capture, cargo, program, succeeds, target_folder};

/// Where the bare-metal `core` comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Compiler {
    /// rustup's, with the target added
    Rustup,
    /// Debian's rustc-web, building core itself
    Debian,
}

/// A compiler that can build for a bare target.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Toolchain<'a> {
    compiler: Compiler,
    target: &'a str,
}

impl<'a> Toolchain<'a> {
    /// Finds one for the target, or the one that is wanted; installs it when root, names the command otherwise.
    pub(crate) fn find(target: &'a str, wanted: Option<Compiler>) -> Result<Self> {
        let compiler = match wanted {
            Some(compiler) => compiler,
            None if rustup_has(target) => Compiler::Rustup,
            None => Compiler::Debian,
        };
        if compiler == Compiler::Debian {
            ensure_debian(target)?;
        }
        Ok(Self { compiler, target })
    }

    /// What it is, for people.
    pub(crate) fn name(self) -> &'static str {
        match self.compiler {
            Compiler::Rustup => "rustup's compiler",
            Compiler::Debian => "Debian's compiler",
        }
    }

    /// The folder that this compiler builds into, under cargo's own.
    pub(crate) fn target_folder(self) -> Result<PathBuf> {
        Ok(target_folder()?.join(match self.compiler {
            Compiler::Rustup => "bare-rustup",
            Compiler::Debian => "bare-debian",
        }))
    }

    /// `cargo VERB … --target …` with this compiler, in the folder of a workspace.
    pub(crate) fn cargo(self, verb: &str, workspace: &Path, arguments: &[&str]) -> Result<Command> {
        let mut command = match self.compiler {
            Compiler::Rustup => cargo(&[verb, "--target", self.target]),
            Compiler::Debian => self.debian(verb)?,
        };
        command.args(arguments).current_dir(workspace).env("CARGO_TARGET_DIR", self.target_folder()?);
        Ok(command)
    }

    fn debian(self, verb: &str) -> Result<Command> {
        let mut command = program(DEBIAN_FILES[1], &[verb, "-Zbuild-std=core,alloc", "--target", self.target]);
        // This compiler's own sources, and no stable-only guard: build-std is how a distribution's Rust gets a target.
        command.env("RUSTC", DEBIAN_FILES[0]).env("RUSTC_BOOTSTRAP", "1");
        command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTC_WRAPPER").env_remove("CARGO");
        match linker()? {
            Linker::Rustup(folder) => {
                let path = std::env::var_os("PATH").unwrap_or_default();
                let folders = std::env::split_paths(&path).chain([folder]);
                command.env("PATH", std::env::join_paths(folders).context("PATH cannot be extended")?);
            }
            Linker::Lld(file) => {
                let name = self.target.to_uppercase().replace(['-', '.'], "_");
                command.env(format!("CARGO_TARGET_{name}_LINKER"), file);
            }
        }
        Ok(command)
    }
}

/// Whether rustup's compiler has a `core` for the target, adding it if that can be done.
fn rustup_has(target: &str) -> bool {
    let has_core = || {
        let folder = capture(&mut program("rustc", &["--print", "target-libdir", "--target", target]));
        folder.is_ok_and(|folder| contains_core(Path::new(folder.trim())))
    };
    has_core() || (succeeds(&mut program("rustup", &["target", "add", target])) && has_core())
}

fn contains_core(folder: &Path) -> bool {
    let Ok(entries) = folder.read_dir() else { return false };
    entries.flatten().any(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libcore-") && name.ends_with(".rlib")
    })
}

fn ensure_debian(target: &str) -> Result<()> {
    if !DEBIAN_FILES.iter().all(|file| Path::new(file).exists()) {
        let otherwise = format!("or, with rustup and a network: rustup target add {target}");
        tools::install(&["rustc-web", "cargo-web", "rust-web-src"]).context(otherwise)?;
    }
    linker().map(drop)
}

/// Debian's toolchain brings no linker for bare targets.
enum Linker {
    /// The folder of rustup's `rust-lld`.
    Rustup(PathBuf),
    /// LLVM's own.
    Lld(PathBuf),
}

fn linker() -> Result<Linker> {
    let sysroot = capture(&mut program("rustc", &["--print", "sysroot"])).unwrap_or_default();
    let folder = Path::new(sysroot.trim()).join("lib/rustlib/x86_64-unknown-linux-gnu/bin");
    if folder.join("rust-lld").is_file() {
        return Ok(Linker::Rustup(folder));
    }
    if tools::find("ld.lld").is_none() {
        tools::install(&["lld"])?;
    }
    tools::find("ld.lld").map(Linker::Lld).context("installed lld, and there is no ld.lld")
}

/// Compiler, builder, and the sources they were made with.
const DEBIAN_FILES: [&str; 3] = ["/usr/bin/rustc", "/usr/bin/cargo", "/usr/lib/rustlib/src/rust/library/core"];
