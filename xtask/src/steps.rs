//! A run of named steps: each timed, all tried, and one table at the end.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::workspace::say;

/// The steps of a run so far.
#[derive(Default)]
pub(crate) struct Steps {
    taken: Vec<Step>,
}

struct Step {
    name: &'static str,
    outcome: Outcome,
    took: Duration,
    note: String,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Outcome {
    Passed,
    Failed,
    NotRun,
}

impl Steps {
    /// Takes a step; what it returns is a note for the table. Later steps are tried even when this one fails.
    pub(crate) fn step(&mut self, name: &'static str, act: impl FnOnce() -> Result<String>) {
        eprintln!("\n== {name}");
        let started = Instant::now();
        let (outcome, note) = match act() {
            Ok(note) => (Outcome::Passed, note),
            Err(error) => {
                eprintln!("error: {error:#}");
                (Outcome::Failed, error.to_string().lines().next().unwrap_or_default().to_owned())
            }
        };
        self.taken.push(Step { name, outcome, took: started.elapsed(), note });
    }

    /// Names a step that cannot be taken because of another one; it counts as failed.
    pub(crate) fn not_run(&mut self, name: &'static str, why: &str) {
        self.taken.push(Step { name, outcome: Outcome::NotRun, took: Duration::ZERO, note: why.to_owned() });
    }

    /// Whether the step was taken and passed.
    pub(crate) fn passed(&self, name: &str) -> bool {
        self.taken.iter().any(|step| step.name == name && step.outcome == Outcome::Passed)
    }

    /// Prints the table; an error when a step did not pass.
    pub(crate) fn finish(self) -> Result<()> {
        say("");
        for line in self.table() {
            say(&line);
        }
        let failed: Vec<_> =
            self.taken.iter().filter(|step| step.outcome != Outcome::Passed).map(|step| step.name).collect();
        if !failed.is_empty() {
            bail!("not passed: {}", failed.join(", "));
        }
        Ok(())
    }

    fn table(&self) -> Vec<String> {
        let width = self.taken.iter().map(|step| step.name.len()).max().unwrap_or(0).max("step".len());
        let total: Duration = self.taken.iter().map(|step| step.took).sum();
        let line = |name: &str, outcome: &str, took: String, note: &str| {
            format!("{name:<width$}  {outcome:<7}  {took:>8}  {note}").trim_end().to_owned()
        };
        let mut lines = vec![line("step", "outcome", "time".to_owned(), "")];
        lines.extend(self.taken.iter().map(|step| {
            let outcome = match step.outcome {
                Outcome::Passed => "passed",
                Outcome::Failed => "FAILED",
                Outcome::NotRun => "NOT RUN",
            };
            line(step.name, outcome, minutes(step.took), &step.note)
        }));
        lines.push(line("all", "", minutes(total), ""));
        lines
    }
}

/// `1:05.3`, minutes and seconds.
pub(crate) fn minutes(length: Duration) -> String {
    let tenths = length.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn goes_on_after_a_failure_and_fails_at_the_end() {
        let mut steps = Steps::default();
        steps.step("format", || Err(anyhow!("3 files differ\nmore")));
        steps.step("tidy", || Ok("41 files".to_owned()));
        steps.not_run("tests", "the build failed");
        assert!(steps.passed("tidy") && !steps.passed("format") && !steps.passed("tests"));
        let table = steps.table();
        assert!(table[1].starts_with("format  FAILED ") && table[1].ends_with("3 files differ"), "{table:?}");
        assert!(table[3].starts_with("tests   NOT RUN"), "{table:?}");
        let error = steps.finish().err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some("not passed: format, tests"));
    }

    #[test]
    fn passes_when_all_pass() {
        let mut steps = Steps::default();
        steps.step("tidy", || Ok(String::new()));
        assert!(steps.finish().is_ok());
        assert_eq!(minutes(Duration::from_millis(65_340)), "1:05.3");
    }
}
