//! Live sessions by client id, who receives a message, and the way a session is cut from outside.
//!
//! One lock guards the sessions and one the subscriptions; both are held for a lookup, never across an await. A publish
//! returns when the bus has the message and every matching QoS 1 subscriber has room for it: until then the publisher has no
//! PUBACK, so nothing acknowledged waits where it could be lost. QoS 0 is dropped when there is no room, and counted.

mod publish;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use bytes::Bytes;
use muster_protocol::Code;

use super::SessionHandle;
use super::bus::{AnyBus, InProcess};
use super::mailbox::{Cut, Mailbox, Pushed};
use super::metrics::Metrics;
use super::packet::{Message, QoS, SubscribeOptions, Version};
use super::topic::{TopicFilter, TopicName};
use super::tree::{Subscriber, Tree};

/// Joins the connections of one gateway.
#[derive(Debug)]
pub struct Router {
    bus: AnyBus,
    tree: RwLock<Tree>,
    sessions: Mutex<Sessions>,
    last_connection: AtomicU64,
    last_epoch: AtomicU64,
    last_entry: AtomicU64,
    queue_units_max: u32,
    metrics: Metrics,
}

#[derive(Debug, Default)]
struct Sessions {
    live: HashMap<Arc<str>, Arc<Mailbox>>,
    /// Connections that are being admitted: a cut that comes now must not be missed.
    arriving: HashMap<u64, Arrival>,
    shutting_down: bool,
}

#[derive(Debug)]
struct Arrival {
    client_id: Arc<str>,
    ask_again: bool,
}

/// Why a session was not registered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NotRegistered {
    /// Something was cut while the gatekeeper decided: its answer may be old.
    AskAgain,
    /// The gateway stops.
    ShuttingDown,
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PublishError {
    /// The publishing session was taken over or cut.
    #[error("the session has ended")]
    Fenced,
    /// There was no room for too long.
    #[error("there is no room for the message")]
    Full,
    /// The bus did not answer for too long.
    #[error("the bus does not answer")]
    Unavailable,
}

/// What became of a message from the gateway to one client.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Delivered {
    /// It will be sent as soon as the client takes it.
    Queued,
    /// No live session, or not the one that was meant.
    NoSession,
    /// The session has not subscribed to the topic.
    NotSubscribed,
    /// Too many control messages wait for this client.
    NoRoom,
}

/// One live session, for status and console. Client id and peer are text from outside.
#[derive(Clone, Debug)]
pub struct SessionInfo {
    /// The handle that [`Router::answer`] and [`Router::cut_session`] take.
    pub handle: SessionHandle,
    /// Who it is and from where, as the gatekeeper put it.
    pub peer: String,
    /// Protocol version.
    pub protocol: Version,
    /// Since when.
    pub connected_at: SystemTime,
    /// Messages that the client published.
    pub messages_received: u64,
    /// Messages that were sent to the client.
    pub messages_sent: u64,
    /// Messages that wait for the client.
    pub messages_waiting: usize,
}

impl Router {
    /// A router on the in-process bus. `queue_units_max` bounds each session's queue, in KiB.
    #[must_use]
    pub fn new(queue_units_max: u32) -> Self {
        Self::on(AnyBus::InProcess(InProcess::default()), queue_units_max)
    }

    /// A router on a bus.
    #[must_use]
    pub fn on(bus: AnyBus, queue_units_max: u32) -> Self {
        Self {
            bus,
            tree: RwLock::default(),
            sessions: Mutex::default(),
            last_connection: AtomicU64::new(0),
            last_epoch: AtomicU64::new(0),
            last_entry: AtomicU64::new(0),
            queue_units_max: queue_units_max.max(1),
            metrics: Metrics::default(),
        }
    }

    /// The counters.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Sends a message of the gateway itself to everybody who subscribed.
    ///
    /// # Errors
    /// When the bus does not take it.
    pub async fn announce(&self, message: Message) -> Result<usize, PublishError> {
        self.publish(None, &Arc::new(message)).await
    }

