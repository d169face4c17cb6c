//! `status`: what a running agent says of itself, or what its files say when none runs.

use clap::Args;
use muster_terminal::{Exit, Failure, OrFail as _, Output, time};
use serde_json::{Value, json};

use super::view::{Seen, with_days_left};
use super::{ConfigFile, small_runtime};
use crate::agent::{Setup, status_from_files};
use crate::config::Config;
use crate::local_api::{AskError, ask};

/// Show the device's state, its certificates and the last refusal
#[derive(Args, Debug)]
pub(super) struct Ask {
    #[command(flatten)]
    config: ConfigFile,
    /// Exit 1 unless the device is operational
    #[arg(long)]
    check: bool,
}

impl Ask {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let config = self.config.read()?;
        let status = match running(&config)? {
            Some(status) => status,
            None => serde_json::to_value(status_from_files(&Setup::from(&config))?)
                .or_fail("status.failed", "cannot write the status")?,
        };
        let (seen, now) = (Seen::read(&status), time::now_unix_secs());
        output.record(with_days_left(status, now), || seen.to_text(now))?;
        Ok(if self.check && !seen.is_operational() { Exit::Failed } else { Exit::Done })
    }
}

/// The status from the socket; `None` when no agent listens there.
fn running(config: &Config) -> Result<Option<Value>, Failure> {
    let Some(local_api) = &config.local_api else { return Ok(None) };
    match small_runtime()?.block_on(ask(&local_api.socket, &json!({ "op": "status" }))) {
        Ok(answer) => Ok(answer.status),
        Err(AskError::Nobody { .. }) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl From<AskError> for Failure {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Nobody { .. } => Failure::not_found("agent.not_running", error.to_string())
                .hint("start it: muster-agent run --config FILE"),
            AskError::Io { .. } => Failure::from_error("agent.unreachable", "", &error)
                .hint("who may ask is decided by the mode and group of the socket; see local_api in the configuration"),
            AskError::Refused { code, message } => Failure::refused(code, message),
        }
    }
}
