//! One record for each handshake: when, who, how, how long, and the verdict. Written to the log as one event of target
//! `muster::handshake`; the audit takes its facts from here.

use std::net::SocketAddr;
use std::time::Duration;

use muster_protocol::pki::chain::{Role, VerifiedClient};
use muster_protocol::pki::serial::Serial;
use muster_protocol::{Code, Identity, UnixTime};
use rustls::{AlertDescription, ProtocolVersion, ServerConnection};
use tracing::{debug, info, warn};

use super::verifier::Claim;
use crate::audit::{Actor, AuditEvent, AuditKind};

/// Which listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Listener {
    /// Devices and services.
    Mqtt,
    /// Operators, and the open trust bundle.
    Https,
}

impl Listener {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Https => "https",
        }
    }
}

/// How a handshake ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The channel stands.
    Accepted,
    /// It does not; nothing of it was let in.
    Refused(Code),
}

/// What was negotiated, as far as it got.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Negotiated {
    /// Protocol version.
    pub version: Option<&'static str>,
    /// Cipher suite.
    pub suite: Option<&'static str>,
    /// Key exchange group.
    pub group: Option<&'static str>,
}

impl Negotiated {
    /// What a connection negotiated.
    #[must_use]
    pub fn of(connection: &ServerConnection) -> Self {
        Self {
            version: connection.protocol_version().map(|version| match version {
                ProtocolVersion::TLSv1_3 => "TLS 1.3",
                _ => "other",
            }),
            suite: connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str()),
            group: connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str()),
        }
    }
}

/// One handshake.
#[derive(Clone, Debug)]
pub struct HandshakeRecord {
    /// When it began.
    pub at: UnixTime,
    /// On which listener.
    pub listener: Listener,
    /// The other end.
    pub peer: SocketAddr,
    /// What was negotiated.
    pub negotiated: Negotiated,
    /// Who the other end is, if it proved it.
    pub client: Option<VerifiedClient>,
    /// What a refused certificate says of itself.
    pub claim: Option<Box<Claim>>,
    /// How long it took.
    pub duration: Duration,
    /// How it ended.
    pub verdict: Verdict,
    /// What the TLS library said, or the alert that the client sent; for people.
    pub why: Option<String>,
    /// Whether the client went away before it said anything that could be judged.
    pub is_hang_up: bool,
}

impl HandshakeRecord {
    /// Writes the record to the log.
    pub fn log(&self) {
        let san = self.identity().map(Identity::to_san);
        let san = san.as_deref();
        let serial = self.serial().map(Serial::to_string);
        let role = self.client.as_ref().map(|client| role_name(client.role()));
        let duration_us = u64::try_from(self.duration.as_micros()).unwrap_or(u64::MAX);
        let (listener, peer) = (self.listener.name(), self.peer);
        let Negotiated { version, suite, group } = self.negotiated;
        match self.verdict {
            Verdict::Refused(code) if self.is_hang_up => {
                debug!(target: TARGET, listener, %peer, duration_us, code = code.name(), why = self.why, "hung up");
            }
            Verdict::Accepted => info!(
                target: TARGET, listener, %peer, version, suite, group, serial, san, role, duration_us, "accepted"
            ),
            Verdict::Refused(code) => warn!(
                target: TARGET, listener, %peer, version, suite, group, serial, san, role, duration_us,
                code = code.name(), why = self.why, "refused"
            ),
        }
    }

    /// The audit's event of a refusal.
    #[must_use]
    pub fn refusal(&self, code: Code) -> AuditEvent {
        let event = AuditEvent::new(self.at, AuditKind::HandshakeRefused, self.actor()).code(code);
        let event = match &self.why {
            Some(why) => event.detail("why", why),
            None => event,
        };
        self.described(event)
    }

    /// The audit's event of a connection that was let in.
    #[must_use]
    pub fn acceptance(&self) -> AuditEvent {
        self.described(AuditEvent::new(self.at, AuditKind::HandshakeAccepted, self.actor()))
    }

    fn described(&self, event: AuditEvent) -> AuditEvent {
        let mut event = event.peer(self.peer).detail("listener", self.listener.name());
        let Negotiated { version, suite, group } = self.negotiated;
        for (name, value) in [("version", version), ("suite", suite), ("group", group)] {
            if let Some(value) = value {
                event = event.detail(name, value);
            }
        }
        event = event.detail("duration_us", self.duration.as_micros());
        if let Some(client) = &self.client {
            event = event.detail("role", role_name(client.role()));
        }
        if let Some(serial) = self.serial() {
            event = event.serial(serial);
        }
        // Without proof it is the claim of whoever connected; the actor of the event says so.
        match self.identity() {
            Some(identity @ Identity::Device { device, .. }) => event.device(device).detail("san", identity),
            Some(identity) => event.detail("san", identity),
            None => event,
        }
    }

    fn identity(&self) -> Option<&Identity> {
        let claimed = self.claim.as_ref().and_then(|claim| claim.identity.as_ref());
        self.client.as_ref().map(VerifiedClient::identity).or(claimed)
    }

    fn serial(&self) -> Option<&Serial> {
        self.client.as_ref().map(VerifiedClient::serial).or(self.claim.as_ref().map(|claim| &claim.serial))
    }

    fn actor(&self) -> Actor {
        self.client.as_ref().map_or(Actor::Peer, actor_of)
    }
}

/// The audit's name for a client.
#[must_use]
pub fn actor_of(client: &VerifiedClient) -> Actor {
    let name = client.identity().name().clone();
    match client.role() {
        Role::Idevid | Role::Ldevid => Actor::Device(name),
        Role::Service => Actor::Service(name),
        Role::Operator => Actor::Operator(name),
    }
}

/// The stable name of a role.
#[must_use]
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Idevid => "idevid",
        Role::Ldevid => "ldevid",
        Role::Service => "service",
        Role::Operator => "operator",
    }
}

/// An alert's name, for people.
pub(super) fn alert_text(alert: AlertDescription) -> String {
    match alert.as_str() {
        Some(name) => format!("the client sent the alert {name}"),
        None => format!("the client sent the alert {}", u8::from(alert)),
    }
}

const TARGET: &str = "muster::handshake";
