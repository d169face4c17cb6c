//! What we build on: bans, licences and sources as `deny.toml` has them, in the root workspace and in each board's own.
//!
//! cargo-deny checks them, and is built once where it is missing (two to four minutes). Where it cannot be had, the same
//! three sections are checked here from `cargo metadata`: less thorough (licences as declared, not as found in files),
//! and never nothing; the table of steps says which it was. Advisories need a network, so they are no part of this:
//! `cargo deny check advisories`.

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use toml::Table;

use crate::firmware;
use crate::workspace::{capture, cargo, root, run_command, succeeds};

/// Checks bans, licences and sources; says by which means.
pub(crate) fn check() -> Result<String> {
    if has_cargo_deny() {
        run_command(&mut cargo(&["deny", "--locked", "check", "bans", "licenses", "sources"]))?;
        let boards = firmware::workspaces()?;
        for (manifest, target) in &boards {
            let manifest = manifest.display().to_string();
            // What `deny.toml` names and a board has not is only worth a warning in the root's own check.
            let arguments = ["deny", "--locked", "--log-level", "error", "--config", "deny.toml"];
            let where_to = ["--manifest-path", &manifest, "--target", target];
            run_command(cargo(&arguments).args(where_to).args(["check", "bans", "licenses", "sources"]))?;
        }
        return Ok(format!("by cargo-deny, with {} boards", boards.len()));
    }
    eprintln!("cargo-deny cannot be had here; checking from cargo metadata instead");
    let rules = std::fs::read_to_string(root().join("deny.toml")).context("cannot read deny.toml")?;
    let rules = Rules::read(&rules)?;
    let (mut findings, mut count) = (Vec::new(), 0);
    let here = (root().join("Cargo.toml"), PLATFORM.to_owned());
    for (manifest, target) in std::iter::once(here).chain(firmware::workspaces()?) {
        let manifest = manifest.display().to_string();
        let arguments = ["metadata", "--format-version", "1", "--locked", "--filter-platform", &target];
        let metadata = capture(cargo(&arguments).args(["--manifest-path", &manifest]))?;
        let metadata: Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
        findings.extend(rules.findings(&metadata));
        count += packages(&metadata).len();
    }
    for finding in &findings {
        eprintln!("error: {finding}");
    }
    if !findings.is_empty() {
        bail!("{} finding(s) against deny.toml", findings.len());
    }
    Ok(format!("{count} packages, from cargo metadata (cargo-deny cannot be had here)"))
}

/// Whether cargo-deny is there, building it if it is not.
fn has_cargo_deny() -> bool {
    let is_there = || succeeds(&mut cargo(&["deny", "--version"]));
    if is_there() {
        return true;
    }
    eprintln!("cargo-deny is not installed; building it once");
    run_command(&mut cargo(&["install", "--quiet", "--locked", CARGO_DENY])).is_ok() && is_there()
}

/// The parts of `deny.toml` that are checked here.
struct Rules {
    licences: Vec<String>,
    /// A crate, and the only ones that may depend on it directly.
    bans: Vec<(String, Vec<String>)>,
}

impl Rules {
    fn read(text: &str) -> Result<Rules> {
        let table: Table = text.parse().context("deny.toml is not TOML")?;
        let words = |value: Option<&toml::Value>| -> Vec<String> {
            let words = value.and_then(toml::Value::as_array).into_iter().flatten();
            words.filter_map(toml::Value::as_str).map(str::to_owned).collect()
        };
        let bans = table.get("bans").and_then(|bans| bans.get("deny")).and_then(toml::Value::as_array);
        let bans = bans.into_iter().flatten().filter_map(|ban| {
            let name = ban.get("crate").or(ban.get("name"))?.as_str()?;
            Some((name.to_owned(), words(ban.get("wrappers"))))
        });
        let licences = words(table.get("licenses").and_then(|licences| licences.get("allow")));
        if licences.is_empty() {
            bail!("deny.toml allows no licence");
        }
        Ok(Rules { licences, bans: bans.collect() })
    }

