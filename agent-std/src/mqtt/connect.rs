//! The opening of a session: CONNECT, CONNACK, SUBSCRIBE, SUBACK (MQTT 5.0, sections 3.1, 3.2, 3.8, 3.9).

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, Connect, ConnectProperties, ConnectReturnCode, Filter, Packet, Publish, Subscribe,
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};

use super::flight::{Flight, Kind};
use super::{Concern, MqttError, Options, PACKET_BYTES_MAX, framing, reason};

/// A session that is open, with what came early.
pub(super) struct Opened<S> {
    pub(super) stream: S,
    /// Bytes that were read and not looked at.
    pub(super) input: BytesMut,
    /// Publications that came before the SUBACK.
    pub(super) early: Vec<Publish>,
    pub(super) flight: Flight,
    /// Zero for none.
    pub(super) keep_alive: Duration,
}

pub(super) async fn connect<S>(mut stream: S, options: &Options) -> Result<Opened<S>, MqttError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut input = BytesMut::with_capacity(READ_BYTES);
    send(&mut stream, &connect_packet(options)).await?;
    let connack = match framing::next(&mut stream, &mut input).await? {
        Packet::ConnAck(connack) => connack,
        _ => return Err(MqttError::Protocol("the answer to CONNECT is no CONNACK")),
    };
    if connack.code != ConnectReturnCode::Success {
        return Err(MqttError::Refused(reason::of_connack(&connack)));
    }
    let (mut flight, keep_alive) = terms(&connack, options);

    let mut subscribe = Subscribe::new(Filter::new(&options.first_filter, QoS::AtLeastOnce), None);
    subscribe.pkid = flight.take(Kind::Subscribe, Concern::Session);
    send(&mut stream, &Packet::Subscribe(subscribe)).await?;
    let mut early = Vec::new();
    loop {
        match framing::next(&mut stream, &mut input).await? {
            Packet::SubAck(suback) => {
                let outcome = reason::of_suback(&suback);
                return match flight.acknowledge(suback.pkid, Kind::Subscribe, outcome) {
                    Ok(None) => Ok(Opened { stream, input, early, flight, keep_alive }),
                    Ok(Some(code)) => Err(MqttError::Refused(code)),
                    Err(()) => Err(MqttError::Protocol("a SUBACK that answers nothing")),
                };
            }
            // Allowed from the SUBSCRIBE on (section 3.8.4).
            Packet::Publish(publish) if early.len() < EARLY_MAX => early.push(publish),
            Packet::Disconnect(disconnect) => return Err(reason::of_disconnect(&disconnect).into()),
            _ => return Err(MqttError::Protocol("the answer to SUBSCRIBE is no SUBACK")),
        }
    }
}

/// Sends a packet. A gateway that refused already has closed its side: its reason is still there to be read, so a
/// failure to write is left to the next read to explain.
async fn send<S: AsyncWrite + Unpin>(stream: &mut S, packet: &Packet) -> Result<(), MqttError> {
    let mut output = BytesMut::new();
    framing::encode(packet, &mut output)?;
    if stream.write_all(&output).await.is_ok() {
        let _ = stream.flush().await;
    }
    Ok(())
}

fn connect_packet(options: &Options) -> Packet {
    let properties = ConnectProperties {
        receive_maximum: Some(RECEIVE_MAX),
        max_packet_size: Some(PACKET_BYTES_MAX),
        request_problem_info: Some(1),
        ..ConnectProperties::new()
    };
    let connect = Connect {
        keep_alive: u16::try_from(options.keep_alive.as_secs()).unwrap_or(u16::MAX),
        client_id: options.client_id.clone(),
        clean_start: true,
        properties: Some(properties),
    };
    Packet::Connect(connect, None, None)
}

/// What the gateway allows and asks for.
fn terms(connack: &ConnAck, options: &Options) -> (Flight, Duration) {
    let properties = connack.properties.as_ref();
    let asked = properties.and_then(|properties| properties.server_keep_alive);
    let keep_alive = asked.map_or(options.keep_alive, |secs| Duration::from_secs(u64::from(secs)));
    (Flight::new(properties.and_then(|properties| properties.receive_max)), keep_alive)
}

/// Publications of QoS 1 that the gateway may have under way to us.
const RECEIVE_MAX: u16 = 32;
/// Publications before the SUBACK.
const EARLY_MAX: usize = RECEIVE_MAX as usize;
const READ_BYTES: usize = 2048;
