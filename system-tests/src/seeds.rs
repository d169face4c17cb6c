//! Many histories: seeds run side by side, and what is reported of those that broke an invariant.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::history::History;
use crate::plan::Plan;
use crate::world::{Outcome, World};

/// A history that broke an invariant, or a core that panicked.
#[derive(Clone, Debug)]
pub struct Failed {
    /// Its seed.
    pub seed: u64,
    /// The invariant, or `panic`.
    pub invariant: String,
    /// What was wrong.
    pub text: String,
    /// How many events it took.
    pub events: u64,
}

/// How many histories went how.
#[derive(Debug, Default)]
pub struct Report {
    /// Histories that were run.
    pub histories: u64,
    /// Events in all of them.
    pub events: u64,
    /// Certificates issued in all of them.
    pub issued: u64,
    /// The broken ones, the shortest first.
    pub failed: Vec<Failed>,
}

/// Runs the history of one seed.
pub fn run_seed(seed: u64) -> Result<Outcome, Failed> {
    run_plan(Plan::from_seed(seed))
}

/// Runs the history of a plan.
pub fn run_plan(plan: Plan) -> Result<Outcome, Failed> {
    let seed = plan.seed;
    // The world is dropped with the panic; nothing of it is looked at again.
    let ran = catch_unwind(AssertUnwindSafe(|| World::new(plan, History::hashed()).run()));
    let failed = |invariant: &str, text: String, events| Failed { seed, invariant: invariant.to_owned(), text, events };
    let outcome = ran.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        failed("panic", text.unwrap_or_default(), 0)
    })?;
    match &outcome.violation {
        Some(violation) => Err(failed(violation.invariant, violation.text.clone(), outcome.events)),
        None => Ok(outcome),
    }
}

/// Runs the histories of `seeds` on `jobs` threads; `done` is called after each.
pub fn run_seeds(seeds: Range<u64>, jobs: usize, done: impl Fn() + Sync) -> Report {
    let next = AtomicU64::new(seeds.start);
    let report = Mutex::new(Report::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let ran = run_seed(seed);
                    let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                    report.histories += 1;
                    match ran {
                        Ok(outcome) => {
                            report.events += outcome.events;
                            report.issued += outcome.issued as u64;
                        }
                        Err(failed) => report.failed.push(failed),
                    }
                    drop(report);
                    done();
                }
            });
        }
    });
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failed.sort_by_key(|failed| (failed.events, failed.seed));
    report
}

/// The committed seeds that failed once: one number per line, `#` starts a comment.
#[must_use]
pub fn regressions(text: &str) -> Vec<u64> {
    let numbers = text.lines().filter_map(|line| line.split('#').next()?.trim().parse().ok());
    numbers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_are_no_seeds() {
        assert_eq!(regressions("# none\n7 # why\n\n 12\nx\n"), [7, 12]);
    }

    #[test]
    fn every_seed_of_a_range_is_run_once() {
        let count = AtomicU64::new(0);
        let report = run_seeds(3..6, 2, || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!((report.histories, count.into_inner()), (3, 3));
        assert!(report.failed.is_empty(), "{:?}", report.failed);
    }
}
