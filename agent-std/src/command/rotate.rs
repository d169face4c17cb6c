//! `rotate`: a new key and certificate now, by the running agent, or by one of our own when none runs.

use std::time::Duration;

use clap::Args;
use muster_terminal::{Exit, Failure, Output};
use serde_json::json;
use tokio::time::{Instant, timeout_at};

use super::once::{OnRefusal, Once, Patience};
use super::view::Seen;
use super::{ConfigFile, log, small_runtime};
use crate::agent::Setup;
use crate::config::Config;
use crate::local_api::{AskError, Connection};

/// Replace the device's key and certificate now
#[derive(Args, Debug)]
pub(super) struct Rotate {
    #[command(flatten)]
    config: ConfigFile,
    /// Give up waiting after so many seconds; the rotation itself goes on
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
}

impl Rotate {
    pub(super) fn run(&self, output: &Output) -> Result<Exit, Failure> {
        let config = self.config.read()?;
        log("error", config.log.format)?;
        let seen = small_runtime()?.block_on(self.rotate(&config, output))?;
        let record = json!({ "device": seen.device, "slot": seen.active, "generation": seen.generation() });
        output.record(record, || {
            let generation = seen.generation().unwrap_or_default();
            format!("{} uses key {generation}, in slot {}", seen.device, seen.active.as_deref().unwrap_or("-"))
        })?;
        Ok(Exit::Done)
    }

    async fn rotate(&self, config: &Config, output: &Output) -> Result<Seen, Failure> {
        let connection = match &config.local_api {
            Some(local_api) => Connection::open(&local_api.socket).await,
            None => return self.by_ourselves(config, output).await,
        };
        match connection {
            Ok(connection) => self.by_the_running(connection).await,
            Err(AskError::Nobody { .. }) => self.by_ourselves(config, output).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn by_the_running(&self, mut connection: Connection) -> Result<Seen, Failure> {
        let until = Instant::now() + Duration::from_secs(self.timeout);
        let before = connection.ask(&json!({ "op": "watch" })).await?;
        let before = before.status.as_ref().map(Seen::read).unwrap_or_default();
        let mut answer = connection.ask(&json!({ "op": "rotate" })).await?;
        loop {
            // The answer to `rotate` itself has no status, and may come after a first change.
            if let Some(seen) = answer.status.as_ref().map(Seen::read) {
                if is_done(&before, &seen) {
                    return Ok(seen);
                }
                if let Some(refusal) = seen.last_refusal.filter(|refusal| Some(refusal) != before.last_refusal.as_ref())
                {
                    return Err(super::refused(&refusal));
                }
            }
            answer = timeout_at(until, connection.next()).await.map_err(|_| late())??;
        }
    }

    async fn by_ourselves(&self, config: &Config, output: &Output) -> Result<Seen, Failure> {
        let patience = Patience::new(self.timeout, OnRefusal::GiveUp);
        let once = Once::start(Setup::from(config))?;
        let rotated = async {
            let before = once.until(patience, output, Seen::is_operational).await?;
            once.handle.rotate().await.map_err(|refusal| Failure::failed(refusal.code, refusal.message))?;
            once.until(patience, output, |seen| is_done(&before, seen)).await
        };
        let rotated = rotated.await;
        once.stop().await?;
        rotated
    }
}

fn is_done(before: &Seen, seen: &Seen) -> bool {
    seen.state == "operational" && seen.is_operational() && seen.generation() > before.generation()
}

fn late() -> Failure {
    Failure::failed("rotate.timeout", "the rotation is not over yet").hint("it goes on; ask with `muster-agent status`")
}
