//! Rules on documents: links lead somewhere, tasks exist, and no machine's own paths are left in.

use std::path::{Component, Path, PathBuf};

use super::{File, Finding};

/// Every relative link resolves, to a file or folder and, where it has one, to a heading.
pub(super) fn links(file: &File, files: &[File], paths: &[PathBuf]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, target) in targets(&file.text) {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
        let wanted = match path {
            "" => file.path.clone(),
            path => normal(&file.path.parent().unwrap_or(Path::new("")).join(path)),
        };
        if !paths.iter().any(|known| known.starts_with(&wanted)) {
            findings.push(Finding::error(
                &file.path,
                line,
                format!("link to {target}: there is no {}", wanted.display()),
            ));
            continue;
        }
        let Some(document) = files.iter().find(|known| known.path == wanted && known.is("md")) else { continue };
        if !anchor.is_empty() && !anchors(&document.text).any(|known| known == anchor) {
            findings.push(Finding::error(&file.path, line, format!("link to {target}: no such heading")));
        }
    }
    findings
}

/// Every `cargo xtask TASK` that a document names exists.
pub(super) fn tasks(file: &File, known: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for (at, start) in line.match_indices("cargo xtask ") {
            let rest = &line[at + start.len()..];
            let name = &rest[..rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-').unwrap_or(rest.len())];
            if name.starts_with(|c: char| c.is_ascii_alphabetic()) && !known.iter().any(|task| task == name) {
                findings.push(Finding::error(&file.path, index + 1, format!("there is no `cargo xtask {name}`")));
            }
        }
    }
    findings
}

/// No path that exists on one person's machine only.
pub(super) fn machine_paths(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for folder in ["work", "root", "home", "Users"] {
            let path = format!("/{folder}/");
            let is_path = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-/}~".contains(c));
            if line.match_indices(&path).any(|(at, _)| is_path(at)) {
                findings.push(Finding::error(&file.path, index + 1, format!("a path of one machine: {path}…")));
            }
        }
    }
    findings
}

/// The targets of inline links, images and reference definitions, with their lines; code is left out.
fn targets(text: &str) -> Vec<(usize, &str)> {
    let (mut found, mut in_fence) = (Vec::new(), false);
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") || line.trim_start().starts_with("~~~") {
            in_fence = !in_fence;
        }
        if in_fence {
            continue;
        }
        let in_code = |at: usize| line[..at].matches('`').count() % 2 == 1;
        for (at, start) in line.match_indices("](") {
            let target = line[at + start.len()..].split([')', ' ']).next().unwrap_or_default();
            if !in_code(at) {
                found.push((index + 1, target.trim_matches(['<', '>'])));
            }
        }
        if let Some((_, target)) = line.trim_start().strip_prefix('[').and_then(|rest| rest.split_once("]: ")) {
            found.push((index + 1, target.split(' ').next().unwrap_or_default()));
        }
    }
    found
}

/// The anchors of a document's headings, as the usual renderers make them.
fn anchors(text: &str) -> impl Iterator<Item = String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(|heading| {
        let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        kept.collect::<String>().to_lowercase().replace(' ', "-")
    })
}

/// The path without `.` and `..`, by its words alone.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut normal, part| {
        match part {
            Component::ParentDir => drop(normal.pop()),
            Component::CurDir => {}
            other => normal.push(other),
        }
        normal
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(path: &str, text: &str) -> File {
        File { path: path.into(), text: text.to_owned() }
    }

    fn broken(text: &str) -> usize {
        let files = [document("docs/quickstart.md", text), document("README.md", "# Muster\n## First `steps`, then\n")];
        let paths = ["docs/quickstart.md", "README.md", "docs/img/fleet.png"].map(PathBuf::from);
        links(&files[0], &files, &paths).len()
    }

    #[test]
    fn follows_links() {
        for good in [
            "[a](../README.md) [b](img/) ![c](img/fleet.png \"title\") [d](https://example.org/x)",
            "[a](../README.md#first-steps-then) [b](#here)\n# Here",
            "`[a](nowhere.md)`\n```\n[a](nowhere.md)\n```\n",
            "[a]: ../README.md",
        ] {
            assert_eq!(broken(good), 0, "{good}");
        }
        for bad in
            ["[a](READNE.md)", "[a](../README.md#nowhere)", "![a](img/x.png)", "[a]: nowhere.md", "[a](#nowhere)"]
        {
            assert_eq!(broken(bad), 1, "{bad}");
        }
    }

    #[test]
    fn knows_the_tasks() {
        let known = ["test".to_owned(), "demo".to_owned()];
        let found = |text: &str| tasks(&document("README.md", text), &known).len();
        assert_eq!(found("Run `cargo xtask test`, then cargo xtask demo --keep; `cargo xtask TASK|…`"), 1);
        assert_eq!(found("cargo xtask test"), 0);
        assert_eq!(found("cargo xtask tset and cargo xtask demos"), 2);
    }

    #[test]
    fn finds_paths_of_one_machine() {
        let found = |text: &str| machine_paths(&document("a.md", text)).len();
        for folder in ["work", "root", "home", "Users"] {
            assert_eq!(found(&format!("see /{folder}/x/y")), 1, "{folder}");
            assert_eq!(found(&format!("(/{folder}/x)")), 1, "{folder}");
        }
        assert_eq!(found("src/root/x, ./work/x, /var/lib/muster, https://example.org/home/x"), 0);
    }
}
