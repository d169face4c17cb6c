//! `cargo xtask flash`: writes a board's image with the tool that its `board.toml` names.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::board::{Board, Tier, Tool};
use super::build::{self, Variant};
use crate::tools;
use crate::workspace::{program, run_command, say, shown, target_folder};

/// Arguments of `cargo xtask flash`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The board, as its folder in `boards` is called
    #[arg(long)]
    board: String,
    /// Build nothing and write nothing: only print the commands
    #[arg(long)]
    dry_run: bool,
}

/// `cargo xtask flash`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let board = Board::select(Some(&arguments.board))?.into_iter().next().context("no such board")?;
    if board.tier == Tier::Check {
        bail!("{} is there to be copied: it has no image", board.name);
    }
    let image = target_folder()?.join("firmware").join(format!("{}.elf", board.name));
    let Some(commands) = commands(&board, &image) else {
        say("an emulated board has nothing to flash: `cargo xtask firmware test` runs this image");
        return Ok(());
    };
    let path = std::env::var_os("PATH").unwrap_or_default();
    if arguments.dry_run {
        for command in &commands {
            say(&shown(&command.program()));
        }
        if let Some(how) = missing(&commands, |name| tools::find(name).is_some()) {
            say(&format!("# {how}"));
        }
        return Ok(());
    }
    if let Some(how) = missing(&commands, |name| tools::find(name).is_some()) {
        bail!("{how}");
    }
    say(&build::build(&board, Variant::Usual, None)?.line(&board));
    write(&commands, &path)
}

/// Runs the commands one after the other; the first that fails is the last.
fn write(commands: &[Words], path: &std::ffi::OsStr) -> Result<()> {
    for command in commands {
        run_command(command.program().env("PATH", path))?;
    }
    Ok(())
}

/// A command: the tool, and what it is told.
#[derive(Debug, Eq, PartialEq)]
struct Words(Vec<String>);

impl Words {
    fn program(&self) -> std::process::Command {
        let words: Vec<&str> = self.0.iter().map(String::as_str).collect();
        program(words[0], &words[1..])
    }
}

/// How the first tool that is not there is installed.
fn missing(commands: &[Words], is_there: impl Fn(&str) -> bool) -> Option<String> {
    let name = commands.iter().map(|command| command.0[0].as_str()).find(|name| !is_there(name))?;
    let install = match name {
        "probe-rs" => "run: cargo install probe-rs-tools --locked",
        "espflash" => "run: cargo install espflash --locked",
        _ => {
            "run: sudo apt-get install picotool (Debian 13 and later), or build it: \
             https://github.com/raspberrypi/picotool"
        }
    };
    Some(format!("{name} is not installed; {install}"))
}

/// The commands that write the image and start it; `None` where there is nothing to write to. Each writes the sectors of
/// the image and leaves the others alone, the identity's among them.
fn commands(board: &Board, image: &Path) -> Option<Vec<Words>> {
    let image = image.display().to_string();
    let words = |words: &[&str]| Words(words.iter().map(|word| (*word).to_owned()).collect());
    match &board.tool {
        Tool::Qemu => None,
        Tool::ProbeRs { chip } => Some(vec![
            words(&["probe-rs", "download", "--chip", chip, "--verify", &image]),
            words(&["probe-rs", "reset", "--chip", chip]),
        ]),
        Tool::Picotool => {
            Some(vec![words(&["picotool", "load", "--update", "--verify", "--execute", &image, "-t", "elf"])])
        }
        Tool::Espflash => {
            let partitions = board.folder.join("partitions.csv").display().to_string();
            Some(vec![words(&["espflash", "flash", "--partition-table", &partitions, &image])])
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    use super::*;

    /// A folder of tools that write down how they were called, and end with a status.
    struct Fake(PathBuf);

    impl Fake {
        fn new(test: &str, status: u8) -> Self {
            let folder = std::env::temp_dir().join(format!("xtask-flash-{}-{test}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            for tool in ["probe-rs", "picotool", "espflash"] {
                let file = folder.join(tool);
                let log = folder.join("calls").display().to_string();
                std::fs::write(&file, format!("#!/bin/sh\necho {tool} \"$@\" >> {log}\nexit {status}\n")).unwrap();
                std::fs::set_permissions(&file, PermissionsExt::from_mode(0o755)).unwrap();
            }
            Self(folder)
        }

        /// In front of the PATH.
        fn path(&self) -> std::ffi::OsString {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::join_paths(std::iter::once(self.0.clone()).chain(std::env::split_paths(&path))).unwrap()
        }

        fn calls(&self) -> Vec<String> {
            let calls = std::fs::read_to_string(self.0.join("calls")).unwrap_or_default();
            calls.lines().map(str::to_owned).collect()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn board(name: &str) -> Board {
        Board::select(Some(name)).unwrap().remove(0)
    }

    #[test]
    fn each_boards_tool_is_called_as_it_wants_to_be() {
        for (name, expected) in [
            (
                "nucleo-h563zi",
                &["probe-rs download --chip STM32H563ZITx --verify b.elf", "probe-rs reset --chip STM32H563ZITx"][..],
            ),
            (
                "nrf9151",
                &["probe-rs download --chip nRF9151_xxAA --verify b.elf", "probe-rs reset --chip nRF9151_xxAA"],
            ),
            ("w5500-evb-pico2", &["picotool load --update --verify --execute b.elf -t elf"]),
        ] {
            let fake = Fake::new(name, 0);
            write(&commands(&board(name), Path::new("b.elf")).unwrap(), &fake.path()).unwrap();
            assert_eq!(fake.calls(), expected);
        }
        let fake = Fake::new("esp32c6", 0);
        write(&commands(&board("esp32c6"), Path::new("b.elf")).unwrap(), &fake.path()).unwrap();
        let calls = fake.calls();
        assert!(calls.len() == 1 && calls[0].starts_with("espflash flash --partition-table /"), "{calls:?}");
        assert!(calls[0].ends_with("boards/esp32c6/partitions.csv b.elf"), "{calls:?}");
    }

    #[test]
    fn a_tool_that_fails_ends_it() {
        let fake = Fake::new("fails", 3);
        let failed = write(&commands(&board("nucleo-h563zi"), Path::new("b.elf")).unwrap(), &fake.path());
        assert!(failed.unwrap_err().to_string().contains("probe-rs download"));
        assert_eq!(fake.calls().len(), 1);
    }

    #[test]
    fn a_missing_tool_is_named_with_how_to_get_it() {
        for (name, tool, how) in [
            ("nucleo-h563zi", "probe-rs", "cargo install probe-rs-tools"),
            ("w5500-evb-pico2", "picotool", "apt-get install picotool"),
            ("esp32c6", "espflash", "cargo install espflash"),
        ] {
            let commands = commands(&board(name), Path::new("b.elf")).unwrap();
            let said = missing(&commands, |_| false).unwrap();
            assert!(said.starts_with(tool) && said.contains(how), "{said}");
            assert_eq!(missing(&commands, |name| name == tool), None);
        }
        assert!(commands(&board("qemu-mps2-an386"), Path::new("b.elf")).is_none());
    }

    #[test]
    fn a_template_is_not_flashed() {
        let refused = run(&Arguments { board: "template".to_owned(), dry_run: true });
        assert!(refused.unwrap_err().to_string().contains("copied"));
        run(&Arguments { board: "esp32c6".to_owned(), dry_run: true }).unwrap();
    }
}
