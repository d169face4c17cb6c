//! A store that fails on purpose, by seed: what callers have to live with, before a network makes it real.
//!
//! The same seed and the same calls in the same order fail the same way. It fails only as the contract allows: a conflict
//! only where something was expected, an unknown outcome with or without the transaction applied.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::{DeviceId, UnixTime};
use tokio::sync::watch;

use super::error::{Outage, StoreError};
use super::model::{
    Certificate, ChangeSeq, Counts, Device, DocumentId, FactoryCa, ManifestRow, Operator, Role, Service,
};
use super::query::{AuditQuery, Changes, Committed, DeviceQuery, Page};
use super::transaction::{Applied, Change, Transaction, TransactionId};
use super::{Store, StoreResult};
use crate::audit::{AuditHead, AuditRecord};

/// How often what fails, in thousandths of the calls.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Faults {
    /// Calls that answer `Unavailable`.
    pub unavailable_per_mille: u16,
    /// Transactions that answer `Unknown`; half of them were applied.
    pub unknown_per_mille: u16,
    /// Transactions with an expectation that answer `Conflict`.
    pub conflict_per_mille: u16,
    /// Longest delay of a call, before and after the work; by tokio's clock.
    pub delay_max: Duration,
    /// What becomes of wake-ups.
    pub signals: Signals,
}

/// What becomes of wake-ups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signals {
    /// They arrive.
    Passed,
    /// None ever does.
    Lost,
}

impl Faults {
    /// No faults at all.
    pub const NONE: Self = Self {
        unavailable_per_mille: 0,
        unknown_per_mille: 0,
        conflict_per_mille: 0,
        delay_max: Duration::ZERO,
        signals: Signals::Passed,
    };
}

/// A store in front of another one.
pub struct FaultyStore<S> {
    inner: S,
    faults: Faults,
    random: Mutex<u64>,
    /// Transactions whose outcome was left open: a conflict for one of them would be a lie if it was applied.
    open: Mutex<HashSet<TransactionId>>,
    /// Never sent on; kept so that receivers wait instead of ending.
    silence: watch::Sender<Committed>,
}

impl<S: Store> FaultyStore<S> {
    /// Fails as `faults` says, drawn from `seed`.
    pub fn new(inner: S, seed: u64, faults: Faults) -> Self {
        Self {
            inner,
            faults,
            random: Mutex::new(seed),
            open: Mutex::default(),
            silence: watch::channel(Committed::default()).0,
        }
    }

    /// The store behind it, for checks that must not fail.
    pub const fn inner(&self) -> &S {
        &self.inner
    }

    /// SplitMix64: small, and good enough to choose faults.
    fn draw(&self, below: u64) -> u64 {
        let mut state = locked(&self.random);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below.max(1)
    }

    fn happens(&self, per_mille: u16) -> bool {
        self.draw(1000) < u64::from(per_mille)
    }

    async fn delay(&self) {
        let millis = u64::try_from(self.faults.delay_max.as_millis()).unwrap_or(u64::MAX);
        if millis > 0 {
            tokio::time::sleep(Duration::from_millis(self.draw(millis.saturating_add(1)))).await;
        }
    }

    async fn before(&self) -> StoreResult<()> {
        self.delay().await;
        if self.happens(self.faults.unavailable_per_mille) {
            return Err(StoreError::Unavailable(Outage::Injected));
        }
        Ok(())
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that can panic happens under these locks.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn expects_something(transaction: &Transaction) -> bool {
    !transaction.expects.is_empty()
        || transaction.changes.iter().any(|change| matches!(change, Change::PutDevice { .. }))
}

impl<S: Store> Store for FaultyStore<S> {
    async fn apply(&self, transaction: Transaction) -> StoreResult<Applied> {
        self.before().await?;
        let expects = expects_something(&transaction) && !locked(&self.open).contains(&transaction.id);
        if expects && self.happens(self.faults.conflict_per_mille) {
            return Err(StoreError::Conflict);
        }
        if self.happens(self.faults.unknown_per_mille) {
            locked(&self.open).insert(transaction.id);
            if self.happens(500) {
                // A transaction that the store refuses was not applied; that too is an unknown outcome.
                let _ = self.inner.apply(transaction).await;
            }
            return Err(StoreError::Unknown);
        }
        let applied = self.inner.apply(transaction).await;
        self.delay().await;
        applied
    }

    async fn device(&self, device: &DeviceId) -> StoreResult<Option<Device>> {
        self.before().await?;
        self.inner.device(device).await
    }

    async fn device_by_idevid(&self, key: &KeyFingerprint) -> StoreResult<Option<Device>> {
        self.before().await?;
        self.inner.device_by_idevid(key).await
    }

    async fn certificates(&self, role: Role, holder: &DeviceId) -> StoreResult<Vec<Certificate>> {
        self.before().await?;
        self.inner.certificates(role, holder).await
    }

    async fn certificate(&self, serial: &Serial) -> StoreResult<Option<Certificate>> {
        self.before().await?;
        self.inner.certificate(serial).await
    }

    async fn certificate_by_key(&self, key: &KeyFingerprint) -> StoreResult<Option<Certificate>> {
        self.before().await?;
        self.inner.certificate_by_key(key).await
    }

    async fn page(&self, query: DeviceQuery) -> StoreResult<Page<Device>> {
        self.before().await?;
        self.inner.page(query).await
    }

    async fn changes_after(&self, seq: ChangeSeq, limit: u16) -> StoreResult<Changes> {
        self.before().await?;
        self.inner.changes_after(seq, limit).await
    }

    async fn audit_page(&self, query: AuditQuery) -> StoreResult<Vec<AuditRecord>> {
        self.before().await?;
        self.inner.audit_page(query).await
    }

    async fn audit_head(&self) -> StoreResult<AuditHead> {
        self.before().await?;
        self.inner.audit_head().await
    }

    async fn factory_cas(&self) -> StoreResult<Vec<FactoryCa>> {
        self.before().await?;
        self.inner.factory_cas().await
    }

    async fn manifests(&self) -> StoreResult<Vec<ManifestRow>> {
        self.before().await?;
        self.inner.manifests().await
    }

    async fn manifest(&self, id: DocumentId) -> StoreResult<Option<ManifestRow>> {
        self.before().await?;
        self.inner.manifest(id).await
    }

    async fn services(&self) -> StoreResult<Vec<Service>> {
        self.before().await?;
        self.inner.services().await
    }

    async fn service(&self, name: &DeviceId) -> StoreResult<Option<Service>> {
        self.before().await?;
        self.inner.service(name).await
    }

    async fn operators(&self) -> StoreResult<Vec<Operator>> {
        self.before().await?;
        self.inner.operators().await
    }

    async fn operator(&self, name: &DeviceId) -> StoreResult<Option<Operator>> {
        self.before().await?;
        self.inner.operator(name).await
    }

    async fn counts(&self) -> StoreResult<Counts> {
        self.before().await?;
        self.inner.counts().await
    }

    async fn expiry_histogram(&self, edges: &[UnixTime]) -> StoreResult<Vec<u64>> {
        self.before().await?;
        self.inner.expiry_histogram(edges).await
    }

    async fn meta(&self, key: &str) -> StoreResult<Option<String>> {
        self.before().await?;
        self.inner.meta(key).await
    }

    fn subscribe(&self) -> watch::Receiver<Committed> {
        match self.faults.signals {
            Signals::Passed => self.inner.subscribe(),
            Signals::Lost => self.silence.subscribe(),
        }
    }
}
