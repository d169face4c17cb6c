//! MQTT 5 over a guarded stream: one session at a time, and of the protocol what a device does.
//!
//! A clean session, QoS 1 both ways, one packet at a time. What was not acknowledged ends with the connection, so nothing
//! is kept to be sent again: whatever matters is said again by whoever wants it. `packet` takes apart what the gateway
//! sends; `reason` finds out why it says no, and what a refusal means is for the core. Why this is no crate of somebody
//! else's stands in docs/decisions/0005-mqtt-client.md.
//!
//! A write to TLS must not be cancelled, while the wait for the next packet has to be: [`Session::next`] only reads while
//! its caller's alarm may interrupt it, and a write that stalls is given up.

use core::mem;

use embassy_futures::select::{Either3, select3};
use embassy_time::{Duration, Instant, Timer, with_deadline, with_timeout};
use embedded_io_async::{Read, Write};
use muster_protocol::limits::{MESSAGE_BYTES_MAX, SLOT_RECORD_BYTES_MAX};
use muster_protocol::topic::TOPIC_BYTES_MAX;
use muster_protocol::{Code, DeviceId};

mod packet;
mod reason;

use packet::{Malformed, PACKET_BYTES_MAX, Packet, RECEIVE_MAX, SERVER_KEEP_ALIVE};

/// Buffers of a session. Large: give it a static place. Between sessions both are free for other use.
pub struct Memory {
    receive: [u8; RECEIVE_BYTES],
    spare: [u8; SPARE_BYTES],
}

impl Memory {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { receive: [0; RECEIVE_BYTES], spare: [0; SPARE_BYTES] }
    }

    /// Both buffers, the larger one first, for whoever needs memory while there is no session.
    pub(crate) const fn scratch(&mut self) -> (&mut [u8; RECEIVE_BYTES], &mut [u8; SPARE_BYTES]) {
        (&mut self.receive, &mut self.spare)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a session did not open or ended; `E` is the stream's error.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End<E> {
    /// The stream failed.
    Stream(E),
    /// The stream ended, or the gateway took its leave and blamed nobody.
    Closed,
    /// The gateway took its leave and said why, or refused the CONNECT or something else that the session needs.
    Refused(Code),
    /// The gateway broke the protocol.
    Protocol,
    /// A write stalled, or an answer did not come in time.
    Silent,
}

impl<E> From<Malformed> for End<E> {
    fn from(Malformed: Malformed) -> Self {
        Self::Protocol
    }
}

/// What happened on a session.
#[derive(Debug, Eq, PartialEq)]
pub enum Next<'s> {
    /// A publication came.
    Publication {
        /// Its topic.
        topic: &'s str,
        /// Its content.
        payload: &'s [u8],
    },
    /// The gateway refused a publication or a subscription that was [`Concern::Nobody`]'s.
    Refused(Code),
    /// Something else went on; ask again.
    Progress,
    /// The alarm went off.
    Alarm,
}

/// Whose end it is when the gateway refuses a publication or a subscription.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Concern {
    /// The session's.
    Session,
    /// Nobody's: the session goes on.
    Nobody,
}

/// An open session.
pub struct Session<'s, S> {
    stream: &'s mut S,
    receive: &'s mut [u8; RECEIVE_BYTES],
    /// So much of the next packet is there.
    filled: usize,
    /// What the gateway has not acknowledged.
    pending: heapless::Vec<Pending, PENDING_MAX>,
    pending_max: usize,
    packet_bytes_max: usize,
    last_id: u16,
    /// How long we may be silent.
    silence_max: Duration,
    /// When to ask for a sign of life, or by when to have it.
    ping_at: Instant,
    is_pinged: bool,
}

#[derive(Clone, Copy)]
struct Pending {
    id: u16,
    concern: Concern,
}

impl<'s, S: Read + Write> Session<'s, S> {
    /// CONNECT under the device's name, CONNACK, SUBSCRIBE to `filter` with QoS 1, SUBACK. Publications that come before
    /// the SUBACK are dropped: what matters is said again.
    pub async fn open(
        memory: &'s mut Memory,
        stream: &'s mut S,
        device: &DeviceId,
        keep_alive_secs: u16,
        filter: &str,
        deadline: Instant,
    ) -> Result<Self, End<S::Error>> {
        let mut session = Self {
            stream,
            receive: &mut memory.receive,
            filled: 0,
            pending: heapless::Vec::new(),
            pending_max: PENDING_MAX,
            packet_bytes_max: usize::MAX,
            last_id: 0,
            silence_max: silence_max(u32::from(keep_alive_secs)),
            ping_at: Instant::MAX,
            is_pinged: false,
        };
        match with_deadline(deadline, session.greet(device, keep_alive_secs, filter)).await {
            Ok(greeted) => greeted.map(|()| session),
            Err(_) => Err(End::Silent),
        }
    }

