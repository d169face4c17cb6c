//! MQTT 3.1.1 and 5 for the gateway: QoS 0 and 1, rights for each identity, control channels, cuts in no time.
//!
//! | file | one idea |
//! |---|---|
//! | [`codec`] | bytes to packets and back; the only place that names the codec crate |
//! | [`packet`] | the packets of both versions |
//! | [`topic`], [`rights`] | names, filters, what covers what, who may what |
//! | [`session`] | the rules of one connection, without socket or clock |
//! | `mailbox`, `tree`, [`router`], [`bus`] | who receives a message, back-pressure, take-over, cuts |
//! | [`connection`] | the task that joins a stream, a session, the router and the gatekeeper |
//! | [`metrics`] | counters |
//!
//! Who may connect, and what a control message means, is not decided here: the [`Gatekeeper`] is asked. TLS is not
//! here either: a connection is any byte stream together with what its handshake proved.
//!
//! Not offered yet, and said so in every CONNACK: QoS 2, retained messages, shared subscriptions, subscription
//! identifiers, sessions that outlive their connection.

pub mod bus;
pub mod codec;
pub mod connection;
mod mailbox;
pub mod metrics;
pub mod packet;
pub mod rights;
pub mod router;
pub mod session;
pub mod topic;
mod tree;

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_protocol::Code;

pub use connection::serve;
pub use packet::{QoS, Version};
pub use rights::Rights;
pub use router::{Delivered, Router, SessionInfo};
pub use topic::{TopicFilter, TopicName};

/// Decides who comes in, and takes what devices say to the gateway itself.
pub trait Gatekeeper: Send + Sync + 'static {
    /// What the transport proved about the other end.
    type Peer: Send + Sync + 'static;

    /// Judges a CONNECT. Asked before any session is touched; asked again when somebody was cut meanwhile.
    fn admit(
        &self,
        peer: &Self::Peer,
        client_id: &str,
        protocol: Version,
    ) -> impl Future<Output = Result<Admission, Refusal>> + Send;

    /// Takes a message that was published under the session's control prefix. PUBACK follows `Ok`. After a refusal a client
    /// of MQTT 5 gets PUBACK 0x83 with the code's name; one of 3.1.1 is disconnected, for it cannot be told. Answers go
    /// through [`Router::answer`].
    fn control(
        &self,
        session: &SessionHandle,
        topic: &str,
        payload: &[u8],
    ) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// Hears of every message that was routed, before its PUBACK.
    fn published(&self, session: &SessionHandle, topic: &str, payload: &[u8]);

    /// Hears of every act that was refused for lack of rights. A refused will comes with epoch 0: there is no session yet.
    fn denied(&self, session: &SessionHandle, what: Denied, topic: &str);

    /// Hears of the end of every registered session, once, after its last effect. Not called when the task itself is dropped.
    fn ended(&self, session: &SessionHandle, end: End) -> impl Future<Output = ()> + Send;
}

/// What the gatekeeper grants.
#[derive(Clone, Debug)]
pub struct Admission {
    /// The name of the session; given back to an MQTT 5 client that brought none.
    pub client_id: String,
    /// What it may do.
    pub rights: Rights,
    /// When the session must end: the certificate's expiry.
    pub deadline: Option<Instant>,
    /// Messages to this topic or below it go to [`Gatekeeper::control`]. Nothing else under `$muster/` is taken.
    pub control_prefix: Option<String>,
    /// Who this is and from where, for status and for [`Router::cut_where`].
    pub peer: String,
}

/// The gatekeeper's no.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refusal {
    /// Why; its name goes to the client where the protocol has room for it.
    pub code: Code,
}

/// Names one session: the client, the epoch that is higher for every later session, and the connection.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct SessionHandle {
    client_id: Arc<str>,
    epoch: u64,
    connection: u64,
}

impl SessionHandle {
    /// A handle from its parts.
    #[must_use]
    pub fn new(client_id: impl Into<Arc<str>>, epoch: u64, connection: u64) -> Self {
        Self { client_id: client_id.into(), epoch, connection }
    }

    /// The client id.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// A later session of any client has a higher one. 0: not registered.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Number of the connection since the start of the process.
    #[must_use]
    pub const fn connection(&self) -> u64 {
        self.connection
    }
}

