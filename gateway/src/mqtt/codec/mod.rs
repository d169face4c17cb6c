//! Bytes to packets. The only module that names the codec crate (mqtt-proto).
//!
//! Frames are cut here, so that a length is judged before anything is stored. The crate reads the bodies of CONNECT,
//! SUBSCRIBE, UNSUBSCRIBE, DISCONNECT and all MQTT 5 properties; PUBLISH and PUBACK are read here, so that a payload stays a
//! slice of what was read. What the crate lets through although the standard forbids it is refused here: flags, packet
//! ids, topics, U+0000 in texts, bytes after the end, lengths written longer than needed. The crate's `Packet::decode`
//! and its async readers are not used. Sections are those of MQTT 5.

mod connect;
mod encode;
mod fault;

use std::num::NonZeroU16;

use bytes::{Buf, Bytes, BytesMut};
use mqtt_proto::{v3, v5};

use super::packet::{Inbound, PacketId, Publish, QoS, Reason, Subscribe, SubscribeOptions, Version};
use super::topic::{TopicFilter, TopicName};

pub use encode::{encode, publish_len};

use connect::connect;
use fault::{NO_ALIAS, NOT_UTF8, SHORT, bad, of_topic, of_v3, of_v5};

/// Why bytes are no packet that a client may send.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum DecodeError {
    /// CONNECT of a version that is not spoken here.
    #[error("MQTT protocol level {level} is not spoken here")]
    UnsupportedVersion {
        /// The protocol level that was asked for: 3 is MQTT 3.1.
        level: u8,
    },
    /// Anything else, with the reason code that says it best.
    #[error("{what}")]
    Bad {
        /// For DISCONNECT.
        reason: Reason,
        /// For people.
        what: &'static str,
    },
}

/// PUBLISH properties that travel from publisher to subscriber unchanged: payload format, content type, response topic,
/// correlation data, user properties (section 3.3.2.3).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Properties(v5::PublishProperties);

/// Cuts frames from a buffer and reads them.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    version: Option<Version>,
    frame_bytes_max: usize,
}

impl Decoder {
    /// A decoder that waits for CONNECT; until then no frame may be longer than this.
    #[must_use]
    pub const fn new(frame_bytes_max: usize) -> Self {
        Self { version: None, frame_bytes_max }
    }

    /// Sets the longest frame, the fixed header included.
    pub const fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Takes the next packet from the front of the buffer, or nothing while it is not complete.
    ///
    /// # Errors
    /// What is wrong with the bytes. The connection cannot be used any further.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Inbound>, DecodeError> {
        let Some(head) = self.head(buffer)? else { return Ok(None) };
        if buffer.len() < head.len + head.body_len {
            return Ok(None);
        }
        let mut frame = buffer.split_to(head.len + head.body_len).freeze();
        frame.advance(head.len);
        let Some(version) = self.version else {
            let connect = connect(&frame)?;
            self.version = Some(connect.version);
            return Ok(Some(Inbound::Connect(Box::new(connect))));
        };
        match version {
            Version::V311 => body_v3(head, &frame).map(Some),
            Version::V5 => body_v5(head, &frame).map(Some),
        }
    }

    fn head(&self, buffer: &[u8]) -> Result<Option<Head>, DecodeError> {
        let [first, rest @ ..] = buffer else { return Ok(None) };
        check_first(*first, self.version)?;
        let mut body_len = 0;
        for (index, byte) in rest.iter().take(4).enumerate() {
            body_len |= usize::from(byte & 0x7F) << (7 * index);
            if byte & 0x80 == 0 {
                if *byte == 0 && index > 0 {
                    return bad(Reason::MalformedPacket, "a length is written longer than needed");
                }
                let head = Head { first: *first, len: index + 2, body_len };
                if head.len + head.body_len > self.frame_bytes_max {
                    return bad(Reason::PacketTooLarge, "the packet is larger than announced");
                }
                return Ok(Some(head));
            }
        }
        if rest.len() >= 4 {
            return bad(Reason::MalformedPacket, "a length has more than four bytes");
        }
        Ok(None)
    }
}

/// The fixed header: first byte, its own length, and the length of what follows.
#[derive(Clone, Copy)]
struct Head {
    first: u8,
    len: usize,
    body_len: usize,
}

