//! `run`: the daemon. Ready, for systemd, when the device is operational.

use std::sync::Arc;
use std::time::Duration;

use muster_terminal::{Exit, Failure, OrFail as _, Output};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};
use tracing::info;

use super::{log, small_runtime};
use crate::agent::{self, Agent, End, Handle, Setup, Status};
use crate::config::Config;
use crate::local_api::Server;

pub(super) fn run(config: &Config, output: &Output) -> Result<Exit, Failure> {
    log(&config.log.filter, config.log.format)?;
    let setup = Setup::from(config);
    if agent::status_from_files(&setup)?.state == "retired" {
        return Err(Failure::refused("device.retired", "this device is retired for good")
            .hint("a new identity from the factory, and an empty state folder, make a new device"));
    }
    match small_runtime()?.block_on(serve(config, setup))? {
        End::Stopped => {}
        End::Retired => output.note("retired; there is nothing to run any more"),
    }
    Ok(Exit::Done)
}

async fn serve(config: &Config, setup: Setup) -> Result<End, Failure> {
    let agent = Agent::open(setup)?;
    let handle = agent.handle();
    let server = match &config.local_api {
        Some(settings) => {
            let what = format!("cannot open the socket {}", settings.socket.display());
            Some(Server::open(settings, handle.clone()).or_fail("local_api.failed", &what)?)
        }
        None => None,
    };
    tokio::spawn(tell_readiness(handle.clone()));
    tokio::spawn(stop_on_signal(handle));
    let end = agent.run().await;
    let _ = sd_notify::notify(&[NotifyState::Stopping]);
    if let Some(server) = server {
        server.close(LAST_ANSWERS).await;
    }
    Ok(end?)
}

async fn tell_readiness(handle: Handle) {
    if handle.until(|status: &Arc<Status>| status.is_operational()).await.is_ok() {
        info!(event = "agent.ready", device = %handle.device());
        let _ = sd_notify::notify(&[NotifyState::Ready]);
    }
}

/// SIGTERM and SIGINT end the run politely.
pub(super) async fn stop_on_signal(handle: Handle) {
    asked_to_stop().await;
    handle.stop().await;
}

/// Waits for SIGTERM or SIGINT; forever, where they cannot be listened for.
pub(super) async fn asked_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

const LAST_ANSWERS: Duration = Duration::from_secs(1);
