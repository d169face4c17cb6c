//! An agent that runs as long as a command needs it.

use std::time::Duration;

use muster_terminal::{Failure, Output};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

use super::view::Seen;
use super::{refused, seen};
use crate::agent::{Agent, AgentError, End, Handle, Setup};

/// A running agent of our own.
pub(super) struct Once {
    pub(super) handle: Handle,
    run: JoinHandle<Result<End, AgentError>>,
}

impl Once {
    pub(super) fn start(setup: Setup) -> Result<Self, AgentError> {
        let agent = Agent::open(setup)?;
        let handle = agent.handle();
        Ok(Self { handle, run: tokio::spawn(agent.run()) })
    }

    /// Waits for a status, telling each new state. A refusal that only an operator can change ends the wait, unless
    /// `patience` says otherwise.
    pub(super) async fn until(
        &self,
        patience: Patience,
        output: &Output,
        reached: impl Fn(&Seen) -> bool,
    ) -> Result<Seen, Failure> {
        let mut told = String::new();
        let mut last = Seen::default();
        let waited = self.handle.until(|status| {
            last = seen(status);
            if last.state != told {
                told.clone_from(&last.state);
                output.note(&told);
            }
            let is_hopeless = last.last_refusal.as_ref().is_some_and(super::view::Refusal::asks_operator);
            reached(&last) || (is_hopeless && patience.refusals == OnRefusal::GiveUp)
        });
        let waited = timeout_at(patience.until, waited).await;
        match waited {
            Ok(Ok(_)) if reached(&last) => Ok(last),
            Ok(Err(gone)) => Err(Failure::failed(gone.code, gone.message)),
            _ => Err(last.last_refusal.as_ref().map_or_else(|| nothing_heard(&last), refused)),
        }
    }

    /// Ends the agent, politely to the gateway.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.handle.stop().await;
        self.run.await.map_err(|error| Failure::from_error("agent.failed", "the agent broke down", &error))??;
        Ok(())
    }
}

/// How long to wait, and for what not.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    pub(super) until: Instant,
    pub(super) refusals: OnRefusal,
}

/// What to do about a refusal that only an operator can change.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum OnRefusal {
    GiveUp,
    GoOn,
}

impl Patience {
    pub(super) fn new(secs: u64, refusals: OnRefusal) -> Self {
        Self { until: Instant::now() + Duration::from_secs(secs), refusals }
    }
}

fn nothing_heard(last: &Seen) -> Failure {
    Failure::failed("gateway.unreachable", format!("no answer in time from {}", last.gateways.join(", ")))
        .hint("check that the gateway runs and that this address reaches it")
}
