//! Packets to bytes. Written here rather than by the codec crate: no packet is built twice, and a PUBLISH goes straight into
//! the write buffer. The tests read everything back with the crate.

use mqtt_proto::Encodable;

use super::super::packet::{ConnAck, Message, Outbound, PacketId, QoS, Reason, Version};

/// Appends one packet. What a version cannot say is left out: 3.1.1 has no DISCONNECT from a server.
pub fn encode(version: Version, packet: &Outbound, buffer: &mut Vec<u8>) {
    match packet {
        Outbound::Accept(answer) => accept(version, answer, buffer),
        Outbound::Refuse { reason, text } => match version {
            Version::V311 => buffer.extend_from_slice(&[0x20, 2, 0, return_code(*reason)]),
            Version::V5 => {
                let properties_len = reason_string_len(*text);
                fixed_header(0x20, 2 + length_len(properties_len) + properties_len, buffer);
                buffer.extend_from_slice(&[0, *reason as u8]);
                reason_string(*text, buffer);
            }
        },
        Outbound::Publish { message, packet_id, expiry_secs } => {
            publish(version, message, *packet_id, *expiry_secs, buffer);
        }
        Outbound::PubAck { packet_id, reason, text } => pub_ack(version, *packet_id, *reason, *text, buffer),
        Outbound::SubAck { packet_id, reasons } => {
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            fixed_header(0x90, 2 + properties.len() + reasons.len(), buffer);
            buffer.extend_from_slice(&packet_id.get().to_be_bytes());
            buffer.extend_from_slice(properties);
            buffer.extend(reasons.iter().map(|reason| match version {
                Version::V311 if reason.is_failure() => 0x80,
                _ => *reason as u8,
            }));
        }
        Outbound::UnsubAck { packet_id, reasons } => match version {
            Version::V311 => {
                buffer.extend_from_slice(&[0xB0, 2]);
                buffer.extend_from_slice(&packet_id.get().to_be_bytes());
            }
            Version::V5 => {
                fixed_header(0xB0, 3 + reasons.len(), buffer);
                buffer.extend_from_slice(&packet_id.get().to_be_bytes());
                buffer.push(0);
                buffer.extend(reasons.iter().map(|reason| *reason as u8));
            }
        },
        Outbound::PingResp => buffer.extend_from_slice(&[0xD0, 0]),
        Outbound::Disconnect { reason, text } => {
            if version == Version::V5 && text.is_none() {
                buffer.extend_from_slice(&[0xE0, 1, *reason as u8]);
            } else if version == Version::V5 {
                let properties_len = reason_string_len(*text);
                fixed_header(0xE0, 1 + length_len(properties_len) + properties_len, buffer);
                buffer.push(*reason as u8);
                reason_string(*text, buffer);
            }
        }
    }
}

/// Length of a PUBLISH on the wire, for the client's Maximum Packet Size.
#[must_use]
pub fn publish_len(version: Version, message: &Message) -> usize {
    // The packet id and the expiry are counted even where they are absent: 7 bytes of caution.
    let properties = match version {
        Version::V311 => 0,
        Version::V5 => forwarded_len(message) + EXPIRY_LEN + 4,
    };
    let body = 2 + message.topic.as_str().len() + 2 + properties + message.payload.len();
    1 + length_len(body) + body
}

fn accept(version: Version, answer: &ConnAck, buffer: &mut Vec<u8>) {
    if version == Version::V311 {
        buffer.extend_from_slice(&[0x20, 2, 0, 0]);
        return;
    }
    let mut properties = Vec::with_capacity(64);
    properties.push(0x21);
    properties.extend_from_slice(&answer.receive_maximum.to_be_bytes());
    // Maximum QoS 1; Retain, Subscription Identifiers and Shared Subscription not available.
    properties.extend_from_slice(&[0x24, 1, 0x25, 0, 0x29, 0, 0x2A, 0]);
    properties.push(0x27);
    properties.extend_from_slice(&answer.packet_bytes_max.to_be_bytes());
    properties.push(0x22);
    properties.extend_from_slice(&answer.topic_alias_maximum.to_be_bytes());
    if let Some(secs) = answer.keep_alive_secs {
        properties.push(0x13);
        properties.extend_from_slice(&secs.to_be_bytes());
    }
    if let Some(secs) = answer.session_expiry_secs {
        properties.push(0x11);
        properties.extend_from_slice(&secs.to_be_bytes());
    }
    if let Some(client_id) = &answer.assigned_client_id {
        properties.push(0x12);
        text(client_id, &mut properties);
    }
    fixed_header(0x20, 2 + length_len(properties.len()) + properties.len(), buffer);
    buffer.extend_from_slice(&[0, 0]);
    length(properties.len(), buffer);
    buffer.extend_from_slice(&properties);
}

