//! `cargo xtask firmware size`: what an image costs, measured on the emulated board, held against what it may cost.
//!
//! Flash and statics are read from the image. Stack and instructions are measured by the program `measure-firmware`,
//! which runs the image against the real gateway: stack by painting, instructions by the emulator's clock when one
//! instruction is one nanosecond, time asleep taken off.

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};
use toml::Table;

use super::board::{Board, Tier};
use super::build::{self, Built, Variant};
use super::emulator;
use crate::workspace::{capture, cargo, program, run_command, say, target_folder};

/// Arguments of `cargo xtask firmware size`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// This board; every one that is run in tests when absent
    #[arg(long)]
    board: Option<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

/// `cargo xtask firmware size`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let measured = measure(arguments.board.as_deref())?;
    if arguments.json {
        let rows: Vec<Value> = measured.figures.iter().map(Figures::json).collect();
        let object = json!({ "v": 1, "images": rows, "findings": measured.findings, "missed_goals": measured.missed });
        say(&serde_json::to_string_pretty(&object)?);
    } else {
        say(&table(&measured.figures));
    }
    measured.judge()
}

/// The same as a step of the test run; says the first image's figures and how many goals are missed.
pub(crate) fn check() -> Result<String> {
    let measured = measure(None)?;
    say(&table(&measured.figures));
    measured.judge()?;
    let first = measured.figures.first().context("no image was measured")?;
    let known = |figure: Option<u64>| figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string());
    Ok(format!(
        "flash {} B, RAM {} B, stack {} B; {} goal(s) missed",
        first.flash_bytes,
        known(first.ram_bytes()),
        known(first.stack_bytes),
        measured.missed.len()
    ))
}

/// What was measured, and what follows.
#[derive(Default)]
struct Measured {
    figures: Vec<Figures>,
    /// Beyond the gate, or in the image against the rules: an error.
    findings: Vec<String>,
    /// Within the gate and beyond the goal.
    missed: Vec<String>,
}

impl Measured {
    fn judge(&self) -> Result<()> {
        for missed in &self.missed {
            eprintln!("goal missed: {missed}");
        }
        for finding in &self.findings {
            eprintln!("error: {finding}");
        }
        match self.findings.len() {
            0 => Ok(()),
            count => bail!("{count} figure(s) beyond what they may be"),
        }
    }
}

/// What one image costs.
struct Figures {
    image: String,
    flash_bytes: u64,
    static_bytes: u64,
    /// Measured while it enrols, rotates and reconnects.
    stack_bytes: Option<u64>,
    handshake_instructions: Option<u64>,
    connect_instructions: Option<u64>,
    /// The longest that the executor was kept from any task.
    turn_instructions: Option<u64>,
}

impl Figures {
    fn ram_bytes(&self) -> Option<u64> {
        Some(self.static_bytes + self.stack_bytes?)
    }

    fn json(&self) -> Value {
        json!({
            "image": self.image,
            "flash_bytes": self.flash_bytes,
            "static_bytes": self.static_bytes,
            "stack_bytes": self.stack_bytes,
            "ram_bytes": self.ram_bytes(),
            "handshake_instructions": self.handshake_instructions,
            "connect_instructions": self.connect_instructions,
            "turn_instructions": self.turn_instructions,
        })
    }
}

fn measure(board: Option<&str>) -> Result<Measured> {
    let mut measured = Measured::default();
    emulator::ensure()?;
    // All of the workspace at once: package by package, each would be built for features of its own.
    run_command(&mut cargo(&["build", "--locked", "--bins", "--workspace"]))?;
    for board in Board::select(board)?.iter().filter(|board| board.tier == Tier::Run && !board.gate.is_empty()) {
        for variant in [Variant::Usual, Variant::CurveAssembly, Variant::Records16k] {
            let built = build::build(board, variant, None)?;
            measured.findings.extend(unwanted(&built));
            let figures = measure_image(&built)?;
            measured.findings.extend(beyond(&figures, variant, &board.gate));
            measured.missed.extend(beyond(&figures, variant, &board.goal));
            measured.figures.push(figures);
        }
    }
    Ok(measured)
}

fn measure_image(built: &Built) -> Result<Figures> {
    let name = built.file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let program_file = target_folder()?.join("debug/measure-firmware");
    let arguments = ["--image", &built.file.to_string_lossy(), "--json"].map(str::to_owned);
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let said = capture(&mut program(&program_file.to_string_lossy(), &arguments)).with_context(|| name.clone())?;
    let said: Value = serde_json::from_str(&said).context("measure-firmware did not write one JSON object")?;
    Ok(Figures {
        image: name,
        flash_bytes: built.image.flash_bytes,
        static_bytes: built.image.ram_bytes,
        stack_bytes: said["stack_bytes"].as_u64(),
        handshake_instructions: said["handshake_instructions"].as_u64(),
        connect_instructions: said["connect_instructions"].as_u64(),
        turn_instructions: said["turn_instructions"].as_u64(),
    })
}

