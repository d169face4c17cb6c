//! The way of a message: onto the bus, then to everybody who subscribed.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use super::{PublishError, Router};
use crate::mqtt::bus::{Bus, BusError, Entry, Origin};
use crate::mqtt::mailbox::{Mailbox, Pushed};
use crate::mqtt::metrics::Metrics;
use crate::mqtt::packet::{Message, QoS};

impl Router {
    /// Takes a message: returns how many sessions it went to, once the bus has it and all of them had room.
    pub(crate) async fn publish(
        &self,
        from: Option<&Arc<Mailbox>>,
        message: &Arc<Message>,
    ) -> Result<usize, PublishError> {
        if from.is_some_and(|from| from.is_closed()) {
            return Err(PublishError::Fenced);
        }
        self.publish_will(from, message).await
    }

    /// As [`Self::publish`], for the message of a session that has ended.
    pub(crate) async fn publish_will(
        &self,
        from: Option<&Arc<Mailbox>>,
        message: &Arc<Message>,
    ) -> Result<usize, PublishError> {
        self.append(from, message).await?;
        let targets = self.targets(from, message);
        for (mailbox, qos) in &targets {
            let pushed = mailbox.push_now(message, *qos);
            if pushed != Pushed::Full {
                continue;
            }
            if *qos == QoS::AtMostOnce {
                self.metrics.dropped_queue_full.count();
                continue;
            }
            let waiting = Waiting::new(&self.metrics);
            mailbox.push_waiting(message).await;
            drop(waiting);
        }
        Ok(targets.len())
    }

    /// An append whose outcome is not known is repeated under the same id until the bus answers.
    async fn append(&self, from: Option<&Arc<Mailbox>>, message: &Arc<Message>) -> Result<(), PublishError> {
        let origin = from.map(|from| Origin { client_id: from.handle.client_id(), epoch: from.handle.epoch() });
        let id = self.last_entry.fetch_add(1, Ordering::Relaxed) + 1;
        let mut pause = APPEND_PAUSE_MIN;
        let mut waited = Duration::ZERO;
        loop {
            let error = match self.bus.append(Entry { origin, id, message }).await {
                Ok(_) => return Ok(()),
                Err(BusError::Fenced) => return Err(PublishError::Fenced),
                Err(error) => error,
            };
            if waited >= APPEND_DEADLINE {
                return Err(if error == BusError::Full { PublishError::Full } else { PublishError::Unavailable });
            }
            self.metrics.appends_repeated.count();
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = (pause * 2).min(APPEND_PAUSE_MAX);
        }
    }

    /// Each session once, with the best quality that its matching subscriptions and the message allow.
    fn targets(&self, from: Option<&Arc<Mailbox>>, message: &Message) -> Vec<(Arc<Mailbox>, QoS)> {
        let mut targets: Vec<(Arc<Mailbox>, QoS)> = Vec::new();
        let tree = self.tree.read().unwrap_or_else(PoisonError::into_inner);
        tree.matching(&message.topic, &mut |subscriber| {
            let own = from.is_some_and(|from| Arc::ptr_eq(from, &subscriber.mailbox));
            if !(own && subscriber.options.no_local) {
                let qos = subscriber.options.qos.min(message.qos).min(QoS::AtLeastOnce);
                targets.push((Arc::clone(&subscriber.mailbox), qos));
            }
        });
        drop(tree);
        if targets.len() > 1 {
            targets.sort_unstable_by_key(|(mailbox, qos)| (Arc::as_ptr(mailbox), std::cmp::Reverse(*qos)));
            targets.dedup_by(|later, kept| Arc::ptr_eq(&later.0, &kept.0));
        }
        targets
    }
}

/// Counts a waiting publish until it is done or dropped.
struct Waiting<'a>(&'a Metrics);

impl<'a> Waiting<'a> {
    fn new(metrics: &'a Metrics) -> Self {
        metrics.publishes_waiting.count();
        Self(metrics)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.publishes_waiting.take_back();
    }
}

/// How long an append is repeated before the publisher is told.
pub(super) const APPEND_DEADLINE: Duration = Duration::from_secs(30);
const APPEND_PAUSE_MIN: Duration = Duration::from_millis(20);
const APPEND_PAUSE_MAX: Duration = Duration::from_secs(1);
