//! One holder at a time per device: a map of locks that has an entry only while somebody holds or waits.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use muster_protocol::DeviceId;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How many may hold or wait for one device. A device has one session and sends one message after the other, so more
/// are connections that hammer.
const CLAIMS_MAX: usize = 32;

type Lock = Arc<AsyncMutex<()>>;

/// The locks. As large as there are calls under way, and no larger.
#[derive(Debug, Default)]
pub(super) struct Leases {
    locks: Mutex<HashMap<DeviceId, Lock>>,
}

/// The device is held until this is dropped.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    // Dropped before the claim, which counts the references that are left.
    _guard: OwnedMutexGuard<()>,
    _claim: Claim<'a>,
}

#[derive(Debug)]
struct Claim<'a> {
    leases: &'a Leases,
    device: DeviceId,
    lock: Option<Lock>,
}

impl Leases {
    /// Waits for the device. `None` when too many wait already.
    pub(super) async fn hold(&self, device: &DeviceId) -> Option<Lease<'_>> {
        let (claim, lock) = self.claim(device)?;
        let guard = lock.lock_owned().await;
        Some(Lease { _guard: guard, _claim: claim })
    }

    fn claim(&self, device: &DeviceId) -> Option<(Claim<'_>, Lock)> {
        let mut locks = self.locks.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = locks.entry(device.clone()).or_default();
        // One reference is the map's, and each claim has two.
        if Arc::strong_count(lock) > 2 * CLAIMS_MAX {
            return None;
        }
        let lock = Arc::clone(lock);
        Some((Claim { leases: self, device: device.clone(), lock: Some(Arc::clone(&lock)) }, lock))
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.locks.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut locks = self.leases.locks.lock().unwrap_or_else(PoisonError::into_inner);
        self.lock = None;
        if locks.get(&self.device).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            locks.remove(&self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left() {
        let leases = Leases::default();
        let (a, b) = (DeviceId::new("a").unwrap(), DeviceId::new("b").unwrap());
        let mut context = Context::from_waker(Waker::noop());
        let held = leases.hold(&a).await.unwrap();
        let other = leases.hold(&b).await.unwrap();
        {
            let mut waits = pin!(leases.hold(&a));
            assert!(waits.as_mut().poll(&mut context).is_pending());
            drop(held);
            assert!(waits.as_mut().poll(&mut context).is_ready());
        }
        assert_eq!(leases.len(), 1);
        drop(other);
        assert_eq!(leases.len(), 0);
    }

    #[tokio::test]
    async fn whoever_stops_waiting_leaves_nothing_behind() {
        let leases = Leases::default();
        let a = DeviceId::new("a").unwrap();
        let held = leases.hold(&a).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        {
            let mut waits = pin!(leases.hold(&a));
            assert!(waits.as_mut().poll(&mut context).is_pending());
        }
        drop(held);
        assert_eq!(leases.len(), 0);
    }

    #[tokio::test]
    async fn a_crowd_is_turned_away() {
        let leases = Leases::default();
        let a = DeviceId::new("a").unwrap();
        let _held = leases.hold(&a).await.unwrap();
        let mut crowd: Vec<_> = (1..CLAIMS_MAX).map(|_| Box::pin(leases.hold(&a))).collect();
        let mut context = Context::from_waker(Waker::noop());
        assert!(crowd.iter_mut().all(|waits| waits.as_mut().poll(&mut context).is_pending()));
        assert!(leases.hold(&a).await.is_none());
    }
}