    async fn greet(&mut self, device: &DeviceId, keep_alive_secs: u16, filter: &str) -> Result<(), End<S::Error>> {
        let name = device.as_str();
        let packet_bytes_max = (RECEIVE_BYTES as u32).to_be_bytes();
        // Version 5, a clean start, no will, no password; one property; the client's id.
        let parts = [
            b"\x00\x04MQTT\x05\x02",
            &keep_alive_secs.to_be_bytes()[..],
            &[5, PACKET_BYTES_MAX],
            &packet_bytes_max,
            &length(name),
            name.as_bytes(),
        ];
        self.send(CONNECT, &parts).await?;
        self.fill().await?;
        let packet = self.receive.get(..mem::take(&mut self.filled)).unwrap_or_default();
        match Packet::read(packet)? {
            Packet::ConnAck { session_present: false, reason: 0, properties } => {
                if let Some(secs) = properties.number(SERVER_KEEP_ALIVE) {
                    self.silence_max = silence_max(secs);
                }
                if let Some(count) = properties.number(RECEIVE_MAX) {
                    self.pending_max = PENDING_MAX.min(count as usize);
                }
                if let Some(bytes) = properties.number(PACKET_BYTES_MAX) {
                    self.packet_bytes_max = bytes as usize;
                }
            }
            Packet::ConnAck { reason: reason @ REFUSED.., properties, .. } => {
                return Err(End::Refused(reason::of_refusal(reason, properties)));
            }
            Packet::Disconnect { reason, properties } => return Err(farewell(reason, properties)),
            _ => return Err(End::Protocol),
        }
        self.subscribe_with(filter, Concern::Session).await?;
        while !self.pending.is_empty() {
            self.fill().await?;
            self.take().await?;
        }
        Ok(())
    }

    /// The next thing that happens, or the `alarm`, whichever is first.
    pub async fn next(&mut self, alarm: impl Future<Output = ()>) -> Result<Next<'_>, End<S::Error>> {
        let ping = Timer::at(self.ping_at);
        match select3(self.fill(), alarm, ping).await {
            Either3::First(filled) => {
                filled?;
                self.take().await
            }
            Either3::Second(()) => Ok(Next::Alarm),
            Either3::Third(()) if self.is_pinged => Err(End::Silent),
            Either3::Third(()) => {
                self.send(PINGREQ, &[]).await?;
                self.is_pinged = true;
                self.ping_at = Instant::now() + PONG_MAX;
                Ok(Next::Progress)
            }
        }
    }

    /// Publishes with QoS 1. When too much waits for its acknowledgement already, what is [`Concern::Nobody`]'s is dropped.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], concern: Concern) -> Result<(), End<S::Error>> {
        let fits = topic.len() + payload.len() + PUBLISH_HEAD_BYTES_MAX <= self.packet_bytes_max;
        match if fits { self.next_id(concern) } else { None } {
            // No properties.
            Some(id) => self.send(PUBLISH, &[&length(topic), topic.as_bytes(), &id, &[0], payload]).await,
            None if concern == Concern::Nobody => Ok(()),
            None => Err(End::Protocol),
        }
    }

    /// Subscribes with QoS 1; a refusal does not end the session.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), End<S::Error>> {
        self.subscribe_with(filter, Concern::Nobody).await
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = self.send(DISCONNECT, &[]).await;
    }

    async fn subscribe_with(&mut self, filter: &str, concern: Concern) -> Result<(), End<S::Error>> {
        let id = self.next_id(concern).ok_or(End::Protocol)?;
        // No properties; QoS 1 at most.
        self.send(SUBSCRIBE, &[&id, &[0], &length(filter), filter.as_bytes(), &[1]]).await
    }

    /// Reads until a packet is whole. Safe to cancel.
    async fn fill(&mut self) -> Result<(), End<S::Error>> {
        loop {
            let needed = packet::needed(self.receive.get(..self.filled).unwrap_or_default())?;
            if self.filled >= needed {
                return Ok(());
            }
            // A packet that does not fit is one that we told the gateway not to send.
            let room = self.receive.get_mut(self.filled..needed).ok_or(End::Protocol)?;
            match self.stream.read(room).await {
                Ok(0) => return Err(End::Closed),
                Ok(count) => self.filled += count,
                Err(error) => return Err(End::Stream(error)),
            }
        }
    }

    /// Takes the packet that is there, and acknowledges it where that is owed.
    async fn take(&mut self) -> Result<Next<'_>, End<S::Error>> {
        let length = mem::take(&mut self.filled);
        let acknowledged = match Packet::read(self.receive.get(..length).unwrap_or_default())? {
            Packet::Publish { id, .. } => id,
            Packet::Ack { id, reason, properties } => {
                let index = self.pending.iter().position(|pending| pending.id == id);
                let pending = index.map(|index| self.pending.swap_remove(index));
                if reason < REFUSED {
                    return Ok(Next::Progress);
                }
                let code = reason::of_refusal(reason, properties);
                return match pending {
                    Some(Pending { concern: Concern::Session, .. }) => Err(End::Refused(code)),
                    _ => Ok(Next::Refused(code)),
                };
            }
            Packet::PingResp => {
                self.is_pinged = false;
                self.ping_at = Instant::now() + self.silence_max;
                return Ok(Next::Progress);
            }
            Packet::Disconnect { reason, properties } => return Err(farewell(reason, properties)),
            Packet::ConnAck { .. } => return Err(End::Protocol),
        };
        if let Some(id) = acknowledged {
            self.send(PUBACK, &[&id.get().to_be_bytes()]).await?;
        }
        match Packet::read(self.receive.get(..length).unwrap_or_default())? {
            Packet::Publish { topic, payload, .. } => Ok(Next::Publication { topic, payload }),
            _ => Err(End::Protocol),
        }
    }

    /// An id for something that the gateway has to acknowledge; `None` while too much waits for that.
    fn next_id(&mut self, concern: Concern) -> Option<[u8; 2]> {
        if self.pending.len() >= self.pending_max {
            return None;
        }
        loop {
            self.last_id = self.last_id.wrapping_add(1);
            let id = self.last_id;
            if id != 0 && self.pending.iter().all(|pending| pending.id != id) {
                self.pending.push(Pending { id, concern }).ok()?;
                return Some(id.to_be_bytes());
            }
        }
    }

    /// Sends a packet of these parts. Not to be cancelled.
    async fn send(&mut self, kind: u8, parts: &[&[u8]]) -> Result<(), End<S::Error>> {
        let mut head = heapless::Vec::<u8, 5>::new();
        let _ = head.push(kind);
        let mut length = parts.iter().map(|part| part.len()).sum::<usize>();
        // A variable byte integer; no packet of ours is longer than its four bytes can say.
        loop {
            let more = u8::from(length > 0x7f) << 7;
            let _ = head.push(length as u8 & 0x7f | more);
            length >>= 7;
            if length == 0 {
                break;
            }
        }
        let written = async {
            self.stream.write_all(&head).await?;
            for part in parts {
                self.stream.write_all(part).await?;
            }
            self.stream.flush().await
        };
        match with_timeout(STALLED_MAX, written).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(End::Stream(error)),
            Err(_) => return Err(End::Silent),
        }
        if !self.is_pinged {
            self.ping_at = Instant::now() + self.silence_max;
        }
        Ok(())
    }
}

