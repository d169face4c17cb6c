//! The packets of the gateway's that a device understands (MQTT 5.0, section 3), taken apart where they lie.
//!
//! | packet | first byte | variable header and payload |
//! |---|---|---|
//! | CONNACK | 0x20 | flags, reason, properties |
//! | PUBLISH | 0x30 to 0x33 | topic, packet id with QoS 1, properties, content |
//! | PUBACK | 0x40 | packet id; reason and properties may be left out |
//! | SUBACK | 0x90 | packet id, properties, one reason for each filter |
//! | PINGRESP | 0xd0 | nothing |
//! | DISCONNECT | 0xe0 | reason and properties may be left out |
//!
//! Everything else breaks the protocol: a device asks for nothing that would bring it.

use core::num::NonZeroU16;

/// The bytes are no packet that may come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Malformed;

/// One whole packet.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Packet<'a> {
    ConnAck {
        session_present: bool,
        reason: u8,
        properties: Properties<'a>,
    },
    Publish {
        topic: &'a str,
        id: Option<NonZeroU16>,
        payload: &'a [u8],
    },
    /// A PUBACK, or a SUBACK to one filter.
    Ack {
        id: u16,
        reason: u8,
        properties: Properties<'a>,
    },
    PingResp,
    Disconnect {
        reason: u8,
        properties: Properties<'a>,
    },
}

impl<'a> Packet<'a> {
    /// Takes a packet apart.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (&kind, rest) = bytes.split_first().ok_or(Malformed)?;
        let (_, body) = varint(rest)?.ok_or(Malformed)?;
        match (kind, body) {
            (0x20, [flags @ 0..=1, reason, rest @ ..]) => {
                Ok(Self::ConnAck { session_present: *flags == 1, reason: *reason, properties: Properties::all(rest)? })
            }
            (0x30..=0x3b, body) => Self::read_publish(kind, body),
            (0x40, [high, low, rest @ ..]) => {
                let (reason, properties) = reason(rest)?;
                Ok(Self::Ack { id: u16::from_be_bytes([*high, *low]), reason, properties })
            }
            (0x90, [high, low, rest @ ..]) => match Properties::split(rest)? {
                (properties, [reason]) => {
                    Ok(Self::Ack { id: u16::from_be_bytes([*high, *low]), reason: *reason, properties })
                }
                _ => Err(Malformed),
            },
            (0xd0, []) => Ok(Self::PingResp),
            (0xe0, rest) => reason(rest).map(|(reason, properties)| Self::Disconnect { reason, properties }),
            _ => Err(Malformed),
        }
    }

    fn read_publish(kind: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let (topic, rest) = string(body).ok_or(Malformed)?;
        let (id, rest) = match kind >> 1 & 0b11 {
            0 => (None, rest),
            1 => {
                let (id, rest) = rest.split_first_chunk().ok_or(Malformed)?;
                (Some(NonZeroU16::new(u16::from_be_bytes(*id)).ok_or(Malformed)?), rest)
            }
            // QoS 2 was not subscribed to.
            _ => return Err(Malformed),
        };
        let (_, payload) = Properties::split(rest)?;
        let topic = core::str::from_utf8(topic).map_err(|_| Malformed)?;
        // Without a topic it would need an alias, and none is allowed to the gateway.
        if topic.is_empty() { Err(Malformed) } else { Ok(Self::Publish { topic, id, payload }) }
    }
}

/// Reason and properties, as PUBACK and DISCONNECT leave them out from the end.
fn reason(rest: &[u8]) -> Result<(u8, Properties<'_>), Malformed> {
    match rest {
        [] => Ok((0, Properties(&[]))),
        [reason] => Ok((*reason, Properties(&[]))),
        [reason, rest @ ..] => Properties::all(rest).map(|properties| (*reason, properties)),
    }
}

