//! Where the work tree is, and how other programs are started in it.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// The folder of the workspace's manifest.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&here).parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// The folder that cargo builds into.
pub(crate) fn target_folder() -> Result<PathBuf> {
    let metadata = capture(&mut cargo(&["metadata", "--format-version", "1", "--no-deps", "--locked"]))?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata).context("cargo metadata is not JSON")?;
    Ok(metadata["target_directory"].as_str().map_or_else(|| root().join("target"), Into::into))
}

/// The cargo that started us, in the workspace's folder.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    program(std::env::var("CARGO").as_deref().unwrap_or("cargo"), arguments)
}

/// A program in the workspace's folder.
pub(crate) fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments).current_dir(root());
    // What `cargo run` sets for xtask is not meant for the builds that xtask starts.
    for (key, _) in std::env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") || name == "CARGO_BIN_NAME" {
            command.env_remove(&key);
        }
    }
    command
}

/// Runs to the end, its output as it comes; an error unless it succeeds.
pub(crate) fn run_command(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("$ {line}");
    let status = command.status().with_context(|| format!("cannot start `{line}`"))?;
    if !status.success() {
        bail!("`{line}` failed ({status})");
    }
    Ok(())
}

/// Becomes the other program: signals and exit code are its own. Returns only if it cannot be started.
pub(crate) fn become_program(command: &mut Command) -> Result<()> {
    let line = shown(command);
    eprintln!("$ {line}");
    Err(command.exec()).with_context(|| format!("cannot start `{line}`"))
}

/// Runs quietly and gives its stdout; an error with its stderr unless it succeeds.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let line = shown(command);
    let output = command.output().with_context(|| format!("cannot start `{line}`"))?;
    if !output.status.success() {
        bail!("`{line}` failed ({})\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim_end());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether it can be started and succeeds, silently.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// The command line as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words = words.map(|word| {
        let word = word.to_string_lossy();
        let name = Path::new(&*word).file_name().map_or(word.clone(), |name| name.to_string_lossy());
        let word = if word.starts_with('/') && name == "cargo" { name.into_owned() } else { word.into_owned() };
        if word.contains(' ') { format!("'{word}'") } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

/// Every file of the project, tracked or new, relative to the root; what git ignores is not of the project.
pub(crate) fn files() -> Result<Vec<PathBuf>> {
    let listed = capture(&mut program(
        "git",
        &["ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z"],
    ))?;
    let root = root();
    Ok(listed.split('\0').map(PathBuf::from).filter(|path| root.join(path).is_file()).collect())
}

/// One line on stdout; a closed pipe is nobody's problem.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{line}");
}
