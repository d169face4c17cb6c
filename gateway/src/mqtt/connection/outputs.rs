//! What a session wants done, done: with the stream, the router and the gatekeeper.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use super::wire::Closing;
use super::{Connection, Operation, Outcome, Stage};
use crate::mqtt::mailbox::Mailbox;
use crate::mqtt::packet::{Message, Outbound};
use crate::mqtt::router::NotRegistered;
use crate::mqtt::session::{Dropped, Input, Output, Registration};
use crate::mqtt::{End, Gatekeeper, SessionHandle};

impl<'a, S, G> Connection<'a, S, G>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    G: Gatekeeper,
{
    /// Gives the session an input and does what it wants done.
    pub(super) fn input(&mut self, now: Instant, input: Input) -> bool {
        self.session.handle_input(now, input);
        while let Some(output) = self.session.poll_output() {
            self.carry_out(now, output);
        }
        true
    }

    fn carry_out(&mut self, now: Instant, output: Output) {
        let metrics = self.router.metrics();
        match output {
            Output::Admit { client_id, version } => {
                self.router.arrive(self.connection, &client_id);
                let (gate, peer) = (Arc::clone(&self.gate), self.peer.take());
                self.operation = peer.map(|peer| -> Operation<'a, G::Peer> {
                    Box::pin(async move {
                        let answer = gate.admit(&peer, &client_id, version).await;
                        Outcome::Admitted(answer, peer)
                    })
                });
            }
            Output::Register { client_id, peer } => {
                let registered = self.router.register(self.connection, &client_id, &peer, self.session.version());
                let answer = match registered {
                    Ok(mailbox) => {
                        self.mailbox = Some(mailbox);
                        self.peer = None;
                        if let Some(wire) = &mut self.wire {
                            wire.set_frame_bytes_max(self.limits.packet_bytes_max as usize);
                        }
                        Registration::Done
                    }
                    Err(NotRegistered::AskAgain) => Registration::AskAgain,
                    Err(NotRegistered::ShuttingDown) => Registration::ShuttingDown,
                };
                self.session.handle_input(now, Input::Registered(answer));
            }
            Output::Send(packet) => {
                if let (Outbound::Publish { .. }, Some(mailbox)) = (&packet, &self.mailbox) {
                    metrics.messages_sent.count();
                    mailbox.sent.fetch_add(1, Ordering::Relaxed);
                }
                if let Some(wire) = &mut self.wire {
                    wire.push(self.session.version(), &packet);
                }
            }
            Output::Route(message) => self.route(message),
            Output::Control(message) => {
                metrics.control_received.count();
                let Some(mailbox) = self.mailbox.as_ref().map(Arc::clone) else { return };
                let gate = Arc::clone(&self.gate);
                self.operation = Some(Box::pin(async move {
                    let topic = message.topic.as_str();
                    Outcome::Controlled(gate.control(&mailbox.handle, topic, &message.payload).await)
                }));
            }
            Output::Subscribe(filter, options) => {
                if let Some(mailbox) = &self.mailbox {
                    self.router.subscribe(mailbox, &filter, options);
                }
            }
            Output::Unsubscribe(filter) => {
                if let Some(mailbox) = &self.mailbox {
                    self.router.unsubscribe(mailbox, &filter);
                }
            }
            Output::Denied(what, topic) => {
                metrics.denied.count();
                match &self.mailbox {
                    Some(mailbox) => self.gate.denied(&mailbox.handle, what, &topic),
                    None => {
                        let handle = SessionHandle::new(self.session.client_id(), 0, self.connection);
                        self.gate.denied(&handle, what, &topic);
                    }
                }
            }
            Output::Dropped(Dropped::Expired) => metrics.dropped_expired.count(),
            Output::Dropped(Dropped::TooLarge) => metrics.dropped_too_large.count(),
            Output::Close(end) => self.close(now, end),
        }
    }

    fn route(&mut self, message: Arc<Message>) {
        let Some(mailbox) = self.mailbox.as_ref().map(Arc::clone) else { return };
        let (gate, router) = (Arc::clone(&self.gate), Arc::clone(&self.router));
        self.operation = Some(Box::pin(async move {
            let answer = router.publish(Some(&mailbox), &message).await;
            if answer.is_ok() {
                router.metrics().messages_received.count();
                mailbox.received.fetch_add(1, Ordering::Relaxed);
                gate.published(&mailbox.handle, message.topic.as_str(), &message.payload);
            }
            Outcome::Routed(answer)
        }));
    }

    /// From here on the session receives nothing, whatever still has to be written.
    fn close(&mut self, now: Instant, end: End) {
        self.count(end);
        self.operation = None;
        self.leave_router();
        if matches!(end, End::Lost | End::SlowReader) {
            self.drop_wire();
        }
        let until = now + self.limits.close_deadline;
        self.stage = Stage::Closing { end, until, closing: Closing::Writing };
    }

    pub(super) fn farewell(&self, mailbox: Arc<Mailbox>, will: Option<Message>, end: End) -> Operation<'a, G::Peer> {
        let (gate, router) = (Arc::clone(&self.gate), Arc::clone(&self.router));
        Box::pin(async move {
            if let Some(will) = will {
                let will = Arc::new(will);
                // Nobody is left to be told that it was not taken.
                let _ = router.publish_will(Some(&mailbox), &will).await;
                gate.published(&mailbox.handle, will.topic.as_str(), &will.payload);
            }
            gate.ended(&mailbox.handle, end).await;
            Outcome::Left
        })
    }

    fn count(&self, end: End) {
        let metrics = self.router.metrics();
        match end {
            End::ConnectTimeout => metrics.connects_timed_out.count(),
            End::KeepAliveTimeout => metrics.keep_alive_timeouts.count(),
            End::SlowReader | End::NotAcknowledging => metrics.slow_clients.count(),
            End::Protocol(_) => metrics.protocol_errors.count(),
            _ => {}
        }
        if self.mailbox.is_none() && !matches!(end, End::Lost | End::ConnectTimeout) {
            metrics.connects_refused.count();
        }
    }
}
