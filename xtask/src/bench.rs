//! `cargo xtask bench`: the criterion benches of every package, then the gateway under load, in one JSON object.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::workspace::{capture, cargo, program, run_command, say};
use crate::{demo, tools};

/// Arguments of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Write the figures here instead of stdout
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// The gateway with fewer devices and rounds: a look, no measurement
    #[arg(long)]
    quick: bool,
}

/// `cargo xtask bench`.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let effort = if arguments.quick { Effort::Quick } else { Effort::Full };
    tools::ensure_all()?;
    let metadata = capture(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    for (package, bench) in criterion_benches(&metadata) {
        // Criterion's report is for people; stdout is for the figures.
        run_command(cargo(&["bench", "--locked", "-p", &package, "--bench", &bench]).stdout(std::io::stderr()))?;
    }
    let target = metadata["target_directory"].as_str().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let figures = json!({
        "v": 1,
        "version": capture(&mut program("git", &["describe", "--always", "--dirty"]))?.trim(),
        "machine": machine(),
        "criterion": criterion_figures(&target.join("criterion"))?,
        "gateway": gateway_figures(&target, effort)?,
    });
    let text = serde_json::to_string_pretty(&figures)?;
    match &arguments.json {
        Some(path) => std::fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display())),
        None => {
            say(&text);
            Ok(())
        }
    }
}

/// Package and name of every bench target.
fn criterion_benches(metadata: &Value) -> Vec<(String, String)> {
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let benches = packages.iter().flat_map(|package| {
        let targets = package["targets"].as_array().map_or(&[][..], Vec::as_slice);
        let benches =
            targets.iter().filter(|target| target["kind"].as_array().is_some_and(|k| k.contains(&json!("bench"))));
        benches.filter_map(|bench| Some((package["name"].as_str()?.to_owned(), bench["name"].as_str()?.to_owned())))
    });
    benches.collect()
}

/// What criterion left in its folder: for each bench, nanoseconds with the bounds of the mean.
fn criterion_figures(folder: &Path) -> Result<Map<String, Value>> {
    let mut figures = Map::new();
    let Ok(entries) = folder.read_dir() else { return Ok(figures) };
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        let path = entry.path();
        if path.file_name().is_some_and(|name| name == "report" || name == "base" || name == "change") {
            continue;
        }
        let read = |name: &str| -> Option<Value> { serde_json::from_slice(&std::fs::read(path.join(name)).ok()?).ok() };
        match (read("benchmark.json"), read("estimates.json")) {
            (Some(benchmark), Some(estimates)) => {
                let name = benchmark["full_id"].as_str().unwrap_or("unnamed").to_owned();
                let mean = &estimates["mean"];
                let figure = json!({
                    "mean_ns": mean["point_estimate"],
                    "low_ns": mean["confidence_interval"]["lower_bound"],
                    "high_ns": mean["confidence_interval"]["upper_bound"],
                });
                figures.insert(name, figure);
            }
            _ => figures.extend(criterion_figures(&path)?),
        }
    }
    Ok(figures)
}

/// The gateway and its peers under load, by release programs that lie beside the measuring one.
fn gateway_figures(target: &Path, effort: Effort) -> Result<Value> {
    let selection = demo::PACKAGES.iter().flat_map(|package| ["-p", package]).collect::<Vec<_>>();
    run_command(&mut cargo(&[&["build", "--release", "--locked", "--bins"], &selection[..]].concat()))?;
    let folder = target.join("release");
    let file = target.join("bench-gateway.json");
    let mut command = program(&folder.join("bench-gateway").to_string_lossy(), &["--json", &file.to_string_lossy()]);
    if effort == Effort::Quick {
        command.arg("--quick");
    }
    run_command(command.stdout(std::io::stderr()))?;
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_json::from_str(&text).context("bench-gateway did not write one JSON object")
}

/// How long to measure.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Effort {
    Full,
    Quick,
}

/// What the figures were taken on.
fn machine() -> Value {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']));
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "cpu": model,
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "kernel": kernel.trim(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_bench_targets() {
        let metadata = json!({ "packages": [
            { "name": "a", "targets": [{ "kind": ["lib"], "name": "a" }, { "kind": ["bench"], "name": "chain" }] },
            { "name": "b", "targets": [] },
        ] });
        assert_eq!(criterion_benches(&metadata), [("a".to_owned(), "chain".to_owned())]);
    }
}
