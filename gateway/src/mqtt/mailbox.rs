//! What the router and one connection share: a bounded queue of messages to send, and the wish that the session ends.
//!
//! Room is counted in units of one KiB, so a queue is bounded in bytes and not only in messages. A publisher of QoS 1 waits
//! for units, first come, first served; QoS 0 takes what is free or is dropped. Closing the mailbox lets every waiter go.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::SystemTime;

use futures_util::task::AtomicWaker;
use tokio::sync::Semaphore;

use muster_protocol::Code;

use super::SessionHandle;
use super::packet::{Message, QoS, Version};

/// Why the gateway ends a session from its side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// Rights or registration are gone: DISCONNECT 0x98 with the code's name.
    Refused(Code),
    /// The client connected again: DISCONNECT 0x8E.
    TakenOver,
    /// The gateway stops: DISCONNECT 0x8B.
    ShuttingDown,
}

/// A message in a queue.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) message: Arc<Message>,
    /// Of this delivery: the lower of the message's and the subscription's.
    pub(crate) qos: QoS,
    units: u32,
}

/// One session as the router sees it.
#[derive(Debug)]
pub(crate) struct Mailbox {
    pub(crate) handle: SessionHandle,
    pub(crate) peer: Box<str>,
    pub(crate) version: Version,
    pub(crate) connected_at: SystemTime,
    pub(crate) received: AtomicU64,
    pub(crate) sent: AtomicU64,
    units_max: u32,
    room: Semaphore,
    waker: AtomicWaker,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Delivery>,
    /// Control messages among them, which need no room.
    control: usize,
    cut: Option<Cut>,
    closed: bool,
}

/// The answer to a push.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Pushed {
    Queued,
    Full,
    Closed,
}

impl Mailbox {
    pub(crate) fn new(handle: SessionHandle, peer: &str, version: Version, units_max: u32) -> Self {
        Self {
            handle,
            peer: peer.into(),
            version,
            connected_at: SystemTime::now(),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            units_max,
            room: Semaphore::new(units_max as usize),
            waker: AtomicWaker::new(),
            queue: Mutex::default(),
        }
    }

    /// Queues a QoS 1 delivery as soon as there is room. Cancelling it queues nothing.
    pub(crate) async fn push_waiting(&self, message: &Arc<Message>) -> Pushed {
        let units = self.units(message);
        let Ok(room) = self.room.acquire_many(units).await else { return Pushed::Closed };
        room.forget();
        self.push(Delivery { message: Arc::clone(message), qos: QoS::AtLeastOnce, units })
    }

    /// Queues a delivery if there is room now.
    pub(crate) fn push_now(&self, message: &Arc<Message>, qos: QoS) -> Pushed {
        let units = self.units(message);
        match self.room.try_acquire_many(units) {
            Ok(room) => room.forget(),
            Err(tokio::sync::TryAcquireError::NoPermits) => return Pushed::Full,
            Err(tokio::sync::TryAcquireError::Closed) => return Pushed::Closed,
        }
        self.push(Delivery { message: Arc::clone(message), qos, units })
    }

    /// Queues a control message: it needs no room, but only so many may wait.
    pub(crate) fn push_control(&self, message: &Arc<Message>, qos: QoS) -> Pushed {
        let mut queue = self.queue();
        if queue.closed {
            return Pushed::Closed;
        }
        if queue.control >= CONTROL_WAITING_MAX {
            return Pushed::Full;
        }
        queue.control += 1;
        queue.waiting.push_back(Delivery { message: Arc::clone(message), qos, units: 0 });
        drop(queue);
        self.waker.wake();
        Pushed::Queued
    }

    fn push(&self, delivery: Delivery) -> Pushed {
        let mut queue = self.queue();
        if queue.closed {
            return Pushed::Closed;
        }
        queue.waiting.push_back(delivery);
        drop(queue);
        self.waker.wake();
        Pushed::Queued
    }

    /// Asks the connection to end; the first wish counts. False when it was ending already.
    pub(crate) fn cut(&self, cut: Cut) -> bool {
        let mut queue = self.queue();
        if queue.closed {
            return false;
        }
        queue.cut = Some(cut);
        self.shut(queue);
        self.waker.wake();
        true
    }

    /// Takes no more messages and drops those that wait.
    pub(crate) fn close(&self) {
        let queue = self.queue();
        self.shut(queue);
    }

