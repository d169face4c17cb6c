//! The audit: what happened to whom, by whose hand, in a chain that shows tampering.
//!
//! A record is an [`AuditEvent`] as one JSON object; [`chain`] says how records hang together.
//!
//! The store's writer computes the chain, in the transaction that does what the event tells of. Text that came from a
//! peer is cut and cleaned here; it stays hostile text for whoever shows it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use muster_protocol::pki::serial::Serial;
use muster_protocol::{Code, DeviceId, UnixTime};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub mod chain;
mod kinds;

pub use kinds::{Kinds, UnknownKind};

pub use chain::{AuditHead, AuditRecord, Broken, ChainHash, verify, verify_store};

/// Format version of an event.
pub const VERSION: u8 = 1;
/// Details of one event.
pub const DETAILS_MAX: usize = 16;
/// Bytes of one detail; longer ones are cut.
pub const DETAIL_BYTES_MAX: usize = 256;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal;)+) => {
        /// What happened. The names are stable.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        #[non_exhaustive]
        pub enum AuditKind {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl AuditKind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The stable dotted name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The kind of a name, if there is one.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// The directory was set up.
    GatewayInitialised = "gateway.initialised";
    /// The gateway started to listen.
    GatewayStarted = "gateway.started";
    /// The gateway stopped on purpose.
    GatewayStopped = "gateway.stopped";
    /// The server certificate was replaced.
    GatewayCertificate = "gateway.certificate";
    /// A trust bundle was published.
    TrustPublished = "trust.published";
    /// A TLS handshake succeeded and the session was let in.
    HandshakeAccepted = "handshake.accepted";
    /// A TLS handshake, or the connection right after it, was refused; `code` says why.
    HandshakeRefused = "handshake.refused";
    /// A live session was cut; `code` says why.
    SessionCut = "session.cut";
    /// A control message of a session was refused; `code` says why.
    RequestRefused = "request.refused";
    /// A session asked for a topic that it has no right to.
    TopicRefused = "topic.refused";
    /// A device came for the first time, under its IDevID.
    DeviceClaimed = "device.claimed";
    /// A certificate was issued to a device that had none in force.
    EnrolmentIssued = "enrolment.issued";
    /// The first certificate was confirmed.
    EnrolmentConfirmed = "enrolment.confirmed";
    /// An operator ordered a rotation.
    RotationOrdered = "rotation.ordered";
    /// A candidate certificate was issued.
    RotationIssued = "rotation.issued";
    /// The candidate was confirmed.
    RotationConfirmed = "rotation.confirmed";
    /// The device had stored the new certificate, and the old one was withdrawn.
    RotationCompleted = "rotation.completed";
    /// The device went back to its old certificate, and the new one was withdrawn.
    RotationRolledBack = "rotation.rolled_back";
    /// The registrar changed a device in a way that has no kind of its own; `event` says which.
    DeviceChanged = "device.changed";
    /// A device was suspended.
    DeviceSuspended = "device.suspended";
    /// A suspended device was resumed.
    DeviceResumed = "device.resumed";
    /// A device's certificates were withdrawn and it is kept out.
    DeviceRevoked = "device.revoked";
    /// A revoked device may enrol anew.
    DeviceReadmitted = "device.readmitted";
    /// An operator sent a command to a device's program.
    DeviceCommanded = "device.commanded";
    /// A device was retired for good.
    DeviceRetired = "device.retired";
    /// A manifest was imported.
    ManifestImported = "manifest.imported";
    /// A manifest was refused; `code` says why.
    ManifestRefused = "manifest.refused";
    /// A factory CA was added.
    FactoryCaAdded = "factory_ca.added";
    /// A factory CA was removed.
    FactoryCaRemoved = "factory_ca.removed";
    /// A service's rights were written and a certificate issued.
    ServiceIssued = "service.issued";
    /// A service was removed.
    ServiceRemoved = "service.removed";
    /// An operator was written and a certificate issued.
    OperatorIssued = "operator.issued";
    /// An operator was removed.
    OperatorRemoved = "operator.removed";
    /// An operator was refused something; `code` says why.
    OperatorRefused = "operator.refused";
}

/// By whose hand.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Actor {
    /// The gateway itself.
    Gateway,
    /// Somebody with access to the admin socket or the directory.
    Local,
    /// A peer that did not prove who it is.
    Peer,
    /// A device that proved its identity.
    Device(DeviceId),
    /// A service that proved its identity.
    Service(DeviceId),
    /// An operator who proved their identity.
    Operator(DeviceId),
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gateway => f.write_str("gateway"),
            Self::Local => f.write_str("local"),
            Self::Peer => f.write_str("peer"),
            Self::Device(name) => write!(f, "device:{name}"),
            Self::Service(name) => write!(f, "service:{name}"),
            Self::Operator(name) => write!(f, "operator:{name}"),
        }
    }
}