/// What a session had no right to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Denied {
    /// Publish to the topic.
    Publish,
    /// Subscribe to the filter.
    Subscribe,
    /// Leave a will for the topic.
    Will,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum End {
    /// The client said goodbye, with this reason code.
    Disconnected {
        /// 0x00: normal. 0x04: publish the will.
        reason: u8,
    },
    /// The stream ended without a goodbye.
    Lost,
    /// The gatekeeper refused the CONNECT.
    Refused(Code),
    /// The client asked for something that is not offered.
    Unsupported,
    /// The gateway ended the session.
    Cut(Code),
    /// Another connection of the same client came.
    TakenOver,
    /// The gateway stops.
    ShuttingDown,
    /// The admission's deadline passed: the certificate expired.
    Expired,
    /// No CONNECT in time.
    ConnectTimeout,
    /// Nothing heard for one and a half times the keep-alive.
    KeepAliveTimeout,
    /// The client does not read.
    SlowReader,
    /// The client does not acknowledge while publishers wait for it.
    NotAcknowledging,
    /// The client broke the protocol.
    Protocol(&'static str),
    /// The client published where it may not, in a way that leaves no other answer.
    Denied,
    /// The gateway could not take a message or decide on a CONNECT.
    Unavailable,
}

impl End {
    /// A stable name for logs and status.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected { .. } => "disconnected",
            Self::Lost => "lost",
            Self::Refused(_) => "refused",
            Self::Unsupported => "unsupported",
            Self::Cut(_) => "cut",
            Self::TakenOver => "taken_over",
            Self::ShuttingDown => "shutting_down",
            Self::Expired => "expired",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::SlowReader => "slow_reader",
            Self::NotAcknowledging => "not_acknowledging",
            Self::Protocol(_) => "protocol",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
        }
    }

    /// The refusal code, when the end is a refusal.
    #[must_use]
    pub const fn code(self) -> Option<Code> {
        match self {
            Self::Disconnected { .. } | Self::Lost => None,
            Self::Refused(code) | Self::Cut(code) => Some(code),
            Self::Unsupported => Some(Code::SessionUnsupported),
            Self::TakenOver => Some(Code::SessionTakenOver),
            Self::ShuttingDown => Some(Code::SessionDraining),
            Self::Expired => Some(Code::CertificateExpired),
            Self::ConnectTimeout | Self::KeepAliveTimeout | Self::SlowReader | Self::NotAcknowledging => {
                Some(Code::SessionTimeout)
            }
            Self::Protocol(_) => Some(Code::SessionProtocol),
            Self::Denied => Some(Code::SessionTopicDenied),
            Self::Unavailable => Some(Code::Unavailable),
        }
    }
}

/// Bounds of one connection. The defaults are those of the gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// From the first byte to a registered session.
    pub connect_deadline: Duration,
    /// How long a write may make no progress.
    pub write_deadline: Duration,
    /// How long the last packet may take to leave.
    pub close_deadline: Duration,
    /// How long a full window may stay without PUBACK while messages wait.
    pub acknowledge_deadline: Duration,
    /// Largest packet before the session is live.
    pub connect_bytes_max: usize,
    /// Largest packet after that.
    pub packet_bytes_max: u32,
    /// QoS 1 messages that a client may have unacknowledged by the gateway.
    pub receive_maximum: u16,
    /// QoS 1 messages that the gateway may have unacknowledged by a client.
    pub send_maximum: u16,
    /// Highest topic alias of a client.
    pub topic_alias_maximum: u16,
    /// Longest keep-alive of an MQTT 5 client, and the one for clients that want none.
    pub keep_alive_secs_max: u16,
    /// Subscriptions of one session.
    pub subscriptions_max: usize,
    /// Bytes that may wait to be written before the gateway stops adding to them.
    pub write_bytes_high: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(20),
            close_deadline: Duration::from_millis(500),
            acknowledge_deadline: Duration::from_secs(30),
            connect_bytes_max: 4096,
            packet_bytes_max: 64 * 1024,
            receive_maximum: 32,
            send_maximum: 64,
            topic_alias_maximum: 8,
            keep_alive_secs_max: 3600,
            subscriptions_max: 64,
            write_bytes_high: 8 * 1024,
        }
    }
}

/// Room of each session's queue in KiB, for [`Router::new`].
pub const QUEUE_UNITS_MAX: u32 = 256;
