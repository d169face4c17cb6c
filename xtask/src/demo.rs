//! `cargo xtask demo`: builds the programs with a progress line, then lets the demonstration run.
//!
//! The programs are the ones tests use, not release builds: dependencies are optimised, link-time optimisation is not
//! waited for, and a later `cargo xtask test` finds most of the work done.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader, IsTerminal as _};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::steps::minutes;
use crate::workspace::{become_program, capture, cargo, program, target_folder};

/// Arguments of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Leave everything running and on disk, to look at
    #[arg(long)]
    keep: bool,
}

/// `cargo xtask demo`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    build()?;
    let folder = target_folder()?.join("debug");
    let mut demo = program(&folder.join("demo").to_string_lossy(), &["--bin-dir", &folder.to_string_lossy()]);
    if arguments.keep {
        demo.arg("--keep");
    }
    become_program(&mut demo)
}

/// Builds every program of the demonstration, counting packages as they are done.
fn build() -> Result<()> {
    let selection = PACKAGES.iter().flat_map(|package| ["-p", package]).collect::<Vec<_>>();
    let packages = capture(&mut cargo(&[&["tree", "--prefix", "none", "-e", "normal,build"], &selection[..]].concat()))
        .map_or(0, |tree| count_packages(&tree));
    let mut progress = Progress::new(packages);
    let arguments = [&["build", "--bins", "--locked", "--message-format", "json-render-diagnostics"], &selection[..]];
    // Cargo's own progress would fight with ours; compiler errors come rendered on stderr all the same.
    let mut child =
        cargo(&arguments.concat()).arg("--quiet").stdout(Stdio::piped()).spawn().context("cannot start cargo build")?;
    let stdout = child.stdout.take().context("no stdout")?;
    for line in BufReader::new(stdout).lines() {
        if let Some(package) = finished_package(&line?) {
            progress.done(&package);
        }
    }
    let status = child.wait()?;
    progress.end();
    if !status.success() {
        bail!("the build failed ({status})");
    }
    Ok(())
}

/// The package a line of cargo's JSON says is compiled, or was already.
fn finished_package(line: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    let is_build_script = message["target"]["kind"].as_array()?.iter().any(|kind| kind == "custom-build");
    (message["reason"] == "compiler-artifact" && !is_build_script)
        .then(|| message["package_id"].as_str().map(str::to_owned))?
}

/// Distinct packages in the output of `cargo tree --prefix none`.
fn count_packages(tree: &str) -> usize {
    let names = tree.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" "));
    names.filter(|name| !name.is_empty()).collect::<HashSet<_>>().len()
}

/// A bar on a terminal, a line every ten seconds off it.
struct Progress {
    bar: ProgressBar,
    seen: HashSet<String>,
    total: usize,
    started: Instant,
    told_at: Instant,
}

impl Progress {
    fn new(total: usize) -> Progress {
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(total as u64) } else { ProgressBar::hidden() };
        let style = ProgressStyle::with_template("building [{bar:30}] {pos}/{len} packages, {elapsed}  {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let now = Instant::now();
        Progress { bar, seen: HashSet::new(), total, started: now, told_at: now }
    }

    fn done(&mut self, package: &str) {
        if !self.seen.insert(package.to_owned()) {
            return;
        }
        self.bar.set_position(self.seen.len() as u64);
        let name = package.rsplit(['/', '#']).next().unwrap_or(package).to_owned();
        self.bar.set_message(name);
        if self.bar.is_hidden() && self.told_at.elapsed() >= TELL_EVERY {
            self.told_at = Instant::now();
            eprintln!("building: {} of {} packages, {}", self.seen.len(), self.total, minutes(self.started.elapsed()));
        }
    }

    fn end(&self) {
        self.bar.finish_and_clear();
        eprintln!("built {} packages in {}", self.seen.len(), minutes(self.started.elapsed()));
    }
}

const PACKAGES: [&str; 4] = ["muster-provisioning", "muster-gateway", "muster-agent-std", "muster-system-tests"];
const TELL_EVERY: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_package_once() {
        let tree =
            "muster-gateway v0.1.0 (here)\nserde v1.0.1\nserde v1.0.1 (*)\nder v0.7.1\nder v0.8.0\n\nxtask v0.1.0";
        assert_eq!(count_packages(tree), 5);
    }

    #[test]
    fn reads_what_cargo_says() {
        let artifact = r#"{"reason":"compiler-artifact","package_id":"reg#serde@1.0.1","target":{"kind":["lib"]}}"#;
        assert_eq!(finished_package(artifact).as_deref(), Some("reg#serde@1.0.1"));
        let script = artifact.replace("\"lib\"", "\"custom-build\"");
        assert_eq!(finished_package(&script), None);
        assert_eq!(finished_package(r#"{"reason":"build-finished","success":true}"#), None);
        assert_eq!(finished_package("not json"), None);
    }
}
