//! One core from its boot to its end: its outputs are done, what happens is given to it.
//!
//! One input, then all outputs, then wait. What an output brings about at once (a key, a signature, a failed send) is
//! given to the core after the outputs that came with it; only `Persisted` answers in between, for it is a barrier.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::device::{Credential, Device, Failure, Input, Output, StateName};
use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::{Item, SlotStore as _};
use muster_protocol::time::Now;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::error;

use super::link::{Link, Task};
use super::records::{Booted, Trust};
use super::request::Request;
use super::{Agent, bundle};
use crate::key::{KeyError, KeyStore as _};
use crate::mqtt::CLOSE_MAX;

/// Why a core is not asked any more.
pub(super) enum Ended {
    Stopped,
    Retired,
    /// It no longer believes its records.
    Restart {
        /// How long it lived.
        held: Duration,
    },
}

pub(super) async fn live(agent: &mut Agent, booted: Booted) -> Ended {
    let Booted { boot, trust } = booted;
    let now = agent.clock.now(boot.built_at.max(boot.life.floor));
    let device = Box::new(Device::boot(boot, now));
    let mut life = Life {
        agent,
        device,
        trust,
        link: Link::Down,
        closing: None,
        fetching: None,
        is_open_to_programs: false,
        report_at: None,
        told: None,
        changed: true,
        idle_until: None,
    };
    life.run().await
}

pub(super) struct Life<'a> {
    pub(super) agent: &'a mut Agent,
    pub(super) device: Box<Device>,
    pub(super) trust: Trust,
    pub(super) link: Link,
    /// The session before, on its way out.
    pub(super) closing: Option<JoinHandle<()>>,
    pub(super) fetching: Option<Task<Option<Vec<u8>>>>,
    /// Whether the session is one under the certificate in use, and welcomed: then programs may use it too.
    pub(super) is_open_to_programs: bool,
    pub(super) report_at: Option<Instant>,
    pub(super) told: Option<(StateName, Option<Credential>)>,
    pub(super) changed: bool,
    /// A timeout that led to nothing is not repeated before this.
    pub(super) idle_until: Option<Instant>,
}

/// What an output brought about, to be given to the core when the outputs are through.
#[derive(Clone, Copy)]
pub(super) enum Effect {
    KeyGenerated { slot: SlotId, public_key: PublicKey },
    KeyFailed,
    Signed(Signature),
    SendFailed,
}

