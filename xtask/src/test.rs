//! `cargo xtask test`: the whole verdict on a tree, from a fresh machine on.
//!
//! Tests run last, and the runner's own summary is the last line but the verdict, where a person and a machine look.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

use crate::steps::Steps;
use crate::workspace::{cargo, run_command, say, shown, succeeds};
use crate::{check, firmware, tools};

/// `cargo xtask test`.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    let mut summary = String::new();
    steps.step("tools", tools::ensure_all);
    for (name, check) in check::CHECKS {
        steps.step(name, check);
    }
    steps.step("build", || {
        // Live tests start the programs of other packages, which a test build alone would not leave in the folder.
        run_command(&mut cargo(&["build", "--workspace", "--bins", "--locked"])).map(|()| String::new())
    });
    steps.step("firmware", firmware::prepare);
    if steps.passed("build") && steps.passed("firmware") {
        steps.step("firmware size", firmware::size::check);
    } else {
        steps.not_run("firmware size", "needs build and firmware");
    }
    if steps.passed("tools") && steps.passed("build") {
        steps.step("doc tests", || {
            run_command(&mut cargo(&["test", "--workspace", "--doc", "--locked"])).map(|()| String::new())
        });
        steps.step("tests", || {
            let (told, outcome) = run_tests()?;
            summary = told;
            outcome.map(|()| summary.trim().to_owned())
        });
    } else {
        steps.not_run("doc tests", "needs tools and build");
        steps.not_run("tests", "needs tools and build");
    }
    let outcome = steps.finish();
    say(&summary);
    outcome
}

/// Runs every test; the runner's summary line, and whether all passed.
fn run_tests() -> Result<(String, Result<()>)> {
    if !succeeds(&mut cargo(&["nextest", "--version"])) {
        eprintln!("cargo-nextest is not installed (cargo install cargo-nextest --locked); running cargo test instead");
        let outcome = run_command(&mut cargo(&["test", "--workspace", "--all-targets", "--locked", "--no-fail-fast"]));
        return Ok((String::new(), outcome));
    }
    let mut command = cargo(&["nextest", "run", "--workspace", "--locked", "--no-fail-fast"]);
    let line = shown(&command);
    eprintln!("$ {line}");
    let mut child = command.stderr(Stdio::piped()).spawn().context("cannot start cargo nextest")?;
    let mut summary = String::new();
    let stderr = child.stderr.take().context("no stderr")?;
    for line in BufReader::new(stderr).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        eprintln!("{line}");
        if line.trim_start().starts_with("Summary [") {
            summary = line.into_owned();
        }
    }
    let status = child.wait()?;
    let outcome = if status.success() { Ok(()) } else { Err(anyhow::anyhow!("`{line}` failed ({status})")) };
    if summary.is_empty() && outcome.is_ok() {
        bail!("`{line}` ran no test");
    }
    Ok((summary, outcome))
}