/// What must not be in an image at all.
fn unwanted(built: &Built) -> Vec<String> {
    let file = built.file.display();
    let say = |what: &str, names: &[&str]| {
        let some = names.iter().take(3).copied().collect::<Vec<_>>().join(", ");
        (!names.is_empty()).then(|| format!("{file}: {} symbol(s) of {what}: {some}", names.len()))
    };
    let allocator = say("an allocator", &built.image.allocator());
    let formatting = say("text formatting", &built.image.formatting());
    let faulty = say("assembly that faults", &built.image.faulty());
    [allocator, formatting, faulty].into_iter().flatten().collect()
}

/// Figures above what a table of `board.toml` allows, and figures that are missing.
fn beyond(figures: &Figures, variant: Variant, gate: &Table) -> Vec<String> {
    let ram = if variant == Variant::Records16k { "ram_records_16k_bytes" } else { "ram_bytes" };
    let (flash, handshake) = match variant {
        Variant::CurveAssembly => ("flash_assembly_bytes", "handshake_instructions_assembly"),
        _ => ("flash_bytes", "handshake_instructions"),
    };
    let figure = [
        (flash, Some(figures.flash_bytes)),
        (ram, figures.ram_bytes()),
        ("stack_bytes", figures.stack_bytes),
        (handshake, figures.handshake_instructions),
        ("turn_instructions", figures.turn_instructions),
    ];
    let mut findings = Vec::new();
    for (name, value) in figure {
        let Some(most) = gate.get(name).and_then(toml::Value::as_integer).and_then(|most| u64::try_from(most).ok())
        else {
            continue;
        };
        match value {
            None => findings.push(format!("{}: {name} was not measured", figures.image)),
            Some(value) if value > most => {
                findings.push(format!("{}: {name} is {value}, at most {most}", figures.image));
            }
            Some(_) => {}
        }
    }
    findings
}

fn table(figures: &[Figures]) -> String {
    let known = |figure: Option<u64>| figure.map_or_else(|| "?".to_owned(), |figure| figure.to_string());
    let row = |figures: &Figures| {
        format!(
            "\n{:<32}{:>9}{:>9}{:>8}{:>9}{:>12}{:>12}{:>12}",
            figures.image,
            figures.flash_bytes,
            figures.static_bytes,
            known(figures.stack_bytes),
            known(figures.ram_bytes()),
            known(figures.handshake_instructions),
            known(figures.connect_instructions),
            known(figures.turn_instructions)
        )
    };
    let head = format!(
        "{:<32}{:>9}{:>9}{:>8}{:>9}{:>12}{:>12}{:>12}",
        "image", "flash B", "static B", "stack B", "RAM B", "handshake", "connect", "turn"
    );
    head + &figures.iter().map(row).collect::<String>()
        + "\n(instructions: TCP and TLS; MQTT as well; the executor's longest turn. RAM: statics and stack)"
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_every_figure_beyond_its_gate() {
        let gate: Table = "flash_bytes = 100\nram_bytes = 50\nram_records_16k_bytes = 70\nhandshake_instructions = 9\n"
            .parse()
            .unwrap();
        let mut figures = Figures {
            image: "b".to_owned(),
            flash_bytes: 100,
            static_bytes: 40,
            stack_bytes: Some(10),
            handshake_instructions: Some(9),
            connect_instructions: None,
            turn_instructions: Some(1),
        };
        assert_eq!(beyond(&figures, Variant::Usual, &gate), Vec::<String>::new());
        figures.static_bytes = 41;
        assert_eq!(beyond(&figures, Variant::Usual, &gate), ["b: ram_bytes is 51, at most 50"]);
        assert_eq!(beyond(&figures, Variant::Records16k, &gate), Vec::<String>::new());
        figures.handshake_instructions = Some(10);
        assert_eq!(beyond(&figures, Variant::Records16k, &gate), ["b: handshake_instructions is 10, at most 9"]);
        assert_eq!(beyond(&figures, Variant::CurveAssembly, &gate), ["b: ram_bytes is 51, at most 50"]);
        figures.handshake_instructions = Some(9);
        figures.stack_bytes = None;
        assert_eq!(beyond(&figures, Variant::Usual, &gate), ["b: ram_bytes was not measured"]);
    }
}
