//! `muster-provision`: what a factory line runs.

use std::process::ExitCode;

use muster_provisioning::command::MusterProvision;

fn main() -> ExitCode {
    muster_terminal::run(|program: MusterProvision, output| program.run(output))
}
