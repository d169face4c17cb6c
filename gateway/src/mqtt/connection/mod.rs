//! The task of one connection: joins the stream, the session's rules, the router and the gatekeeper.
//!
//! Written as a future by hand rather than as `async fn`: it holds the stream once, nothing that is half done can be
//! cancelled, and while one message waits for room the client's acknowledgements are still read. What runs long (the
//! gatekeeper, a publish) is boxed while it runs, so an idle connection pays nothing for it.

mod outputs;
mod wire;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::mailbox::Mailbox;
use super::router::{PublishError, Router};
use super::session::{Input, Session};
use super::{Admission, End, Gatekeeper, Limits, Refusal};
use wire::{Closing, Read, Wire};

/// Serves one connection to its end and says what the end was. Dropping it ends the session without the will and without
/// [`Gatekeeper::ended`].
pub fn serve<S, G>(stream: S, peer: G::Peer, gate: Arc<G>, router: Arc<Router>, limits: &Limits) -> Connection<'_, S, G>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    G: Gatekeeper,
{
    router.metrics().connections_open.count();
    Connection {
        connection: router.next_connection(),
        wire: Some(Wire::new(stream, limits.connect_bytes_max)),
        session: Session::new(now(), limits),
        stage: Stage::Serving,
        mailbox: None,
        operation: None,
        sleep: None,
        peer: Some(peer),
        gate,
        router,
        limits,
    }
}

/// The future of [`serve`].
pub struct Connection<'a, S, G: Gatekeeper> {
    connection: u64,
    wire: Option<Wire<S>>,
    session: Session<'a>,
    stage: Stage,
    mailbox: Option<Arc<Mailbox>>,
    operation: Option<Operation<'a, G::Peer>>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// Kept until the gatekeeper has decided for good.
    peer: Option<G::Peer>,
    gate: Arc<G>,
    router: Arc<Router>,
    limits: &'a Limits,
}

/// Nothing in it is pinned in place.
impl<S: Unpin, G: Gatekeeper> Unpin for Connection<'_, S, G> {}

type Operation<'a, P> = Pin<Box<dyn Future<Output = Outcome<P>> + Send + 'a>>;

enum Outcome<P> {
    Admitted(Result<Admission, Refusal>, P),
    Routed(Result<usize, PublishError>),
    Controlled(Result<(), Refusal>),
    Left,
}

#[derive(Clone, Copy)]
enum Stage {
    Serving,
    Closing {
        end: End,
        until: Instant,
        closing: Closing,
    },
    /// The stream is gone; the will and the gatekeeper's notice are on their way.
    Leaving {
        end: End,
    },
}

impl<S, G> Future for Connection<'_, S, G>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    G: Gatekeeper,
{
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = self.get_mut();
        if let Some(mailbox) = &this.mailbox {
            mailbox.register(cx.waker());
        }
        for _ in 0..ROUNDS_MAX {
            let moved = match this.stage {
                Stage::Serving => this.poll_serving(cx),
                Stage::Closing { end, until, closing } => this.poll_closing(cx, end, until, closing),
                Stage::Leaving { end } => match &mut this.operation {
                    Some(operation) => {
                        if operation.as_mut().poll(cx).is_pending() {
                            return Poll::Pending;
                        }
                        this.operation = None;
                        return Poll::Ready(end);
                    }
                    None => return Poll::Ready(end),
                },
            };
            if !moved {
                return Poll::Pending;
            }
        }
        // Others shall have their turn.
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<'a, S, G> Connection<'a, S, G>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
    G: Gatekeeper,
{
    /// One round. False when nothing moved and everything that can move will wake the task.
    fn poll_serving(&mut self, cx: &mut Context<'_>) -> bool {
        let now = now();
        let mut moved = self.poll_mail(now);
        moved |= self.poll_operation(cx, now);
        moved |= self.poll_input(cx, now);
        if !matches!(self.stage, Stage::Serving) {
            return true;
        }
        // As long as more comes, it goes into the same write.
        if moved && self.unsent() < self.limits.write_bytes_high {
            return true;
        }
        moved | self.poll_write(cx, now) | self.poll_timeout(cx, now)
    }

    fn poll_mail(&mut self, now: Instant) -> bool {
        let Some(mailbox) = self.mailbox.as_ref().map(Arc::clone) else { return false };
        if let Some(cut) = mailbox.wished() {
            return self.input(now, Input::Cut(cut));
        }
        let mut moved = false;
        while self.session.can_send() && self.unsent() < self.limits.write_bytes_high {
            let Some(delivery) = mailbox.pop() else { return moved };
            moved |= self.input(now, Input::Deliver(delivery.message, delivery.qos));
        }
        if self.session.is_live() && !self.session.can_send() && mailbox.len() > 0 {
            self.session.handle_input(now, Input::Backlog);
        }
        moved
    }

    fn poll_operation(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(operation) = &mut self.operation else { return false };
        let Poll::Ready(outcome) = operation.as_mut().poll(cx) else { return false };
        self.operation = None;
        let input = match outcome {
            Outcome::Admitted(answer, peer) => {
                self.peer = Some(peer);
                Input::Admitted(answer)
            }
            Outcome::Routed(answer) => Input::Routed(answer),
            Outcome::Controlled(answer) => Input::Controlled(answer),
            Outcome::Left => return true,
        };
        let moved = self.input(now, input);
        if let Some(mailbox) = &self.mailbox {
            // It may be new.
            mailbox.register(cx.waker());
        }
        moved
    }

    fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut moved = false;
        while self.session.wants_input() && self.unsent() < self.limits.write_bytes_high {
            let Some(wire) = &mut self.wire else { return moved };
            let Poll::Ready(read) = wire.poll_packet(cx) else { return moved };
            moved = match read {
                Read::Packet(packet) => self.input(now, Input::Packet(packet)),
                Read::Malformed(error) => self.input(now, Input::Malformed(error)),
                Read::Ended => self.input(now, Input::Ended),
                Read::More => true,
            };
        }
        moved
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Some(wire) = &mut self.wire else { return false };
        let before = wire.unsent();
        match wire.poll_write(cx, now) {
            // What was held back because too much waited may go on.
            Poll::Ready(Ok(())) => before >= self.limits.write_bytes_high,
            Poll::Ready(Err(())) => self.input(now, Input::Ended) | self.drop_wire(),
            Poll::Pending => false,
        }
    }