impl Life<'_> {
    async fn run(&mut self) -> Ended {
        let born = Instant::now();
        loop {
            if self.drain().await {
                return Ended::Restart { held: born.elapsed() };
            }
            self.open_to_programs();
            self.tell();
            if self.device.state() == StateName::Retired {
                return self.retired().await;
            }
            let due = self.device.poll_timeout().map(|at| self.agent.clock.instant(at));
            let due = due.map(|due| self.idle_until.map_or(due, |idle| due.max(idle)));
            let report_at = self.report_at;
            tokio::select! {
                happened = self.link.next() => self.happened(happened),
                fetched = finished(&mut self.fetching) => self.fetched(fetched),
                request = self.agent.requests.recv() => match request {
                    Some(Request::Stop) | None => return self.stop().await,
                    Some(request) => self.asked(request),
                },
                () = at(due) => {
                    self.input(Input::Timeout);
                    self.idle_until = Some(Instant::now() + IDLE);
                }
                () = at(report_at) => self.report(),
            }
        }
    }

    /// Does what the core wants done. True when it wants to be booted anew.
    async fn drain(&mut self) -> bool {
        let mut effects = VecDeque::new();
        loop {
            let Some(output) = self.device.poll_output() else {
                let Some(effect) = effects.pop_front() else { return false };
                self.effect(effect);
                continue;
            };
            self.idle_until = None;
            match output {
                Output::Persist { item, bytes } => {
                    let stored = self.agent.records.put(item, bytes).await;
                    self.stored(item, stored);
                }
                Output::GenerateKey(slot) => effects.push_back(self.generate(slot).await),
                Output::Sign { slot, message } => {
                    let message = message.to_vec();
                    effects.push_back(self.sign(slot, message).await);
                }
                Output::WipeKey(slot) => self.wipe(slot).await,
                Output::Connect(credential) => self.dial(credential),
                Output::Disconnect => self.hang_up(),
                Output::Send(bytes) => {
                    let payload = Bytes::copy_from_slice(bytes);
                    effects.extend(self.send(payload));
                }
                Output::FetchBundle => {
                    let patience = self.patience();
                    self.fetching = Some(Task::spawn(bundle::fetch(self.trust.gateways.clone(), patience)));
                }
                Output::Restart => return true,
                Output::Event(event) => self.event(event),
            }
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::KeyGenerated { slot, public_key } => self.input(Input::KeyGenerated { slot, public_key }),
            Effect::KeyFailed => self.input(Input::KeyFailed),
            Effect::Signed(signature) => self.input(Input::Signed(signature)),
            Effect::SendFailed => {
                self.hang_up();
                self.input(Input::Disconnected(Failure::Unreachable));
            }
        }
    }

    pub(super) fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.device.handle_input(now, input);
    }

    pub(super) fn now(&self) -> Now {
        self.agent.clock.now(self.device.clock_floor())
    }

    fn stored(&mut self, item: Item, stored: std::io::Result<()>) {
        self.changed = true;
        match stored {
            Ok(()) => self.input(Input::Persisted),
            Err(error) => {
                error!(event = "record_store.failed", device = %self.agent.factory.device(), ?item, error = %error);
                self.input(Input::PersistFailed);
            }
        }
    }

    async fn generate(&self, slot: SlotId) -> Effect {
        let keys = Arc::clone(&self.agent.keys);
        match self.ask_key_store(move || keys.generate(slot)).await {
            Some(public_key) => Effect::KeyGenerated { slot, public_key },
            None => Effect::KeyFailed,
        }
    }

    async fn sign(&self, slot: SlotId, message: Vec<u8>) -> Effect {
        let keys = Arc::clone(&self.agent.keys);
        let signed = self.ask_key_store(move || keys.sign(Credential::Slot(slot), &message)).await;
        signed.map_or(Effect::KeyFailed, Effect::Signed)
    }

    async fn wipe(&self, slot: SlotId) {
        let keys = Arc::clone(&self.agent.keys);
        // A key that is left is wiped at the next boot.
        self.ask_key_store(move || keys.wipe(slot)).await;
    }

    /// Key stores block: on a disk, or on a chip that takes a second.
    async fn ask_key_store<T: Send + 'static>(
        &self,
        act: impl FnOnce() -> Result<T, KeyError> + Send + 'static,
    ) -> Option<T> {
        match spawn_blocking(act).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                error!(event = "key_store.failed", device = %self.agent.factory.device(), error = %error);
                None
            }
            Err(_) => None,
        }
    }

    async fn stop(&mut self) -> Ended {
        self.goodbye().await;
        Ended::Stopped
    }

    async fn retired(&mut self) -> Ended {
        self.goodbye().await;
        for answer in self.agent.retiring.drain(..) {
            let _ = answer.send(Ok(()));
        }
        Ended::Retired
    }

    async fn goodbye(&mut self) {
        self.hang_up();
        if let Some(closing) = self.closing.take() {
            let _ = timeout(CLOSE_MAX, closing).await;
        }
    }
}

/// The end of a fetch; never, when there is none. Safe to cancel.
async fn finished(fetching: &mut Option<Task<Option<Vec<u8>>>>) -> Option<Vec<u8>> {
    match fetching {
        Some(task) => (&mut task.0).await.unwrap_or(None),
        None => std::future::pending().await,
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Between two timeouts that lead to nothing.
const IDLE: Duration = Duration::from_millis(50);
