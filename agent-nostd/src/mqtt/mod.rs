//! MQTT 5 over a guarded stream: one session at a time, by minimq.
//!
//! minimq keeps packets, acknowledgements and pings; what it does not tell is why the gateway said no. The reason string
//! with the refusal's name stands in the packet that ended the session, and that packet still lies in the receive
//! buffer: [`Memory::failure`] reads it there. What a refusal means is for the core.
//!
//! A write to TLS must not be cancelled, while the wait for the next packet has to be: [`Session::next`] lets its caller's
//! alarm interrupt only when nothing is being written, and gives up a write that stalls.

use core::cell::Cell;

use embassy_time::{Duration, Instant, with_deadline};
use embedded_io_async::{ErrorType, Read, Write};
use minimq::{
    Buffers, ConfigBuilder, Error, Op, PeerError, Publication, QoS, ReasonCode, SubscriptionOptions, TopicFilter,
};
use muster_protocol::device::Failure;
use muster_protocol::limits::{CSR_BYTES_MAX, MESSAGE_BYTES_MAX};
use muster_protocol::topic::TOPIC_BYTES_MAX;
use muster_protocol::{Code, DeviceId};

use crate::tls::GuardError;

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

    /// The receive buffer, for whoever needs memory while there is no session.
    pub const fn scratch(&mut self) -> &mut [u8; RECEIVE_BYTES] {
        &mut self.receive
    }

    /// What the end of the session that used this memory means to the core.
    #[must_use]
    pub fn failure(&self, end: End) -> Failure {
        let farewell = || reason::of_farewell(&self.receive).map_or(Failure::Unreachable, Failure::Refused);
        match end {
            End::Stream(Some(GuardError::GatewayUntrusted(code))) => Failure::GatewayUntrusted(code),
            End::Stream(Some(GuardError::Refused(code))) => Failure::Refused(code),
            End::Stream(Some(error @ GuardError::Breach(_))) => Failure::Refused(error.code()),
            End::Stream(_) => farewell(),
            End::Refused(reason) => Failure::Refused(reason::of_refusal(&self.receive).unwrap_or(reason.code())),
            End::Protocol => Failure::Refused(Code::SessionProtocol),
            End::Silent => Failure::Unreachable,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

/// Why a session did not open or ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// The stream failed or ended, or the gateway took its leave: see [`Memory::failure`].
    Stream(Option<GuardError>),
    /// The gateway refused the CONNECT or something else.
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

impl End {
    fn of(error: &Error<GuardError>) -> Self {
        match error {
            Error::Transport(error) => Self::Stream(Some(*error)),
            Error::Disconnected | Error::WriteZero => Self::Stream(None),
            Error::Peer(PeerError::Rejected(reason)) => Self::Refused(Reason(*reason)),
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
    ) -> Result<Session<'s, 'm, S>, End>
    where
        S: Read + Write + ErrorType<Error = GuardError>,
    {
        let Self { session, writing } = self;
        let stream = Watched { stream, writing };
        let opened = async {
            let mut session = Session {
                connection: session.connect(stream).await.map_err(|error| End::of(&error))?,
                writing,
                owed: heapless::Vec::new(),
            };
            session.subscribe_with(filter, Concern::Session).await?;
            while session.has_owed() {
                session.connection.poll().await.map_err(|error| End::of(&error))?;
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
pub struct Session<'s, 'm, S: Read + Write + ErrorType<Error = GuardError>> {
    connection: minimq::Connection<'s, 'm, Watched<'s, S>>,
    writing: &'s Cell<bool>,
    /// What the gateway has to take, or else the session is of no use.
    owed: heapless::Vec<Op, OWED_MAX>,
}

impl<S: Read + Write + ErrorType<Error = GuardError>> Session<'_, '_, S> {
    /// The next thing that happens, or the `alarm`, whichever is first. Safe to cancel while nothing is written.
    pub async fn next(&mut self, alarm: impl Future<Output = ()>) -> Result<Next<'_>, End> {
        match either(self.connection.poll(), alarm, self.writing, STALLED_MAX).await {
            First::Done(Ok(Some(publish))) => {
                Ok(Next::Publication { topic: publish.topic(), payload: publish.payload() })
            }
            First::Done(Ok(None)) => Ok(Next::Progress),
            First::Done(Err(error)) => Err(End::of(&error)),
            First::Alarm => Ok(Next::Alarm),
            First::Stalled => Err(End::Silent),
        }
    }

    /// Publishes with QoS 1. When it is in the session's concern and the gateway refuses it, [`Session::is_over`].
    pub async fn publish(&mut self, topic: &str, payload: &[u8], concern: Concern) -> Result<(), End> {
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
            Err(minimq::PubError::Session(error)) => Err(End::of(&error)),
            Err(minimq::PubError::Payload(_)) => Err(End::Protocol),
        }
    }

    /// Subscribes with QoS 1; a refusal does not end the session.
    pub async fn subscribe(&mut self, filter: &str) -> Result<(), End> {
        self.subscribe_with(filter, Concern::Nobody).await
    }

    /// Whether a refusal, after [`Session::next`] failed with it, leaves the session of use.
    #[must_use]
    pub fn survives(&mut self, end: End) -> bool {
        let End::Refused(_) = end else { return false };
        let before = self.owed.len();
        self.forget_taken();
        before == self.owed.len() && self.connection.is_connected()
    }

    /// Says goodbye.
    pub async fn close(mut self) {
        let _ = with_timeout(self.connection.disconnect()).await;
    }

    async fn subscribe_with(&mut self, filter: &str, concern: Concern) -> Result<(), End> {
        let filters = [TopicFilter::new(filter).options(SubscriptionOptions::default().maximum_qos(QoS::AtLeastOnce))];
        let op = with_timeout(self.connection.subscribe(&filters, &[])).await.ok_or(End::Silent)?;
        let op = op.map_err(|error| End::of(&error))?;
        self.owe(Some(op), concern);
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
const RECEIVE_BYTES: usize = MESSAGE_BYTES_MAX + TOPIC_BYTES_MAX + 16;
/// CONNECT beside a request for a certificate and a report that both wait for their acknowledgement.
const SEND_BYTES: usize = CSR_BYTES_MAX + 3 * TOPIC_BYTES_MAX + 320;
/// How long a write may go without an end.
const STALLED_MAX: Duration = Duration::from_secs(20);
const OWED_MAX: usize = 4;
