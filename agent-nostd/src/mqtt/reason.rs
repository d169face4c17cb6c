//! MQTT reasons to refusal codes (MQTT 5.0, sections 2.4, 3.2 and 3.14). The gateway writes the code's name into the
//! reason string; where the string is missing, the reason code has to do.

use muster_protocol::Code;

use super::packet::{Properties, REASON_STRING};

/// Why the gateway took its leave by DISCONNECT. `None` when it blames nobody.
pub(super) fn of_farewell(reason: u8, properties: Properties<'_>) -> Option<Code> {
    if let Some(code) = named(properties) {
        return Some(code);
    }
    Some(match reason {
        SUCCESS => return None,
        SERVER_UNAVAILABLE => Code::SessionDraining,
        SESSION_TAKEN_OVER => Code::SessionTakenOver,
        KEEP_ALIVE_TIMEOUT | MAXIMUM_CONNECT_TIME => Code::SessionTimeout,
        SERVER_BUSY | CONNECTION_RATE_EXCEEDED | MESSAGE_RATE_TOO_HIGH | QUOTA_EXCEEDED => Code::SessionBusy,
        NOT_AUTHORIZED => Code::SessionTopicDenied,
        PACKET_TOO_LARGE => Code::MessageOversized,
        MALFORMED_PACKET | PROTOCOL_ERROR => Code::SessionProtocol,
        // An operator's act without a word on which: the next CONNECT is answered with the reason.
        _ => Code::Unavailable,
    })
}

/// Why the gateway refuses a CONNECT, a publication or a subscription.
pub(super) fn of_refusal(reason: u8, properties: Properties<'_>) -> Code {
    if let Some(code) = named(properties) {
        return code;
    }
    match reason {
        SERVER_BUSY | CONNECTION_RATE_EXCEEDED | QUOTA_EXCEEDED => Code::SessionBusy,
        SERVER_UNAVAILABLE | USE_ANOTHER_SERVER | SERVER_MOVED | UNSPECIFIED_ERROR | IMPLEMENTATION_ERROR => {
            Code::Unavailable
        }
        CLIENT_IDENTIFIER_INVALID => Code::SessionClientId,
        // Somebody who knows us says no and not why: only a person finds out.
        NOT_AUTHORIZED | BAD_USER_NAME_OR_PASSWORD => Code::DeviceUnknown,
        TOPIC_FILTER_INVALID | TOPIC_NAME_INVALID => Code::SessionTopicDenied,
        PACKET_TOO_LARGE => Code::MessageOversized,
        MALFORMED_PACKET | PROTOCOL_ERROR => Code::SessionProtocol,
        _ => Code::SessionUnsupported,
    }
}

/// The refusal that the reason string names.
fn named(properties: Properties<'_>) -> Option<Code> {
    let name = properties.find(REASON_STRING)?.trim_ascii();
    Code::from_name(core::str::from_utf8(name).ok()?)
}

const SUCCESS: u8 = 0x00;
const UNSPECIFIED_ERROR: u8 = 0x80;
const MALFORMED_PACKET: u8 = 0x81;
const PROTOCOL_ERROR: u8 = 0x82;
const IMPLEMENTATION_ERROR: u8 = 0x83;
const CLIENT_IDENTIFIER_INVALID: u8 = 0x85;
const BAD_USER_NAME_OR_PASSWORD: u8 = 0x86;
const NOT_AUTHORIZED: u8 = 0x87;
const SERVER_UNAVAILABLE: u8 = 0x88;
const SERVER_BUSY: u8 = 0x89;
const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
const SESSION_TAKEN_OVER: u8 = 0x8e;
const TOPIC_FILTER_INVALID: u8 = 0x8f;
const TOPIC_NAME_INVALID: u8 = 0x90;
const PACKET_TOO_LARGE: u8 = 0x95;
const MESSAGE_RATE_TOO_HIGH: u8 = 0x96;
const QUOTA_EXCEEDED: u8 = 0x97;
const USE_ANOTHER_SERVER: u8 = 0x9c;
const SERVER_MOVED: u8 = 0x9d;
const CONNECTION_RATE_EXCEEDED: u8 = 0x9f;
const MAXIMUM_CONNECT_TIME: u8 = 0xa0;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]

    use super::super::packet::Packet;
    use super::*;

    fn farewell(reason: u8, text: &str) -> Option<Code> {
        let mut packet = heapless::Vec::<u8, 64>::new();
        let length = text.len() as u8;
        packet.extend_from_slice(&[0xe0, length + 5, reason, length + 3, REASON_STRING, 0, length]).unwrap();
        packet.extend_from_slice(text.as_bytes()).unwrap();
        let Ok(Packet::Disconnect { reason, properties }) = Packet::read(&packet) else { panic!("{packet:02x?}") };
        of_farewell(reason, properties)
    }

    #[test]
    fn a_name_says_more_than_a_number() {
        assert_eq!(farewell(0x98, " device.suspended"), Some(Code::DeviceSuspended));
        assert_eq!(farewell(0, "device.retired"), Some(Code::DeviceRetired));
        assert_eq!(farewell(0x98, "<b>go away</b>"), Some(Code::Unavailable));
        assert_eq!(farewell(SESSION_TAKEN_OVER, ""), Some(Code::SessionTakenOver));
        assert_eq!(farewell(0, "bye"), None);
    }

    #[test]
    fn without_a_name_the_number_has_to_do() {
        let Ok(Packet::Ack { properties: none, .. }) = Packet::read(&[0x40, 2, 0, 1]) else { panic!("a PUBACK") };
        assert_eq!(of_refusal(NOT_AUTHORIZED, none), Code::DeviceUnknown);
        assert_eq!(of_refusal(0xff, none), Code::SessionUnsupported);
        assert_eq!(of_farewell(SUCCESS, none), None);
        assert_eq!(of_farewell(0xff, none), Some(Code::Unavailable));
    }
}
