//! Packets on a stream: rumqttc's codec, fed with whole packets only.

use bytes::{Buf as _, BytesMut};
use muster_protocol::Code;
use rumqttc::v5::mqttbytes::Error;
use rumqttc::v5::mqttbytes::v5::{Disconnect, DisconnectProperties, DisconnectReasonCode, Packet, check};
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::{MqttError, PACKET_BYTES_MAX};

/// Takes the next packet out of `input`; `None` when it is not there as a whole yet.
pub(super) fn decode(input: &mut BytesMut) -> Result<Option<Packet>, MqttError> {
    let frame_bytes = match check(input.iter(), Some(PACKET_BYTES_MAX)) {
        Ok(header) => header.frame_length(),
        Err(Error::InsufficientBytes(_)) => return Ok(None),
        Err(Error::PayloadSizeLimitExceeded { .. }) => return Err(MqttError::Protocol("a packet is too long")),
        Err(_) => return Err(MqttError::Protocol("no packet starts like this")),
    };
    if let Some(disconnect) = short_disconnect(&input[..frame_bytes])? {
        input.advance(frame_bytes);
        return Ok(Some(disconnect));
    }
    // The packet is whole, so every further complaint, even of missing bytes, is about its content.
    Packet::read(input, Some(PACKET_BYTES_MAX)).map(Some).map_err(|_| MqttError::Protocol("a packet is malformed"))
}

/// DISCONNECT may leave out its properties, and even its reason (MQTT 5.0, section 3.14.2); the codec reads neither.
fn short_disconnect(frame: &[u8]) -> Result<Option<Packet>, MqttError> {
    let reason_code = match *frame {
        [DISCONNECT, 0] => DisconnectReasonCode::NormalDisconnection,
        [DISCONNECT, 1, reason] => {
            DisconnectReasonCode::try_from(reason).map_err(|_| MqttError::Protocol("a packet is malformed"))?
        }
        _ => return Ok(None),
    };
    Ok(Some(Packet::Disconnect(Disconnect::new(reason_code))))
}

/// Our goodbye; with a reason when the gateway is at fault. Never a bare reason: the codec miscounts the length of a
/// DISCONNECT whose properties are missing or empty.
pub(super) fn disconnect(blame: Option<Code>) -> Packet {
    let Some(code) = blame else {
        return Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection));
    };
    let properties = DisconnectProperties {
        session_expiry_interval: None,
        reason_string: Some(code.name().to_owned()),
        user_properties: Vec::new(),
        server_reference: None,
    };
    Packet::Disconnect(Disconnect { reason_code: DisconnectReasonCode::ProtocolError, properties: Some(properties) })
}

/// Appends a packet to `output`.
pub(super) fn encode(packet: &Packet, output: &mut BytesMut) -> Result<(), MqttError> {
    packet.write(output, Some(PACKET_BYTES_MAX)).map(drop).map_err(|_| MqttError::Protocol("our packet is too long"))
}

/// Reads until a whole packet is there.
pub(super) async fn next<R: AsyncRead + Unpin>(reader: &mut R, input: &mut BytesMut) -> Result<Packet, MqttError> {
    loop {
        if let Some(packet) = decode(input)? {
            return Ok(packet);
        }
        if reader.read_buf(input).await? == 0 {
            return Err(MqttError::Io(std::io::ErrorKind::UnexpectedEof.into()));
        }
    }
}

/// First byte of a DISCONNECT.
const DISCONNECT: u8 = 0xe0;

#[cfg(test)]
mod tests {
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{
        ConnAck, ConnAckProperties, ConnectReturnCode, PingResp, PubAck, Publish, SubAck, SubscribeReasonCode,
    };

    use super::*;