fn publish(
    version: Version,
    message: &Message,
    packet_id: Option<PacketId>,
    expiry_secs: Option<u32>,
    buffer: &mut Vec<u8>,
) {
    let topic = message.topic.as_str();
    let qos = if packet_id.is_some() { QoS::AtLeastOnce } else { QoS::AtMostOnce };
    let mut body_len = 2 + topic.len() + message.payload.len();
    if packet_id.is_some() {
        body_len += 2;
    }
    let mut properties_len = 0;
    if version == Version::V5 {
        properties_len = forwarded_len(message) + if expiry_secs.is_some() { EXPIRY_LEN } else { 0 };
        body_len += length_len(properties_len) + properties_len;
    }
    buffer.reserve(5 + body_len);
    fixed_header(0x30 | (qos as u8) << 1, body_len, buffer);
    text(topic, buffer);
    if let Some(packet_id) = packet_id {
        buffer.extend_from_slice(&packet_id.get().to_be_bytes());
    }
    if version == Version::V5 {
        length(properties_len, buffer);
        if let Some(secs) = expiry_secs {
            buffer.push(0x02);
            buffer.extend_from_slice(&secs.to_be_bytes());
        }
        forwarded(message, buffer);
    }
    buffer.extend_from_slice(&message.payload);
}

fn pub_ack(
    version: Version,
    packet_id: PacketId,
    reason: Reason,
    reason_text: Option<&'static str>,
    buffer: &mut Vec<u8>,
) {
    let [high, low] = packet_id.get().to_be_bytes();
    match (version, reason, reason_text) {
        (Version::V311, ..) | (Version::V5, Reason::Success, None) => buffer.extend_from_slice(&[0x40, 2, high, low]),
        (Version::V5, _, None) => buffer.extend_from_slice(&[0x40, 3, high, low, reason as u8]),
        (Version::V5, _, Some(_)) => {
            let properties_len = reason_string_len(reason_text);
            fixed_header(0x40, 3 + length_len(properties_len) + properties_len, buffer);
            buffer.extend_from_slice(&[high, low, reason as u8]);
            reason_string(reason_text, buffer);
        }
    }
}

/// Return codes of a 3.1.1 CONNACK (MQTT 3.1.1, section 3.2.2.3).
const fn return_code(reason: Reason) -> u8 {
    match reason {
        Reason::UnsupportedVersion => 1,
        Reason::ClientIdInvalid => 2,
        Reason::ServerUnavailable | Reason::ServerBusy | Reason::ServerShuttingDown => 3,
        _ => 5,
    }
}

/// Length of the forwarded properties without their length field.
fn forwarded_len(message: &Message) -> usize {
    let Some(properties) = &message.properties else { return 0 };
    // The crate counts its length field, which is as long as the remaining number needs.
    let total = properties.0.encode_len();
    (1..=4).map(|field| total.saturating_sub(field)).find(|body| length_len(*body) + body == total).unwrap_or(0)
}

fn forwarded(message: &Message, buffer: &mut Vec<u8>) {
    let Some(properties) = &message.properties else { return };
    let body_len = forwarded_len(message);
    let mut written = Vec::with_capacity(body_len + 4);
    // Writing to memory does not fail.
    let _ = properties.0.encode(&mut written);
    buffer.extend_from_slice(written.get(written.len() - body_len..).unwrap_or_default());
}

fn fixed_header(first: u8, body_len: usize, buffer: &mut Vec<u8>) {
    buffer.push(first);
    length(body_len, buffer);
}

/// A variable byte integer (section 1.5.5).
fn length(mut number: usize, buffer: &mut Vec<u8>) {
    loop {
        let byte = (number & 0x7F) as u8;
        number >>= 7;
        buffer.push(if number > 0 { byte | 0x80 } else { byte });
        if number == 0 {
            break;
        }
    }
}

const fn length_len(number: usize) -> usize {
    match number {
        0..=0x7F => 1,
        0x80..=0x3FFF => 2,
        0x4000..=0x1F_FFFF => 3,
        _ => 4,
    }
}

fn reason_string(reason_text: Option<&'static str>, buffer: &mut Vec<u8>) {
    length(reason_string_len(reason_text), buffer);
    if let Some(reason_text) = reason_text {
        buffer.push(0x1F);
        text(reason_text, buffer);
    }
}

const fn reason_string_len(reason_text: Option<&'static str>) -> usize {
    match reason_text {
        Some(reason_text) => 3 + reason_text.len(),
        None => 0,
    }
}

/// Texts come from a packet or are ours, so their length fits two bytes.
fn text(text: &str, buffer: &mut Vec<u8>) {
    buffer.extend_from_slice(&(text.len() as u16).to_be_bytes());
    buffer.extend_from_slice(text.as_bytes());
}

const EXPIRY_LEN: usize = 5;
