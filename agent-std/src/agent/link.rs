//! The connection of a core: dialling, control messages both ways, hanging up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_protocol::device::{Credential, Failure, Input};
use muster_protocol::pki::GatewayClock;
use muster_protocol::topic::{self, Direction, TopicText};
use rustls_pki_types::CertificateDer;
use tokio::task::JoinHandle;
use tracing::{debug, error, info};

use super::dial::{Dial, Dialled, failure_of};
use super::life::{Effect, Life};
use super::status::credential_name;
use crate::clock;
use crate::key::KeyStore as _;
use crate::mqtt::{self, Command, Concern, Options, Quality, Session};
use crate::tls::{ClientCredential, Expected, Sign};

/// The connection as the shell has it. Events of a link that was dropped have nowhere to arrive.
pub(super) enum Link {
    Down,
    Dialling { attempt: Task<Result<Dialled, Failure>>, credential: Credential },
    Open { session: Session, credential: Credential, down: TopicText },
}

/// What a link tells.
pub(super) enum Happened {
    Dialled(Result<Dialled, Failure>),
    Session(mqtt::Event),
}

impl Link {
    /// What the link tells next; never, when there is none. Safe to cancel.
    pub(super) async fn next(&mut self) -> Happened {
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

impl Life<'_> {
    pub(super) fn dial(&mut self, credential: Credential) {
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

    pub(super) fn signer(&self, credential: Credential) -> Sign {
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

    pub(super) fn hang_up(&mut self) {
        self.is_open_to_programs = false;
        self.report_at = None;
        self.changed = true;
        if let Link::Open { session, .. } = std::mem::replace(&mut self.link, Link::Down) {
            self.closing = Some(session.close());
        }
    }

    pub(super) fn happened(&mut self, happened: Happened) {
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

    pub(super) fn message(&mut self, topic: &str, payload: &Bytes) {
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
    pub(super) fn send(&self, payload: Bytes) -> Option<Effect> {
        let Link::Open { session, credential, .. } = &self.link else { return Some(Effect::SendFailed) };
        let topic = topic::control(self.device.identity().name(), credential.channel(), Direction::Up);
        let topic = topic.as_str().to_owned();
        let publish = Command::Publish { topic, payload, quality: Quality::AtLeastOnce, concern: Concern::Session };
        session.command(publish).is_err().then_some(Effect::SendFailed)
    }

    pub(super) fn fetched(&mut self, fetched: Option<Vec<u8>>) {
        self.fetching = None;
        if let Some(signed) = fetched {
            self.input(Input::Bundle(&signed));
        }
    }

    pub(super) fn patience(&self) -> Duration {
        Duration::from_millis(self.agent.setup.settings.answer_millis_max)
    }
}

/// A task that ends with its owner.
pub(super) struct Task<T>(pub(super) JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    pub(super) fn spawn(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self(tokio::spawn(future))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
