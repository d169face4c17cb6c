//! Who may import whom: between packages, by their manifests; between a shell's edge modules, by their paths.
//!
//! A new arrow needs a decision record in `docs/decisions`; then it is added here.

use std::path::{Component, Path};

use toml::Table;

use super::tokens::tokens;
use super::{File, Finding};

/// The arrows between our packages: a package, and what of ours it may import.
const ARROWS: &[(&str, &[&str])] = &[
    ("muster-protocol", &[]),
    ("muster-terminal", &[]),
    ("muster-issuing", &["muster-protocol"]),
    ("muster-protocol-fuzz", &["muster-protocol"]),
    ("muster-agent-nostd", &["muster-protocol"]),
    ("muster-agent-nostd-fuzz", &["muster-agent-nostd", "muster-protocol"]),
    ("muster-agent-std", &["muster-protocol", "muster-terminal"]),
    ("muster-gateway", &["muster-issuing", "muster-protocol", "muster-terminal"]),
    ("muster-provisioning", &["muster-issuing", "muster-protocol", "muster-terminal"]),
    (
        "muster-system-tests",
        &[
            "muster-agent-nostd",
            "muster-agent-std",
            "muster-gateway",
            "muster-issuing",
            "muster-protocol",
            "muster-provisioning",
            "muster-terminal",
        ],
    ),
    ("xtask", &[]),
];

/// What a board may import of ours.
const BOARD: &[&str] = &["muster-agent-nostd", "muster-protocol"];

/// Crates of others that only some packages may name.
const RESERVED: &[(&str, &[&str])] = &[
    ("rustls", &["muster-agent-std", "muster-gateway", "muster-system-tests"]),
    ("tokio-rustls", &["muster-agent-std", "muster-gateway", "muster-system-tests"]),
    ("embedded-tls", &["muster-agent-nostd"]),
    ("embassy-stm32", &[]),
    ("embassy-rp", &[]),
    ("embassy-nrf", &[]),
    ("esp-hal", &[]),
];

/// Beginnings of names that the core may not depend on: TLS, MQTT, runtimes, sockets, logs.
const NOT_IN_THE_CORE: &[&str] = &[
    "async-std",
    "boring",
    "embassy-",
    "embedded-nal",
    "embedded-tls",
    "futures",
    "hyper",
    "log",
    "minimq",
    "mio",
    "mqtt",
    "native-tls",
    "openssl",
    "rumqtt",
    "rustls",
    "s2n",
    "smol",
    "smoltcp",
    "socket2",
    "tokio",
    "tracing",
];

/// The exceptions: path building without std, and its plain types.
const IN_THE_CORE: &[&str] = &["rustls-pki-types", "rustls-webpki"];

/// Edge modules of each shell: they meet in its loop and nowhere else.
const EDGES: &[(&str, &[&str])] =
    &[("agent-std", &["key", "mqtt", "slots", "tls"]), ("agent-nostd", &["key", "mqtt", "slots", "tls"])];

/// The arrows between packages, in every manifest.
pub(super) fn check(files: &[File]) -> Vec<Finding> {
    let renamed = files.iter().find(|file| file.path == Path::new("Cargo.toml")).map(|file| renamed(&file.text));
    let renamed = renamed.unwrap_or_default();
    let manifests = files.iter().filter(|file| file.path.file_name().is_some_and(|name| name == "Cargo.toml"));
    manifests.flat_map(|file| manifest(file, &renamed)).collect()
}

/// Workspace dependencies that go by another name here.
fn renamed(root_manifest: &str) -> Vec<(String, String)> {
    let Ok(root) = root_manifest.parse::<Table>() else { return Vec::new() };
    let dependencies = root.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let dependencies = dependencies.and_then(toml::Value::as_table).into_iter().flatten();
    let renamed =
        dependencies.filter_map(|(name, entry)| Some((name.clone(), entry.get("package")?.as_str()?.to_owned())));
    renamed.collect()
}

