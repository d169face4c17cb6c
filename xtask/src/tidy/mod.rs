//! `cargo xtask tidy`: house rules that no compiler checks.
//!
//! Each rule is a function from text to findings, so that a test can show it a bad sample: a rule must be able to fail.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::workspace;

mod arrows;
mod docs;
mod sources;
mod tokens;

/// Something against a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Finding {
    /// The file, relative to the root.
    path: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    line: usize,
    /// What is wrong and what to do.
    text: String,
    weight: Weight,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Weight {
    /// Worth a look.
    Warning,
    /// Must be mended.
    Error,
}

impl Finding {
    fn error(path: impl Into<PathBuf>, line: usize, text: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, text: text.into(), weight: Weight::Error }
    }

    fn warning(path: impl Into<PathBuf>, line: usize, text: impl Into<String>) -> Finding {
        Finding { weight: Weight::Warning, ..Finding::error(path, line, text) }
    }
}

/// A file of the project with its text.
struct File {
    path: PathBuf,
    text: String,
}

impl File {
    fn is(&self, extension: &str) -> bool {
        self.path.extension().is_some_and(|found| found == extension)
    }
}

/// `cargo xtask tidy`.
pub(crate) fn run() -> Result<()> {
    eprintln!("{}", check()?);
    Ok(())
}

/// All rules over all files; says how many files, or fails with the findings printed.
pub(crate) fn check() -> Result<String> {
    let root = workspace::root();
    let paths = workspace::files()?;
    let files: Vec<File> = paths
        .iter()
        // What is not text has no rules.
        .filter_map(|path| Some(File { text: std::fs::read_to_string(root.join(path)).ok()?, path: path.clone() }))
        .collect();
    let mut findings = arrows::check(&files);
    for file in &files {
        if file.is("rs") {
            findings.extend(sources::check(file));
            findings.extend(arrows::edges(file));
        }
        if file.is("md") {
            findings.extend(docs::links(file, &files, &paths));
            findings.extend(docs::tasks(file, &crate::task_names()));
        }
        findings.extend(docs::machine_paths(file));
    }
    for finding in &findings {
        let weight = if finding.weight == Weight::Error { "error" } else { "warning" };
        eprintln!("{weight}: {}:{}: {}", finding.path.display(), finding.line, finding.text);
    }
    let errors = findings.iter().filter(|finding| finding.weight == Weight::Error).count();
    if errors > 0 {
        bail!("{errors} finding(s) against the house rules");
    }
    Ok(format!("{} files, {} warning(s)", files.len(), findings.len()))
}