    fn samples() -> Vec<Packet> {
        let properties = ConnAckProperties {
            session_expiry_interval: Some(1),
            receive_max: Some(9),
            max_qos: Some(1),
            retain_available: Some(1),
            max_packet_size: Some(4096),
            assigned_client_identifier: None,
            topic_alias_max: Some(0),
            reason_string: Some("device.suspended".to_owned()),
            user_properties: vec![("a".to_owned(), "b".to_owned())],
            wildcard_subscription_available: Some(1),
            subscription_identifiers_available: Some(0),
            shared_subscription_available: Some(1),
            server_keep_alive: Some(30),
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        };
        let mut publish = Publish::new("devices/a/x", QoS::AtLeastOnce, vec![7_u8; 40], None);
        publish.pkid = 3;
        vec![
            Packet::ConnAck(ConnAck {
                session_present: false,
                code: ConnectReturnCode::NotAuthorized,
                properties: Some(properties),
            }),
            Packet::Publish(publish),
            Packet::PubAck(PubAck::new(3, None)),
            Packet::SubAck(SubAck {
                pkid: 4,
                return_codes: vec![SubscribeReasonCode::Success(QoS::AtLeastOnce)],
                properties: None,
            }),
            Packet::PingResp(PingResp),
            Packet::Disconnect(Disconnect::new(DisconnectReasonCode::NormalDisconnection)),
        ]
    }

    #[test]
    fn packets_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = BytesMut::new();
        for packet in samples() {
            encode(&packet, &mut stream).unwrap();
        }
        for step in [1, 2, 7, stream.len()] {
            let (mut input, mut read) = (BytesMut::new(), Vec::new());
            for piece in stream.chunks(step) {
                input.extend_from_slice(piece);
                while let Some(packet) = decode(&mut input).unwrap() {
                    read.push(packet);
                }
            }
            assert_eq!(read, samples(), "{step} bytes at a time");
        }
    }

    #[test]
    fn a_disconnect_may_be_short() {
        for (frame, reason) in [
            (&[0xe0, 0][..], DisconnectReasonCode::NormalDisconnection),
            (&[0xe0, 1, 0x98], DisconnectReasonCode::AdministrativeAction),
            (&[0xe0, 2, 0x8b, 0], DisconnectReasonCode::ServerShuttingDown),
        ] {
            let mut input = BytesMut::from(frame);
            let read = decode(&mut input).unwrap().unwrap();
            assert_eq!(read, Packet::Disconnect(Disconnect::new(reason)), "{frame:02x?}");
            assert!(input.is_empty());
        }
        let mut ours = BytesMut::new();
        encode(&disconnect(None), &mut ours).unwrap();
        assert_eq!(&ours[..], [0xe0, 0]);
        ours.clear();
        encode(&disconnect(Some(Code::SessionProtocol)), &mut ours).unwrap();
        assert_eq!(&ours[..7], [0xe0, 21, 0x82, 19, 0x1f, 0, 16]);
        assert_eq!(&ours[7..], b"session.protocol");
        assert!(decode(&mut BytesMut::from(&[0xe0, 1, 0x77][..])).is_err());
    }

    #[test]
    fn no_flipped_or_missing_byte_breaks_the_decoder() {
        for packet in samples() {
            let mut whole = BytesMut::new();
            encode(&packet, &mut whole).unwrap();
            for index in 0..whole.len() {
                for value in 0..=u8::MAX {
                    let mut flipped = whole.clone();
                    flipped[index] = value;
                    let _ = decode(&mut flipped);
                }
                // Cut the content and say so in the length.
                let mut cut = BytesMut::from(&whole[..index]);
                if let (Some(length), 2..) = (cut.get_mut(1), index) {
                    *length = u8::try_from(index - 2).unwrap();
                }
                let _ = decode(&mut cut);
            }
        }
    }

    #[test]
    fn a_packet_that_is_too_long_is_refused_before_it_is_read() {
        let mut input = BytesMut::from(&[0x30, 0xff, 0xff, 0xff, 0x7f][..]);
        assert!(matches!(decode(&mut input), Err(MqttError::Protocol(_))));
    }
}