fn manifest(file: &File, renamed: &[(String, String)]) -> Vec<Finding> {
    let table = match file.text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => return vec![Finding::error(&file.path, 0, format!("not TOML: {}", error.message()))],
    };
    let Some(package) = table.get("package").and_then(|package| package.get("name")).and_then(toml::Value::as_str)
    else {
        return Vec::new();
    };
    let is_board = file.path.starts_with("boards");
    let may_import = match ARROWS.iter().find(|(name, _)| *name == package) {
        Some((_, arrows)) => *arrows,
        None if is_board => BOARD,
        None => {
            let text = format!(
                "{package} has no arrows: decide them in docs/decisions, then add them to xtask/src/tidy/arrows.rs"
            );
            return vec![Finding::error(&file.path, 0, text)];
        }
    };
    let ours = |name: &str| name.starts_with("muster-") || ARROWS.iter().any(|(package, _)| *package == name);
    let mut findings = Vec::new();
    for name in dependencies(&table, renamed) {
        if ours(&name) && name != package && !may_import.contains(&name.as_str()) {
            findings.push(Finding::error(&file.path, 0, format!("{package} may not import {name}")));
        }
        let users = RESERVED.iter().find(|(reserved, _)| *reserved == name).map(|(_, users)| *users);
        let may_name = |users: &[&str]| users.contains(&package) || (is_board && users.is_empty());
        if users.is_some_and(|users| !may_name(users)) {
            findings.push(Finding::error(&file.path, 0, format!("{package} may not name {name}")));
        }
        let barred =
            NOT_IN_THE_CORE.iter().any(|start| name.starts_with(start)) && !IN_THE_CORE.contains(&name.as_str());
        if package == "muster-protocol" && barred {
            findings.push(Finding::error(&file.path, 0, format!("the core is pure: no {name}")));
        }
    }
    findings
}

/// The true names of all dependencies of a manifest: normal, for build and for tests, on every target.
fn dependencies(manifest: &Table, renamed: &[(String, String)]) -> Vec<String> {
    let targets = manifest.get("target").and_then(toml::Value::as_table).into_iter().flatten();
    let tables = std::iter::once(manifest).chain(targets.filter_map(|(_, target)| target.as_table()));
    let mut names = Vec::new();
    for table in tables {
        for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
            for (name, entry) in table.get(kind).and_then(toml::Value::as_table).into_iter().flatten() {
                let here = entry.get("package").and_then(toml::Value::as_str);
                let shared = entry.get("workspace").and_then(|_| renamed.iter().find(|(alias, _)| alias == name));
                names.push(here.or(shared.map(|(_, name)| name.as_str())).unwrap_or(name).to_owned());
            }
        }
    }
    names
}

/// The arrows inside a shell, in one source file.
pub(super) fn edges(file: &File) -> Vec<Finding> {
    let parts: Vec<&str> = file
        .path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    let [shell, "src", module, rest @ ..] = &parts[..] else { return Vec::new() };
    let Some((_, edges)) = EDGES.iter().find(|(name, _)| name == shell) else { return Vec::new() };
    let module = module.trim_end_matches(".rs");
    if !edges.contains(&module) {
        return Vec::new();
    }
    let depth = 1 + rest.iter().filter(|part| **part != "mod.rs").count();
    let others = |(line, name): (usize, &str)| {
        let other = edges.contains(&name) && name != module;
        other.then(|| {
            Finding::error(&file.path, line, format!("`{module}` may not import `{name}`: the loop joins the edges"))
        })
    };
    from_the_root(&file.text, depth).into_iter().filter_map(others).collect()
}

