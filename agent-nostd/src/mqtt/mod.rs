//! MQTT 5 over a guarded stream: one session at a time, by minimq.
//!
//! minimq keeps packets, acknowledgements and pings; what it does not tell is why the gateway said no. The reason string
//! with the refusal's name stands in the packet that ended the session, and that packet still lies in the receive
//! buffer: [`Memory`] reads it there. What a refusal means is for the core.
//!
//! A write to TLS must not be cancelled, while the wait for the next packet has to be: [`Session::next`] lets its caller's
//! alarm interrupt only when nothing is being written, and gives up a write that stalls.

use core::cell::Cell;

use embassy_time::{Duration, Instant, with_deadline};
use embedded_io_async::{ErrorType, Read, Write};
use minimq::{
    Buffers, ConfigBuilder, Error, Op, PeerError, Publication, QoS, ReasonCode, SubscriptionOptions, TopicFilter,
};
use muster_protocol::limits::{CSR_BYTES_MAX, MESSAGE_BYTES_MAX};
use muster_protocol::topic::TOPIC_BYTES_MAX;
use muster_protocol::{Code, DeviceId};

mod alarm;
mod reason;

use alarm::{First, either};

/// Buffers of a session. Large: give it a static place. Between sessions the receive buffer is free for other use.
pub struct Memory {
    receive: [u8; RECEIVE_BYTES],
    send: [u8; SEND_BYTES],
}

impl Memory {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { receive: [0; RECEIVE_BYTES], send: [0; SEND_BYTES] }
    }

    /// Both buffers, the larger one first, for whoever needs memory while there is no session.
    pub(crate) const fn scratch(&mut self) -> (&mut [u8; RECEIVE_BYTES], &mut [u8; SEND_BYTES]) {
        (&mut self.receive, &mut self.send)
    }

    /// Why the gateway took its leave of the last session, if it took it and blamed somebody.
    #[must_use]
    pub fn farewell(&self) -> Option<Code> {
        reason::of_farewell(&self.receive)
    }

    /// The name of the refusal that ended the last session, or kept it from opening.
    #[must_use]
    pub fn refusal(&self) -> Option<Code> {
        reason::of_refusal(&self.receive)
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
    /// The stream ended, or the gateway took its leave: see [`Memory::farewell`].
    Closed,
    /// The gateway refused the CONNECT or something else: see [`Memory::refusal`].
    Refused(Reason),
    /// The gateway broke the protocol.
    Protocol,
    /// A write stalled, or an answer did not come in time.
    Silent,
}

/// A reason code of the gateway's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reason(ReasonCode);

impl Reason {
    /// The refusal code by the number; the name in the packet may say more.
    #[must_use]
    pub fn code(self) -> Code {
        reason::of_number(self.0)
    }
}

impl<E> From<Error<E>> for End<E> {
    fn from(error: Error<E>) -> Self {
        match error {
            Error::Transport(error) => Self::Stream(error),
            Error::Disconnected | Error::WriteZero => Self::Closed,
            Error::Peer(PeerError::Rejected(reason)) => Self::Refused(Reason(reason)),
            // A packet that does not fit our buffer is one that we told the gateway not to send.
            _ => Self::Protocol,
        }
    }
}

/// One session's client, made for one connection.
pub struct Client<'m> {
    session: minimq::Session<'m>,
    writing: Cell<bool>,
}

impl<'m> Client<'m> {
    /// A clean session under the device's name.
    #[must_use]
    pub fn new(memory: &'m mut Memory, device: &DeviceId, keep_alive_secs: u16) -> Self {
        // Whatever lies there is not of this session.
        memory.receive[..reason::LOOKED_AT].fill(0);
        let buffers = Buffers::new(&mut memory.receive, &mut memory.send);
        let config = ConfigBuilder::new(buffers).keepalive_interval(keep_alive_secs).client_id(device.as_str());
        // A device id is no longer than minimq's client ids: a session without buffers is never used.
        let config = config.unwrap_or_else(|_| ConfigBuilder::new(Buffers::new(&mut [], &mut [])));
        Self { session: minimq::Session::new(config), writing: Cell::new(false) }
    }

    /// CONNECT, CONNACK, SUBSCRIBE to `filter` with QoS 1, SUBACK. Publications that come before the SUBACK are dropped:
    /// what matters is said again.
    pub async fn open<'s, S>(
        &'s mut self,
        stream: &'s mut S,
        filter: &str,
        deadline: Instant,
    ) -> Result<Session<'s, 'm, S>, End<S::Error>>
    where
        S: Read + Write,
    {
        let Self { session, writing } = self;
        let stream = Watched { stream, writing };
        let opened = async {
            let mut session =
                Session { connection: session.connect(stream).await?, writing, owed: heapless::Vec::new() };
            session.subscribe_with(filter, Concern::Session).await?;
            while session.has_owed() {
                session.connection.poll().await?;
            }
            session.owed.clear();
            Ok(session)
        };
        with_deadline(deadline, opened).await.unwrap_or(Err(End::Silent))
    }
}