impl Actor {
    fn from_text(text: &str) -> Option<Self> {
        let name = |name: &str| DeviceId::new(name).ok();
        match text.split_once(':') {
            None => match text {
                "gateway" => Some(Self::Gateway),
                "local" => Some(Self::Local),
                "peer" => Some(Self::Peer),
                _ => None,
            },
            Some(("device", rest)) => name(rest).map(Self::Device),
            Some(("service", rest)) => name(rest).map(Self::Service),
            Some(("operator", rest)) => name(rest).map(Self::Operator),
            Some(_) => None,
        }
    }
}

/// One thing that happened. Written as a JSON object with these names; absent fields are left out.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditEvent {
    /// Format version.
    v: u8,
    /// When, in seconds.
    pub at: UnixTime,
    /// What.
    pub kind: AuditKind,
    /// By whose hand.
    pub actor: Actor,
    /// The device it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<DeviceId>,
    /// Why it was refused or cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// The certificate it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<Serial>,
    /// The address at the other end of the connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
    /// More, by name: at most [`DETAILS_MAX`] texts of at most [`DETAIL_BYTES_MAX`] bytes without control characters.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    details: BTreeMap<Cow<'static, str>, String>,
}

impl AuditEvent {
    /// An event; the rest is added with the methods below.
    #[must_use]
    pub const fn new(at: UnixTime, kind: AuditKind, actor: Actor) -> Self {
        Self {
            v: VERSION,
            at,
            kind,
            actor,
            device: None,
            code: None,
            serial: None,
            peer: None,
            details: BTreeMap::new(),
        }
    }

    /// About this device.
    #[must_use]
    pub fn device(mut self, device: &DeviceId) -> Self {
        self.device = Some(device.clone());
        self
    }

    /// Refused or cut for this reason.
    #[must_use]
    pub const fn code(mut self, code: Code) -> Self {
        self.code = Some(code);
        self
    }

    /// About this certificate.
    #[must_use]
    pub fn serial(mut self, serial: &Serial) -> Self {
        self.serial = Some(serial.clone());
        self
    }

    /// Over a connection from this address.
    #[must_use]
    pub const fn peer(mut self, peer: SocketAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Adds a detail, whoever its text came from: control characters become `U+FFFD`, what is too long is cut, and what
    /// is too much is left out.
    #[must_use]
    pub fn detail(mut self, name: &'static str, text: impl fmt::Display) -> Self {
        if self.details.len() < DETAILS_MAX {
            self.details.insert(Cow::Borrowed(name), cleaned(&text.to_string()));
        }
        self
    }

    /// The details, by name.
    #[must_use]
    pub const fn details(&self) -> &BTreeMap<Cow<'static, str>, String> {
        &self.details
    }

