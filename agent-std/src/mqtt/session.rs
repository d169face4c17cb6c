//! The task of an open session: reads, writes, acknowledges, pings, closes.
//!
//! Reading and writing go on side by side, so that a peer that does not read cannot keep us from reading why. What
//! waits to be written is bounded: beyond [`OUTPUT_BYTES_MAX`] no command is taken and nothing more is read.

use std::time::Duration;

use bytes::BytesMut;
use muster_protocol::Code;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, PingReq, PubAck, Publish, Subscribe, Unsubscribe};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::connect::Opened;
use super::flight::{Flight, Kind};
use super::{CLOSE_MAX, Command, Concern, Event, MqttError, Quality, framing, reason};

/// Runs the session to its end and says why it ended, unless our own side closed it.
pub(super) async fn run<S>(opened: Opened<S>, commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let Opened { stream, input, early, flight, keep_alive } = opened;
    let (reader, writer) = split(stream);
    let mut session = Running {
        reader,
        writer,
        input,
        output: BytesMut::new(),
        unflushed: false,
        flight,
        events,
        keep_alive,
        ping: Ping::Idle { due: due(keep_alive) },
    };
    match session.serve(early, commands).await {
        Ok(()) => {
            let _ = timeout(CLOSE_MAX, session.close()).await;
        }
        Err(error) => {
            if let MqttError::Protocol(_) = error {
                let goodbye = framing::disconnect(Some(Code::SessionProtocol));
                let _ = framing::encode(&goodbye, &mut session.output);
                let _ = timeout(CLOSE_MAX, session.write_out()).await;
            }
            let _ = session.events.send(Event::Closed(error)).await;
        }
    }
}

struct Running<S> {
    reader: ReadHalf<S>,
    writer: WriteHalf<S>,
    input: BytesMut,
    output: BytesMut,
    unflushed: bool,
    flight: Flight,
    events: mpsc::Sender<Event>,
    keep_alive: Duration,
    ping: Ping,
}

#[derive(Clone, Copy)]
enum Ping {
    /// The next one is due then.
    Idle { due: Instant },
    /// The answer is due then.
    Sent { answer_by: Instant },
}

impl<S: AsyncRead + AsyncWrite + Unpin> Running<S> {
    /// Until our own side drops its handle (`Ok`) or something ends it.
    async fn serve(&mut self, early: Vec<Publish>, mut commands: mpsc::Receiver<Command>) -> Result<(), MqttError> {
        for publish in early {
            self.incoming(Packet::Publish(publish)).await?;
        }
        loop {
            while let Some(packet) = framing::decode(&mut self.input)? {
                self.incoming(packet).await?;
            }
            let has_room = self.output.len() < OUTPUT_BYTES_MAX;
            let has_output = !self.output.is_empty() || self.unflushed;
            let wake = match self.ping {
                Ping::Idle { due } => due,
                Ping::Sent { answer_by } => answer_by,
            };
            tokio::select! {
                read = self.reader.read_buf(&mut self.input), if has_room => {
                    if read? == 0 {
                        return Err(MqttError::Io(std::io::ErrorKind::UnexpectedEof.into()));
                    }
                }
                written = write_some(&mut self.writer, &mut self.output, &mut self.unflushed), if has_output => written?,
                command = commands.recv(), if has_room && self.flight.has_room() => match command {
                    Some(command) => self.outgoing(command)?,
                    None => return Ok(()),
                },
                // The handle is gone while the flight is full: closing does not wait for room.
                () = self.events.closed() => {
                    while let Ok(command) = commands.try_recv() {
                        self.outgoing(command)?;
                    }
                    return Ok(());
                }
                () = sleep_until(wake), if !self.keep_alive.is_zero() => self.ping_due()?,
            }
        }
    }

    async fn incoming(&mut self, packet: Packet) -> Result<(), MqttError> {
        let acknowledged = match packet {
            Packet::Publish(publish) => return self.publication(publish).await,
            Packet::PubAck(ack) => self.flight.acknowledge(ack.pkid, Kind::Publish, reason::of_puback(&ack)),
            Packet::SubAck(ack) => self.flight.acknowledge(ack.pkid, Kind::Subscribe, reason::of_suback(&ack)),
            Packet::UnsubAck(ack) => self.flight.acknowledge(ack.pkid, Kind::Unsubscribe, Ok(())),
            Packet::PingResp(_) => {
                self.ping = Ping::Idle { due: due(self.keep_alive) };
                return Ok(());
            }
            Packet::Disconnect(disconnect) => return Err(reason::of_disconnect(&disconnect).into()),
            _ => return Err(MqttError::Protocol("a packet that only a client sends")),
        };
        match acknowledged {
            Ok(None) => Ok(()),
            Ok(Some(code)) => Err(MqttError::Refused(code)),
            Err(()) => Err(MqttError::Protocol("an acknowledgement that answers nothing")),
        }
    }

