//! One core from its boot to its end: its outputs are done, what happens is given to it.
//!
//! One input, then all outputs, then wait. What an output brings about at once (a key, a signature, a failed send) is
//! given to the core after the outputs that came with it; only `Persisted` answers in between, for it is a barrier.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::Code;
use muster_protocol::device::{Credential, Device, Event, Failure, Input, Output, StateName};
use muster_protocol::pki::{GatewayClock, PublicKey, Signature};
use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::{Item, SlotStore as _};
use muster_protocol::time::Now;
use muster_protocol::topic::{self, Direction, TopicText};
use rustls_pki_types::CertificateDer;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{debug, error, info, warn};

use super::dial::{Dial, Dialled, failure_of};
use super::records::{Booted, Trust, trust_in_force};
use super::request::{Refusal, Request};
use super::status::{LastRefusal, Refuser, Status, credential_name};
use super::{Agent, bundle};
use crate::clock;
use crate::key::{KeyError, KeyStore};
use crate::mqtt::{self, CLOSE_MAX, Command, Concern, Options, Quality, Session, Waiter};
use crate::telemetry::Report;
use crate::tls::{ClientCredential, Expected};

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

struct Life<'a> {
    agent: &'a mut Agent,
    device: Box<Device>,
    trust: Trust,
    link: Link,
    /// The session before, on its way out.
    closing: Option<JoinHandle<()>>,
    fetching: Option<Task<Option<Vec<u8>>>>,
    /// Whether the session is one under the certificate in use, and welcomed: then programs may use it too.
    is_open_to_programs: bool,
    report_at: Option<Instant>,
    told: Option<(StateName, Option<Credential>)>,
    changed: bool,
    /// A timeout that led to nothing is not repeated before this.
    idle_until: Option<Instant>,
}

/// The connection as the shell has it. Events of a link that was dropped have nowhere to arrive.
enum Link {
    Down,
    Dialling { attempt: Task<Result<Dialled, Failure>>, credential: Credential },
    Open { session: Session, credential: Credential, down: TopicText },
}

/// What a link tells.
enum Happened {
    Dialled(Result<Dialled, Failure>),
    Session(mqtt::Event),
}

