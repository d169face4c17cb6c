//! MQTT reasons to refusal codes (MQTT 5.0, sections 3.2 and 3.14). The gateway writes the code's name into the reason
//! string; where the string is missing, the reason code has to do.

use minimq::ReasonCode;
use muster_protocol::Code;

/// Why the gateway took its leave, from the DISCONNECT at the front of the receive buffer. `None` when it took none, or
/// blames nobody.
pub(super) fn of_farewell(buffer: &[u8]) -> Option<Code> {
    match packet(buffer)? {
        (DISCONNECT, [reason, properties @ ..]) => named(properties).or_else(|| of_disconnect((*reason).into())),
        _ => None,
    }
}

/// The name of a refusal, from the CONNACK, PUBACK or SUBACK at the front of the receive buffer.
pub(super) fn of_refusal(buffer: &[u8]) -> Option<Code> {
    match packet(buffer)? {
        // Flags, reason, properties.
        (CONNACK, [_, _, properties @ ..]) => named(properties),
        // Packet id, reason, properties.
        (PUBACK, [_, _, _, properties @ ..]) => named(properties),
        // Packet id, properties, reasons.
        (SUBACK, [_, _, properties @ ..]) => named(properties),
        _ => None,
    }
}

/// The type of the first packet, and what stands behind its fixed header.
fn packet(buffer: &[u8]) -> Option<(u8, &[u8])> {
    let (&kind, rest) = buffer.split_first()?;
    let (length, rest) = varint(rest)?;
    Some((kind, rest.get(..length)?))
}

/// What a refusal means whose name is not told.
pub(super) fn of_number(reason: ReasonCode) -> Code {
    match reason {
        ReasonCode::ServerBusy | ReasonCode::ConnectionRateExceeded | ReasonCode::QuotaExceeded => Code::SessionBusy,
        ReasonCode::ServerUnavailable
        | ReasonCode::UseAnotherServer
        | ReasonCode::ServerMoved
        | ReasonCode::UnspecifiedError
        | ReasonCode::ImplementationError => Code::Unavailable,
        ReasonCode::ClientIdentifierInvalid => Code::SessionClientId,
        // Somebody who knows us says no and not why: only a person finds out.
        ReasonCode::NotAuthorized | ReasonCode::BadUsernameOrPassword => Code::DeviceUnknown,
        ReasonCode::TopicFilterInvalid | ReasonCode::TopicNameInvalid => Code::SessionTopicDenied,
        ReasonCode::PacketTooLarge => Code::MessageOversized,
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError => Code::SessionProtocol,
        _ => Code::SessionUnsupported,
    }
}

fn of_disconnect(reason: ReasonCode) -> Option<Code> {
    Some(match reason {
        ReasonCode::Success => return None,
        ReasonCode::SessionTakenOver => Code::SessionTakenOver,
        ReasonCode::ServerUnavailable => Code::SessionDraining,
        ReasonCode::KeepAliveTimeout | ReasonCode::MaximumConnectTime => Code::SessionTimeout,
        ReasonCode::ServerBusy
        | ReasonCode::ConnectionRateExceeded
        | ReasonCode::MessageRateTooHigh
        | ReasonCode::QuotaExceeded => Code::SessionBusy,
        ReasonCode::NotAuthorized => Code::SessionTopicDenied,
        ReasonCode::PacketTooLarge => Code::MessageOversized,
        ReasonCode::MalformedPacket | ReasonCode::ProtocolError => Code::SessionProtocol,
        // An operator's act without a word on which: the next CONNECT is answered with the reason.
        _ => Code::Unavailable,
    })
}

