//! The store in one SQLite file: WAL, every commit fsynced, one writer thread with group commit, a few readers.
//!
//! Files of its directory: [`DATABASE_FILE`] (mode 0600; `-wal` and `-shm` beside it while open) and [`LOCK_FILE`], which
//! keeps two gateways from sharing a directory.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::{DeviceId, UnixTime};
use tokio::sync::{mpsc, oneshot, watch};

use self::column::{CERTIFICATE_COLUMNS, DEVICE_COLUMNS};
use self::read::Readers;
use self::writer::{Job, QUEUE_TRANSACTIONS, Writer};
use super::error::{Outage, StoreError};
use super::model::{
    Certificate, ChangeSeq, Counts, Device, DocumentId, FactoryCa, ManifestRow, Operator, Role, Service,
};
use super::query::{AuditQuery, Changes, Committed, DeviceQuery, PAGE_ROWS_MAX, Page};
use super::transaction::{Applied, Transaction};
use super::{Store, StoreResult};
use crate::audit::{AuditHead, AuditRecord};

mod apply;
mod change;
mod column;
mod failure;
mod import;
mod open;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod writer;

pub use open::{DATABASE_FILE, LOCK_FILE, OpenError};

/// A handle to the store; clones share it. The directory is free again when [`SqliteStore::close`] returns or the last
/// handle was dropped.
#[derive(Clone)]
pub struct SqliteStore(Arc<Shared>);

struct Shared {
    /// `None` only while the last handle is being dropped.
    jobs: Option<mpsc::Sender<Job>>,
    committed: watch::Receiver<Committed>,
    readers: Arc<Readers>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl SqliteStore {
    /// Opens the store in a directory, or makes one there. The directory must exist. Reads the whole file once to check
    /// it. Blocks; call it before the gateway listens.
    ///
    /// # Errors
    /// When another process has the directory, or the file is not ours, newer than this program, or damaged.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let opened = open::open(directory)?;
        let (writer, committed) = Writer::new(opened.writer, opened.lock)?;
        let readers = Arc::new(Readers::open(&opened.path)?);
        let (jobs, queue) = mpsc::channel(QUEUE_TRANSACTIONS);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer.run(queue))
            .map_err(|source| OpenError::Io { path: opened.path, source })?;
        let thread = Mutex::new(Some(thread));
        Ok(Self(Arc::new(Shared { jobs: Some(jobs), committed, readers, thread })))
    }

    /// Writes what is queued, copies the log into the database file and lets the directory go. Later calls on any handle
    /// answer [`Outage::Closed`].
    pub async fn close(&self) {
        let shared = Arc::clone(&self.0);
        if let Some(jobs) = &shared.jobs {
            // An error means that the thread has ended already.
            let _ = jobs.send(Job::Close).await;
        }
        let _ = tokio::task::spawn_blocking(move || shared.join()).await;
    }

    async fn find<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.0.readers.find(query).await
    }

    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&rusqlite::Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        self.0.readers.read(query).await
    }
}

impl Shared {
    fn join(&self) {
        self.readers.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The thread writes what is still queued and ends when nobody can ask any more.
        self.jobs = None;
        self.join();
    }
}

impl Store for SqliteStore {
    async fn apply(&self, transaction: Transaction) -> StoreResult<Applied> {
        let (sender, answer) = oneshot::channel();
        let closed = || StoreError::Unavailable(Outage::Closed);
        let jobs = self.0.jobs.as_ref().ok_or_else(closed)?;
        jobs.send(Job::Apply(transaction, sender)).await.map_err(|_| closed())?;
        // A thread that died holding the transaction may or may not have committed it.
        answer.await.unwrap_or(Err(StoreError::Unknown))
    }

    async fn device(&self, device: &DeviceId) -> StoreResult<Option<Device>> {
        let device = device.clone();
        let sql = format!("SELECT {DEVICE_COLUMNS} FROM registered WHERE id = ?1");
        self.find(move |connection| read::one(connection, &sql, [device.as_str()], column::device)).await
    }

    async fn device_by_idevid(&self, key: &KeyFingerprint) -> StoreResult<Option<Device>> {
        let key = *key;
        let sql = format!("SELECT {DEVICE_COLUMNS} FROM registered WHERE idevid = ?1");
        self.find(move |connection| read::one(connection, &sql, [&key.0[..]], column::device)).await
    }

