//! The registrar's shell: everything that `muster_protocol::registrar` asks for, done for real.
//!
//! For each input the device is held alone, its row is read, the core is booted from it, driven to the end and dropped:
//! the row is the truth, and there is no other path. What the core decides is durable before anybody hears of it, since
//! each `Persist` is one transaction of the store: row, certificate, withdrawals and audit record together.
//!
//! | file | idea |
//! |---|---|
//! | `run` | one input, driven to its end |
//! | `change` | a change of the core as a transaction, applied until the outcome is known |
//! | `party` | services and operators, who have no registrar |
//! | `refusals` | how many refusals the audit records |
//! | `lease` | one holder per device |
//! | `sessions` | the seam to the live sessions |
//!
//! Refusals are recorded here, once each: whoever calls [`Registrars::arrived`] or [`Registrars::message`] records
//! nothing of its own.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::registrar::Act;
use muster_protocol::topic::Channel;
use muster_protocol::{Code, DeviceId, FleetId};

use crate::audit::{Actor, AuditEvent, AuditKind};
use crate::clock::Clock;
use crate::issuer::Issuer;
use crate::store::{Change, Store, Transaction};

mod change;
mod lease;
mod party;
mod refusals;
mod run;
mod sessions;

pub use change::apply_until_known;
pub use refusals::{BURST, PARTIES_MAX, REFILL_SECS, RefusalMeter, Verdict};
pub use sessions::{
    CommandOutcome, CommandRefused, LiveSession, NoSessions, SessionCounts, Sessions, Telemetry, TooLong,
};

use lease::Leases;
use run::Task;

/// What the registrars of a fleet share.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Context {
    /// The fleet.
    pub fleet: FleetId,
    /// Number of the newest trust bundle.
    pub bundle_number: u32,
    /// The newest trust bundle, signed.
    pub bundle: Vec<u8>,
    /// How long an operational certificate lives.
    pub ldevid_secs: u64,
}

/// By whose hand something is done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct By {
    /// Who.
    pub actor: Actor,
    /// From where, if over a network.
    pub peer: Option<SocketAddr>,
}

impl From<Actor> for By {
    fn from(actor: Actor) -> Self {
        Self { actor, peer: None }
    }
}

/// Why an operator's act was not done, or may not have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ActError {
    /// It was refused; nothing was changed.
    #[error("{0}")]
    Refused(Code),
    /// The store failed while it committed, and did not say since whether it was done.
    #[error("whether it was done is not known")]
    OutcomeUnknown,
}

impl From<Code> for ActError {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

/// Every device's registrar.
pub struct Registrars<S> {
    store: Arc<S>,
    issuer: Option<Arc<dyn Issuer>>,
    sessions: Arc<dyn Sessions>,
    context: ArcSwap<Context>,
    clock: Clock,
    leases: Leases,
    meter: RefusalMeter,
}

impl<S: Store> Registrars<S> {
    /// Without an issuer every request for a certificate is refused with [`Code::Unavailable`].
    #[must_use]
    pub fn new(store: Arc<S>, issuer: Option<Arc<dyn Issuer>>, sessions: Arc<dyn Sessions>, context: Context) -> Self {
        Self {
            store,
            issuer,
            sessions,
            context: ArcSwap::from_pointee(context),
            clock: Clock::system(),
            leases: Leases::default(),
            meter: RefusalMeter::default(),
        }
    }

    /// With another clock.
    #[must_use]
    pub fn with_clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Takes a new trust bundle or life into use; whatever runs now ends with the old one.
    pub fn set_context(&self, context: Context) {
        self.context.store(Arc::new(context));
    }

    /// What is in use.
    #[must_use]
    pub fn context(&self) -> Arc<Context> {
        self.context.load_full()
    }

    /// The store behind it.
    #[must_use]
    pub const fn store(&self) -> &Arc<S> {
        &self.store
    }

    /// The live sessions.
    #[must_use]
    pub const fn sessions(&self) -> &Arc<dyn Sessions> {
        &self.sessions
    }

    /// The clock.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Whether this peer, whose chain is verified, may have a session now. The refusal, if it is one, is recorded.
    ///
    /// # Errors
    /// The reason, to be told on both ends.
    pub async fn arrived(&self, client: &VerifiedClient, peer: SocketAddr) -> Result<(), Code> {
        // On the heap: the core's buffers would otherwise lie in the task of every session.
        match client.role() {
            Role::Idevid | Role::Ldevid => Box::pin(self.run(Task::Arrived { client }, peer, &mut |_| {})).await,
            Role::Service | Role::Operator => Box::pin(self.party_arrived(client, peer)).await,
        }
    }

    /// A control message of an admitted session. Each answer is given to `reply`, in order and before the session is
    /// cut, if it is.
    pub async fn message(
        &self,
        client: &VerifiedClient,
        peer: SocketAddr,
        channel: Channel,
        bytes: &[u8],
        reply: &mut (dyn FnMut(Vec<u8>) + Send),
    ) {
        // What the verdict of a message is stands in the replies.
        let _ = Box::pin(self.run(Task::Message { client, channel, bytes }, peer, reply)).await;
    }

    /// An operator acts on a device.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`], the state that does not allow it, or [`Code::Unavailable`]; or that the outcome is open.
    pub async fn operate(&self, device: &DeviceId, act: Act, by: &By) -> Result<(), ActError> {
        Box::pin(self.run_act(device, act, by)).await
    }

    /// Records a refusal, within the measure of its party.
    pub(crate) async fn record_refusal(&self, event: AuditEvent) {
        let withheld = match self.meter.count(&event.actor, event.at) {
            Verdict::Withhold => return,
            Verdict::Record { withheld } => withheld,
        };
        let event = if withheld > 0 { event.detail("withheld", withheld) } else { event };
        let code = event.code;
        let transaction = Transaction::new(vec![Change::Audit(Box::new(event))]);
        if let Err(error) = apply_until_known(&*self.store, transaction).await {
            tracing::error!(%error, code = code.map(Code::name), "a refusal could not be recorded");
        }
    }

    fn refusal(&self, kind: AuditKind, by: &By, device: Option<&DeviceId>, code: Code) -> AuditEvent {
        let mut event = AuditEvent::new(self.clock.now(), kind, by.actor.clone()).code(code);
        event.device = device.cloned();
        event.peer = by.peer;
        event
    }
}
