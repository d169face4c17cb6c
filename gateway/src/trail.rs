//! Audit events of the edge, written behind its back: a bounded queue, and one task that writes what has gathered as one
//! transaction.
//!
//! For what changes nothing: a handshake, a topic that was refused, a session that was cut, when a device was seen. What
//! changes something is written in the transaction of the change. When the store does not keep up, the newest events are
//! dropped and counted; the next one that is written says how many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use muster_protocol::{DeviceId, UnixTime};
use tokio::sync::mpsc;

use crate::audit::AuditEvent;
use crate::registrar::apply_until_known;
use crate::store::{Change, Store, StoreError, Transaction};

/// Takes events. Cheap to clone; the task ends when the last one is dropped.
#[derive(Clone, Debug)]
pub struct Trail {
    notes: mpsc::Sender<Note>,
    dropped: Arc<AtomicU64>,
}

/// The task that writes.
#[derive(Debug)]
pub struct Writer<S> {
    store: Arc<S>,
    notes: mpsc::Receiver<Note>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Note {
    Event(Box<AuditEvent>),
    Seen(DeviceId, UnixTime),
}

impl Trail {
    /// A trail, and the task to be spawned for it.
    #[must_use]
    pub fn new<S: Store>(store: Arc<S>) -> (Self, Writer<S>) {
        let (sender, notes) = mpsc::channel(QUEUE_NOTES);
        let dropped = Arc::new(AtomicU64::new(0));
        (Self { notes: sender, dropped: Arc::clone(&dropped) }, Writer { store, notes, dropped })
    }

    /// Hands an event over. Never waits.
    pub fn record(&self, event: AuditEvent) {
        if self.notes.try_send(Note::Event(Box::new(event))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that a device was heard of. Never waits; a note that is lost is made up for by the next one.
    pub fn seen(&self, device: &DeviceId, at: UnixTime) {
        let _ = self.notes.try_send(Note::Seen(device.clone(), at));
    }
}

impl<S: Store> Writer<S> {
    /// Writes until the last [`Trail`] is dropped and the queue is empty.
    pub async fn run(mut self) {
        let mut batch = Vec::new();
        while self.gather(&mut batch).await {
            let mut dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                tracing::warn!(dropped, "the store does not keep up; audit events of handshakes were dropped");
            }
            let mut events = 0;
            let mut changes = Vec::with_capacity(batch.len());
            for note in batch.drain(..) {
                changes.push(match note {
                    Note::Event(event) => {
                        events += 1;
                        let told = std::mem::take(&mut dropped);
                        Change::Audit(if told > 0 { Box::new(event.detail("dropped_before", told)) } else { event })
                    }
                    Note::Seen(device, at) => Change::LastSeen { device, at },
                });
            }
            let lost = if self.write(changes).await { 0 } else { events };
            self.dropped.fetch_add(lost + dropped, Ordering::Relaxed);
        }
    }

    /// Waits for the first note, then a moment for more: a commit costs the same for one and for a hundred. False when
    /// there will be none any more.
    async fn gather(&mut self, batch: &mut Vec<Note>) -> bool {
        if self.notes.recv_many(batch, BATCH_NOTES).await == 0 {
            return false;
        }
        let more = async {
            while batch.len() < BATCH_NOTES && self.notes.recv_many(batch, BATCH_NOTES - batch.len()).await > 0 {}
        };
        // Over, full, or nobody is left to send: each is a reason to write.
        let _ = tokio::time::timeout(LINGER, more).await;
        true
    }

    /// Whether it was written.
    async fn write(&self, changes: Vec<Change>) -> bool {
        let transaction = Transaction::new(changes);
        for _ in 0..ATTEMPTS_MAX {
            match apply_until_known(&*self.store, transaction.clone()).await {
                Ok(_) => return true,
                Err(StoreError::Unavailable(outage)) => {
                    tracing::error!(%outage, "the audit cannot be written now");
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                Err(error) => {
                    tracing::error!(%error, "audit events could not be written");
                    return false;
                }
            }
        }
        false
    }
}

/// Events and sightings that may wait.
const QUEUE_NOTES: usize = 8192;
/// How many go into one transaction.
const BATCH_NOTES: usize = 256;
const ATTEMPTS_MAX: usize = 3;
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long the first note of a batch waits for others.
const LINGER: Duration = Duration::from_millis(25);
