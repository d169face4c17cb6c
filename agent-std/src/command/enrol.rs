//! `enrol`: runs the agent until the device is operational, then ends.

use clap::Args;
use muster_terminal::{Exit, Failure, Output};
use serde_json::json;
use tokio::time::timeout_at;

use super::once::{OnRefusal, Once, Patience};
use super::view::Seen;
use super::{ConfigFile, log, small_runtime};
use crate::agent::{AgentError, Setup};
use crate::config::Config;
use crate::local_api::Connection;

/// Enrol: run until the device has a certificate that the gateway has confirmed
#[derive(Args, Debug)]
pub(super) struct Enrol {
    #[command(flatten)]
    config: ConfigFile,
    /// Give up after so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Go on waiting when the gateway says what only an operator can change
    #[arg(long)]
    wait: bool,
}

impl Enrol {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let config = self.config.read()?;
        log("error", config.log.format)?;
        let seen = small_runtime()?.block_on(self.enrol(&config, output))?;
        let record =
            json!({ "device": seen.device, "state": seen.state, "slot": seen.active, "generation": seen.generation() });
        output.record(record, || format!("{} is operational", seen.device))?;
        Ok(Exit::Done)
    }

    async fn enrol(&self, config: &Config, output: &Output) -> Result<Seen, Failure> {
        let refusals = if self.wait { OnRefusal::GoOn } else { OnRefusal::GiveUp };
        let patience = Patience::new(self.timeout, refusals);
        match Once::start(Setup::from(config)) {
            Ok(once) => {
                let seen = once.until(patience, output, Seen::is_operational).await;
                once.stop().await?;
                seen
            }
            // Somebody runs it already: wait with that one.
            Err(error @ AgentError::Running { .. }) => match &config.local_api {
                Some(local_api) => {
                    let mut connection = Connection::open(&local_api.socket).await?;
                    let mut answer = connection.ask(&json!({ "op": "watch" })).await?;
                    loop {
                        let seen = answer.status.as_ref().map(Seen::read).unwrap_or_default();
                        if seen.is_operational() {
                            return Ok(seen);
                        }
                        answer = timeout_at(patience.until, connection.next()).await.map_err(|_| {
                            Failure::failed("enrol.timeout", "the running agent did not become operational in time")
                        })??;
                    }
                }
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }
}