/// Type and flags (sections 2.1.2 and 2.1.3), as soon as the first byte is there: nothing is collected for a stranger.
fn check_first(first: u8, version: Option<Version>) -> Result<(), DecodeError> {
    let (kind, flags) = (first >> 4, first & 0x0F);
    match (version, kind) {
        (None, CONNECT) | (Some(_), SUBSCRIBE | UNSUBSCRIBE | PINGREQ | DISCONNECT) => {}
        (Some(_), PUBLISH | PUBACK | PUBREC | PUBREL | PUBCOMP) | (Some(Version::V5), AUTH) => {}
        (None, _) => return bad(Reason::ProtocolError, "the first packet is not CONNECT"),
        (Some(_), CONNECT) => return bad(Reason::ProtocolError, "a second CONNECT"),
        (Some(_), _) => return bad(Reason::ProtocolError, "a packet that a client may not send"),
    }
    let right = match kind {
        PUBLISH => flags & 0x06 != 0x06 && (flags & 0x0E != 0x08),
        PUBREL | SUBSCRIBE | UNSUBSCRIBE => flags == 0x02,
        _ => flags == 0,
    };
    if right { Ok(()) } else { bad(Reason::MalformedPacket, "reserved flags are wrong") }
}

fn body_v3(head: Head, body: &Bytes) -> Result<Inbound, DecodeError> {
    let mut offset = 0;
    let packet = match head.first >> 4 {
        PUBLISH => return publish(head, body, Version::V311),
        SUBSCRIBE => {
            let packet = v3::Subscribe::decode(body, &mut offset, header_v3(head.first, body)?)
                .map_err(|error| of_v3(&error))?;
            let filters = packet.topics.iter().map(|(filter, qos)| {
                Ok((self::filter(filter)?, SubscribeOptions { qos: quality(*qos), no_local: false }))
            });
            Inbound::Subscribe(Subscribe {
                packet_id: packet_id(packet.pid.value())?,
                filters: filters.collect::<Result<_, _>>()?,
                has_identifier: false,
            })
        }
        UNSUBSCRIBE => {
            let packet = v3::Unsubscribe::decode(body, &mut offset, header_v3(head.first, body)?)
                .map_err(|error| of_v3(&error))?;
            let filters = packet.topics.iter().map(|filter| self::filter(filter));
            Inbound::Unsubscribe {
                packet_id: packet_id(packet.pid.value())?,
                filters: filters.collect::<Result<_, _>>()?,
            }
        }
        PINGREQ => Inbound::PingReq,
        DISCONNECT => Inbound::Disconnect { reason: 0x00 },
        kind => {
            let id = packet_id(take_u16(body, &mut offset)?)?;
            if kind == PUBACK { Inbound::PubAck(id) } else { Inbound::OutOfPlace }
        }
    };
    check_end(body, offset)?;
    Ok(packet)
}

fn body_v5(head: Head, body: &Bytes) -> Result<Inbound, DecodeError> {
    let mut offset = 0;
    let header = || header_v5(head.first, body);
    let packet = match head.first >> 4 {
        PUBLISH => return publish(head, body, Version::V5),
        SUBSCRIBE => {
            let packet = v5::Subscribe::decode(body, &mut offset, header()?).map_err(of_v5)?;
            check_user_properties(&packet.properties.user_properties)?;
            let filters = packet.topics.iter().map(|(filter, options)| {
                let options = SubscribeOptions { qos: quality(options.max_qos), no_local: options.no_local };
                Ok((self::filter(filter)?, options))
            });
            Inbound::Subscribe(Subscribe {
                packet_id: packet_id(packet.pid.value())?,
                filters: filters.collect::<Result<_, _>>()?,
                has_identifier: packet.properties.subscription_id.is_some(),
            })
        }
        UNSUBSCRIBE => {
            let packet = v5::Unsubscribe::decode(body, &mut offset, header()?).map_err(of_v5)?;
            let filters = packet.topics.iter().map(|filter| self::filter(filter));
            Inbound::Unsubscribe {
                packet_id: packet_id(packet.pid.value())?,
                filters: filters.collect::<Result<_, _>>()?,
            }
        }
        PINGREQ => Inbound::PingReq,
        DISCONNECT if body.is_empty() => Inbound::Disconnect { reason: 0x00 },
        DISCONNECT => {
            let packet = v5::Disconnect::decode(body, &mut offset, header()?).map_err(of_v5)?;
            Inbound::Disconnect { reason: packet.reason_code as u8 }
        }
        PUBACK if body.len() == 2 => Inbound::PubAck(packet_id(take_u16(body, &mut offset)?)?),
        PUBACK => {
            let packet = v5::Puback::decode(body, &mut offset, header()?).map_err(of_v5)?;
            Inbound::PubAck(packet_id(packet.pid.value())?)
        }
        _ => return Ok(Inbound::OutOfPlace),
    };
    check_end(body, offset)?;
    Ok(packet)
}

