//! Everything that can be said about the tree without running a test.

use anyhow::Result;

use crate::steps::Steps;
use crate::workspace::{cargo, run as run_command};
use crate::{dependencies, nostd, tidy};

/// `cargo xtask check`.
pub(crate) fn run() -> Result<()> {
    let mut steps = Steps::default();
    steps_into(&mut steps);
    steps.finish()
}

/// The checks, the quick ones first.
pub(crate) fn steps_into(steps: &mut Steps) {
    steps.step("tidy", tidy::check);
    steps.step("format", || run_command(&mut cargo(&["fmt", "--all", "--check"])).map(|()| String::new()));
    steps.step("dependencies", dependencies::check);
    steps.step("bare target", || nostd::build(None));
    steps.step("lints", || {
        let arguments = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
        run_command(&mut cargo(&arguments)).map(|()| String::new())
    });
    steps.step("documentation", || {
        let arguments = ["doc", "--workspace", "--no-deps", "--document-private-items", "--locked"];
        run_command(cargo(&arguments).env("RUSTDOCFLAGS", "-D warnings")).map(|()| String::new())
    });
}