/// The top-level modules that a file names, with their lines: `crate::a`, `crate::{a, b::c}`, enough times `super::a`.
fn from_the_root(source: &str, depth: usize) -> Vec<(usize, &str)> {
    let found = tokens(source);
    let text = |at: usize| found.get(at).map_or("", |token| token.text);
    let is_path = |at: usize| text(at) == ":" && text(at + 1) == ":";
    let mut named = Vec::new();
    for start in 0..found.len() {
        let mut after = match text(start) {
            "crate" if is_path(start + 1) => start + 3,
            "super" if is_path(start + 1) && !(start >= 2 && is_path(start - 2)) => {
                let mut steps = 1;
                while text(start + 3 * steps) == "super" && is_path(start + 3 * steps + 1) {
                    steps += 1;
                }
                if steps < depth { continue } else { start + 3 * steps }
            }
            _ => continue,
        };
        if text(after) != "{" {
            named.push((found[start].line, text(after)));
            continue;
        }
        // A group: the first word of each of its members.
        let mut nesting = 0;
        while after < found.len() {
            match text(after) {
                "{" => nesting += 1,
                "}" => nesting -= 1,
                word if nesting == 1 && matches!(text(after - 1), "{" | ",") => named.push((found[after].line, word)),
                _ => {}
            }
            if nesting == 0 {
                break;
            }
            after += 1;
        }
    }
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        let root = "[workspace.dependencies]\nwebpki = { package = \"rustls-webpki\", version = \"1\" }\ntls = { package = \"rustls\", version = \"1\" }";
        let files = [
            File { path: "Cargo.toml".into(), text: root.to_owned() },
            File { path: path.into(), text: text.to_owned() },
        ];
        check(&files).into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn holds_the_arrows_between_packages() {
        let manifest = |package: &str, dependency: &str| format!("[package]\nname = \"{package}\"\n{dependency}\n");
        for (package, dependency, expected) in [
            ("muster-gateway", "[dependencies]\nmuster-protocol.workspace = true", None),
            (
                "muster-gateway",
                "[dependencies]\nmuster-agent-std.workspace = true",
                Some("may not import muster-agent-std"),
            ),
            (
                "muster-agent-std",
                "[dev-dependencies]\nmuster-gateway.workspace = true",
                Some("may not import muster-gateway"),
            ),
            (
                "muster-protocol",
                "[dependencies]\nmuster-terminal.workspace = true",
                Some("may not import muster-terminal"),
            ),
            ("xtask", "[dependencies]\nmuster-terminal.workspace = true", Some("may not import muster-terminal")),
            (
                "muster-protocol",
                "[target.'cfg(unix)'.dependencies]\nmuster-issuing = { path = \"x\" }",
                Some("muster-issuing"),
            ),
            ("muster-provisioning", "[dependencies]\nrustls = \"1\"", Some("may not name rustls")),
            (
                "muster-provisioning",
                "[dependencies]\nsecret = { package = \"rustls\", version = \"1\" }",
                Some("rustls"),
            ),
            ("muster-issuing", "[dependencies]\ntls.workspace = true", Some("may not name rustls")),
            ("muster-gateway", "[dependencies]\nembedded-tls = \"1\"", Some("may not name embedded-tls")),
            ("muster-agent-nostd", "[dependencies]\nembassy-rp = \"1\"", Some("may not name embassy-rp")),
            ("muster-protocol", "[dependencies]\nwebpki.workspace = true", None),
            ("muster-protocol", "[dev-dependencies]\ntokio = \"1\"", Some("no tokio")),
            ("muster-protocol", "[dependencies]\nmqtt-proto = \"1\"", Some("no mqtt-proto")),
            ("muster-newcomer", "", Some("has no arrows")),
        ] {
            let found = texts("x/Cargo.toml", &manifest(package, dependency));
            match expected {
                None => assert!(found.is_empty(), "{package} {dependency}: {found:?}"),
                Some(part) => {
                    assert!(found.iter().any(|text| text.contains(part)), "{package} {dependency}: {found:?}");
                }
            }
        }
        let board = "[package]\nname = \"board-x\"\n[dependencies]\nembassy-rp = \"1\"\nmuster-agent-nostd = \"1\"";
        assert!(texts("boards/x/Cargo.toml", board).is_empty());
        assert_eq!(texts("boards/x/Cargo.toml", &format!("{board}\nmuster-gateway = \"1\"")).len(), 1);
        assert_eq!(texts("x/Cargo.toml", "[package").len(), 1);
    }

    #[test]
    fn keeps_edge_modules_apart() {
        let count = |path: &str, text: &str| edges(&File { path: path.into(), text: text.to_owned() }).len();
        for bad in [
            "use crate::tls::Config;",
            "use crate::{agent, tls};",
            "use crate::{agent::{self, tls}, slots::{A, B}};",
            "fn a() { super::tls::connect() }",
            "fn a() -> crate::key::Store {}",
        ] {
            assert_eq!(count("agent-std/src/mqtt.rs", bad), 1, "{bad}");
        }
        for good in [
            "use crate::{agent::tls, mqtt::Session, config};",
            "use crate::clock;",
            "// crate::tls joins",
            "fn a() { \"crate::tls\"; tls::x() }",
        ] {
            assert_eq!(count("agent-std/src/mqtt.rs", good), 0, "{good}");
        }
        assert_eq!(count("agent-std/src/key/file.rs", "use super::super::slots;"), 1);
        assert_eq!(count("agent-std/src/key/file.rs", "use super::slots;"), 0);
        assert_eq!(count("agent-std/src/key/mod.rs", "use super::slots;"), 1);
        assert_eq!(count("agent-std/src/agent.rs", "use crate::{key, mqtt, slots, tls};"), 0);
        assert_eq!(count("gateway/src/mqtt.rs", "use crate::tls;"), 0);
    }
}
