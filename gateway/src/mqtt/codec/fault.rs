//! From what the codec crate and the topics say is wrong to the reason code that says it best.

use mqtt_proto::{Error, v5};

use super::DecodeError;
use crate::mqtt::packet::Reason;
use crate::mqtt::topic::TopicError;

/// What is wrong with a topic, or `otherwise`.
pub(super) fn of_topic(error: TopicError, otherwise: Reason) -> DecodeError {
    match error {
        TopicError::Nul => DecodeError::Bad { reason: Reason::MalformedPacket, what: "a topic holds U+0000" },
        TopicError::Empty => DecodeError::Bad { reason: Reason::ProtocolError, what: "an empty topic" },
        _ => DecodeError::Bad { reason: otherwise, what: "a topic is not valid" },
    }
}

/// What the codec crate found, in words of ours.
pub(super) fn of_v3(error: &Error) -> DecodeError {
    let (reason, what) = match error {
        Error::InvalidTopicName(_) => (Reason::TopicNameInvalid, "a topic is not valid"),
        Error::InvalidTopicFilter(_) => (Reason::TopicFilterInvalid, "a topic filter is not valid"),
        Error::EmptySubscription => (Reason::ProtocolError, "no topic filter"),
        Error::ZeroPid => (Reason::ProtocolError, "a packet identifier of zero"),
        Error::InvalidString => return NOT_UTF8,
        _ => (Reason::MalformedPacket, "the packet is malformed"),
    };
    DecodeError::Bad { reason, what }
}

/// What the codec crate found, in words of ours.
pub(super) fn of_v5(error: v5::ErrorV5) -> DecodeError {
    use v5::ErrorV5;
    let (reason, what) = match error {
        ErrorV5::Common(error) => return of_v3(&error),
        ErrorV5::DuplicatedProperty(_) => (Reason::ProtocolError, "a property stands twice"),
        ErrorV5::InvalidResponseTopic => (Reason::ProtocolError, "the response topic is not valid"),
        ErrorV5::InvalidByteProperty(..) => (Reason::ProtocolError, "a property is neither 0 nor 1"),
        _ => (Reason::MalformedPacket, "the packet is malformed"),
    };
    DecodeError::Bad { reason, what }
}

pub(super) const fn bad<T>(reason: Reason, what: &'static str) -> Result<T, DecodeError> {
    Err(DecodeError::Bad { reason, what })
}

pub(super) const SHORT: DecodeError =
    DecodeError::Bad { reason: Reason::MalformedPacket, what: "the packet ends too early" };
pub(super) const NOT_UTF8: DecodeError =
    DecodeError::Bad { reason: Reason::MalformedPacket, what: "a text is not UTF-8" };
pub(super) const NO_ALIAS: DecodeError =
    DecodeError::Bad { reason: Reason::TopicAliasInvalid, what: "a topic alias of zero" };