    /// Sends a control message to the live session of a client, if it has subscribed to the topic. Never waits: control has
    /// its own small room in every queue.
    pub fn deliver(&self, client_id: &str, topic: &str, payload: impl Into<Bytes>, qos: QoS) -> Delivered {
        let mailbox = self.table().live.get(client_id).map(Arc::clone);
        self.deliver_to(mailbox, topic, payload.into(), qos)
    }

    /// As [`Self::deliver`], but only to the very session that asked: nothing is sent to one that took it over.
    pub fn answer(&self, to: &SessionHandle, topic: &str, payload: impl Into<Bytes>, qos: QoS) -> Delivered {
        let mailbox = self.table().live.get(to.client_id()).map(Arc::clone);
        let mailbox = mailbox.filter(|mailbox| mailbox.handle.epoch() == to.epoch());
        self.deliver_to(mailbox, topic, payload.into(), qos)
    }

    /// Ends the live session of a client. A connection that is just being admitted is judged again. True when a session
    /// was cut.
    pub fn cut(&self, client_id: &str, code: Code) -> bool {
        let mut sessions = self.table();
        for arrival in sessions.arriving.values_mut() {
            arrival.ask_again |= &*arrival.client_id == client_id;
        }
        let mailbox = sessions.live.get(client_id).map(Arc::clone);
        drop(sessions);
        mailbox.is_some_and(|mailbox| self.cut_mailbox(&mailbox, Cut::Refused(code)))
    }

    /// Ends this session and no other one.
    pub fn cut_session(&self, session: &SessionHandle, code: Code) -> bool {
        self.cut_where(code, |info| info.handle == *session) > 0
    }

    /// Ends every session that the caller picks. All connections that are just being admitted are judged again. Returns how
    /// many were cut.
    pub fn cut_where(&self, code: Code, mut pick: impl FnMut(&SessionInfo) -> bool) -> usize {
        let mut sessions = self.table();
        sessions.arriving.values_mut().for_each(|arrival| arrival.ask_again = true);
        let picked: Vec<_> = sessions.live.values().filter(|mailbox| pick(&info(mailbox))).map(Arc::clone).collect();
        drop(sessions);
        picked.iter().filter(|mailbox| self.cut_mailbox(mailbox, Cut::Refused(code))).count()
    }

    /// Ends every session and registers no new one.
    pub fn shut_down(&self) {
        let mut sessions = self.table();
        sessions.shutting_down = true;
        let all: Vec<_> = sessions.live.values().map(Arc::clone).collect();
        drop(sessions);
        all.iter().for_each(|mailbox| {
            mailbox.cut(Cut::ShuttingDown);
        });
    }

