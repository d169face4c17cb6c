//! What others in this process may ask of a running agent: the local socket, the command line, a swarm.

use std::sync::Arc;

use bytes::Bytes;
use muster_protocol::{Code, DeviceId};
use tokio::sync::{mpsc, oneshot, watch};

use super::local::Delivery;
use super::status::Status;
use crate::mqtt::Quality;

/// An answer to whoever asked; dropped when the agent went away first.
pub(super) type Answer<T = ()> = oneshot::Sender<Result<T, Refusal>>;

/// Something asked of the loop.
pub(super) enum Request {
    Publish { topic: String, payload: Bytes, quality: Quality, answer: Answer },
    Attach { deliveries: mpsc::Sender<Arc<Delivery>>, answer: Answer<u64> },
    Subscribe { subscriber: u64, filter: String, answer: Answer },
    Unsubscribe { subscriber: u64, filter: String, answer: Answer },
    Detach { subscriber: u64 },
    Rotate { answer: Answer },
    Retire { answer: Answer },
    Stop,
}

/// Why something that was asked was not done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable code: the gateway's own, or one of `agent.…`, `topic.…`, `request.…`.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
}

impl Refusal {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(super) fn offline() -> Self {
        Self::new("agent.offline", "the device has no session under its certificate now; try again")
    }

    pub(super) fn busy() -> Self {
        Self::new("agent.busy", "too much is waiting to be sent; try again")
    }

    fn gone() -> Self {
        Self::new("agent.stopped", "the agent is not running any more")
    }
}

impl From<Code> for Refusal {
    fn from(code: Code) -> Self {
        Self::new(code.name(), code.text())
    }
}

/// Talks to a running agent. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    device: DeviceId,
    requests: mpsc::Sender<Request>,
    status: watch::Receiver<Arc<Status>>,
}

impl Handle {
    pub(super) fn new(device: &DeviceId) -> (Self, mpsc::Receiver<Request>) {
        let (requests, received) = mpsc::channel(REQUESTS_MAX);
        let (_, status) = watch::channel(Arc::new(Status::starting(device)));
        (Self { device: device.clone(), requests, status }, received)
    }

    pub(super) fn with_status(self, status: watch::Receiver<Arc<Status>>) -> Self {
        Self { status, ..self }
    }

    /// The device that the agent is for.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        &self.device
    }

    /// What the agent says of itself now.
    #[must_use]
    pub fn status(&self) -> Arc<Status> {
        Arc::clone(&self.status.borrow())
    }

    /// Follows what the agent says of itself.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Waits until `reached` holds; the status then, or a refusal when the agent ended before.
    pub async fn until(&self, reached: impl FnMut(&Arc<Status>) -> bool) -> Result<Arc<Status>, Refusal> {
        let mut watch = self.watch();
        watch.wait_for(reached).await.map(|status| Arc::clone(&status)).map_err(|_| Refusal::gone())
    }

    /// Publishes under `devices/<device-id>/`. Returns when the gateway has acknowledged it, or at once with QoS 0.
    pub async fn publish(&self, topic: &str, payload: Bytes, quality: Quality) -> Result<(), Refusal> {
        let topic = topic.to_owned();
        self.ask(|answer| Request::Publish { topic, payload, quality, answer }).await
    }

    /// A place for publications that come for filters subscribed with it; `queue_max` may wait to be read.
    pub async fn attach(&self, queue_max: usize) -> Result<Subscription, Refusal> {
        let (sender, deliveries) = mpsc::channel(queue_max.max(1));
        let id = self.ask(|answer| Request::Attach { deliveries: sender, answer }).await?;
        Ok(Subscription { id, handle: self.clone(), deliveries })
    }

    /// Asks for a new key and certificate. Returns when the device has taken it on, not when it is done.
    pub async fn rotate(&self) -> Result<(), Refusal> {
        self.ask(|answer| Request::Rotate { answer }).await
    }

    /// Gives the identity up for good. Returns when it is done.
    pub async fn retire(&self) -> Result<(), Refusal> {
        self.ask(|answer| Request::Retire { answer }).await
    }

    /// Ends the agent's run, politely to the gateway.
    pub async fn stop(&self) {
        let _ = self.requests.send(Request::Stop).await;
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, Refusal> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(request(answer)).await.map_err(|_| Refusal::gone())?;
        answered.await.unwrap_or_else(|_| Err(Refusal::offline()))
    }
}

/// One subscriber's filters and deliveries. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    id: u64,
    handle: Handle,
    deliveries: mpsc::Receiver<Arc<Delivery>>,
}

impl Subscription {
    /// Adds a filter below `devices/<device-id>/`. It outlives sessions: the agent subscribes again on each.
    pub async fn add(&self, filter: &str) -> Result<(), Refusal> {
        let (subscriber, filter) = (self.id, filter.to_owned());
        self.handle.ask(|answer| Request::Subscribe { subscriber, filter, answer }).await
    }

    /// Takes a filter away.
    pub async fn remove(&self, filter: &str) -> Result<(), Refusal> {
        let (subscriber, filter) = (self.id, filter.to_owned());
        self.handle.ask(|answer| Request::Unsubscribe { subscriber, filter, answer }).await
    }

    /// The next publication; `None` when the agent ended or dropped this subscriber for being slow. Safe to cancel.
    pub async fn next(&mut self) -> Option<Arc<Delivery>> {
        self.deliveries.recv().await
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        // A full queue is no harm: the loop also notices a subscriber whose deliveries go nowhere.
        let _ = self.handle.requests.try_send(Request::Detach { subscriber: self.id });
    }
}

/// Requests that may wait for the loop.
const REQUESTS_MAX: usize = 64;