fn publish(head: Head, body: &Bytes, version: Version) -> Result<Inbound, DecodeError> {
    let mut offset = 0;
    let topic_len = usize::from(take_u16(body, &mut offset)?);
    let topic = body.get(offset..offset + topic_len).ok_or(SHORT)?;
    let topic = std::str::from_utf8(topic).map_err(|_| NOT_UTF8)?;
    offset += topic_len;
    let qos = match head.first >> 1 & 0x03 {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    };
    let packet_id = match qos {
        QoS::AtMostOnce => None,
        QoS::AtLeastOnce | QoS::ExactlyOnce => Some(packet_id(take_u16(body, &mut offset)?)?),
    };
    let (mut alias, mut expiry_secs, mut properties) = (None, None, None);
    match version {
        Version::V5 if body.get(offset) == Some(&0) => offset += 1,
        Version::V5 => {
            let kind = v5::PacketType::Publish;
            let mut read = v5::PublishProperties::decode(body, &mut offset, kind).map_err(of_v5)?;
            if read.subscription_id.is_some() {
                return bad(Reason::ProtocolError, "a client sent a subscription identifier");
            }
            if let Some(number) = read.topic_alias.take() {
                alias = Some(NonZeroU16::new(number).ok_or(NO_ALIAS)?);
            }
            expiry_secs = read.message_expiry_interval.take();
            properties = forwarded(read)?;
        }
        Version::V311 => {}
    }
    let topic = if topic.is_empty() && alias.is_some() { None } else { Some(name(topic)?) };
    let retain = head.first & 0x01 != 0;
    let payload = body.slice(offset..);
    Ok(Inbound::Publish(Publish { topic, alias, payload, qos, packet_id, retain, properties, expiry_secs }))
}

fn forwarded(properties: v5::PublishProperties) -> Result<Option<Box<Properties>>, DecodeError> {
    if properties == v5::PublishProperties::default() {
        return Ok(None);
    }
    check_user_properties(&properties.user_properties)?;
    check_texts([properties.content_type.as_deref().unwrap_or_default()])?;
    if let Some(topic) = &properties.response_topic {
        name(topic)?;
    }
    Ok(Some(Box::new(Properties(properties))))
}

fn check_user_properties(properties: &[v5::UserProperty]) -> Result<(), DecodeError> {
    properties.iter().try_for_each(|property| check_texts([&*property.name, &*property.value]))
}

fn check_texts<const N: usize>(texts: [&str; N]) -> Result<(), DecodeError> {
    if texts.iter().any(|text| text.contains('\0')) {
        return bad(Reason::MalformedPacket, "a text holds U+0000");
    }
    Ok(())
}

fn check_end(body: &[u8], offset: usize) -> Result<(), DecodeError> {
    if offset == body.len() { Ok(()) } else { bad(Reason::MalformedPacket, "bytes stand after the end of the packet") }
}

fn take_u16(body: &[u8], offset: &mut usize) -> Result<u16, DecodeError> {
    let bytes = body.get(*offset..*offset + 2).ok_or(SHORT)?;
    *offset += 2;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn packet_id(number: u16) -> Result<PacketId, DecodeError> {
    PacketId::new(number).ok_or(DecodeError::Bad { reason: Reason::ProtocolError, what: "a packet identifier of zero" })
}

fn name(text: &str) -> Result<TopicName, DecodeError> {
    TopicName::new(text).map_err(|error| of_topic(error, Reason::TopicNameInvalid))
}

fn filter(text: &str) -> Result<TopicFilter, DecodeError> {
    TopicFilter::new(text).map_err(|error| of_topic(error, Reason::TopicFilterInvalid))
}

const fn quality(qos: mqtt_proto::QoS) -> QoS {
    match qos {
        mqtt_proto::QoS::Level0 => QoS::AtMostOnce,
        mqtt_proto::QoS::Level1 => QoS::AtLeastOnce,
        mqtt_proto::QoS::Level2 => QoS::ExactlyOnce,
    }
}

fn header_v3(first: u8, body: &[u8]) -> Result<v3::Header, DecodeError> {
    // A body is never longer than the four length bytes can say, 268,435,455.
    v3::Header::new_with(first, body.len() as u32, 0).map_err(|error| of_v3(&error))
}

fn header_v5(first: u8, body: &[u8]) -> Result<v5::Header, DecodeError> {
    v5::Header::new_with(first, body.len() as u32, 0).map_err(of_v5)
}

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;
const SUBSCRIBE: u8 = 8;
const UNSUBSCRIBE: u8 = 10;
const PINGREQ: u8 = 12;
const DISCONNECT: u8 = 14;
const AUTH: u8 = 15;

#[cfg(test)]
mod tests;
