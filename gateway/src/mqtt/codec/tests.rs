//! What the codec takes, what it refuses, and that no bytes make it panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;

use proptest::prelude::{Just, Strategy, any, prop, prop_oneof, proptest};

use super::super::packet::{ConnAck, Message, Outbound};
use super::*;

const CONNECT_V3: &[u8] = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1";
const CONNECT_V5: &[u8] = b"\x10\x0f\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x02d1";

fn connected(version: Version) -> Decoder {
    let mut decoder = Decoder::new(4096);
    let connect = if version == Version::V5 { CONNECT_V5 } else { CONNECT_V3 };
    let packet = decoder.decode(&mut BytesMut::from(connect)).unwrap().unwrap();
    assert!(matches!(packet, Inbound::Connect(connect) if connect.version == version && &*connect.client_id == "d1"));
    decoder
}

fn one(version: Version, bytes: &[u8]) -> Result<Option<Inbound>, DecodeError> {
    connected(version).decode(&mut BytesMut::from(bytes))
}

fn first(bytes: &[u8]) -> Result<Option<Inbound>, DecodeError> {
    Decoder::new(4096).decode(&mut BytesMut::from(bytes))
}

fn reason_of(result: Result<Option<Inbound>, DecodeError>) -> Reason {
    match result {
        Err(DecodeError::Bad { reason, .. }) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

/// Rows: bytes that must be refused in both versions, or in one of them.
#[test]
fn what_the_standard_forbids_is_refused() {
    use Reason::{MalformedPacket, PacketTooLarge, ProtocolError, TopicFilterInvalid, TopicNameInvalid};
    for (what, bytes, reason) in [
        ("publish to a wildcard", &b"\x30\x05\x00\x03+/#"[..], TopicNameInvalid),
        ("publish to U+0000", b"\x30\x05\x00\x03a\0b", MalformedPacket),
        ("publish to nothing", b"\x30\x02\x00\x00", ProtocolError),
        ("publish with QoS 1 and id 0", b"\x32\x05\x00\x01a\0\0", ProtocolError),
        ("publish with QoS 3", b"\x36\x05\x00\x01a\0\x01", MalformedPacket),
        ("publish with QoS 0 and DUP", b"\x38\x03\x00\x01a", MalformedPacket),
        ("publish that is not UTF-8", b"\x30\x03\x00\x01\xff", MalformedPacket),
        ("publish with a topic beyond its end", b"\x30\x03\x00\x09a", MalformedPacket),
        ("subscribe with # inside", b"\x82\x0a\x00\x01\x00\x05a/#/b\x00", TopicFilterInvalid),
        ("subscribe with flags 0", b"\x80\x06\x00\x01\x00\x01a\x00", MalformedPacket),
        ("subscribe with nothing", b"\x82\x02\x00\x01", ProtocolError),
        ("unsubscribe with flags 0", b"\xa0\x05\x00\x01\x00\x01a", MalformedPacket),
        ("puback with id 0", b"\x40\x02\x00\x00", ProtocolError),
        ("puback with flags", b"\x41\x02\x00\x01", MalformedPacket),
        ("ping with a body", b"\xc0\x01\x00", MalformedPacket),
        ("connack from a client", b"\x20\x02\x00\x00", ProtocolError),
        ("suback from a client", b"\x90\x03\x00\x01\x00", ProtocolError),
        ("pingresp from a client", b"\xd0\x00", ProtocolError),
        ("type 0", b"\x00\x00", ProtocolError),
        ("a second connect", CONNECT_V3, ProtocolError),
        ("a length of five bytes", b"\x30\xff\xff\xff\xff\x01", MalformedPacket),
        ("a length longer than needed", b"\xc0\x80\x00", MalformedPacket),
        ("a packet that is too large", b"\x30\xff\x7f", PacketTooLarge),
    ] {
        assert_eq!(reason_of(one(Version::V311, bytes)), reason, "{what}");
    }
}

#[test]
fn what_version_5_forbids_is_refused() {
    use Reason::{MalformedPacket, ProtocolError, TopicAliasInvalid};
    for (what, bytes, reason) in [
        ("an alias of zero", &b"\x30\x07\x00\x01a\x03\x23\x00\x00"[..], TopicAliasInvalid),
        ("no topic and no alias", b"\x30\x03\x00\x00\x00", ProtocolError),
        ("a subscription identifier", b"\x30\x06\x00\x01a\x02\x0b\x01", ProtocolError),
        ("an expiry that stands twice", b"\x30\x0e\x00\x01a\x0a\x02\0\0\0\x01\x02\0\0\0\x01", ProtocolError),
        ("a property of CONNECT", b"\x30\x09\x00\x01a\x05\x11\0\0\0\x01", MalformedPacket),
        ("a property that does not exist", b"\x30\x06\x00\x01a\x02\x7f\x00", MalformedPacket),
        ("a property beyond its length", b"\x30\x09\x00\x01a\x01\x02\0\0\0\x01", MalformedPacket),
        ("U+0000 in a user property", b"\x30\x0b\x00\x01a\x07\x26\0\x01\0\0\x01b", MalformedPacket),
        ("a response topic with a wildcard", b"\x30\x08\x00\x01a\x04\x08\x00\x01#", ProtocolError),
        ("reserved subscribe options", b"\x82\x07\x00\x01\x00\x00\x01a\x40", MalformedPacket),
        ("subscribe with nothing", b"\x82\x03\x00\x01\x00", ProtocolError),
    ] {
        assert_eq!(reason_of(one(Version::V5, bytes)), reason, "{what}");
    }
}

#[test]
fn the_first_packet_must_be_a_right_connect() {
    use Reason::{MalformedPacket, PacketTooLarge, ProtocolError};
    for (what, bytes, reason) in [
        ("an HTTP request", &b"GET / HTTP/1.1\r\n"[..], ProtocolError),
        ("a publish", b"\x30\x03\x00\x01a", ProtocolError),
        ("flags on connect", b"\x11\x00", MalformedPacket),
        ("too large before anything is collected", b"\x10\xff\xff\x7f", PacketTooLarge),
        ("another protocol", b"\x10\x0e\x00\x04MQTX\x04\x02\x00\x3c\x00\x02d1", ProtocolError),
        ("the reserved connect flag", b"\x10\x0e\x00\x04MQTT\x04\x03\x00\x3c\x00\x02d1", MalformedPacket),
        ("will QoS without a will", b"\x10\x0e\x00\x04MQTT\x04\x0a\x00\x3c\x00\x02d1", MalformedPacket),
        ("will retain without a will", b"\x10\x0e\x00\x04MQTT\x04\x22\x00\x3c\x00\x02d1", MalformedPacket),
        ("a password without a name", b"\x10\x11\x00\x04MQTT\x04\x42\x00\x3c\x00\x02d1\x00\x01p", MalformedPacket),
        ("bytes after the end", b"\x10\x0f\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d1x", MalformedPacket),
        ("U+0000 in the client id", b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02d\0", MalformedPacket),
        ("a receive maximum of zero", b"\x10\x12\x00\x04MQTT\x05\x02\x00\x3c\x03\x21\0\0\x00\x02d1", ProtocolError),
    ] {
        assert_eq!(reason_of(first(bytes)), reason, "{what}");
    }
    for (bytes, level) in [
        (&b"\x10\x10\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x02d1"[..], 3),
        (b"\x10\x0e\x00\x04MQTT\x06\x02\x00\x3c\x00\x02d1", 6),
    ] {
        assert_eq!(first(bytes), Err(DecodeError::UnsupportedVersion { level }));
    }
}

#[test]
fn a_connect_is_read_with_its_will_and_its_wishes() {
    let bytes = b"\x10\x2d\x00\x04MQTT\x05\x2e\x00\x0a\x0d\x11\0\0\0\x07\x21\x00\x05\x27\0\0\x01\0\x00\x02d1\
                  \x05\x02\0\0\0\x09\x00\x03a/b\x00\x04gone";
    let Ok(Some(Inbound::Connect(connect))) = first(bytes) else { panic!("{:?}", first(bytes)) };
    let will = connect.will.unwrap();
    assert_eq!((will.topic.as_str(), &will.payload[..], will.qos), ("a/b", &b"gone"[..], QoS::AtLeastOnce));
    assert!(will.retain && will.expiry_secs == Some(9) && will.properties.is_none());
    assert_eq!((connect.session_expiry_secs, connect.receive_maximum, connect.packet_bytes_max), (7, 5, 256));
    assert_eq!(connect.keep_alive_secs, 10);
}

#[test]
fn a_publish_comes_in_pieces_and_its_payload_is_not_copied() {
    let mut decoder = connected(Version::V311);
    let bytes = b"\x32\x08\x00\x01a\x00\x07hey\xc0\x00";
    let mut buffer = BytesMut::new();
    for (index, byte) in bytes[..9].iter().enumerate() {
        buffer.extend_from_slice(&[*byte]);
        assert_eq!(decoder.decode(&mut buffer), Ok(None), "after {index}");
    }
    buffer.extend_from_slice(&bytes[9..]);
    let payload_at = buffer[7..].as_ptr();
    let Ok(Some(Inbound::Publish(publish))) = decoder.decode(&mut buffer) else { panic!() };
    assert_eq!((publish.packet_id.unwrap().get(), &publish.payload[..]), (7, &b"hey"[..]));
    assert_eq!(publish.payload.as_ptr(), payload_at);
    assert_eq!(decoder.decode(&mut buffer), Ok(Some(Inbound::PingReq)));
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
}

/// Everything that is sent is read back by the crate, which shares no line with the writer.
#[test]
fn what_is_written_reads_back() {
    let id = PacketId::new(0x1234).unwrap();
    let properties = v5::PublishProperties {
        user_properties: vec![v5::UserProperty { name: "k".into(), value: "v".repeat(200).into() }],
        content_type: Some("text/plain".into()),
        ..v5::PublishProperties::default()
    };
    let plain = Message::new(TopicName::new("a/b").unwrap(), Bytes::from_static(b"hey"), QoS::AtLeastOnce);
    let rich = Message { properties: forwarded(properties.clone()).unwrap(), ..plain.clone() };
    let text = Some("certificate.revoked");
    let answer = ConnAck {
        receive_maximum: 32,
        packet_bytes_max: 65_536,
        topic_alias_maximum: 8,
        keep_alive_secs: Some(60),
        session_expiry_secs: Some(0),
        assigned_client_id: Some("x".into()),
    };
    let publish = |message: &Message, packet_id, expiry_secs| Outbound::Publish {
        message: Arc::new(message.clone()),
        packet_id,
        expiry_secs,
    };
    let packets = [
        Outbound::Accept(Box::new(answer)),
        Outbound::Refuse { reason: Reason::NotAuthorized, text },
        publish(&plain, None, None),
        publish(&plain, Some(id), Some(7)),
        publish(&rich, Some(id), Some(7)),
        Outbound::PubAck { packet_id: id, reason: Reason::Success, text: None },
        Outbound::PubAck { packet_id: id, reason: Reason::NotAuthorized, text: None },
        Outbound::PubAck { packet_id: id, reason: Reason::NotAuthorized, text },
        Outbound::SubAck { packet_id: id, reasons: vec![Reason::GrantedQoS1, Reason::NotAuthorized] },
        Outbound::UnsubAck { packet_id: id, reasons: vec![Reason::Success, Reason::NoSubscriptionExisted] },
        Outbound::PingResp,
        Outbound::Disconnect { reason: Reason::AdministrativeAction, text },
        Outbound::Disconnect { reason: Reason::KeepAliveTimeout, text: None },
    ];
    for packet in &packets {
        let mut bytes = Vec::new();
        encode(Version::V5, packet, &mut bytes);
        let read = v5::Packet::decode(&bytes).unwrap().unwrap();
        assert_eq!(read.encode_len().unwrap(), bytes.len(), "{packet:?}");
        match (&read, packet) {
            (v5::Packet::Connack(read), Outbound::Accept(_)) => {
                let said = &read.properties;
                assert_eq!((said.max_qos, said.retain_available), (Some(mqtt_proto::QoS::Level1), Some(false)));
                assert_eq!(
                    (said.shared_subscription_available, said.subscription_id_available),
                    (Some(false), Some(false))
                );
                assert_eq!(
                    (said.receive_max, said.max_packet_size, said.server_keep_alive),
                    (Some(32), Some(65_536), Some(60))
                );
                assert_eq!((said.session_expiry_interval, said.assigned_client_id.as_deref()), (Some(0), Some("x")));
            }
            (v5::Packet::Connack(read), _) => assert_eq!(read.properties.reason_string.as_deref(), text),
            (v5::Packet::Publish(read), Outbound::Publish { message, packet_id, expiry_secs }) => {
                assert_eq!((&*read.topic_name, &read.payload), ("a/b", &message.payload));
                assert_eq!(read.qos_pid.pid().map(mqtt_proto::Pid::value), packet_id.map(PacketId::get));
                assert_eq!(read.properties.message_expiry_interval, *expiry_secs);
                assert_eq!(read.properties.user_properties.is_empty(), message.properties.is_none());
                let caution = publish_len(Version::V5, message) - bytes.len();
                assert!(caution <= 11, "{caution}");
            }
            (v5::Packet::Disconnect(read), Outbound::Disconnect { reason, text }) => {
                assert_eq!((read.reason_code as u8, read.properties.reason_string.as_deref()), (*reason as u8, *text));
            }
            _ => {}
        }
        let mut bytes = Vec::new();
        encode(Version::V311, packet, &mut bytes);
        match packet {
            Outbound::Disconnect { .. } => assert!(bytes.is_empty()),
            _ => assert!(v3::Packet::decode(&bytes).unwrap().is_some(), "{packet:?}"),
        }
    }
}

fn drain(version: Option<Version>, bytes: &[u8]) {
    let mut decoder = version.map_or(Decoder::new(4096), connected);
    let mut buffer = BytesMut::from(bytes);
    while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
}

fn versions() -> impl Strategy<Value = Option<Version>> {
    prop_oneof![Just(None), Just(Some(Version::V311)), Just(Some(Version::V5))]
}

const SEEDS: [&[u8]; 10] = [
    CONNECT_V3,
    CONNECT_V5,
    b"\x10\x2d\x00\x04MQTT\x05\x2e\x00\x0a\x0d\x11\0\0\0\x07\x21\x00\x05\x27\0\0\x01\0\x00\x02d1\
      \x05\x02\0\0\0\x09\x00\x03a/b\x00\x04gone",
    b"\x32\x1a\x00\x03a/b\x00\x07\x0f\x23\x00\x01\x02\0\0\0\x09\x26\0\x01k\0\x01vhello",
    b"\x82\x13\x00\x01\x00\x00\x03a/b\x01\x00\x07c/+/d/#\x00",
    b"\xa2\x0c\x00\x01\x00\x00\x03a/b\x00\x02cc",
    b"\x40\x08\x00\x01\x10\x04\x1f\x00\x01x",
    b"\xe0\x08\x04\x06\x1f\x00\x03bye",
    b"\x62\x02\x00\x01",
    b"\xf0\x02\x18\x00",
];

proptest! {
    #[test]
    fn random_bytes_never_panic(version in versions(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drain(version, &bytes);
    }

    #[test]
    fn mutated_packets_never_panic(
        version in versions(),
        seeds in prop::collection::vec(0..SEEDS.len(), 1..4),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes: Vec<u8> = seeds.iter().flat_map(|seed| SEEDS[*seed].iter().copied()).collect();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        let end = if cut.index(3) == 0 { cut.index(bytes.len()) } else { bytes.len() };
        drain(version, &bytes[..end]);
    }
}
