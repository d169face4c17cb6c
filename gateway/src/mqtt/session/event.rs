//! What happens to a session, and what it wants done.

use std::sync::Arc;

use super::Cut;
use crate::mqtt::codec::DecodeError;
use crate::mqtt::packet::{Inbound, Message, Outbound, QoS, SubscribeOptions, Version};
use crate::mqtt::router::PublishError;
use crate::mqtt::topic::TopicFilter;
use crate::mqtt::{Admission, Denied, End, Refusal};

/// What happens to a session.
#[derive(Debug)]
pub enum Input {
    /// The client sent a packet.
    Packet(Inbound),
    /// The client sent bytes that are no packet.
    Malformed(DecodeError),
    /// The client's stream ended.
    Ended,
    /// The gatekeeper's answer to [`Output::Admit`].
    Admitted(Result<Admission, Refusal>),
    /// The router's answer to [`Output::Register`].
    Registered(Registration),
    /// The router's answer to [`Output::Route`]: how many sessions it went to.
    Routed(Result<usize, PublishError>),
    /// The gatekeeper's answer to [`Output::Control`].
    Controlled(Result<(), Refusal>),
    /// A message for the client; only while [`super::Session::can_send`].
    Deliver(Arc<Message>, QoS),
    /// Messages wait although the session cannot send.
    Backlog,
    /// The client does not take what is written.
    WriteStuck,
    /// The time of [`super::Session::poll_timeout`] has come.
    Timeout,
    /// The gateway wants the session to end.
    Cut(Cut),
}

/// What the router says to a new session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Registration {
    /// It is live.
    Done,
    /// The gatekeeper must be asked again.
    AskAgain,
    /// The gateway stops.
    ShuttingDown,
}

/// What a session wants done, in this order.
#[derive(Debug, PartialEq)]
pub enum Output {
    /// Ask the gatekeeper; answer with [`Input::Admitted`].
    Admit {
        /// As the client gave it.
        client_id: Arc<str>,
        /// The client's version.
        version: Version,
    },
    /// Make the session live; answer with [`Input::Registered`].
    Register {
        /// As the gatekeeper gave it.
        client_id: Arc<str>,
        /// As the gatekeeper gave it.
        peer: String,
    },
    /// Write a packet.
    Send(Outbound),
    /// Publish a message; answer with [`Input::Routed`].
    Route(Arc<Message>),
    /// Hand a message to the gatekeeper; answer with [`Input::Controlled`].
    Control(Arc<Message>),
    /// Add a subscription.
    Subscribe(TopicFilter, SubscribeOptions),
    /// Remove a subscription.
    Unsubscribe(TopicFilter),
    /// Somebody tried what is not allowed.
    Denied(Denied, String),
    /// A message for the client was dropped.
    Dropped(Dropped),
    /// Close the connection once everything before is written. Nothing follows.
    Close(End),
}

/// Why a message was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Dropped {
    /// Its life was over.
    Expired,
    /// The client takes no packet of this size.
    TooLarge,
}