fn farewell<E>(reason: u8, properties: packet::Properties<'_>) -> End<E> {
    reason::of_farewell(reason, properties).map_or(End::Closed, End::Refused)
}

/// The length in front of a text. All texts of ours are names and topics.
const fn length(text: &str) -> [u8; 2] {
    (text.len() as u16).to_be_bytes()
}

/// How long to be silent when the gateway wants to hear something every so many seconds: a PINGREQ has to be in time.
fn silence_max(keep_alive_secs: u32) -> Duration {
    match Duration::from_secs(u64::from(keep_alive_secs)) {
        Duration::MIN => Duration::from_secs(86_400),
        keep_alive => keep_alive - (keep_alive / 2).min(PONG_MAX),
    }
}

/// The longest message of the gateway's, with topic and header.
pub(crate) const RECEIVE_BYTES: usize = MESSAGE_BYTES_MAX + TOPIC_BYTES_MAX + 16;
/// Nothing of a session's: what the agent reads records into while there is none.
pub(crate) const SPARE_BYTES: usize = SLOT_RECORD_BYTES_MAX;
/// How long a write may go without an end.
const STALLED_MAX: Duration = Duration::from_secs(20);
/// How long a PINGRESP may take.
const PONG_MAX: Duration = Duration::from_secs(5);
/// How much may wait for its acknowledgement.
const PENDING_MAX: usize = 16;
/// Fixed header, length of the topic, packet id and the length of no properties.
const PUBLISH_HEAD_BYTES_MAX: usize = 5 + 2 + 2 + 1;
/// Reason codes from here on are refusals (section 2.4).
const REFUSED: u8 = 0x80;

const CONNECT: u8 = 0x10;
const PUBLISH: u8 = 0x32;
const PUBACK: u8 = 0x40;
const SUBSCRIBE: u8 = 0x82;
const PINGREQ: u8 = 0xc0;
const DISCONNECT: u8 = 0xe0;