    async fn publication(&mut self, publish: Publish) -> Result<(), MqttError> {
        let Ok(topic) = std::str::from_utf8(&publish.topic).map(str::to_owned) else {
            return Err(MqttError::Protocol("a topic is not UTF-8"));
        };
        if topic.is_empty() || publish.qos == QoS::ExactlyOnce {
            // We allowed no topic aliases and subscribed nothing with QoS 2.
            return Err(MqttError::Protocol("a topic alias or QoS 2 that nobody asked for"));
        }
        // Waits for the loop: whoever is slow slows the gateway down, and nothing is acknowledged that was not taken.
        // A handle that is gone is noticed in `serve`.
        let _ = self.events.send(Event::Message { topic, payload: publish.payload }).await;
        if publish.qos == QoS::AtLeastOnce {
            framing::encode(&Packet::PubAck(PubAck::new(publish.pkid, None)), &mut self.output)?;
        }
        Ok(())
    }

    fn outgoing(&mut self, command: Command) -> Result<(), MqttError> {
        let packet = match command {
            Command::Publish { topic, payload, quality, concern } => {
                let qos = match quality {
                    Quality::AtMostOnce => QoS::AtMostOnce,
                    Quality::AtLeastOnce => QoS::AtLeastOnce,
                };
                let mut publish = Publish::new(topic, qos, payload, None);
                match (quality, concern) {
                    (Quality::AtLeastOnce, concern) => publish.pkid = self.flight.take(Kind::Publish, concern),
                    (Quality::AtMostOnce, Concern::Waiter(waiter)) => waiter.tell(Ok(())),
                    (Quality::AtMostOnce, _) => {}
                }
                Packet::Publish(publish)
            }
            Command::Subscribe { filter, concern } => {
                let mut subscribe = Subscribe::new(Filter::new(filter, QoS::AtLeastOnce), None);
                subscribe.pkid = self.flight.take(Kind::Subscribe, concern);
                Packet::Subscribe(subscribe)
            }
            Command::Unsubscribe { filter } => {
                let mut unsubscribe = Unsubscribe::new(filter, None);
                unsubscribe.pkid = self.flight.take(Kind::Unsubscribe, Concern::Nobody);
                Packet::Unsubscribe(unsubscribe)
            }
        };
        framing::encode(&packet, &mut self.output)
    }

    fn ping_due(&mut self) -> Result<(), MqttError> {
        match self.ping {
            Ping::Sent { .. } => Err(MqttError::Silent),
            Ping::Idle { .. } => {
                self.ping = Ping::Sent { answer_by: due(self.keep_alive) };
                framing::encode(&Packet::PingReq(PingReq), &mut self.output)
            }
        }
    }

    /// Writes what is left, waits for what is in flight, says goodbye.
    async fn close(&mut self) -> Result<(), MqttError> {
        self.write_out().await?;
        while !self.flight.is_empty() {
            let packet = framing::next(&mut self.reader, &mut self.input).await?;
            if !matches!(packet, Packet::Publish(_)) {
                self.incoming(packet).await?;
            }
        }
        framing::encode(&framing::disconnect(None), &mut self.output)?;
        self.write_out().await?;
        self.writer.shutdown().await?;
        Ok(())
    }

    async fn write_out(&mut self) -> Result<(), MqttError> {
        while !self.output.is_empty() || self.unflushed {
            write_some(&mut self.writer, &mut self.output, &mut self.unflushed).await?;
        }
        Ok(())
    }
}

/// One step of writing: some bytes, or the flush when all are written. Safe to cancel.
async fn write_some<W>(writer: &mut W, output: &mut BytesMut, unflushed: &mut bool) -> std::io::Result<()>
where
    W: AsyncWrite + Unpin,
{
    if output.is_empty() {
        writer.flush().await?;
        *unflushed = false;
    } else {
        // TLS keeps written bytes back until a flush.
        *unflushed = true;
        writer.write_buf(output).await?;
    }
    Ok(())
}

/// A ping after half of the keep-alive, an answer within another half: the gateway cuts after one and a half.
fn due(keep_alive: Duration) -> Instant {
    Instant::now() + keep_alive / 2
}

/// Bytes that may wait to be written before nothing more is taken on.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;
