//! `muster-gateway`: the command line over [`muster_gateway::command`].

use std::process::ExitCode;

use muster_gateway::command::CommandLine;
use muster_terminal::{Output, run};

fn main() -> ExitCode {
    run(|line: CommandLine, output: &Output| line.act(output))
}
