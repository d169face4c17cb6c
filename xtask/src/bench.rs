//! `cargo xtask bench`: the criterion benches of every package, then the gateway under load beside its peers. Prints
//! tables; writes one JSON object.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};

use crate::tools;
use crate::workspace::{capture, cargo, program, run_command, say};

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
    tools::ensure_all()?;
    let metadata = capture(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    for (package, bench) in criterion_benches(&metadata) {
        let mut command = cargo(&["bench", "--locked", "-p", &package, "--bench", &bench]);
        if arguments.quick {
            command.args(["--", "--quick"]);
        }
        // Criterion's report tells of every sample; the table comes at the end.
        run_command(command.stdout(Stdio::null()))?;
    }
    let target = metadata["target_directory"].as_str().map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let criterion = criterion_figures(&target.join("criterion"))?;
    say(&criterion_table(&criterion));
    let figures = json!({
        "v": 1,
        "version": capture(&mut program("git", &["describe", "--always", "--dirty"]))?.trim(),
        "machine": machine(),
        "criterion": criterion,
        "gateway": gateway_figures(&target, arguments)?,
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

/// Microseconds for people.
fn criterion_table(figures: &Map<String, Value>) -> String {
    let micros = |figure: &Value, name: &str| figure[name].as_f64().unwrap_or(f64::NAN) / 1000.0;
    let row = |(name, figure): (&String, &Value)| {
        let [mean, low, high] = ["mean_ns", "low_ns", "high_ns"].map(|part| micros(figure, part));
        format!("{name:48}{mean:>12.2} µs  ({low:.2} to {high:.2})\n")
    };
    figures.iter().map(row).collect()
}

/// The gateway and its peers under load: its table goes to stdout, the JSON object comes back.
fn gateway_figures(target: &Path, arguments: &Arguments) -> Result<Value> {
    let mut build = cargo(&["build", "--release", "--locked"]);
    for (package, name) in PROGRAMS {
        build.args(["-p", package, "--bin", name]);
    }
    run_command(&mut build)?;
    let path = target.join("bench-gateway.json");
    let folder = target.join("release");
    let mut command = program(&folder.join("bench-gateway").to_string_lossy(), &["--json", &path.to_string_lossy()]);
    if arguments.quick {
        command.arg("--quick");
    }
    run_command(&mut command)?;
    serde_json::from_slice(&std::fs::read(&path)?).context("bench-gateway did not write one JSON object")
}

/// What is measured, and what measures.
const PROGRAMS: [(&str, &str); 4] = [
    ("muster-gateway", "muster-gateway"),
    ("muster-agent-std", "muster-agent"),
    ("muster-provisioning", "muster-provision"),
    ("muster-system-tests", "bench-gateway"),
];

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