/// What an output brought about, to be given to the core when the outputs are through.
#[derive(Clone, Copy)]
enum Effect {
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

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        self.device.handle_input(now, input);
    }

    fn now(&self) -> Now {
        self.agent.clock.now(self.device.clock_floor())
    }

    // ---- records and keys

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

    // ---- the connection

    fn dial(&mut self, credential: Credential) {
        self.hang_up();
        let identity = self.device.identity();
        let down = topic::control(identity.name(), credential.channel(), Direction::Down);
        let chain = match credential {
            Credential::Idevid => self.agent.factory.chain.clone(),
            Credential::Slot(slot) => {
                self.device.certificate(slot).map(|der| CertificateDer::from(der.to_vec())).into_iter().collect()
            }
        };
        let floor = self.device.clock_floor();
        let dial = Dial {
            gateways: self.trust.gateways.clone(),
            expected: Expected {
                host: String::new(),
                gateway_cas: Arc::clone(&self.trust.gateway_cas),
                clock: GatewayClock { floor, civil: clock::civil(floor) },
            },
            credential: ClientCredential { chain, sign: self.signer(credential) },
            session: Options {
                client_id: identity.name().to_string(),
                first_filter: down.as_str().to_owned(),
                keep_alive: self.agent.setup.keep_alive,
            },
            // The core gives an attempt twice the time of an answer.
            patience: self.patience() * 2,
            closing: self.closing.take(),
        };
        debug!(event = "session.dialling", device = %identity.name(), credential = credential_name(credential));
        self.link = Link::Dialling { attempt: Task::spawn(dial.run()), credential };
    }

    fn signer(&self, credential: Credential) -> crate::tls::Sign {
        let keys = Arc::clone(&self.agent.keys);
        let device = self.agent.factory.device().clone();
        Arc::new(move |message: &[u8]| match keys.sign(credential, message) {
            Ok(signature) => Some(signature),
            Err(error) => {
                error!(event = "key_store.failed", device = %device, error = %error);
                None
            }
        })
    }

    fn hang_up(&mut self) {
        self.is_open_to_programs = false;
        self.report_at = None;
        self.changed = true;
        if let Link::Open { session, .. } = std::mem::replace(&mut self.link, Link::Down) {
            self.closing = Some(session.close());
        }
    }

    fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Dialled(Ok(Dialled { session, evidence, gateway })) => {
                let Link::Dialling { credential, .. } = self.link else { return };
                let device = self.agent.factory.device();
                info!(
                    event = "session.opened", device = %device, credential = credential_name(credential),
                    gateway = gateway.host, port = gateway.mqtt_port, gateway_serial = %evidence.serial(),
                );
                let down = topic::control(device, credential.channel(), Direction::Down);
                self.link = Link::Open { session, credential, down };
                self.input(Input::Connected(evidence));
            }
            Happened::Dialled(Err(failure)) => {
                self.link = Link::Down;
                self.input(Input::ConnectFailed(failure));
            }
            Happened::Session(mqtt::Event::Message { topic, payload }) => self.message(&topic, &payload),
            Happened::Session(mqtt::Event::Closed(error)) => {
                let failure = failure_of(&error);
                info!(event = "session.closed", device = %self.agent.factory.device(), error = %error);
                self.hang_up();
                self.input(Input::Disconnected(failure));
            }
        }
    }

    fn message(&mut self, topic: &str, payload: &Bytes) {
        let Link::Open { session, down, .. } = &self.link else { return };
        if topic == down.as_str() {
            self.input(Input::Message(payload));
            return;
        }
        for filter in self.agent.local.deliver(topic, payload) {
            let _ = session.command(Command::Unsubscribe { filter });
        }
    }

    /// Publishes a control message; an effect when that cannot be.
    fn send(&self, payload: Bytes) -> Option<Effect> {
        let Link::Open { session, credential, .. } = &self.link else { return Some(Effect::SendFailed) };
        let topic = topic::control(self.device.identity().name(), credential.channel(), Direction::Up);
        let topic = topic.as_str().to_owned();
        let publish = Command::Publish { topic, payload, quality: Quality::AtLeastOnce, concern: Concern::Session };
        session.command(publish).is_err().then_some(Effect::SendFailed)
    }

    fn fetched(&mut self, fetched: Option<Vec<u8>>) {
        self.fetching = None;
        if let Some(signed) = fetched {
            self.input(Input::Bundle(&signed));
        }
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.agent.setup.settings.answer_millis_max)
    }

    // ---- programs, reports, people

    /// When a session under the certificate in use has been welcomed, programs get their filters back.
    fn open_to_programs(&mut self) {
        let in_use = self.device.active_slot().map(Credential::Slot);
        let is_open = in_use.is_some() && self.device.session() == in_use;
        if is_open && !self.is_open_to_programs {
            if let Link::Open { session, .. } = &self.link {
                for filter in self.agent.local.filters() {
                    let _ = session.command(Command::Subscribe { filter, concern: Concern::Nobody });
                }
            }
            self.report_at = self.agent.setup.telemetry.map(|_| Instant::now());
        }
        self.is_open_to_programs = is_open;
    }

    fn report(&mut self) {
        self.report_at = self.agent.setup.telemetry.map(|interval| Instant::now() + interval);
        let (Link::Open { session, .. }, true) = (&self.link, self.is_open_to_programs) else { return };
        let Some(report) = Report::read() else { return };
        let topic = topic::telemetry(self.device.identity().name()).as_str().to_owned();
        let payload = Bytes::from(report.to_json());
        let quality = Quality::AtLeastOnce;
        if session.command(Command::Publish { topic, payload, quality, concern: Concern::Nobody }).is_err() {
            debug!(event = "telemetry.skipped", device = %self.agent.factory.device());
        }
    }

    fn asked(&mut self, request: Request) {
        match request {
            Request::Publish { topic, payload, quality, answer } => {
                let refused = match (self.agent.local.topic(&topic), &self.link) {
                    (Err(refusal), _) => refusal,
                    (Ok(_), Link::Open { session, .. }) if !session.has_room() => Refusal::busy(),
                    (Ok(topic), Link::Open { session, .. }) if self.is_open_to_programs => {
                        let concern = Concern::Waiter(waiter(answer));
                        let _ = session.command(Command::Publish { topic, payload, quality, concern });
                        return;
                    }
                    (Ok(_), _) => Refusal::offline(),
                };
                let _ = answer.send(Err(refused));
            }
            Request::Attach { deliveries, answer } => {
                let _ = answer.send(self.agent.local.attach(deliveries));
            }
            Request::Subscribe { subscriber, filter, answer } => {
                let local = &mut self.agent.local;
                let added =
                    local.filter(&filter).and_then(|filter| local.subscribe(subscriber, &filter).map(|_| filter));
                match (added, &self.link) {
                    // Also when somebody has the filter already: retained messages come once for each SUBSCRIBE.
                    (Ok(filter), Link::Open { session, .. }) if self.is_open_to_programs => {
                        let concern = Concern::Waiter(waiter(answer));
                        let _ = session.command(Command::Subscribe { filter, concern });
                    }
                    // The next session subscribes it.
                    (Ok(_), _) => drop(answer.send(Ok(()))),
                    (Err(refusal), _) => drop(answer.send(Err(refusal))),
                }
            }
            Request::Unsubscribe { subscriber, filter, answer } => {
                let outcome = self.agent.local.filter(&filter).map(|filter| {
                    if self.agent.local.unsubscribe(subscriber, &filter) {
                        self.unsubscribe([filter]);
                    }
                });
                let _ = answer.send(outcome);
            }
            Request::Detach { subscriber } => {
                let orphans = self.agent.local.detach(subscriber);
                self.unsubscribe(orphans);
            }
            Request::Rotate { answer } => {
                self.input(Input::Rotate);
                let _ = answer.send(Ok(()));
            }
            Request::Retire { answer } => {
                self.agent.retiring.push(answer);
                self.input(Input::Retire);
            }
            Request::Stop => {}
        }
    }

    fn unsubscribe(&self, filters: impl IntoIterator<Item = String>) {
        if let (Link::Open { session, .. }, true) = (&self.link, self.is_open_to_programs) {
            for filter in filters {
                let _ = session.command(Command::Unsubscribe { filter });
            }
        }
    }

    // ---- telling

    fn event(&mut self, event: Event) {
        self.changed = true;
        let device = self.agent.factory.device();
        match event {
            Event::Entered(state) => info!(event = "device.state", device = %device, state = state.name()),
            Event::Refused(code) => {
                warn!(event = "device.refused", device = %device, code = %code, text = code.text());
                self.refused(code, Refuser::Gateway);
            }
            Event::GatewayRefused(code) => {
                warn!(event = "gateway.refused", device = %device, code = %code, text = code.text());
                self.refused(code, Refuser::Device);
            }
            Event::TrialCounted(trials) => warn!(event = "trial.counted", device = %device, trials),
            Event::TrialGivenBack => info!(event = "trial.given_back", device = %device),
            Event::RolledBack => warn!(event = "trial.rolled_back", device = %device),
            Event::BundleInForce(number) => {
                info!(event = "bundle.in_force", device = %device, number);
                self.read_trust();
            }
            Event::BundleRefused(code) => warn!(event = "bundle.refused", device = %device, code = %code),
            Event::FloorRaised(floor) => debug!(event = "clock.floor_raised", device = %device, floor = floor.0),
            Event::KeyStoreFailed => error!(event = "device.key_store_failed", device = %device),
            Event::StoreFailed => error!(event = "device.record_store_failed", device = %device),
            other => info!(event = "device.other", device = %device, what = ?other),
        }
    }

    fn refused(&mut self, code: Code, by: Refuser) {
        let now = self.now();
        let at = now.civil.unwrap_or(self.device.clock_floor());
        self.agent.last_refusal = Some(LastRefusal::new(code, by, at.0));
    }

    /// The bundle that the core has just stored is the one to connect by.
    fn read_trust(&mut self) {
        let stored = self.agent.records.read(Item::Trust).ok().flatten();
        match trust_in_force(stored.as_deref(), &self.agent.factory) {
            Ok(trust) => self.trust = trust,
            Err(error) => error!(event = "trust.unreadable", device = %self.agent.factory.device(), error = %error),
        }
    }

    fn tell(&mut self) {
        let now = (self.device.state(), self.device.session());
        if self.changed || self.told != Some(now) {
            let status = Status::of(&self.device, &self.trust, self.agent.last_refusal.clone());
            self.agent.status.send_replace(Arc::new(status));
            self.told = Some(now);
            self.changed = false;
        }
    }

    // ---- ends

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

impl Link {
    /// What the link tells next; never, when there is none. Safe to cancel.
    async fn next(&mut self) -> Happened {
        match self {
            Self::Down => std::future::pending().await,
            Self::Dialling { attempt, .. } => {
                // An attempt that broke down reached nobody.
                Happened::Dialled((&mut attempt.0).await.unwrap_or(Err(Failure::Unreachable)))
            }
            Self::Open { session, .. } => Happened::Session(session.next().await),
        }
    }
}

/// A task that ends with its owner.
struct Task<T>(JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
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

/// Passes the gateway's acknowledgement on to whoever asked.
fn waiter(answer: super::request::Answer) -> Waiter {
    Waiter::new(move |outcome| drop(answer.send(outcome.map_err(Refusal::from))))
}

/// Between two timeouts that lead to nothing.
const IDLE: Duration = Duration::from_millis(50);