/// The properties of a packet (section 2.2.2). What none of ours asks for is passed over, unless it has no known length.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Reads the length and splits there.
    fn split(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Malformed> {
        let (length, rest) = varint(bytes)?.ok_or(Malformed)?;
        let (properties, rest) = rest.split_at_checked(length).ok_or(Malformed)?;
        Ok((Self(properties), rest))
    }

    /// The same, with nothing behind it.
    fn all(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match Self::split(bytes)? {
            (properties, []) => Ok(properties),
            _ => Err(Malformed),
        }
    }

    /// The bytes of one property: a text without its length, a number big endian.
    pub(super) fn find(self, wanted: u8) -> Option<&'a [u8]> {
        let mut rest = self.0;
        while let Some((&id, value)) = rest.split_first() {
            let (found, after) = match id {
                REASON_STRING | ASSIGNED_CLIENT | RESPONSE_INFORMATION | SERVER_REFERENCE | AUTHENTICATION_METHOD => {
                    string(value)?
                }
                USER_PROPERTY => string(string(value)?.1)?,
                SESSION_EXPIRY | PACKET_BYTES_MAX => value.split_at_checked(4)?,
                RECEIVE_MAX | TOPIC_ALIAS_MAX | SERVER_KEEP_ALIVE => value.split_at_checked(2)?,
                QOS_MAX | RETAIN | WILDCARDS | IDENTIFIERS | SHARED => value.split_at_checked(1)?,
                _ => return None,
            };
            if id == wanted {
                return Some(found);
            }
            rest = after;
        }
        None
    }

    /// A property that is a number.
    pub(super) fn number(self, wanted: u8) -> Option<u32> {
        let bytes = self.find(wanted)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }
}

/// How many bytes of a packet have to be there, by what is there of it: two, then its whole header, then all of it.
pub(super) fn needed(bytes: &[u8]) -> Result<usize, Malformed> {
    match bytes {
        [] | [_] => Ok(2),
        [_, rest @ ..] => Ok(match varint(rest)? {
            Some((length, after)) => bytes.len() - after.len() + length,
            None => bytes.len() + 1,
        }),
    }
}

/// A variable byte integer (section 1.5.5), and what follows it; `None` while it has no end yet.
fn varint(bytes: &[u8]) -> Result<Option<(usize, &[u8])>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, bytes.get(index + 1..).unwrap_or_default())));
        }
    }
    if bytes.len() < 4 { Ok(None) } else { Err(Malformed) }
}