    fn poll_timeout(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let stuck = self.wire.as_ref().and_then(Wire::stuck_since).map(|since| since + self.limits.write_deadline);
        let until = [stuck, self.session.poll_timeout()].into_iter().flatten().min();
        if !self.poll_until(cx, now, until) {
            return false;
        }
        if stuck.is_some_and(|stuck| stuck <= now) {
            return self.input(now, Input::WriteStuck);
        }
        self.input(now, Input::Timeout)
    }

    /// Whether a moment has come. The timer is set anew only when it would ring too late, or when it rang too early.
    fn poll_until(&mut self, cx: &mut Context<'_>, now: Instant, until: Option<Instant>) -> bool {
        let Some(until) = until else { return false };
        if until <= now {
            return true;
        }
        let until = tokio::time::Instant::from_std(until);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() > until {
            sleep.as_mut().reset(until);
        }
        if sleep.as_mut().poll(cx).is_pending() {
            return false;
        }
        sleep.as_mut().reset(until);
        sleep.as_mut().poll(cx).is_ready()
    }

    fn poll_closing(&mut self, cx: &mut Context<'_>, end: End, until: Instant, mut closing: Closing) -> bool {
        let now = now();
        let over = match &mut self.wire {
            Some(wire) => wire.poll_close(cx, &mut closing).is_ready(),
            None => true,
        };
        if !over && !self.poll_until(cx, now, Some(until)) {
            self.stage = Stage::Closing { end, until, closing };
            return false;
        }
        self.wire = None;
        self.sleep = None;
        self.stage = Stage::Leaving { end };
        let will = self.session.take_will(now);
        if let Some(mailbox) = self.mailbox.take() {
            self.operation = Some(self.farewell(mailbox, will, end));
        }
        true
    }

    fn drop_wire(&mut self) -> bool {
        self.wire = None;
        true
    }

    fn unsent(&self) -> usize {
        self.wire.as_ref().map_or(0, Wire::unsent)
    }
}

impl<S, G: Gatekeeper> Connection<'_, S, G> {
    fn leave_router(&self) {
        match &self.mailbox {
            Some(mailbox) => self.router.leave(mailbox, self.session.filters()),
            None => self.router.turn_away(self.connection),
        }
    }
}

impl<S, G: Gatekeeper> Drop for Connection<'_, S, G> {
    fn drop(&mut self) {
        if matches!(self.stage, Stage::Serving) {
            self.leave_router();
        }
        self.router.metrics().connections_open.take_back();
    }
}

/// Tokio's clock, which tests can move.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Rounds before the task lets others run.
const ROUNDS_MAX: usize = 16;

#[cfg(test)]
mod tests;
