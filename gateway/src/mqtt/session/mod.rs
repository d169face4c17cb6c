//! The rules of one connection, as a state machine: no socket, no clock, no router.
//!
//! One input, drain [`Session::poll_output`] to `None`, wait for the next input or [`Session::poll_timeout`].
//!
//! ```text
//! Fresh --CONNECT--> Admitting --granted--> Registering --done--> Live --DISCONNECT or end of stream--> Draining --> Closed
//!   any state --refusal, broken rule, deadline, cut--> Closed
//! ```
//!
//! A published message waits in `waiting` until the router or the gatekeeper has taken it, one after the other, so PUBACKs
//! leave in the order of their PUBLISH (MQTT 5, section 4.6). While they wait, the client's own PUBACKs are still read:
//! otherwise two sessions that publish to each other could wait for each other for ever. Section numbers are those of MQTT 5.

mod connect;
mod event;
mod inbound;
mod outbound;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::Code;

use super::codec::DecodeError;
use super::packet::{Connect, Inbound, Message, Outbound, PacketId, Reason, Version, Will};
use super::rights::Rights;
use super::router::PublishError;
use super::topic::{TopicFilter, TopicName};
use super::{Admission, Denied, End, Limits, Refusal};

pub use super::mailbox::Cut;
pub use event::{Dropped, Input, Output, Registration};

/// One connection.
#[derive(Debug)]
pub struct Session<'a> {
    limits: &'a Limits,
    phase: Phase,
    version: Version,
    client_id: Arc<str>,
    wants_texts: bool,
    rights: Rights,
    control_prefix: Option<Box<str>>,
    /// One and a half times the client's interval.
    silence_max: Option<Duration>,
    heard_at: Instant,
    deadline: Option<Instant>,
    /// Since when the client has acknowledged nothing although messages wait.
    backlog_since: Option<Instant>,
    packet_bytes_max: u32,
    send_maximum: u16,
    last_packet_id: u16,
    unacknowledged: VecDeque<PacketId>,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    aliases: Vec<Option<TopicName>>,
    filters: Vec<TopicFilter>,
    will: Option<Box<Will>>,
    outputs: VecDeque<Output>,
}

#[derive(Debug)]
enum Phase {
    Fresh { until: Instant },
    Admitting { until: Instant, attempts: u8, connect: Box<Connect> },
    Registering { until: Instant, attempts: u8, connect: Box<Connect>, admission: Box<Admission> },
    Live,
    Draining { until: Instant, end: End },
    Closed,
}

/// A published message on its way in. The front one is being taken, unless it was refused at once.
#[derive(Debug)]
struct Waiting {
    message: Arc<Message>,
    packet_id: Option<PacketId>,
    to: Taker,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taker {
    Router,
    Gatekeeper,
    Nobody,
}

impl<'a> Session<'a> {
    /// A connection that has said nothing yet.
    #[must_use]
    pub fn new(now: Instant, limits: &'a Limits) -> Self {
        Self {
            limits,
            phase: Phase::Fresh { until: now + limits.connect_deadline },
            version: Version::V311,
            client_id: Arc::default(),
            wants_texts: false,
            rights: Rights::default(),
            control_prefix: None,
            silence_max: None,
            heard_at: now,
            deadline: None,
            backlog_since: None,
            packet_bytes_max: u32::MAX,
            send_maximum: 0,
            last_packet_id: 0,
            unacknowledged: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            aliases: Vec::new(),
            filters: Vec::new(),
            will: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. An input that does not fit the state is ignored: it lost a race.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        match input {
            Input::Packet(packet) => self.packet(now, packet),
            Input::Malformed(error) => self.malformed(error),
            Input::Ended => self.drain(now, End::Lost),
            Input::Admitted(answer) => self.admitted(answer),
            Input::Registered(answer) => self.registered(now, answer),
            Input::Routed(answer) => self.routed(now, answer),
            Input::Controlled(answer) => self.controlled(now, answer),
            Input::Deliver(message, qos) => self.deliver(now, message, qos),
            Input::Backlog => self.backlog(now),
            Input::WriteStuck => self.close(End::SlowReader),
            Input::Timeout => self.timeout(now),
            Input::Cut(cut) => match cut {
                Cut::Refused(code) => {
                    self.goodbye(Reason::AdministrativeAction, Some(code.name()));
                    self.close(End::Cut(code));
                }
                Cut::TakenOver => self.taken_over(),
                Cut::ShuttingDown => {
                    self.goodbye(Reason::ServerShuttingDown, Some(Code::SessionDraining.name()));
                    self.close(End::ShuttingDown);
                }
            },
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        let output = self.outputs.pop_front();
        if output.is_none() && self.outputs.capacity() > 0 {
            // An idle session keeps no list.
            self.outputs = VecDeque::new();
        }
        output
    }

    /// When to call with [`Input::Timeout`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Fresh { until } | Phase::Admitting { until, .. } | Phase::Registering { until, .. } => Some(*until),
            Phase::Draining { until, .. } => Some(*until),
            Phase::Live => [self.silent_at(), self.deadline, self.backlogged_at()].into_iter().flatten().min(),
            Phase::Closed => None,
        }
    }