    async fn certificates(&self, role: Role, holder: &DeviceId) -> StoreResult<Vec<Certificate>> {
        let holder = holder.clone();
        let sql = format!(
            "SELECT {CERTIFICATE_COLUMNS} FROM certificates WHERE holder = ?1 AND role = ?2
            ORDER BY number DESC LIMIT {PAGE_ROWS_MAX}"
        );
        self.read(move |connection| read::all(connection, &sql, [holder.as_str(), role.name()], column::certificate))
            .await
    }

    async fn certificate(&self, serial: &Serial) -> StoreResult<Option<Certificate>> {
        let serial = serial.clone();
        let sql = format!("SELECT {CERTIFICATE_COLUMNS} FROM certificates WHERE serial = ?1");
        self.find(move |connection| read::one(connection, &sql, [serial.as_bytes()], column::certificate)).await
    }

    async fn certificate_by_key(&self, key: &KeyFingerprint) -> StoreResult<Option<Certificate>> {
        let key = *key;
        let sql = format!("SELECT {CERTIFICATE_COLUMNS} FROM certificates WHERE key = ?1");
        self.find(move |connection| read::one(connection, &sql, [&key.0[..]], column::certificate)).await
    }

    async fn page(&self, query: DeviceQuery) -> StoreResult<Page<Device>> {
        self.read(move |connection| read::page(connection, &query)).await
    }

    async fn changes_after(&self, seq: ChangeSeq, limit: u16) -> StoreResult<Changes> {
        self.read(move |connection| read::changes_after(connection, seq, limit)).await
    }

    async fn audit_page(&self, query: AuditQuery) -> StoreResult<Vec<AuditRecord>> {
        self.read(move |connection| read::audit_page(connection, &query)).await
    }

    async fn audit_head(&self) -> StoreResult<AuditHead> {
        self.find(|connection| writer::read_heads(connection).map(|heads| heads.audit)).await
    }

    async fn factory_cas(&self) -> StoreResult<Vec<FactoryCa>> {
        let sql = "SELECT id, key, subject, der, not_after, added_at FROM factory_cas ORDER BY number";
        self.read(move |connection| read::all(connection, sql, [], column::factory_ca)).await
    }

    async fn manifests(&self) -> StoreResult<Vec<ManifestRow>> {
        let sql = "SELECT id, product, lot, devices, made_at, imported_at, signer FROM manifests
            WHERE is_complete ORDER BY number DESC LIMIT ?1";
        self.read(move |connection| read::all(connection, sql, [PAGE_ROWS_MAX], column::manifest)).await
    }

    async fn manifest(&self, id: DocumentId) -> StoreResult<Option<ManifestRow>> {
        let sql = "SELECT id, product, lot, devices, made_at, imported_at, signer FROM manifests
            WHERE is_complete AND id = ?1";
        self.find(move |connection| read::one(connection, sql, [&id.0[..]], column::manifest)).await
    }

    async fn services(&self) -> StoreResult<Vec<Service>> {
        let sql = "SELECT name, publish, subscribe, any_client_id, updated_at FROM services ORDER BY name";
        self.read(move |connection| read::all(connection, sql, [], column::service)).await
    }

    async fn service(&self, name: &DeviceId) -> StoreResult<Option<Service>> {
        let name = name.clone();
        let sql = "SELECT name, publish, subscribe, any_client_id, updated_at FROM services WHERE name = ?1";
        self.find(move |connection| read::one(connection, sql, [name.as_str()], column::service)).await
    }

    async fn operators(&self) -> StoreResult<Vec<Operator>> {
        let sql = "SELECT name, role, serial, updated_at FROM operators ORDER BY name";
        self.read(move |connection| read::all(connection, sql, [], column::operator)).await
    }

    async fn operator(&self, name: &DeviceId) -> StoreResult<Option<Operator>> {
        let name = name.clone();
        let sql = "SELECT name, role, serial, updated_at FROM operators WHERE name = ?1";
        self.find(move |connection| read::one(connection, sql, [name.as_str()], column::operator)).await
    }

    async fn counts(&self) -> StoreResult<Counts> {
        self.read(read::counts).await
    }

    async fn expiry_histogram(&self, edges: &[UnixTime]) -> StoreResult<Vec<u64>> {
        let edges = edges.to_vec();
        self.read(move |connection| read::expiry_histogram(connection, &edges)).await
    }

    async fn meta(&self, key: &str) -> StoreResult<Option<String>> {
        let key = key.to_owned();
        let sql = "SELECT value FROM meta WHERE key = ?1";
        self.find(move |connection| read::one(connection, sql, [key], |row| row.get(0))).await
    }

    fn subscribe(&self) -> watch::Receiver<Committed> {
        self.0.committed.clone()
    }
}