    /// Whether the event keeps its bounds; one that was built with [`AuditEvent::detail`] does.
    #[must_use]
    pub(crate) fn is_bounded(&self) -> bool {
        self.details.len() <= DETAILS_MAX
            && self.details.iter().all(|(name, text)| name.len() <= 64 && text.len() <= DETAIL_BYTES_MAX)
    }

    /// The canonical bytes: what is stored, hashed and shown.
    pub(crate) fn to_body(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

fn cleaned(text: &str) -> String {
    let mut clean = String::new();
    for letter in text.chars() {
        let letter = if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter };
        if clean.len() + letter.len_utf8() > DETAIL_BYTES_MAX {
            break;
        }
        clean.push(letter);
    }
    clean
}

impl Serialize for AuditKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for AuditKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Cow::<'_, str>::deserialize(deserializer)?;
        Self::from_name(&name).ok_or_else(|| serde::de::Error::custom("unknown kind of event"))
    }
}

impl Serialize for Actor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Actor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        Self::from_text(&text).ok_or_else(|| serde::de::Error::custom("unknown actor"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn full() -> AuditEvent {
        AuditEvent::new(UnixTime(1_800_000_000), AuditKind::HandshakeRefused, Actor::Peer)
            .device(&DeviceId::new("dev-1").unwrap())
            .code(Code::CertificateExpired)
            .serial(&Serial::from_random([0x2a; 16]))
            .peer("[::1]:40000".parse().unwrap())
            .detail("subject", "dev-1")
    }

    /// Golden bytes: they are hashed, so they never change for what is stored already.
    #[test]
    fn events_are_written_as_documented() {
        let text = concat!(
            r#"{"v":1,"at":1800000000,"kind":"handshake.refused","actor":"peer","device":"dev-1","#,
            r#""code":"certificate.expired","serial":"2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a2a","#,
            r#""peer":"[::1]:40000","details":{"subject":"dev-1"}}"#
        );
        assert_eq!(full().to_body().unwrap(), text);
        assert_eq!(serde_json::from_str::<AuditEvent>(text).unwrap(), full());
        let small = AuditEvent::new(UnixTime(1), AuditKind::GatewayStarted, Actor::Gateway);
        let text = r#"{"v":1,"at":1,"kind":"gateway.started","actor":"gateway"}"#;
        assert_eq!(small.to_body().unwrap(), text);
        assert_eq!(serde_json::from_str::<AuditEvent>(text).unwrap(), small);
    }

    #[test]
    fn names_of_kinds_and_actors_read_back() {
        for (index, kind) in AuditKind::ALL.iter().enumerate() {
            assert_eq!(AuditKind::from_name(kind.name()), Some(*kind));
            assert!(AuditKind::ALL[..index].iter().all(|other| other.name() != kind.name()), "{kind:?} twice");
        }
        let ada = DeviceId::new("ada").unwrap();
        for actor in [
            Actor::Gateway,
            Actor::Local,
            Actor::Peer,
            Actor::Device(ada.clone()),
            Actor::Service(ada.clone()),
            Actor::Operator(ada),
        ] {
            assert_eq!(Actor::from_text(&actor.to_string()), Some(actor));
        }
        for text in ["", "root", "device", "device:", "device:a:b", "operator:ä"] {
            assert_eq!(Actor::from_text(text), None, "{text}");
        }
    }

    #[test]
    fn hostile_text_is_cut_and_cleaned() {
        let event = full().detail("said", "\u{1b}[31m\r\n\0end").detail("long", "é".repeat(1000));
        assert_eq!(event.details()["said"], "\u{fffd}[31m\u{fffd}\u{fffd}\u{fffd}end");
        assert_eq!(event.details()["long"], "é".repeat(DETAIL_BYTES_MAX / 2));
        assert!(event.is_bounded());
        const NAMES: [&str; 20] =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];
        let crowded = NAMES.iter().fold(full(), |event, name| event.detail(name, "x"));
        assert_eq!(crowded.details().len(), DETAILS_MAX);
        assert!(crowded.is_bounded());
    }
}
