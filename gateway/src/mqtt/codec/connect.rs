//! CONNECT, of either version (MQTT 5, section 3.1).

use mqtt_proto::{Error, Protocol, v3, v5};

use super::fault::{SHORT, bad, of_v3, of_v5};
use super::{CONNECT, DecodeError, check_end, check_texts, check_user_properties, forwarded, header_v5, name, quality};
use crate::mqtt::packet::{Connect, Reason, Version, Will};

/// The body of the first packet; its version is in it.
pub(super) fn connect(body: &[u8]) -> Result<Connect, DecodeError> {
    let mut offset = 0;
    match Protocol::decode(body, &mut offset) {
        Ok(Protocol::V311) => connect_v3(body, offset),
        Ok(Protocol::V500) => connect_v5(body, offset),
        Ok(Protocol::V310) => Err(DecodeError::UnsupportedVersion { level: 3 }),
        Err(Error::InvalidProtocol(name, level)) if &*name == "MQTT" => Err(DecodeError::UnsupportedVersion { level }),
        Err(_) => bad(Reason::ProtocolError, "the protocol name is not MQTT"),
    }
}

fn connect_v3(body: &[u8], mut offset: usize) -> Result<Connect, DecodeError> {
    let flags = check_connect_flags(body, offset)?;
    if flags & 0xC0 == 0x40 {
        return bad(Reason::MalformedPacket, "a password without a user name");
    }
    let packet =
        v3::Connect::decode_buffer_with_protocol(body, &mut offset, Protocol::V311).map_err(|error| of_v3(&error))?;
    check_end(body, offset)?;
    check_texts([&*packet.client_id, packet.username.as_deref().unwrap_or_default()])?;
    let will = packet.last_will.map(|will| {
        Ok(Will {
            topic: name(&will.topic_name)?,
            payload: will.message,
            qos: quality(will.qos),
            retain: will.retain,
            properties: None,
            expiry_secs: None,
        })
    });
    Ok(Connect {
        version: Version::V311,
        client_id: packet.client_id,
        clean_start: packet.clean_session,
        keep_alive_secs: packet.keep_alive,
        will: will.transpose()?,
        receive_maximum: u16::MAX,
        packet_bytes_max: u32::MAX,
        session_expiry_secs: 0,
        wants_problem_information: false,
        wants_authentication: false,
    })
}

fn connect_v5(body: &[u8], mut offset: usize) -> Result<Connect, DecodeError> {
    check_connect_flags(body, offset)?;
    let header = header_v5(CONNECT << 4, body)?;
    let packet = v5::Connect::decode_buffer_with_protocol(body, &mut offset, header, Protocol::V500).map_err(of_v5)?;
    check_end(body, offset)?;
    check_texts([&*packet.client_id, packet.username.as_deref().unwrap_or_default()])?;
    let asked = packet.properties;
    check_user_properties(&asked.user_properties)?;
    if asked.receive_max == Some(0) || asked.max_packet_size == Some(0) {
        return bad(Reason::ProtocolError, "a maximum of zero");
    }
    if asked.auth_data.is_some() && asked.auth_method.is_none() {
        return bad(Reason::ProtocolError, "authentication data without a method");
    }
    let will = packet.last_will.map(|will| {
        let properties = v5::PublishProperties {
            payload_is_utf8: will.properties.payload_is_utf8,
            response_topic: will.properties.response_topic,
            correlation_data: will.properties.correlation_data,
            user_properties: will.properties.user_properties,
            content_type: will.properties.content_type,
            ..v5::PublishProperties::default()
        };
        Ok(Will {
            topic: name(&will.topic_name)?,
            payload: will.payload,
            qos: quality(will.qos),
            retain: will.retain,
            properties: forwarded(properties)?,
            expiry_secs: will.properties.message_expiry_interval,
        })
    });
    Ok(Connect {
        version: Version::V5,
        client_id: packet.client_id,
        clean_start: packet.clean_start,
        keep_alive_secs: packet.keep_alive,
        will: will.transpose()?,
        receive_maximum: asked.receive_max.unwrap_or(u16::MAX),
        packet_bytes_max: asked.max_packet_size.unwrap_or(u32::MAX),
        session_expiry_secs: asked.session_expiry_interval.unwrap_or(0),
        wants_problem_information: asked.request_problem_info.unwrap_or(true),
        wants_authentication: asked.auth_method.is_some(),
    })
}

fn check_connect_flags(body: &[u8], offset: usize) -> Result<u8, DecodeError> {
    let flags = *body.get(offset).ok_or(SHORT)?;
    if flags & 0x01 != 0 || (flags & 0x04 == 0 && flags & 0x38 != 0) || flags & 0x18 == 0x18 {
        return bad(Reason::MalformedPacket, "connect flags are wrong");
    }
    Ok(flags)
}
