//! The store: what a gateway must not forget, behind one trait.
//!
//! Devices with their registrar records, issued certificates, manifests, factory CAs, services, operators, the audit and
//! the list of changes that live sessions must hear of. Sessions and messages are not here, and no private key is.
//!
//! The rules that every implementation keeps, and `system-tests/src/contract/store.rs` checks:
//!
//! - A [`Transaction`] is applied whole or not at all, and [`Store::apply`] answers only when it is on disk.
//! - The same transaction id again gives the first answer and changes nothing. [`StoreError::Unknown`] is answered by
//!   sending the same transaction again.
//! - A write that was decided on an old row is a [`StoreError::Conflict`].
//! - [`Store::changes_after`] is in the order of the commits, without gaps: whoever has applied number *n* and reads the
//!   numbers behind *n* misses nothing. [`Store::subscribe`] only wakes; a lost wake-up costs time, never a change.
//! - The audit is a chain ([`crate::audit`]), continued in the transaction that does what it tells of.
//! - Readers see every transaction that was answered before they asked.
//!
//! The trait is not `dyn`: a second engine comes as one more variant of an enum. Futures may be dropped; a transaction
//! whose `apply` was dropped is applied or not, as with `Unknown`.

use std::future::Future;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::{DeviceId, UnixTime};
use tokio::sync::watch;

use crate::audit::{AuditHead, AuditRecord};

mod error;
mod faulty;
mod model;
mod query;
mod sqlite;
mod transaction;

pub use error::{Outage, Refusal, StoreError};
pub use faulty::{Faults, FaultyStore, Signals};
pub use model::{
    Certificate, ChangeSeq, Changed, Counts, Device, DocumentId, DocumentIdError, FactoryCa, ManifestRow, Operator,
    OperatorRole, Role, RowVersion, Service, Withdrawal,
};
pub use query::{
    AuditFrom, AuditQuery, Changes, Committed, DeviceQuery, HISTOGRAM_EDGES_MAX, PAGE_ROWS_MAX, Page, SEARCH_CHARS_MAX,
};
pub use sqlite::{DATABASE_FILE, LOCK_FILE, OpenError, SqliteStore};
pub use transaction::{
    Applied, CHANGES_MAX, Change, DER_BYTES_MAX, Expect, FILTER_BYTES_MAX, FILTERS_MAX, LABEL_BYTES_MAX,
    META_KEY_BYTES_MAX, META_VALUE_BYTES_MAX, NewCertificate, NewDevice, Outcome, REMEMBERED_TRANSACTIONS, Shipment,
    Transaction, TransactionId,
};

/// What every call answers.
pub type StoreResult<T> = Result<T, StoreError>;

/// The seam. Reads fail with [`StoreError::Unavailable`] only.
pub trait Store: Send + Sync + 'static {
    /// Applies a transaction. When this returns, it is durable.
    fn apply(&self, transaction: Transaction) -> impl Future<Output = StoreResult<Applied>> + Send;

    /// A device by its id.
    fn device(&self, device: &DeviceId) -> impl Future<Output = StoreResult<Option<Device>>> + Send;

    /// A device by the key of its IDevID.
    fn device_by_idevid(&self, key: &KeyFingerprint) -> impl Future<Output = StoreResult<Option<Device>>> + Send;

    /// All certificates of a holder, newest first, withdrawn ones included; at most [`PAGE_ROWS_MAX`].
    fn certificates(&self, role: Role, holder: &DeviceId)
    -> impl Future<Output = StoreResult<Vec<Certificate>>> + Send;

    /// A certificate by its serial number.
    fn certificate(&self, serial: &Serial) -> impl Future<Output = StoreResult<Option<Certificate>>> + Send;

    /// A certificate by its key.
    fn certificate_by_key(&self, key: &KeyFingerprint)
    -> impl Future<Output = StoreResult<Option<Certificate>>> + Send;

    /// Devices in the order of their ids.
    fn page(&self, query: DeviceQuery) -> impl Future<Output = StoreResult<Page<Device>>> + Send;

    /// Changes for live sessions behind a number.
    fn changes_after(&self, seq: ChangeSeq, limit: u16) -> impl Future<Output = StoreResult<Changes>> + Send;

    /// Audit records.
    fn audit_page(&self, query: AuditQuery) -> impl Future<Output = StoreResult<Vec<AuditRecord>>> + Send;

    /// Where the audit ends.
    fn audit_head(&self) -> impl Future<Output = StoreResult<AuditHead>> + Send;

    /// All factory CAs, oldest first.
    fn factory_cas(&self) -> impl Future<Output = StoreResult<Vec<FactoryCa>>> + Send;

    /// All manifests, newest import first; at most [`PAGE_ROWS_MAX`].
    fn manifests(&self) -> impl Future<Output = StoreResult<Vec<ManifestRow>>> + Send;

    /// A manifest, once it was imported.
    fn manifest(&self, id: DocumentId) -> impl Future<Output = StoreResult<Option<ManifestRow>>> + Send;

    /// All services, by name.
    fn services(&self) -> impl Future<Output = StoreResult<Vec<Service>>> + Send;

    /// A service by its name.
    fn service(&self, name: &DeviceId) -> impl Future<Output = StoreResult<Option<Service>>> + Send;

    /// All operators, by name.
    fn operators(&self) -> impl Future<Output = StoreResult<Vec<Operator>>> + Send;

    /// An operator by name.
    fn operator(&self, name: &DeviceId) -> impl Future<Output = StoreResult<Option<Operator>>> + Send;

    /// How many devices stand where.
    fn counts(&self) -> impl Future<Output = StoreResult<Counts>> + Send;

    /// How many devices hold a current certificate that expires in each interval. `edges` rise; the answer has one
    /// number more: before the first edge, between each two (the earlier included), from the last on. Devices that are
    /// revoked or retired are left out.
    fn expiry_histogram(&self, edges: &[UnixTime]) -> impl Future<Output = StoreResult<Vec<u64>>> + Send;

    /// A setting.
    fn meta(&self, key: &str) -> impl Future<Output = StoreResult<Option<String>>> + Send;

    /// Wakes after commits that changed one of its numbers. May skip and may lose wake-ups.
    fn subscribe(&self) -> watch::Receiver<Committed>;
}
