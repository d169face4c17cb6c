//! The seam behind a publish: an append that is awaited before PUBACK.
//!
//! In one process nothing is stored: the append takes a number, and delivery follows. A log shared by several gateways comes
//! behind the same trait; the errors tell apart what such a log can answer, and every caller already handles all of them.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};

use super::packet::Message;

/// Who publishes: an append under an old epoch is answered with [`BusError::Fenced`].
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The session's client id.
    pub client_id: &'a str,
    /// Its epoch.
    pub epoch: u64,
}

/// What one publish appends.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// The session that publishes, absent for the gateway itself.
    pub origin: Option<Origin<'a>>,
    /// Repeated with the same number when the outcome was unknown, so that a log can drop the second one.
    pub id: u64,
    /// The message.
    pub message: &'a Message,
}

/// Where an entry stands.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Sequence(pub u64);

/// Why an append was not confirmed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BusError {
    /// The session was taken over: it must not publish any more.
    #[error("another session of this client has taken over")]
    Fenced,
    /// The log takes no more now.
    #[error("the log is full")]
    Full,
    /// Nothing was appended; later it may be.
    #[error("the log does not answer")]
    Unavailable,
    /// It may have been appended: repeat with the same id.
    #[error("the outcome of the append is unknown")]
    Unknown,
}

/// Takes messages before they are acknowledged.
pub trait Bus: Send + Sync + 'static {
    /// Returns once the entry is as safe as this bus makes it.
    fn append(&self, entry: Entry<'_>) -> impl Future<Output = Result<Sequence, BusError>> + Send;
}

/// The bus of a single gateway: no storage, a counter.
#[derive(Debug, Default)]
pub struct InProcess {
    last: AtomicU64,
}

impl Bus for InProcess {
    async fn append(&self, _entry: Entry<'_>) -> Result<Sequence, BusError> {
        Ok(Sequence(self.last.fetch_add(1, Ordering::Relaxed) + 1))
    }
}

/// The bus in use. An enum, because the trait cannot be a trait object.
#[derive(Debug)]
pub enum AnyBus {
    /// A single gateway.
    InProcess(InProcess),
    /// A bus that fails as a test asks for.
    #[cfg(test)]
    Faulty(faulty::FaultyBus),
}

impl Bus for AnyBus {
    async fn append(&self, entry: Entry<'_>) -> Result<Sequence, BusError> {
        match self {
            Self::InProcess(bus) => bus.append(entry).await,
            #[cfg(test)]
            Self::Faulty(bus) => bus.append(entry).await,
        }
    }
}

#[cfg(test)]
pub(crate) mod faulty {
    //! Answers in an order that the test wrote down, then like the in-process bus.

    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::{Bus, BusError, Entry, InProcess, Sequence};

    #[derive(Debug, Default)]
    pub struct FaultyBus {
        inner: InProcess,
        faults: Mutex<VecDeque<BusError>>,
        ids: Mutex<Vec<u64>>,
    }

    impl FaultyBus {
        pub(crate) fn new(faults: &[BusError]) -> Self {
            Self { faults: Mutex::new(faults.iter().copied().collect()), ..Self::default() }
        }

        pub(crate) fn ids(&self) -> Vec<u64> {
            self.ids.lock().map(|ids| ids.clone()).unwrap_or_default()
        }
    }

    impl Bus for FaultyBus {
        async fn append(&self, entry: Entry<'_>) -> Result<Sequence, BusError> {
            if let Ok(mut ids) = self.ids.lock() {
                ids.push(entry.id);
            }
            let fault = self.faults.lock().ok().and_then(|mut faults| faults.pop_front());
            match fault {
                Some(fault) => Err(fault),
                None => self.inner.append(entry).await,
            }
        }
    }
}
