//! `cargo xtask firmware build`: each board's image with a compiler that is found for it, fitted into its memory.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use super::board::Board;
use super::image::Image;
use super::toolchain::{Compiler, Toolchain};
use crate::workspace::{run_command, say, target_folder};

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
    for board in Board::select(arguments.board.as_deref())? {
        let built = build(&board, Variant::Usual, arguments.compiler)?;
        say(&built.line(&board));
    }
    Ok(())
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
}

impl Built {
    /// A line of a table.
    pub(crate) fn line(&self, board: &Board) -> String {
        let (flash, ram) = (self.image.flash_bytes, self.image.ram_bytes);
        format!("{:<20} flash {flash:>7}  statics {ram:>6}  {} ({})", board.name, board.chip, self.compiler)
    }
}

/// Builds a board's image; an error unless it fits into the board's memory.
pub(crate) fn build(board: &Board, variant: Variant, wanted: Option<Compiler>) -> Result<Built> {
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
    let image = Image::read(&elf).with_context(|| made.display().to_string())?;
    if image.flash_bytes > board.flash_bytes || image.ram_bytes > board.ram_bytes {
        bail!(
            "{name} does not fit: flash {} of {}, statics {} of {}",
            image.flash_bytes,
            board.flash_bytes,
            image.ram_bytes,
            board.ram_bytes
        );
    }
    let folder = target_folder()?.join("firmware");
    std::fs::create_dir_all(&folder)?;
    let file = folder.join(format!("{name}.elf"));
    // Beside it first, then over it: a test that runs meanwhile sees the old image or the new one.
    let beside = file.with_extension("new");
    std::fs::write(&beside, elf)?;
    std::fs::rename(&beside, &file)?;
    Ok(Built { file, image, compiler: toolchain.name() })
}