/// What happened on a session.
pub enum Next<'s> {
    /// A publication came.
    Publication {
        /// Its topic.
        topic: &'s str,
        /// Its content.
        payload: &'s [u8],
    },
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
pub struct Session<'s, 'm, S: Read + Write> {
    connection: minimq::Connection<'s, 'm, Watched<'s, S>>,
    writing: &'s Cell<bool>,
    /// What the gateway has to take, or else the session is of no use.
    owed: heapless::Vec<Op, OWED_MAX>,
}

impl<S: Read + Write> Session<'_, '_, S> {
    /// The next thing that happens, or the `alarm`, whichever is first. Safe to cancel while nothing is written.
    pub async fn next(&mut self, alarm: impl Future<Output = ()>) -> Result<Next<'_>, End<S::Error>> {
        match either(self.connection.poll(), alarm, self.writing, STALLED_MAX).await {
            First::Done(Ok(Some(publish))) => {
                Ok(Next::Publication { topic: publish.topic(), payload: publish.payload() })
            }
            First::Done(Ok(None)) => Ok(Next::Progress),
            First::Done(Err(error)) => Err(error.into()),
            First::Alarm => Ok(Next::Alarm),
            First::Stalled => Err(End::Silent),
        }
    }

    /// Publishes with QoS 1. What [`Session::survives`] a refusal depends on `concern`.
    pub async fn publish(&mut self, topic: &str, payload: &[u8], concern: Concern) -> Result<(), End<S::Error>> {
        let publication = Publication::bytes(topic, payload).qos(QoS::AtLeastOnce);
        let written = with_timeout(self.connection.publish(publication)).await.ok_or(End::Silent)?;
        match written {
            Ok(op) => {
                self.owe(op, concern);
                Ok(())
            }
            Err(minimq::PubError::Session(Error::NotReady | Error::Resource(_))) if concern == Concern::Nobody => {
                Ok(())
            }
            Err(minimq::PubError::Session(error)) => Err(error.into()),
            Err(minimq::PubError::Payload(_)) => Err(End::Protocol),
        }
    }

    /// Subscribes with QoS 1; a refusal does not end the session.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), End<S::Error>> {
        self.subscribe_with(filter, Concern::Nobody).await
    }

    /// Whether a refusal, after [`Session::next`] failed with one, leaves the session of use: it was of nothing that the
    /// session needs.
    #[must_use]
    pub fn survives(&mut self) -> bool {
        let before = self.owed.len();
        self.forget_taken();
        before == self.owed.len() && self.connection.is_connected()
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = with_timeout(self.connection.disconnect()).await;
    }

    async fn subscribe_with(&mut self, filter: &str, concern: Concern) -> Result<(), End<S::Error>> {
        let filters = [TopicFilter::new(filter).options(SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce))];
        let op = with_timeout(self.connection.subscribe(&filters, &[])).await.ok_or(End::Silent)?;
        self.owe(Some(op?), concern);
        Ok(())
    }

    fn owe(&mut self, op: Option<Op>, concern: Concern) {
        self.forget_taken();
        if let (Some(op), Concern::Session) = (op, concern) {
            // The core has one question open at a time; should it ever have more, the oldest goes unwatched.
            if self.owed.is_full() {
                self.owed.remove(0);
            }
            let _ = self.owed.push(op);
        }
    }

    fn forget_taken(&mut self) {
        let Self { connection, owed, .. } = self;
        owed.retain(|op| connection.is_pending(op));
    }

    fn has_owed(&self) -> bool {
        self.owed.iter().any(|op| self.connection.is_pending(op))
    }
}

/// The stream, with a mark while something is written to it.
struct Watched<'s, S> {
    stream: &'s mut S,
    writing: &'s Cell<bool>,
}

impl<S: ErrorType> ErrorType for Watched<'_, S> {
    type Error = S::Error;
}

impl<S: Read> Read for Watched<'_, S> {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, S::Error> {
        self.stream.read(target).await
    }
}

impl<S: Write> Write for Watched<'_, S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, S::Error> {
        self.writing.set(true);
        let written = self.stream.write(bytes).await;
        self.writing.set(false);
        written
    }

    async fn flush(&mut self) -> Result<(), S::Error> {
        self.writing.set(true);
        let flushed = self.stream.flush().await;
        self.writing.set(false);
        flushed
    }
}

async fn with_timeout<T>(work: impl Future<Output = T>) -> Option<T> {
    embassy_time::with_timeout(STALLED_MAX, work).await.ok()
}

/// The longest message of the gateway's, with topic and header.
pub(crate) const RECEIVE_BYTES: usize = MESSAGE_BYTES_MAX + TOPIC_BYTES_MAX + 16;
/// CONNECT beside a request for a certificate and a report that both wait for their acknowledgement.
pub(crate) const SEND_BYTES: usize = CSR_BYTES_MAX + 3 * TOPIC_BYTES_MAX + 336;
/// How long a write may go without an end.
const STALLED_MAX: Duration = Duration::from_secs(20);
const OWED_MAX: usize = 4;