    fn shut(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.closed = true;
        let dropped = std::mem::take(&mut queue.waiting);
        drop(queue);
        drop(dropped);
        self.room.close();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    /// Who is woken by a push or a cut.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }

    /// The wish that the session ends, if there is one.
    pub(crate) fn wished(&self) -> Option<Cut> {
        self.queue().cut
    }

    /// The next message to send; its room is free from now on.
    pub(crate) fn pop(&self) -> Option<Delivery> {
        let mut queue = self.queue();
        let delivery = queue.waiting.pop_front()?;
        if delivery.units == 0 {
            queue.control -= 1;
        }
        if queue.waiting.is_empty() {
            // An idle session keeps no queue.
            queue.waiting = VecDeque::new();
        }
        drop(queue);
        self.room.add_permits(delivery.units as usize);
        Some(delivery)
    }

    /// Messages that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue().waiting.len()
    }

    fn units(&self, message: &Message) -> u32 {
        let bytes = message.topic.as_str().len() + message.payload.len();
        let units = u32::try_from(bytes / UNIT_BYTES).unwrap_or(u32::MAX).saturating_add(1);
        units.min(self.units_max)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics while it is held; if it did, the queue would still be whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What one unit of room stands for.
const UNIT_BYTES: usize = 1024;
/// Control messages that may wait in one mailbox.
const CONTROL_WAITING_MAX: usize = 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;

    use super::super::topic::TopicName;
    use super::*;

    fn mailbox(units_max: u32) -> Mailbox {
        Mailbox::new(SessionHandle::new("d1", 1, 1), "d1", Version::V5, units_max)
    }

    fn message(payload_bytes: usize) -> Arc<Message> {
        let payload = Bytes::from(vec![0; payload_bytes]);
        Arc::new(Message::new(TopicName::new("t").unwrap(), payload, QoS::AtLeastOnce))
    }

    #[test]
    fn a_full_queue_drops_qos_0_and_holds_qos_1_until_there_is_room() {
        let mailbox = mailbox(2);
        assert_eq!(mailbox.push_now(&message(10), QoS::AtMostOnce), Pushed::Queued);
        assert_eq!(mailbox.push_now(&message(10), QoS::AtMostOnce), Pushed::Queued);
        assert_eq!(mailbox.push_now(&message(10), QoS::AtMostOnce), Pushed::Full);
        let (waker, last) = (Waker::noop(), message(20));
        let mut cx = Context::from_waker(waker);
        let mut waiting = pin!(mailbox.push_waiting(&last));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(mailbox.pop().is_some());
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Pushed::Queued));
        assert_eq!(mailbox.len(), 2);
    }

    #[test]
    fn a_large_message_takes_more_room_and_the_largest_still_passes() {
        let mailbox = mailbox(4);
        assert_eq!(mailbox.push_now(&message(3000), QoS::AtMostOnce), Pushed::Queued);
        assert_eq!(mailbox.push_now(&message(1500), QoS::AtMostOnce), Pushed::Full);
        mailbox.pop().unwrap();
        assert_eq!(mailbox.push_now(&message(100_000), QoS::AtMostOnce), Pushed::Queued);
    }

    #[test]
    fn a_cut_empties_the_queue_lets_waiters_go_and_is_heard_once() {
        let mailbox = mailbox(1);
        assert_eq!(mailbox.push_now(&message(1), QoS::AtMostOnce), Pushed::Queued);
        let (waker, last) = (Waker::noop(), message(20));
        let mut cx = Context::from_waker(waker);
        let mut waiting = pin!(mailbox.push_waiting(&last));
        assert!(waiting.as_mut().poll(&mut cx).is_pending());
        assert!(mailbox.cut(Cut::Refused(Code::DeviceRevoked)));
        assert!(!mailbox.cut(Cut::TakenOver));
        assert_eq!(waiting.as_mut().poll(&mut cx), Poll::Ready(Pushed::Closed));
        assert_eq!((mailbox.len(), mailbox.wished()), (0, Some(Cut::Refused(Code::DeviceRevoked))));
        assert_eq!(mailbox.push_control(&message(1), QoS::AtMostOnce), Pushed::Closed);
        assert_eq!(mailbox.push_now(&message(1), QoS::AtMostOnce), Pushed::Closed);
    }

    #[test]
    fn control_passes_a_full_queue_but_not_without_end() {
        let mailbox = mailbox(1);
        assert_eq!(mailbox.push_now(&message(1), QoS::AtMostOnce), Pushed::Queued);
        for _ in 0..CONTROL_WAITING_MAX {
            assert_eq!(mailbox.push_control(&message(1), QoS::AtLeastOnce), Pushed::Queued);
        }
        assert_eq!(mailbox.push_control(&message(1), QoS::AtLeastOnce), Pushed::Full);
        while mailbox.pop().is_some() {}
        assert_eq!(mailbox.push_control(&message(1), QoS::AtLeastOnce), Pushed::Queued);
        assert_eq!(mailbox.push_now(&message(1), QoS::AtMostOnce), Pushed::Queued);
    }
}
