//! The emulator: the one that is installed, or Debian's packages unpacked into a folder under `target`.
//!
//! Debian's `qemu-system-arm` would remove a newer `qemu-utils` where one is installed, so it is not installed here but
//! unpacked; only the libraries it needs are installed.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::tools;
use crate::workspace::{capture, program, run_command, succeeds, target_folder};

/// Makes sure of the emulator; says which one it is. The tests look in the same two places.
pub(crate) fn ensure() -> Result<String> {
    let found = match tools::find(PROGRAM) {
        Some(installed) => installed,
        None => unpacked()?,
    };
    let version = capture(Command::new(&found).arg("--version"))?;
    Ok(version.lines().next().unwrap_or_default().to_owned())
}

/// The emulator under `target`, put there if it is not.
fn unpacked() -> Result<PathBuf> {
    let folder = target_folder()?.join("qemu");
    let file = folder.join("usr/bin").join(PROGRAM);
    let works = || succeeds(Command::new(&file).arg("--version"));
    if works() {
        return Ok(file);
    }
    if tools::find("apt-get").is_none() || tools::find("dpkg").is_none() {
        bail!("{PROGRAM} is not installed; install QEMU for Arm as this system does");
    }
    std::fs::create_dir_all(&folder)?;
    eprintln!("{PROGRAM} is not installed; unpacking Debian's packages into {}", folder.display());
    if download(&folder).is_err() {
        // The list of packages may be older than the archive.
        run_command(&mut program("apt-get", &["update", "-qq"])).context("run: sudo apt-get update")?;
        download(&folder)?;
    }
    let mut libraries = Vec::new();
    for package in packages(&folder)? {
        let path = package.to_string_lossy().into_owned();
        run_command(&mut program("dpkg", &["-x", &path, &folder.to_string_lossy()]))?;
        libraries.extend(depends(&capture(&mut program("dpkg", &["-f", &path, "Depends"]))?));
        std::fs::remove_file(&package)?;
    }
    if !works() {
        libraries.retain(|name| !is_installed(name));
        libraries.sort_unstable();
        libraries.dedup();
        tools::install(&libraries.iter().map(String::as_str).collect::<Vec<_>>())
            .with_context(|| format!("or install {PROGRAM} as this system does"))?;
    }
    if !works() {
        bail!("unpacked {PROGRAM}, and it does not start: ldd {} says what is missing", file.display());
    }
    Ok(file)
}

fn download(folder: &Path) -> Result<()> {
    let arguments = [&["download", "-qq"], &PACKAGES[..]].concat();
    capture(program("apt-get", &arguments).current_dir(folder)).map(drop)
}

fn packages(folder: &Path) -> Result<Vec<PathBuf>> {
    let files = folder.read_dir()?.flatten().map(|entry| entry.path());
    let packages: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|found| found == "deb")).collect();
    if packages.len() < PACKAGES.len() {
        bail!("apt-get download brought {} of {} packages", packages.len(), PACKAGES.len());
    }
    Ok(packages)
}

/// The packages a `Depends` field names, without QEMU's own; of alternatives the first.
fn depends(field: &str) -> Vec<String> {
    let names = field.split(',').filter_map(|one| one.split_whitespace().next());
    names.filter(|name| !name.starts_with("qemu-")).map(str::to_owned).collect()
}

fn is_installed(package: &str) -> bool {
    capture(&mut program("dpkg-query", &["-W", "-f", "${db:Status-Status}", package]))
        .is_ok_and(|status| status.trim() == "installed")
}

const PROGRAM: &str = "qemu-system-arm";
const PACKAGES: [&str; 3] = ["qemu-system-arm", "qemu-system-common", "qemu-system-data"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_a_package_needs() {
        let field = "libaio1 (>= 0.3.93), libc6 (>= 2.34), qemu-system-common (= 1:7.2), a | b\n";
        assert_eq!(depends(field), ["libaio1", "libc6", "a"]);
    }
}