fn string(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

const SESSION_EXPIRY: u8 = 0x11;
const ASSIGNED_CLIENT: u8 = 0x12;
/// How often the gateway wants to hear something, in seconds; in place of what was asked for.
pub(super) const SERVER_KEEP_ALIVE: u8 = 0x13;
const AUTHENTICATION_METHOD: u8 = 0x15;
const RESPONSE_INFORMATION: u8 = 0x1a;
const SERVER_REFERENCE: u8 = 0x1c;
/// Where the gateway writes the name of its refusal.
pub(super) const REASON_STRING: u8 = 0x1f;
/// How many publications may wait for their acknowledgement.
pub(super) const RECEIVE_MAX: u8 = 0x21;
const TOPIC_ALIAS_MAX: u8 = 0x22;
const QOS_MAX: u8 = 0x24;
const RETAIN: u8 = 0x25;
const USER_PROPERTY: u8 = 0x26;
/// The longest packet that the other end takes.
pub(super) const PACKET_BYTES_MAX: u8 = 0x27;
const WILDCARDS: u8 = 0x28;
const IDENTIFIERS: u8 = 0x29;
const SHARED: u8 = 0x2a;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn packets_are_taken_apart() {
        let none = Properties(&[]);
        for (bytes, packet) in [
            (&[0x20, 3, 0, 0, 0][..], Packet::ConnAck { session_present: false, reason: 0, properties: none }),
            (&[0x20, 3, 1, 0x87, 0], Packet::ConnAck { session_present: true, reason: 0x87, properties: none }),
            (&[0x30, 5, 0, 1, b'a', 0, 7], Packet::Publish { topic: "a", id: None, payload: &[7] }),
            (&[0x33, 6, 0, 1, b'a', 0, 9, 0], Packet::Publish { topic: "a", id: NonZeroU16::new(9), payload: &[] }),
            (&[0x40, 2, 1, 2], Packet::Ack { id: 0x102, reason: 0, properties: none }),
            (&[0x40, 3, 1, 2, 0x10], Packet::Ack { id: 0x102, reason: 0x10, properties: none }),
            (&[0x90, 4, 0, 3, 0, 0x8f], Packet::Ack { id: 3, reason: 0x8f, properties: none }),
            (&[0xd0, 0], Packet::PingResp),
            (&[0xe0, 0], Packet::Disconnect { reason: 0, properties: none }),
            (&[0xe0, 1, 0x8e], Packet::Disconnect { reason: 0x8e, properties: none }),
        ] {
            assert_eq!(Packet::read(bytes), Ok(packet), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_must_not_come_is_refused() {
        for bytes in [
            &[][..],
            &[0x20],
            &[0x20, 3, 2, 0, 0],
            &[0x20, 4, 0, 0, 0, 0],
            &[0x30, 2, 0, 0],
            &[0x30, 3, 0, 0, 0],
            &[0x30, 4, 0, 1, 0xff, 0],
            &[0x32, 6, 0, 1, b'a', 0, 0, 0],
            &[0x32, 4, 0, 1, b'a', 0],
            &[0x34, 6, 0, 1, b'a', 0, 9, 0],
            &[0x3d, 6, 0, 1, b'a', 0, 9, 0],
            &[0x30, 4, 0, 1, b'a', 1],
            &[0x40, 1, 1],
            &[0x41, 2, 1, 2],
            &[0x90, 5, 0, 3, 0, 0, 0],
            &[0xd0, 1, 0],
            &[0xe0, 2, 0, 1],
            &[0x50, 2, 0, 1],
            &[0x10, 0],
            &[0xf0, 0],
            &[0x20, 0x80, 0x80, 0x80, 0x80, 0],
        ] {
            assert_eq!(Packet::read(bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn no_more_is_asked_for_than_the_packet_has() {
        for (bytes, count) in [
            (&[][..], Ok(2)),
            (&[0x30], Ok(2)),
            (&[0x30, 0], Ok(2)),
            (&[0x30, 7], Ok(9)),
            (&[0x30, 0x80], Ok(3)),
            (&[0x30, 0x80, 0x01], Ok(131)),
            (&[0x30, 0xff, 0xff, 0xff], Ok(5)),
            (&[0x30, 0xff, 0xff, 0xff, 0x7f], Ok(5 + 268_435_455)),
            (&[0x30, 0xff, 0xff, 0xff, 0xff], Err(Malformed)),
        ] {
            assert_eq!(needed(bytes), count, "{bytes:02x?}");
        }
    }

    #[test]
    fn properties_are_found_behind_others() {
        let bytes =
            [QOS_MAX, 1, USER_PROPERTY, 0, 1, b'a', 0, 1, b'b', RECEIVE_MAX, 1, 2, REASON_STRING, 0, 2, b'n', b'o'];
        let properties = Properties(&bytes);
        assert_eq!(properties.number(QOS_MAX), Some(1));
        assert_eq!(properties.number(RECEIVE_MAX), Some(0x102));
        assert_eq!(properties.find(REASON_STRING), Some(&b"no"[..]));
        assert_eq!(properties.find(SERVER_KEEP_ALIVE), None);
        for end in 0..bytes.len() {
            assert_eq!(Properties(&bytes[..end]).find(REASON_STRING), None, "{end}");
        }
        assert_eq!(Properties(&[0x7e, REASON_STRING, 0, 1, b'a']).find(REASON_STRING), None);
    }
}