    /// Whether another packet of the client can be taken now.
    #[must_use]
    pub fn wants_input(&self) -> bool {
        match self.phase {
            Phase::Fresh { .. } => true,
            Phase::Live => {
                self.waiting.len() < 2 * usize::from(self.limits.receive_maximum)
                    && self.waiting_bytes < WAITING_PACKETS_MAX * self.limits.packet_bytes_max as usize
            }
            _ => false,
        }
    }

    /// Whether a message for the client can be taken now.
    #[must_use]
    pub fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Live) && self.unacknowledged.len() < usize::from(self.send_maximum)
    }

    /// Whether the session is live: registered, and neither draining nor closed.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.phase, Phase::Live)
    }

    /// The protocol version, as far as it is known.
    #[must_use]
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The client id, as far as it is known: as the client gave it until the gatekeeper has named it.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The filters that are subscribed.
    #[must_use]
    pub fn filters(&self) -> &[TopicFilter] {
        &self.filters
    }

    /// The will, if the end that came calls for it.
    pub fn take_will(&mut self, now: Instant) -> Option<Message> {
        let will = self.will.take()?;
        let expires_at = will.expiry_secs.map(|secs| now + Duration::from_secs(secs.into()));
        Some(Message {
            topic: will.topic,
            payload: will.payload,
            qos: will.qos,
            properties: will.properties,
            expires_at,
        })
    }

    fn packet(&mut self, now: Instant, packet: Inbound) {
        self.heard_at = now;
        match (&self.phase, packet) {
            (Phase::Fresh { .. }, Inbound::Connect(connect)) => self.connect(connect),
            (Phase::Live, Inbound::Publish(publish)) => self.publish(now, publish),
            (Phase::Live, Inbound::PubAck(packet_id)) => self.acknowledged(packet_id),
            (Phase::Live, Inbound::Subscribe(subscribe)) => self.subscribe(subscribe),
            (Phase::Live, Inbound::Unsubscribe { packet_id, filters }) => self.unsubscribe(packet_id, &filters),
            (Phase::Live, Inbound::PingReq) => self.send(Outbound::PingResp),
            (Phase::Live, Inbound::Disconnect { reason }) => {
                if reason == 0x00 {
                    self.will = None;
                }
                self.drain(now, End::Disconnected { reason });
            }
            (Phase::Draining { .. }, _) => {}
            _ => self.broken(Reason::ProtocolError, "a packet out of place"),
        }
    }

    fn malformed(&mut self, error: DecodeError) {
        match error {
            DecodeError::UnsupportedVersion { level } => {
                self.version = if level > 5 { Version::V5 } else { Version::V311 };
                self.refuse(Reason::UnsupportedVersion, Some(Code::SessionUnsupported), End::Unsupported);
            }
            DecodeError::Bad { reason, what } => self.broken(reason, what),
        }
    }

    fn timeout(&mut self, now: Instant) {
        let over = |until: Option<Instant>| until.is_some_and(|until| until <= now);
        match &self.phase {
            Phase::Fresh { until } if *until <= now => self.close(End::ConnectTimeout),
            Phase::Admitting { until, .. } | Phase::Registering { until, .. } if *until <= now => {
                self.refuse(Reason::ServerUnavailable, Some(Code::Unavailable), End::Unavailable);
            }
            Phase::Draining { until, end } if *until <= now => self.close(*end),
            Phase::Live if over(self.deadline) => {
                self.goodbye(Reason::MaximumConnectTime, Some(Code::CertificateExpired.name()));
                self.close(End::Expired);
            }
            Phase::Live if over(self.silent_at()) => {
                self.goodbye(Reason::KeepAliveTimeout, Some(Code::SessionTimeout.name()));
                self.close(End::KeepAliveTimeout);
            }
            Phase::Live if over(self.backlogged_at()) => {
                self.goodbye(Reason::QuotaExceeded, Some(Code::SessionTimeout.name()));
                self.close(End::NotAcknowledging);
            }
            _ => {}
        }
    }

    /// While the gateway itself does not read, silence is not the client's.
    fn silent_at(&self) -> Option<Instant> {
        self.silence_max.filter(|_| self.wants_input()).map(|silence| self.heard_at + silence)
    }

    fn backlogged_at(&self) -> Option<Instant> {
        self.backlog_since.map(|since| since + self.limits.acknowledge_deadline)
    }

    /// Ends once everything that was received is taken. Nothing is read any more.
    fn drain(&mut self, now: Instant, end: End) {
        match self.phase {
            Phase::Draining { .. } => {}
            Phase::Live if !self.waiting.is_empty() => {
                self.phase = Phase::Draining { until: now + self.limits.acknowledge_deadline, end };
            }
            _ => self.close(end),
        }
    }

    /// The client broke a rule.
    fn broken(&mut self, reason: Reason, what: &'static str) {
        self.goodbye(reason, Some(what));
        self.close(End::Protocol(what));
    }

    fn taken_over(&mut self) {
        self.goodbye(Reason::SessionTakenOver, Some(Code::SessionTakenOver.name()));
        self.close(End::TakenOver);
    }

    /// DISCONNECT is only sent to a client that was accepted.
    fn goodbye(&mut self, reason: Reason, text: Option<&'static str>) {
        if matches!(self.phase, Phase::Live | Phase::Draining { .. }) {
            let text = self.fitting(text);
            self.send(Outbound::Disconnect { reason, text });
        }
    }

    fn close(&mut self, end: End) {
        self.phase = Phase::Closed;
        self.waiting = VecDeque::new();
        self.outputs.push_back(Output::Close(end));
    }

    fn send(&mut self, packet: Outbound) {
        self.outputs.push_back(Output::Send(packet));
    }

    /// Reason strings other than in CONNACK and DISCONNECT only go to clients that did not decline them.
    fn text(&self, code: Code) -> Option<&'static str> {
        self.fitting(self.wants_texts.then_some(code.name()))
    }

    /// No text at all for clients that take only the smallest packets (section 3.1.2.11.4).
    fn fitting(&self, text: Option<&'static str>) -> Option<&'static str> {
        text.filter(|text| text.len() + TEXT_OVERHEAD_BYTES <= self.packet_bytes_max as usize)
    }
}

/// The most that stands around a reason string in any packet.
const TEXT_OVERHEAD_BYTES: usize = 16;

/// How many of the largest packets may wait to be taken, in bytes.
const WAITING_PACKETS_MAX: usize = 2;

#[cfg(test)]
mod tests;