    fn findings(&self, metadata: &Value) -> Vec<String> {
        let packages = packages(metadata);
        let mut findings = Vec::new();
        for package in packages {
            let (name, version) = (text(package, "name"), text(package, "version"));
            match package["source"].as_str() {
                None | Some(CRATES_IO) => {}
                Some(source) => findings.push(format!("{name} {version} comes from {source}")),
            }
            let licence = text(package, "license");
            if !allowed(licence, &self.licences) {
                findings.push(format!("{name} {version}: licence `{licence}` is not allowed by deny.toml"));
            }
        }
        let name_of =
            |id: &Value| packages.iter().find(|package| package["id"] == *id).map_or("", |found| text(found, "name"));
        for node in metadata["resolve"]["nodes"].as_array().into_iter().flatten() {
            let user = name_of(&node["id"]);
            for dependency in node["deps"].as_array().into_iter().flatten() {
                let used = name_of(&dependency["pkg"]);
                let ban = self.bans.iter().find(|(banned, _)| banned == used);
                if ban.is_some_and(|(_, wrappers)| !wrappers.iter().any(|wrapper| wrapper == user)) {
                    findings.push(format!("{user} depends on {used}, which deny.toml bans there"));
                }
            }
        }
        findings
    }
}

fn packages(metadata: &Value) -> &[Value] {
    metadata["packages"].as_array().map_or(&[], Vec::as_slice)
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// Whether a licence expression (SPDX, with the old `/` for OR) can be met from the allowed ones.
fn allowed(expression: &str, allowed_licences: &[String]) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let met = either(&words, &mut at, allowed_licences);
    met && at == words.len()
}

/// `both OR both OR …`
fn either(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = both(words, at, allowed);
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        met |= both(words, at, allowed);
    }
    met
}

/// `one AND one AND …`
fn both(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let mut met = one(words, at, allowed);
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        met &= one(words, at, allowed);
    }
    met
}

/// A licence, with its exception if it has one, or an expression in parentheses.
fn one(words: &[&str], at: &mut usize, allowed: &[String]) -> bool {
    let Some(word) = words.get(*at) else { return false };
    *at += 1;
    if *word == "(" {
        let met = either(words, at, allowed);
        *at += 1;
        return met;
    }
    let mut licence = (*word).to_owned();
    if words.get(*at) == Some(&"WITH") {
        licence = format!("{licence} WITH {}", words.get(*at + 1).copied().unwrap_or_default());
        *at += 2;
    }
    allowed.contains(&licence)
}

const CARGO_DENY: &str = "cargo-deny@0.20.2";
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";
const PLATFORM: &str = "x86_64-unknown-linux-gnu";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const RULES: &str = r#"
        [licenses]
        allow = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"]
        [bans]
        deny = [{ crate = "rustls", wrappers = ["muster-gateway"] }]
    "#;

    fn metadata(licence: &str, source: &str, user: &str) -> Value {
        json!({
            "packages": [
                { "id": "1", "name": user, "version": "1", "license": "MIT", "source": null },
                { "id": "2", "name": "rustls", "version": "1", "license": licence, "source": source },
            ],
            "resolve": { "nodes": [{ "id": "1", "deps": [{ "pkg": "2" }] }, { "id": "2", "deps": [] }] },
        })
    }

    #[test]
    fn finds_what_deny_toml_forbids() {
        let rules = Rules::read(RULES).unwrap();
        assert_eq!(rules.findings(&metadata("MIT", CRATES_IO, "muster-gateway")), [""; 0]);
        for (metadata, part) in [
            (metadata("GPL-3.0", CRATES_IO, "muster-gateway"), "licence `GPL-3.0`"),
            (metadata("", CRATES_IO, "muster-gateway"), "licence ``"),
            (metadata("MIT", "git+https://example.org/rustls", "muster-gateway"), "comes from git+"),
            (metadata("MIT", CRATES_IO, "muster-issuing"), "muster-issuing depends on rustls"),
        ] {
            let findings = rules.findings(&metadata);
            assert!(findings.len() == 1 && findings[0].contains(part), "{findings:?}");
        }
        assert!(Rules::read("[licenses]").is_err());
    }

    #[test]
    fn reads_licence_expressions() {
        let licences = Rules::read(RULES).unwrap().licences;
        for good in
            ["MIT", "GPL-3.0 OR MIT", "MIT/GPL-3.0", "(MIT OR X) AND Apache-2.0", "Apache-2.0 WITH LLVM-exception OR X"]
        {
            assert!(allowed(good, &licences), "{good}");
        }
        for bad in ["", "GPL-3.0", "MIT AND X", "(MIT OR X) AND X", "MIT WITH LLVM-exception", "MIT )", "( X"] {
            assert!(!allowed(bad, &licences), "{bad}");
        }
    }
}
