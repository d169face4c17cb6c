//! `retire`: gives the identity up. The gateway is told when it can be reached, and the device's keys are destroyed.

use clap::Args;
use muster_terminal::{Confirmation, Exit, Failure, Output};
use serde_json::json;

use super::once::{OnRefusal, Once, Patience};
use super::view::Seen;
use super::{ConfigFile, log, small_runtime};
use crate::agent::Setup;
use crate::config::Config;
use crate::local_api::{AskError, ask};

/// Give the device's identity up for good
#[derive(Args, Debug)]
pub(super) struct Retire {
    #[command(flatten)]
    config: ConfigFile,
    #[command(flatten)]
    confirmation: Confirmation,
    /// Tell the gateway if it can be reached within so many seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 15)]
    timeout: u64,
}

impl Retire {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let config = self.config.read()?;
        output.confirm("This device's keys are destroyed and it never connects again.", self.confirmation)?;
        log("error", config.log.format)?;
        let told = small_runtime()?.block_on(self.retire(&config, output))?;
        let told_text = match told {
            Told::ByAgent => "the running agent told the gateway if it was connected",
            Told::Yes => "the gateway knows",
            Told::No => "the gateway could not be told; retire the device there too",
        };
        output.record(json!({ "retired": true, "gateway": told_text }), || format!("retired; {told_text}"))?;
        Ok(Exit::Done)
    }

    async fn retire(&self, config: &Config, output: &Output) -> Result<Told, Failure> {
        if let Some(local_api) = &config.local_api {
            match ask(&local_api.socket, &json!({ "op": "retire" })).await {
                Ok(_) => return Ok(Told::ByAgent),
                Err(AskError::Nobody { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let once = Once::start(Setup::from(config))?;
        let patience = Patience::new(self.timeout, OnRefusal::GiveUp);
        let is_connected = once.until(patience, output, Seen::is_operational).await.is_ok();
        once.handle.retire().await.map_err(|refusal| Failure::failed(refusal.code, refusal.message))?;
        once.stop().await?;
        Ok(if is_connected { Told::Yes } else { Told::No })
    }
}

enum Told {
    ByAgent,
    Yes,
    No,
}
