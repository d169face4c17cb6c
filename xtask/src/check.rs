//! Everything that can be said about the tree without running a test.

use anyhow::Result;
use clap::builder::PossibleValuesParser;

use crate::steps::Steps;
use crate::workspace::{cargo, run_command};
use crate::{dependencies, nostd, tidy};

/// Arguments of `cargo xtask check`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Only these; all when absent
    #[arg(value_name = "STEP", value_parser = PossibleValuesParser::new(CHECKS.map(|(name, _)| name)))]
    only: Vec<String>,
}

/// `cargo xtask check`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let mut steps = Steps::default();
    for (name, check) in CHECKS {
        if arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == name) {
            steps.step(name, check);
        }
    }
    steps.finish()
}

/// A check says in a few words what it saw.
type Check = fn() -> Result<String>;

/// The checks, the quick ones first.
pub(crate) const CHECKS: [(&str, Check); 6] = [
    ("tidy", tidy::check),
    ("format", format),
    ("dependencies", dependencies::check),
    ("nostd", || nostd::build(None)),
    ("lints", lints),
    ("documentation", documentation),
];

fn format() -> Result<String> {
    run_command(&mut cargo(&["fmt", "--all", "--check"])).map(|()| String::new())
}

fn lints() -> Result<String> {
    let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    run_command(&mut cargo(&arguments)).map(|()| String::new())
}

fn documentation() -> Result<String> {
    let arguments = ["doc", "--workspace", "--no-deps", "--locked"];
    run_command(cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings")).map(|()| String::new())
}
