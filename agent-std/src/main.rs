//! `muster-agent`: the Linux agent and its command line. Everything it does is in the library.

use std::process::ExitCode;

use muster_agent_std::command;

fn main() -> ExitCode {
    muster_terminal::run(command::act)
}
