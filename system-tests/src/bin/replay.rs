//! Simulated histories by seed: one of them to read, or many to see whether an invariant breaks.

use std::process::ExitCode;

use muster_system_tests::history::History;
use muster_system_tests::plan::Plan;
use muster_system_tests::seeds::run_seeds;
use muster_system_tests::world::World;
use muster_terminal::{Failure, Output, Progress, run};

/// Replays simulated histories: the same seed is the same history, on any machine.
#[derive(clap::Parser)]
#[command(name = "replay", version)]
struct Replay {
    /// Tells the history of one seed, event by event
    #[arg(long, value_name = "N", conflicts_with = "seeds", required_unless_present = "seeds")]
    seed: Option<u64>,
    /// Runs the histories of seeds A up to, and without, B
    #[arg(long, value_name = "A..B")]
    seeds: Option<String>,
    /// Threads; as many as the machine has processors when not given
    #[arg(long)]
    jobs: Option<usize>,
}

fn main() -> ExitCode {
    run(|replay: Replay, output: &Output| match (replay.seed, &replay.seeds) {
        (Some(seed), _) => tell(seed, output),
        (None, Some(seeds)) => run_many(seeds, replay.jobs, output),
        (None, None) => Err(Failure::usage("usage", "give --seed or --seeds")),
    })
}

fn tell(seed: u64, output: &Output) -> Result<(), Failure> {
    let plan = Plan::from_seed(seed);
    output.data(format_args!("{plan:#?}"))?;
    let mut world = World::new(plan, History::readable());
    let outcome = world.run();
    for line in world.history.lines() {
        output.data(line)?;
    }
    output.data(format_args!("seed {seed}: history {:016x}, {} events", outcome.hash, outcome.events))?;
    match outcome.violation {
        Some(violation) => Err(Failure::failed(violation.invariant, violation.text)),
        None => Ok(()),
    }
}

fn run_many(seeds: &str, jobs: Option<usize>, output: &Output) -> Result<(), Failure> {
    let wrong = || Failure::usage("usage", "--seeds takes two numbers, as in 0..10000");
    let (first, end) = seeds.split_once("..").ok_or_else(wrong)?;
    let (first, end): (u64, u64) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    let jobs = jobs.or_else(|| std::thread::available_parallelism().ok().map(Into::into)).unwrap_or(1);
    let started = std::time::Instant::now();
    let progress = Progress::new(output, "histories", end.saturating_sub(first));
    let report = run_seeds(first..end, jobs, || progress.advance(1));
    let seconds = started.elapsed().as_secs_f64();
    let per_second = report.histories as f64 / seconds.max(0.001);
    progress.finish(&format!("{} histories in {seconds:.1} s, {per_second:.0} a second", report.histories));
    output.data(format_args!(
        "{} histories, {} events, {} certificates, {} broken",
        report.histories,
        report.events,
        report.issued,
        report.failed.len()
    ))?;
    for failed in &report.failed {
        output.data(format_args!(
            "seed {} after {} events: {}: {}",
            failed.seed, failed.events, failed.invariant, failed.text
        ))?;
    }
    match report.failed.first() {
        None => Ok(()),
        Some(shortest) => {
            let hint =
                format!("replay --seed {} tells the shortest; add it to system-tests/regressions", shortest.seed);
            Err(Failure::failed("invariant.broken", "some histories broke an invariant").hint(hint))
        }
    }
}
