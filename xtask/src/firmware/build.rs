//! `cargo xtask firmware build`: each board's image with a compiler that is found for it, fitted into its memory.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::board::{Board, Tier};
use super::image::Image;
use super::toolchain::{Compiler, Toolchain};
use crate::steps::minutes;
use crate::workspace::{cargo, run_command, say, target_folder};

/// Arguments of `cargo xtask firmware build`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// This board; every one when absent
    #[arg(long)]
    board: Option<String>,
    /// Which compiler; the first that works when absent
    #[arg(long)]
    compiler: Option<Compiler>,
}

/// `cargo xtask firmware build`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    all(arguments.board.as_deref(), arguments.compiler).map(drop)
}

/// Builds the boards with this name, or every one, and compiles those that are only compiled; all are tried. How many.
pub(crate) fn all(name: Option<&str>, compiler: Option<Compiler>) -> Result<usize> {
    let boards = Board::select(name)?;
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for board in &boards {
        match one(board, compiler) {
            Ok(line) => lines.push(line),
            Err(error) => {
                eprintln!("error: {}: {error:#}", board.name);
                failed.push(board.name.as_str());
            }
        }
    }
    for line in lines {
        say(&line);
    }
    if failed.is_empty() { Ok(boards.len()) } else { bail!("boards that failed: {}", failed.join(", ")) }
}

/// Builds or compiles a board; gives its line of the table.
fn one(board: &Board, compiler: Option<Compiler>) -> Result<String> {
    run_command(cargo(&["fmt", "--check"]).current_dir(&board.folder)).context("not formatted")?;
    if board.tier != Tier::Check {
        return Ok(build(board, Variant::Usual, compiler)?.line(board));
    }
    let started = Instant::now();
    let toolchain = Toolchain::find(&board.target, compiler)?;
    run_command(&mut toolchain.cargo("check", &board.folder, &["--locked"])?)?;
    Ok(format!("{:<16} compiled, to be copied; {}, {}", board.name, minutes(started.elapsed()), toolchain.name()))
}

/// How an image differs from the usual one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Variant {
    /// As devices have it.
    Usual,
    /// A TLS read record of 16 KB, for servers that are not our gateway.
    Records16k,
    /// A flash that programs this many bytes at once.
    Words(u32),
    /// Signatures verified by assembly.
    CurveAssembly,
    /// No agent: the program that judges and measures both implementations of the curve.
    CurveCheck,
}

/// The sizes of a flash's word that boards have, but for the usual one.
pub(crate) const WORDS: [u32; 4] = [1, 8, 16, 32];

/// An image that was built.
pub(crate) struct Built {
    /// Where it is, under the name that tests look for.
    pub(crate) file: PathBuf,
    /// What is in it.
    pub(crate) image: Image,
    compiler: &'static str,
    took: Duration,
}

impl Built {
    /// A line of a table: what of flash and RAM is used, statics and stack together.
    pub(crate) fn line(&self, board: &Board) -> String {
        let (flash, ram) = (self.image.flash_bytes, self.image.ram_bytes + board.stack_bytes);
        format!(
            "{:<16} flash {flash:>7} of {:>7}  RAM {ram:>6} of {:>6}  {}; {}, {}",
            board.name,
            board.flash_bytes,
            board.ram_bytes,
            board.chip,
            minutes(self.took),
            self.compiler
        )
    }
}

/// Builds a board's image; an error unless it fits into the board's memory, and without an allocator where none belongs.
pub(crate) fn build(board: &Board, variant: Variant, wanted: Option<Compiler>) -> Result<Built> {
    let started = Instant::now();
    if board.tier == Tier::Check {
        bail!("{} is there to be copied: it has no image", board.name);
    }
    let toolchain = Toolchain::find(&board.target, wanted)?;
    let mut arguments = vec!["--release", "--locked"];
    let feature = match variant {
        Variant::Usual => String::new(),
        Variant::Records16k => "records-16k".to_owned(),
        Variant::Words(bytes) => format!("word-{bytes}"),
        Variant::CurveAssembly => "curve-assembly".to_owned(),
        Variant::CurveCheck => "curve-check".to_owned(),
    };
    let program = if variant == Variant::CurveCheck { "curve-check" } else { &board.name };
    arguments.extend(["--bin", program]);
    let mut name = board.name.clone();
    if !feature.is_empty() {
        arguments.extend(["--features", &feature]);
        name = format!("{name}-{feature}");
    }
    run_command(&mut toolchain.cargo("build", &board.folder, &arguments)?)?;
    let made = toolchain.target_folder()?.join(&board.target).join("release").join(program);
    let elf = std::fs::read(&made).with_context(|| format!("cannot read {}", made.display()))?;
    let image = Image::read(&elf, &board.ram()).with_context(|| made.display().to_string())?;
    let findings = findings(&image, board);
    if !findings.is_empty() {
        bail!("{name}: {}", findings.join("; "));
    }
    let folder = target_folder()?.join("firmware");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.elf"));
    // Beside it first, then over it: a test that runs meanwhile sees the old image or the new one.
    let beside = file.with_extension("new");
    std::fs::write(&beside, elf)?;
    std::fs::rename(&beside, &file)?;
    Ok(Built { file, image, compiler: toolchain.name(), took: started.elapsed() })
}

/// What of an image its board cannot have.
fn findings(image: &Image, board: &Board) -> Vec<String> {
    let mut findings = Vec::new();
    if image.flash_bytes > board.flash_bytes {
        findings.push(format!("does not fit, flash {} of {}", image.flash_bytes, board.flash_bytes));
    }
    if image.ram_bytes + board.stack_bytes > board.ram_bytes {
        let (statics, stack) = (image.ram_bytes, board.stack_bytes);
        findings.push(format!("does not fit, taken {statics} and stack {stack} of RAM {}", board.ram_bytes));
    }
    if board.driver_heap_bytes == 0 {
        findings.extend(image.allocator().first().map(|symbol| format!("an allocator is in it: {symbol}")));
    } else if board.driver_heap_bytes > image.ram_bytes {
        findings.push(format!("the heap of {} is not among its statics", board.driver_heap_bytes));
    }
    findings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_image_fits_to_the_byte_and_has_no_allocator() {
        let board = Board::select(Some("nucleo-h563zi")).unwrap().remove(0);
        let image =
            |flash_bytes, ram_bytes, symbol: &str| Image { flash_bytes, ram_bytes, symbols: vec![symbol.to_owned()] };
        let (flash, statics) = (board.flash_bytes, board.ram_bytes - board.stack_bytes);
        assert_eq!(findings(&image(flash, statics, "agent_main"), &board), [""; 0]);
        for (image, part) in [
            (image(flash + 1, statics, ""), "flash"),
            (image(flash, statics + 1, ""), "stack"),
            (image(flash, statics, "__rust_alloc"), "__rust_alloc"),
        ] {
            let findings = findings(&image, &board);
            assert!(findings.len() == 1 && findings[0].contains(part), "{findings:?}");
        }
        let with_heap = Board { driver_heap_bytes: 1000, ..board };
        assert_eq!(findings(&image(flash, statics, "__rust_alloc"), &with_heap), [""; 0]);
        assert_eq!(findings(&image(flash, 999, "__rust_alloc"), &with_heap).len(), 1);
    }

    #[test]
    fn a_template_has_no_image() {
        let template = Board::select(Some("template")).unwrap().remove(0);
        assert!(build(&template, Variant::Usual, None).is_err());
    }
}
