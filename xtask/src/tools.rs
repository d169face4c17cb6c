//! The programs that tests start, and where they come from: Debian's packages by their ordinary names.
//!
//! Missing ones are installed when we are root; otherwise the exact command is named and the run fails. Nothing is
//! skipped for want of a tool.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{capture, files, program, root, run_command};

/// Something a test needs: the package that brings it, and how to see that it is there.
struct Tool {
    /// What to look for: a program's name, or a file's absolute path.
    sign: &'static str,
    /// Debian's package.
    package: &'static str,
}

/// What the live tests and the browser tests start.
const FOR_TESTS: &[Tool] = &[
    Tool { sign: "mosquitto", package: "mosquitto" },
    Tool { sign: "mosquitto_pub", package: "mosquitto-clients" },
    Tool { sign: "openssl", package: "openssl" },
    Tool { sign: "curl", package: "curl" },
    Tool { sign: "jq", package: "jq" },
    Tool { sign: "faketime", package: "faketime" },
    Tool { sign: "chromium", package: "chromium" },
    Tool { sign: "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf", package: "fonts-dejavu-core" },
    Tool { sign: "node", package: "nodejs" },
    Tool { sign: "npm", package: "npm" },
];

/// `cargo xtask tools`.
pub(crate) fn run() -> Result<()> {
    eprintln!("{}", ensure_all()?);
    Ok(())
}

/// Makes sure of everything that tests need from outside the workspace; says what it did.
pub(crate) fn ensure_all() -> Result<String> {
    Ok(format!("{}, {}", ensure(FOR_TESTS)?, ensure_node_modules()?))
}

/// Makes sure of all tools, installing what is missing; says what it did.
fn ensure(tools: &[Tool]) -> Result<String> {
    let missing = missing(tools);
    if missing.is_empty() {
        return Ok(format!("{} found", tools.len()));
    }
    install(&missing)?;
    let still = self::missing(tools);
    if !still.is_empty() {
        bail!("installed, and still not found: {}", still.join(" "));
    }
    Ok(format!("installed {}", missing.join(" ")))
}

/// Installs Debian packages when root; otherwise an error that is the command to type.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let names = packages.join(" ");
    let command = format!("apt-get update && apt-get install -y --no-install-recommends {names}");
    if !is_root() {
        bail!("missing: {names}; run: sudo sh -c '{command}'");
    }
    if find("apt-get").is_none() {
        bail!("missing: {names}; there is no apt-get here, so install them as this system does (on Debian: {command})");
    }
    eprintln!("installing {names}");
    run_command(program("apt-get", &["update", "-qq"]).env("DEBIAN_FRONTEND", "noninteractive"))?;
    let arguments = [&["install", "-y", "-qq", "--no-install-recommends"], packages].concat();
    // The package manager tells every file it unpacks; that goes to the error, if there is one.
    capture(program("apt-get", &arguments).env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// The packages whose sign is not there, in order.
fn missing(tools: &[Tool]) -> Vec<&'static str> {
    tools.iter().filter(|tool| find(tool.sign).is_none()).map(|tool| tool.package).collect()
}

/// Where the program is, in PATH or in the folders of system daemons; or the file itself.
pub(crate) fn find(sign: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(sign)).find(|file| file.is_file())
}

/// Packages of npm, for the browser tests: one `npm ci` beside each lock file, when it has changed since.
fn ensure_node_modules() -> Result<String> {
    let locks: Vec<PathBuf> = files()?.into_iter().filter(|path| path.ends_with("package-lock.json")).collect();
    for lock in &locks {
        let folder = root().join(lock.parent().unwrap_or(Path::new("")));
        if is_older(&folder.join("node_modules/.package-lock.json"), &folder.join("package-lock.json")) {
            let arguments = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
            run_command(program("npm", &arguments).current_dir(&folder)).context("the browser tests need it")?;
        }
    }
    Ok(match locks.len() {
        0 => "no npm packages used".to_owned(),
        count => format!("npm packages in {count} folder(s)"),
    })
}

fn is_older(file: &Path, than: &Path) -> bool {
    let changed_at = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    changed_at(file).is_none_or(|made| changed_at(than).is_some_and(|wanted| made < wanted))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn finds_what_is_there_and_names_what_is_not() {
        assert!(find("sh").is_some());
        assert!(find("/proc/self/status").is_some());
        let tools = [
            Tool { sign: "sh", package: "dash" },
            Tool { sign: "no-such-program-anywhere", package: "no-such-package" },
        ];
        assert_eq!(missing(&tools), ["no-such-package"]);
        assert_eq!(ensure(&tools[..1]).unwrap(), "1 found");
    }
}