/// The refusal that the reason string among `properties` names.
fn named(properties: &[u8]) -> Option<Code> {
    let (length, rest) = varint(properties)?;
    let mut rest = rest.get(..length)?;
    while let Some((&id, value)) = rest.split_first() {
        let (text, after) = match id {
            REASON_STRING | ASSIGNED_CLIENT | RESPONSE_INFORMATION | SERVER_REFERENCE | AUTHENTICATION_METHOD => {
                string(value)?
            }
            USER_PROPERTY => string(string(value)?.1)?,
            SESSION_EXPIRY | PACKET_BYTES_MAX => (&[][..], value.get(4..)?),
            RECEIVE_MAX | TOPIC_ALIAS_MAX | SERVER_KEEP_ALIVE => (&[][..], value.get(2..)?),
            QOS_MAX | RETAIN | WILDCARDS | IDENTIFIERS | SHARED => (&[][..], value.get(1..)?),
            _ => return None,
        };
        if id == REASON_STRING {
            return Code::from_name(core::str::from_utf8(text).ok()?.trim());
        }
        rest = after;
    }
    None
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// A variable byte integer (section 1.5.5), and what follows it.
fn varint(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}

/// Bytes that are cleared before a session, so that nothing older is taken for its end.
pub(super) const LOOKED_AT: usize = 5;
const CONNACK: u8 = 0x20;
const PUBACK: u8 = 0x40;
const SUBACK: u8 = 0x90;
const DISCONNECT: u8 = 0xe0;

const SESSION_EXPIRY: u8 = 0x11;
const ASSIGNED_CLIENT: u8 = 0x12;
const SERVER_KEEP_ALIVE: u8 = 0x13;
const AUTHENTICATION_METHOD: u8 = 0x15;
const RESPONSE_INFORMATION: u8 = 0x1a;
const SERVER_REFERENCE: u8 = 0x1c;
const REASON_STRING: u8 = 0x1f;
const RECEIVE_MAX: u8 = 0x21;
const TOPIC_ALIAS_MAX: u8 = 0x22;
const QOS_MAX: u8 = 0x24;
const RETAIN: u8 = 0x25;
const USER_PROPERTY: u8 = 0x26;
const PACKET_BYTES_MAX: u8 = 0x27;
const WILDCARDS: u8 = 0x28;
const IDENTIFIERS: u8 = 0x29;
const SHARED: u8 = 0x2a;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    type Bytes = heapless::Vec<u8, 128>;

    fn with_reason(head: &[u8], before: &[u8], text: &str) -> Bytes {
        let mut properties = Bytes::from_slice(before).unwrap();
        properties.extend_from_slice(&[REASON_STRING, 0, text.len() as u8]).unwrap();
        properties.extend_from_slice(text.as_bytes()).unwrap();
        let mut packet = Bytes::from_slice(&head[..1]).unwrap();
        packet.push((head.len() + properties.len()) as u8).unwrap();
        packet.extend_from_slice(&head[1..]).unwrap();
        packet.push(properties.len() as u8).unwrap();
        packet.extend_from_slice(&properties).unwrap();
        packet
    }

    #[test]
    fn the_name_is_found_wherever_it_stands() {
        let suspended = Some(Code::DeviceSuspended);
        let before = [QOS_MAX, 1, SESSION_EXPIRY, 0, 0, 0, 0, USER_PROPERTY, 0, 1, b'a', 0, 1, b'b'];
        for before in [&[][..], &before] {
            for head in [&[CONNACK, 0, 0x87][..], &[PUBACK, 0, 1, 0x87], &[SUBACK, 0, 1]] {
                assert_eq!(of_refusal(&with_reason(head, before, " device.suspended")), suspended);
                assert_eq!(of_farewell(&with_reason(head, before, "device.suspended")), None);
            }
            let farewell = with_reason(&[DISCONNECT, 0x98], before, "device.suspended");
            assert_eq!((of_farewell(&farewell), of_refusal(&farewell)), (suspended, None));
        }
    }

    #[test]
    fn without_a_name_the_number_has_to_do() {
        assert_eq!(of_farewell(&with_reason(&[DISCONNECT, 0x98], &[], "<b>go away</b>")), Some(Code::Unavailable));
        assert_eq!(of_farewell(&[DISCONNECT, 1, 0x8e]), Some(Code::SessionTakenOver));
        assert_eq!(of_farewell(&[DISCONNECT, 0]), None);
        assert_eq!(of_refusal(&with_reason(&[CONNACK, 0, 0x87], &[], "x")), None);
        assert_eq!(of_number(ReasonCode::NotAuthorized), Code::DeviceUnknown);
    }

    #[test]
    fn other_packets_and_broken_ones_say_nothing() {
        let whole = with_reason(&[DISCONNECT, 0x98], &[USER_PROPERTY, 0, 1, b'a', 0, 1, b'b'], "device.retired");
        for end in 0..whole.len() {
            assert_eq!(of_farewell(&whole[..end]), None, "{end}");
        }
        for at in 1..whole.len() {
            for byte in [0, 1, 0x7f, 0x80, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = (of_farewell(&broken), of_refusal(&broken));
            }
        }
        assert_eq!(of_refusal(&with_reason(&[0x30, 0], &[], "device.suspended")), None);
        assert_eq!((of_farewell(&[0; 16]), of_refusal(&[0; 16])), (None, None));
    }
}
