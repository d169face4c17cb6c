//! The packets of both protocol versions as the gateway sees them: what a client sent, and what is sent to it.
//!
//! No bytes here, see `codec`. One type serves MQTT 3.1.1 and 5; what 3.1.1 does not have holds its neutral value.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

pub use super::codec::Properties;
use super::topic::{TopicFilter, TopicName};

/// The protocol version of a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// MQTT 3.1.1 (protocol level 4).
    V311,
    /// MQTT 5 (protocol level 5).
    V5,
}

impl Version {
    /// As people write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// Quality of service (MQTT 5, section 4.3).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum QoS {
    /// QoS 0: no acknowledgement.
    AtMostOnce = 0,
    /// QoS 1: acknowledged, may come twice.
    AtLeastOnce = 1,
    /// QoS 2: understood, not offered yet.
    ExactlyOnce = 2,
}

/// A packet identifier, never zero.
pub type PacketId = NonZeroU16;

/// A packet that a client may send.
#[derive(Clone, Debug, PartialEq)]
pub enum Inbound {
    /// CONNECT.
    Connect(Box<Connect>),
    /// PUBLISH.
    Publish(Publish),
    /// PUBACK.
    PubAck(PacketId),
    /// SUBSCRIBE.
    Subscribe(Subscribe),
    /// UNSUBSCRIBE.
    Unsubscribe {
        /// To be named in the answer.
        packet_id: PacketId,
        /// One answer each.
        filters: Vec<TopicFilter>,
    },
    /// PINGREQ.
    PingReq,
    /// DISCONNECT.
    Disconnect {
        /// 0x00 for a normal end, always so in 3.1.1.
        reason: u8,
    },
    /// AUTH, PUBREC, PUBREL or PUBCOMP: well-formed, and none of them can be right while QoS 2 and enhanced
    /// authentication are not offered.
    OutOfPlace,
}

/// The content of a CONNECT. User name and password are read and dropped: identity is the certificate.
#[derive(Clone, Debug, PartialEq)]
pub struct Connect {
    /// The version that the client speaks.
    pub version: Version,
    /// May be empty.
    pub client_id: Arc<str>,
    /// Clean start (5) or clean session (3.1.1).
    pub clean_start: bool,
    /// 0 means no keep-alive.
    pub keep_alive_secs: u16,
    /// What to publish at an abnormal end.
    pub will: Option<Will>,
    /// How many QoS 1 messages the client takes unacknowledged.
    pub receive_maximum: u16,
    /// The largest packet that the client takes.
    pub packet_bytes_max: u32,
    /// How long the client wants its session kept.
    pub session_expiry_secs: u32,
    /// Whether reason strings may stand in packets other than CONNACK and DISCONNECT.
    pub wants_problem_information: bool,
    /// Whether the client asks for enhanced authentication.
    pub wants_authentication: bool,
}

/// The will of a CONNECT.
#[derive(Clone, Debug, PartialEq)]
pub struct Will {
    /// Where it goes.
    pub topic: TopicName,
    /// What it says.
    pub payload: Bytes,
    /// How it is delivered.
    pub qos: QoS,
    /// Whether it is to be retained.
    pub retain: bool,
    /// What is forwarded unchanged.
    pub properties: Option<Box<Properties>>,
    /// Life of the message once published.
    pub expiry_secs: Option<u32>,
}

/// The content of a PUBLISH that a client sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Absent when only the alias is given.
    pub topic: Option<TopicName>,
    /// Stands for a topic within this connection.
    pub alias: Option<NonZeroU16>,
    /// What it says; a slice of what was read.
    pub payload: Bytes,
    /// How it is delivered.
    pub qos: QoS,
    /// Present unless QoS 0.
    pub packet_id: Option<PacketId>,
    /// Whether it is to be retained.
    pub retain: bool,
    /// What is forwarded unchanged.
    pub properties: Option<Box<Properties>>,
    /// Life of the message.
    pub expiry_secs: Option<u32>,
}

/// The content of a SUBSCRIBE.
#[derive(Clone, Debug, PartialEq)]
pub struct Subscribe {
    /// To be named in the answer.
    pub packet_id: PacketId,
    /// One answer each; at least one.
    pub filters: Vec<(TopicFilter, SubscribeOptions)>,
    /// Whether a subscription identifier was given.
    pub has_identifier: bool,
}

/// Options of one filter (MQTT 5, section 3.8.3.1). Those about retained messages have nothing to act on yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SubscribeOptions {
    /// The best quality wanted.
    pub qos: QoS,
    /// Do not send the client its own messages back.
    pub no_local: bool,
}