    /// The live sessions, in no order.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionInfo> {
        let mailboxes: Vec<_> = self.table().live.values().map(Arc::clone).collect();
        mailboxes.iter().filter(|mailbox| !mailbox.is_closed()).map(|mailbox| info(mailbox)).collect()
    }

    /// The live session of a client.
    #[must_use]
    pub fn session(&self, client_id: &str) -> Option<SessionInfo> {
        let mailbox = self.table().live.get(client_id).map(Arc::clone)?;
        (!mailbox.is_closed()).then(|| info(&mailbox))
    }

    /// Number of subscriptions.
    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.tree.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    pub(crate) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// To be called before the gatekeeper is asked, so that a cut in between is seen by [`Self::register`].
    pub(crate) fn arrive(&self, connection: u64, client_id: &Arc<str>) {
        let arrival = Arrival { client_id: Arc::clone(client_id), ask_again: false };
        self.table().arriving.insert(connection, arrival);
    }

    /// Forgets a connection that was not admitted.
    pub(crate) fn turn_away(&self, connection: u64) {
        self.table().arriving.remove(&connection);
    }

    /// Makes a session live; the old one of the same client ends.
    pub(crate) fn register(
        &self,
        connection: u64,
        client_id: &Arc<str>,
        peer: &str,
        version: Version,
    ) -> Result<Arc<Mailbox>, NotRegistered> {
        let mut sessions = self.table();
        let arrival = sessions.arriving.remove(&connection);
        if sessions.shutting_down {
            return Err(NotRegistered::ShuttingDown);
        }
        if arrival.is_none_or(|arrival| arrival.ask_again) {
            return Err(NotRegistered::AskAgain);
        }
        // Under the lock, so that a higher epoch is always the younger session.
        let epoch = self.last_epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let handle = SessionHandle::new(Arc::clone(client_id), epoch, connection);
        let mailbox = Arc::new(Mailbox::new(handle, peer, version, self.queue_units_max));
        let old = sessions.live.insert(Arc::clone(client_id), Arc::clone(&mailbox));
        drop(sessions);
        if old.is_some_and(|old| old.cut(Cut::TakenOver)) {
            self.metrics.taken_over.count();
        }
        self.metrics.sessions_started.count();
        self.metrics.sessions_open.count();
        Ok(mailbox)
    }

    /// Ends a session's part in routing.
    pub(crate) fn leave<'a>(&self, mailbox: &Arc<Mailbox>, filters: impl IntoIterator<Item = &'a TopicFilter>) {
        mailbox.close();
        let mut sessions = self.table();
        if sessions.live.get(mailbox.handle.client_id()).is_some_and(|live| Arc::ptr_eq(live, mailbox)) {
            sessions.live.remove(mailbox.handle.client_id());
        }
        drop(sessions);
        let mut tree = self.tree.write().unwrap_or_else(PoisonError::into_inner);
        for filter in filters {
            tree.remove(filter, mailbox);
        }
        drop(tree);
        self.metrics.sessions_open.take_back();
    }

    pub(crate) fn subscribe(&self, mailbox: &Arc<Mailbox>, filter: &TopicFilter, options: SubscribeOptions) {
        let subscriber = Subscriber { mailbox: Arc::clone(mailbox), options };
        self.tree.write().unwrap_or_else(PoisonError::into_inner).insert(filter, subscriber);
    }

    pub(crate) fn unsubscribe(&self, mailbox: &Arc<Mailbox>, filter: &TopicFilter) {
        self.tree.write().unwrap_or_else(PoisonError::into_inner).remove(filter, mailbox);
    }

    fn deliver_to(&self, mailbox: Option<Arc<Mailbox>>, topic: &str, payload: Bytes, qos: QoS) -> Delivered {
        let Some(mailbox) = mailbox else { return Delivered::NoSession };
        let Ok(topic) = TopicName::new(topic) else { return Delivered::NotSubscribed };
        let mut granted = None;
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        tree.matching(&topic, &mut |subscriber| {
            if Arc::ptr_eq(&subscriber.mailbox, &mailbox) {
                granted = granted.max(Some(subscriber.options.qos));
            }
        });
        drop(tree);
        let Some(granted) = granted else { return Delivered::NotSubscribed };
        let qos = qos.min(granted).min(QoS::AtLeastOnce);
        match mailbox.push_control(&Arc::new(Message::new(topic, payload, qos)), qos) {
            Pushed::Queued => {
                self.metrics.control_sent.count();
                Delivered::Queued
            }
            Pushed::Full => Delivered::NoRoom,
            Pushed::Closed => Delivered::NoSession,
        }
    }

    fn cut_mailbox(&self, mailbox: &Mailbox, cut: Cut) -> bool {
        let cut = mailbox.cut(cut);
        if cut {
            self.metrics.cut.count();
        }
        cut
    }

    fn table(&self) -> MutexGuard<'_, Sessions> {
        // Nothing panics while it is held; if it did, the table would still be whole.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn info(mailbox: &Mailbox) -> SessionInfo {
    SessionInfo {
        handle: mailbox.handle.clone(),
        peer: mailbox.peer.to_string(),
        protocol: mailbox.version,
        connected_at: mailbox.connected_at,
        messages_received: mailbox.received.load(Ordering::Relaxed),
        messages_sent: mailbox.sent.load(Ordering::Relaxed),
        messages_waiting: mailbox.len(),
    }
}

#[cfg(test)]
mod tests;
