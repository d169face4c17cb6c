//! MQTT 5 over a stream that is already open and verified (OASIS MQTT 5.0).
//!
//! Packets, their encoding and decoding are rumqttc's (`rumqttc::v5::mqttbytes`). Its event loop is not used: it drops
//! the reason string of a refused CONNECT, on which a device's reaction hangs, allocates for 65,535 messages in flight,
//! reconnects by itself, and hides the TLS stream. So the session here is ours: one task per connection, everything in
//! it bounded, never a reconnect. Which stream, which topics and what a failure means is the loop's business.
//!
//! | file | idea |
//! |---|---|
//! | `connect` | CONNECT and the first subscription |
//! | `session` | the task of an open session |
//! | `flight` | packet ids, and who waits for which acknowledgement |
//! | `framing` | packets on a stream |
//! | `reason` | MQTT reasons to refusal codes |

use std::time::Duration;
use std::{fmt, io};

use bytes::Bytes;
use muster_protocol::Code;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

mod connect;
mod flight;
mod framing;
mod reason;
mod session;

/// Longest packet that is sent or accepted, header not counted.
pub const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// How to open a session.
#[derive(Clone, Debug)]
pub struct Options {
    /// The client id: the device id.
    pub client_id: String,
    /// Subscribed before the session counts as open.
    pub first_filter: String,
    /// Silence that a ping breaks; the gateway may ask for less.
    pub keep_alive: Duration,
}

/// Delivery guarantee.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Quality {
    /// QoS 0.
    AtMostOnce,
    /// QoS 1.
    AtLeastOnce,
}

/// Who hears of the fate of a publication or subscription.
#[derive(Debug)]
pub enum Concern {
    /// The whole session: a refusal ends it.
    Session,
    /// Whoever waits here.
    Waiter(Waiter),
    /// Nobody.
    Nobody,
}

/// Told of an acknowledgement; dropped untold when the session ends before it.
pub struct Waiter(Box<dyn FnOnce(Result<(), Code>) + Send>);

impl Waiter {
    /// Is told by calling `told`.
    pub fn new(told: impl FnOnce(Result<(), Code>) + Send + 'static) -> Self {
        Self(Box::new(told))
    }

    fn tell(self, outcome: Result<(), Code>) {
        (self.0)(outcome);
    }
}

impl fmt::Debug for Waiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiter")
    }
}

/// Something to do on a session.
#[derive(Debug)]
pub enum Command {
    /// Publish.
    Publish {
        /// The whole topic.
        topic: String,
        /// The content.
        payload: Bytes,
        /// The guarantee.
        quality: Quality,
        /// Who hears of it.
        concern: Concern,
    },
    /// Subscribe with QoS 1.
    Subscribe {
        /// The whole filter.
        filter: String,
        /// Who hears of it.
        concern: Concern,
    },
    /// Unsubscribe.
    Unsubscribe {
        /// The whole filter.
        filter: String,
    },
}

/// What a session tells.
#[derive(Debug)]
pub enum Event {
    /// A publication came.
    Message {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: Bytes,
    },
    /// The session is over. The last event.
    Closed(MqttError),
}

/// Why a session did not open or ended.
#[derive(Debug, thiserror::Error)]
pub enum MqttError {
    /// The stream failed or ended. TLS alerts are in here.
    #[error("the connection failed")]
    Io(#[from] io::Error),
    /// The gateway refused, with a reason.
    #[error("the gateway refused: {0}")]
    Refused(Code),
    /// The gateway broke the MQTT protocol.
    #[error("the gateway broke the MQTT protocol: {0}")]
    Protocol(&'static str),
    /// The gateway fell silent.
    #[error("the gateway did not answer a ping")]
    Silent,
}

/// The queue to the session is full.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Full;

/// An open session. Dropping it closes the session politely in the background, within [`CLOSE_MAX`].
#[derive(Debug)]
pub struct Session {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    task: JoinHandle<()>,
}

impl Session {
    /// Sends CONNECT, waits for CONNACK, subscribes the first filter and waits for SUBACK.
    pub async fn open<S>(stream: S, options: &Options) -> Result<Self, MqttError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let opened = connect::connect(stream, options).await?;
        let (commands, commands_in) = mpsc::channel(QUEUE_MAX);
        let (events_out, events) = mpsc::channel(QUEUE_MAX);
        let task = tokio::spawn(session::run(opened, commands_in, events_out));
        Ok(Self { commands, events, task })
    }

    /// Queues a command. Never waits.
    pub fn command(&self, command: Command) -> Result<(), Full> {
        self.commands.try_send(command).map_err(|_| Full)
    }

    /// Whether a command would be taken.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.commands.capacity() > 0
    }

    /// The next event. Safe to cancel.
    pub async fn next(&mut self) -> Event {
        // The task says why it ended; one that ended without a word broke down.
        self.events.recv().await.unwrap_or(Event::Closed(MqttError::Protocol("the session ended without a reason")))
    }

    /// Sends what is queued, says goodbye and closes; the handle ends when that is done, within [`CLOSE_MAX`].
    pub fn close(self) -> JoinHandle<()> {
        self.task
    }
}

/// How long a session may take to close politely.
pub const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Commands that may wait for the session, and events that may wait for the loop.
const QUEUE_MAX: usize = 64;
