//! A board as its `board.toml` says: what it is built for, what fits, how it is flashed, what is tested of it.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use toml::Table;

use crate::workspace::root;

/// A folder of `boards` with a `board.toml`.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// The folder.
    pub(crate) folder: PathBuf,
    /// Its name, which is the folder's and the image's.
    pub(crate) name: String,
    /// The chip, for people.
    pub(crate) chip: String,
    /// The target triple.
    pub(crate) target: String,
    /// Bytes of flash that an image may fill.
    pub(crate) flash_bytes: u64,
    /// Where RAM starts.
    pub(crate) ram_start: u64,
    /// Bytes of RAM that statics and stack may fill.
    pub(crate) ram_bytes: u64,
    /// Bytes of RAM that are kept for the stack and that no static may take; zero where the stack has what is left.
    pub(crate) stack_bytes: u64,
    /// Bytes of a heap that a driver needs, which is in the statics. Zero: no allocator may be in the image.
    pub(crate) driver_heap_bytes: u64,
    /// What writes the image to the board.
    pub(crate) tool: Tool,
    /// What runs in every test.
    pub(crate) tier: Tier,
    /// What the image may cost at most; empty for a board that is not measured.
    pub(crate) gate: Table,
    /// What it should cost.
    pub(crate) goal: Table,
}

/// What writes an image to a board.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Tool {
    /// Nothing: the emulator takes the image as it is.
    Qemu,
    /// probe-rs, by SWD or JTAG, with its name for the chip.
    ProbeRs {
        /// As `probe-rs chip list` has it.
        chip: String,
    },
    /// picotool, by USB, for RP2040 and RP2350.
    Picotool,
    /// espflash, by USB or serial line.
    Espflash,
}

/// How far a board is tested.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Tier {
    /// Its tests run in every test run.
    Run,
    /// Built, linked and fitted into its memory; not run.
    Build,
    /// Compiled, and no more: nobody's board, to be copied.
    Check,
}

impl Board {
    /// Every board, or the one with this name.
    pub(crate) fn select(name: Option<&str>) -> Result<Vec<Board>> {
        let boards = Self::all()?;
        let Some(name) = name else { return Ok(boards) };
        let known = boards.iter().map(|board| board.name.clone()).collect::<Vec<_>>().join(", ");
        let found: Vec<Board> = boards.into_iter().filter(|board| board.name == name).collect();
        if found.is_empty() {
            bail!("there is no board {name}; there are: {known}");
        }
        Ok(found)
    }

    fn all() -> Result<Vec<Board>> {
        let mut boards = Vec::new();
        for entry in root().join("boards").read_dir().context("cannot list boards")?.flatten() {
            let folder = entry.path();
            if folder.join("board.toml").is_file() {
                boards.push(Self::read(&folder).with_context(|| format!("{}/board.toml", folder.display()))?);
            }
        }
        boards.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(boards)
    }

    /// Where the RAM is that an image may take.
    pub(crate) fn ram(&self) -> std::ops::Range<u64> {
        self.ram_start..self.ram_start + self.ram_bytes
    }

    fn read(folder: &Path) -> Result<Board> {
        let text = std::fs::read_to_string(folder.join("board.toml"))?;
        let board = Self::parse(folder, &text)?;
        if !folder.ends_with(&board.name) {
            bail!("its name is {}, and its folder is another", board.name);
        }
        Ok(board)
    }

    fn parse(folder: &Path, text: &str) -> Result<Board> {
        let table: Table = text.parse().context("not TOML")?;
        let section = |name: &str| table.get(name).and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let (memory, flash, test) = (section("memory"), section("flash"), section("test"));
        Ok(Board {
            folder: folder.to_owned(),
            name: word(&table, "name")?,
            chip: word(&table, "chip")?,
            target: word(&table, "target")?,
            flash_bytes: number(&memory, "flash_bytes")?,
            ram_start: if memory.contains_key("ram_start") { number(&memory, "ram_start")? } else { RAM_OF_CORTEX_M },
            ram_bytes: number(&memory, "ram_bytes")?,
            stack_bytes: number_or_zero(&memory, "stack_bytes")?,
            driver_heap_bytes: number_or_zero(&memory, "driver_heap_bytes")?,
            tool: match word(&flash, "tool")?.as_str() {
                "qemu" => Tool::Qemu,
                "probe-rs" => Tool::ProbeRs { chip: word(&flash, "chip")? },
                "picotool" => Tool::Picotool,
                "espflash" => Tool::Espflash,
                other => bail!("flash.tool = {other:?}: none of qemu, probe-rs, picotool, espflash"),
            },
            tier: match word(&test, "tier")?.as_str() {
                "run" => Tier::Run,
                "build" => Tier::Build,
                "check" => Tier::Check,
                other => bail!("test.tier = {other:?}: none of run, build, check"),
            },
            gate: section("gate"),
            goal: section("goal"),
        })
    }
}

fn word(table: &Table, key: &str) -> Result<String> {
    let value = table.get(key).and_then(toml::Value::as_str);
    value.map(str::to_owned).with_context(|| format!("{key} is missing, or no text"))
}

fn number(table: &Table, key: &str) -> Result<u64> {
    let value = table.get(key).and_then(toml::Value::as_integer).and_then(|value| u64::try_from(value).ok());
    value.with_context(|| format!("{key} is missing, or no number"))
}

fn number_or_zero(table: &Table, key: &str) -> Result<u64> {
    if table.contains_key(key) { number(table, key) } else { Ok(0) }
}

/// Armv7-M and Armv8-M, section B3.1: the region of SRAM.
const RAM_OF_CORTEX_M: u64 = 0x2000_0000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "name = \"b\"\nchip = \"C\"\ntarget = \"t\"\n[memory]\nflash_bytes = 8\nram_bytes = 4\n\
                        [flash]\ntool = \"probe-rs\"\nchip = \"C1\"\n[test]\ntier = \"build\"\n";

    #[test]
    fn reads_a_board_and_names_what_is_wrong() {
        let board = Board::parse(Path::new("boards/b"), GOOD).unwrap();
        assert_eq!((board.flash_bytes, board.tier), (8, Tier::Build));
        assert_eq!((board.stack_bytes, board.driver_heap_bytes), (0, 0));
        let more =
            Board::parse(Path::new("boards/b"), &GOOD.replace("ram_bytes = 4", "ram_bytes = 4\nstack_bytes = 2"));
        assert_eq!(more.unwrap().stack_bytes, 2);
        assert_eq!(board.tool, Tool::ProbeRs { chip: "C1".to_owned() });
        for (from, to, named) in [
            ("probe-rs", "jtag", "jtag"),
            ("\"build\"", "\"sometimes\"", "sometimes"),
            ("flash_bytes = 8", "", "flash_bytes"),
            ("ram_bytes = 4", "ram_bytes = 4\nstack_bytes = \"all\"", "stack_bytes"),
            ("chip = \"C1\"", "", "chip"),
        ] {
            let error = Board::parse(Path::new("boards/b"), &GOOD.replace(from, to)).unwrap_err();
            assert!(format!("{error:#}").contains(named), "{error:#}");
        }
    }

    #[test]
    fn the_boards_of_the_tree_can_be_read() {
        let boards = Board::select(None).unwrap();
        assert!(boards.iter().any(|board| board.tier == Tier::Run));
        assert!(Board::select(Some("no-such-board")).is_err());
    }
}
