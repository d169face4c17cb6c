//! `cargo xtask flash`: writes a board's image with the tool that its `board.toml` names.

use std::path::Path;

use anyhow::{Result, bail};

use super::board::{Board, Tool};
use super::build::{self, Variant};
use crate::tools;
use crate::workspace::{become_program, program, say};

/// Arguments of `cargo xtask flash`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The board, as its folder in `boards` is called
    #[arg(long)]
    board: String,
}

/// `cargo xtask flash`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    for board in Board::select(Some(&arguments.board))? {
        if let Some((tool, install)) = missing(&board.tool) {
            bail!("{tool} is not installed; {install}");
        }
        let built = build::build(&board, Variant::Usual, None)?;
        say(&built.line(&board));
        let Some((tool, arguments)) = command(&board.tool, &built.file) else {
            say("an emulated board has nothing to flash: `cargo xtask firmware test` runs this image");
            return Ok(());
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        become_program(&mut program(tool, &arguments))?;
    }
    Ok(())
}

/// The tool that is not there, and how it is installed.
fn missing(tool: &Tool) -> Option<(&'static str, &'static str)> {
    let (name, install) = match tool {
        Tool::Qemu => return None,
        Tool::ProbeRs { .. } => ("probe-rs", "run: cargo install probe-rs-tools --locked"),
        Tool::Picotool => (
            "picotool",
            "run: sudo apt-get install picotool (Debian 13 and later), or build it: \
             https://github.com/raspberrypi/picotool",
        ),
        Tool::Espflash => ("espflash", "run: cargo install espflash --locked"),
    };
    tools::find(name).is_none().then_some((name, install))
}

/// The command that writes the image and starts it.
fn command(tool: &Tool, image: &Path) -> Option<(&'static str, Vec<String>)> {
    let image = image.display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).chain([image.clone()]).collect();
    match tool {
        Tool::Qemu => None,
        Tool::ProbeRs { chip } => Some(("probe-rs", words(&["run", "--chip", chip]))),
        Tool::Picotool => Some(("picotool", words(&["load", "--update", "--verify", "--execute", "-t", "elf"]))),
        Tool::Espflash => Some(("espflash", words(&["flash", "--monitor"]))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_tool_gets_the_image_last() {
        let image = Path::new("b.elf");
        for tool in [Tool::ProbeRs { chip: "C1".to_owned() }, Tool::Picotool, Tool::Espflash] {
            let (_, arguments) = command(&tool, image).unwrap();
            assert_eq!(arguments.last().unwrap(), "b.elf", "{tool:?}");
        }
        assert!(command(&Tool::Qemu, image).is_none() && missing(&Tool::Qemu).is_none());
        let (_, arguments) = command(&Tool::ProbeRs { chip: "C1".to_owned() }, image).unwrap();
        assert_eq!(arguments[..3], ["run", "--chip", "C1"]);
    }
}