/// A message on its way to subscribers, shared by all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    /// Where it was published.
    pub topic: TopicName,
    /// What it says.
    pub payload: Bytes,
    /// How it was published.
    pub qos: QoS,
    /// What the publisher wants forwarded unchanged.
    pub properties: Option<Box<Properties>>,
    /// After this it is not sent any more.
    pub expires_at: Option<Instant>,
}

impl Message {
    /// A message without properties or expiry.
    #[must_use]
    pub const fn new(topic: TopicName, payload: Bytes, qos: QoS) -> Self {
        Self { topic, payload, qos, properties: None, expires_at: None }
    }
}

/// A packet that the gateway sends.
#[derive(Clone, Debug, PartialEq)]
pub enum Outbound {
    /// CONNACK that accepts.
    Accept(Box<ConnAck>),
    /// CONNACK that refuses, the connection is closed after it.
    Refuse {
        /// Why, translated to a return code in 3.1.1.
        reason: Reason,
        /// Says more.
        text: Option<&'static str>,
    },
    /// PUBLISH.
    Publish {
        /// What to send.
        message: Arc<Message>,
        /// Absent for QoS 0.
        packet_id: Option<PacketId>,
        /// What is left of the message's life.
        expiry_secs: Option<u32>,
    },
    /// PUBACK.
    PubAck {
        /// Of the PUBLISH.
        packet_id: PacketId,
        /// In 3.1.1 only success can be said.
        reason: Reason,
        /// Says more.
        text: Option<&'static str>,
    },
    /// SUBACK.
    SubAck {
        /// Of the SUBSCRIBE.
        packet_id: PacketId,
        /// One for each filter.
        reasons: Vec<Reason>,
    },
    /// UNSUBACK.
    UnsubAck {
        /// Of the UNSUBSCRIBE.
        packet_id: PacketId,
        /// One for each filter.
        reasons: Vec<Reason>,
    },
    /// PINGRESP.
    PingResp,
    /// DISCONNECT; in 3.1.1 a server cannot send it, the connection is just closed.
    Disconnect {
        /// Why.
        reason: Reason,
        /// Says more.
        text: Option<&'static str>,
    },
}

/// What an accepting CONNACK says about this gateway (MQTT 5, section 3.2.2.3). The session is never present. QoS 2,
/// retained messages, shared subscriptions and subscription identifiers are always denied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnAck {
    /// How many QoS 1 messages the gateway takes unacknowledged.
    pub receive_maximum: u16,
    /// The largest packet that the gateway takes.
    pub packet_bytes_max: u32,
    /// The highest topic alias that the gateway takes.
    pub topic_alias_maximum: u16,
    /// Given when the client asked for another one.
    pub keep_alive_secs: Option<u16>,
    /// Given when the client asked for another one.
    pub session_expiry_secs: Option<u32>,
    /// Given when the client brought none.
    pub assigned_client_id: Option<Arc<str>>,
}

/// Reason codes of MQTT 5, section 2.4, as far as the gateway uses them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Reason {
    /// Success, normal disconnection, or granted QoS 0.
    Success = 0x00,
    GrantedQoS1 = 0x01,
    NoMatchingSubscribers = 0x10,
    NoSubscriptionExisted = 0x11,
    Unspecified = 0x80,
    MalformedPacket = 0x81,
    ProtocolError = 0x82,
    ImplementationSpecific = 0x83,
    UnsupportedVersion = 0x84,
    ClientIdInvalid = 0x85,
    NotAuthorized = 0x87,
    ServerUnavailable = 0x88,
    ServerBusy = 0x89,
    ServerShuttingDown = 0x8B,
    BadAuthenticationMethod = 0x8C,
    KeepAliveTimeout = 0x8D,
    SessionTakenOver = 0x8E,
    TopicFilterInvalid = 0x8F,
    TopicNameInvalid = 0x90,
    ReceiveMaximumExceeded = 0x93,
    TopicAliasInvalid = 0x94,
    PacketTooLarge = 0x95,
    QuotaExceeded = 0x97,
    AdministrativeAction = 0x98,
    RetainNotSupported = 0x9A,
    QoSNotSupported = 0x9B,
    SharedSubscriptionsNotSupported = 0x9E,
    MaximumConnectTime = 0xA0,
    SubscriptionIdentifiersNotSupported = 0xA1,
}

impl Reason {
    /// Whether the code says no.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        self as u8 >= 0x80
    }
}
