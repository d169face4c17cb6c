//! The one thread that writes. It takes what has queued up while the last commit was on its way to the disk and commits
//! it together: one fsync for many callers. Each transaction runs in a savepoint, so one that fails does not fail the
//! others, and nobody is answered before the commit is on disk.
//!
//! ```text
//! BEGIN;  SAVEPOINT; …; RELEASE;  SAVEPOINT; …; ROLLBACK TO;  …  UPDATE heads;  COMMIT (fsync);  answer all
//! ```
//!
//! Transactions with a manifest wait in a line of their own. Between two groups one slice of the first manifest's devices
//! is staged ([`super::import`]); when all lie ready, the transaction itself is a group of one.

use std::collections::VecDeque;
use std::fs::File;

use rusqlite::{Connection, params};
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot, watch};

use super::apply::{Heads, apply};
use super::column::{get, integer};
use super::failure::Failure;
use super::import::{self, Progress, SLICE_DEVICES, Staging};
use crate::audit::AuditHead;
use crate::store::StoreResult;
use crate::store::error::{Outage, StoreError};
use crate::store::query::Committed;
use crate::store::transaction::{Applied, Transaction};

/// Transactions that wait at most; the next caller waits for room.
pub(super) const QUEUE_TRANSACTIONS: usize = 1024;
/// Changes after which a group is closed. Bounds the time until the first of it is answered.
const GROUP_CHANGES_MAX: usize = 4096;
/// Changes after which the log is copied into the database file, behind the answers.
const CHECKPOINT_CHANGES: usize = 4096;

/// Where the answer to a transaction goes.
pub(super) type Answer = oneshot::Sender<StoreResult<Applied>>;

/// What the thread is asked.
pub(super) enum Job {
    /// Apply this and answer.
    Apply(Transaction, Answer),
    /// Finish, tidy up, end.
    Close,
}

/// A transaction with a manifest, on its way.
struct Import {
    transaction: Transaction,
    answer: Answer,
    staging: Option<Staging>,
}

/// The thread's belongings.
pub(super) struct Writer {
    connection: Connection,
    heads: Heads,
    committed: watch::Sender<Committed>,
    uncopied: usize,
    imports: VecDeque<Import>,
    /// Imports that came to nothing and whose devices still lie there.
    leftovers: VecDeque<i64>,
    /// Set when the disk failed; from then on nothing is written.
    down: Option<Outage>,
    /// Let go when everything else is.
    _lock: File,
}

impl Writer {
    /// Reads where the counters stand.
    pub(super) fn new(connection: Connection, lock: File) -> rusqlite::Result<(Self, watch::Receiver<Committed>)> {
        let heads = read_heads(&connection)?;
        warn_of_a_cut_audit(&connection, heads.audit)?;
        let (committed, receiver) = watch::channel(committed(&heads));
        let leftovers = import::under_way(&connection)?.into();
        let imports = VecDeque::new();
        let writer = Self { connection, heads, committed, uncopied: 0, imports, leftovers, down: None, _lock: lock };
        Ok((writer, receiver))
    }

    #[cfg(test)]
    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Runs until it is told to close or nobody is left to ask.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut open = true;
        while open {
            let is_idle = self.imports.is_empty() && self.leftovers.is_empty();
            let job = if is_idle { jobs.blocking_recv().ok_or(TryRecvError::Disconnected) } else { jobs.try_recv() };
            match job {
                Ok(Job::Apply(first, answer)) => open = self.group_up(first, answer, &mut jobs),
                Err(TryRecvError::Empty) => {}
                Ok(Job::Close) | Err(TryRecvError::Disconnected) => break,
            }
            self.import_a_little();
        }
        // What is still in line was not touched; dropping it would read as an unknown outcome. What was staged is cleared
        // away the next time.
        jobs.close();
        let waiting = std::iter::from_fn(|| match jobs.blocking_recv()? {
            Job::Apply(_, answer) => Some(Some(answer)),
            Job::Close => Some(None),
        });
        for answer in waiting.flatten().chain(self.imports.drain(..).map(|import| import.answer)) {
            let _ = answer.send(Err(StoreError::Unavailable(Outage::Closed)));
        }
        if self.down.is_none() {
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    /// Gathers a group behind its first transaction and writes it. `false` when told to close.
    fn group_up(&mut self, first: Transaction, answer: Answer, jobs: &mut mpsc::Receiver<Job>) -> bool {
        let (mut group, mut changes, mut open) = (Vec::new(), 0, true);
        let mut next = Some((first, answer));
        while let Some((transaction, answer)) = next.take() {
            if transaction.shipment().is_some() {
                self.line_up(transaction, answer);
            } else {
                changes += transaction.changes.len();
                group.push((transaction, answer));
            }
            if changes >= GROUP_CHANGES_MAX {
                break;
            }
            match jobs.try_recv() {
                Ok(Job::Apply(transaction, answer)) => next = Some((transaction, answer)),
                Ok(Job::Close) => open = false,
                Err(_) => {}
            }
        }
        if !group.is_empty() {
            self.answer(group, None);
            self.copy_log(changes);
        }
        open
    }

    /// Puts a transaction with a manifest behind the others of its kind.
    pub(super) fn line_up(&mut self, transaction: Transaction, answer: Answer) {
        self.imports.push_back(Import { transaction, answer, staging: None });
    }

    /// One step of the imports: clears away a slice of one that came to nothing, stages a slice, or has one whose devices
    /// all lie ready come in.
    pub(super) fn import_a_little(&mut self) {
        if let Some(outage) = &self.down {
            for import in self.imports.drain(..) {
                let _ = import.answer.send(Err(StoreError::Unavailable(outage.clone())));
            }
            self.leftovers.clear();
        } else if let Some(number) = self.leftovers.front().copied() {
            self.clear_away(number);
        } else if let Some(import) = self.imports.pop_front() {
            self.stage(import);
        }
    }

    fn stage(&mut self, mut import: Import) {
        match import::stage(&self.connection, &import.transaction, import.staging) {
            Ok(Progress::Staged(staging)) => {
                import.staging = Some(staging);
                self.imports.push_front(import);
                self.copy_log(SLICE_DEVICES);
            }
            Ok(Progress::Ready) => {
                let staging = import.staging;
                self.answer(vec![(import.transaction, import.answer)], staging);
                // When it was refused after all; there is nothing to clear away when it came in.
                self.leftovers.extend(staging.map(|staging| staging.number));
                self.copy_log(SLICE_DEVICES);
            }
            Err(failure) => {
                let answer = self.note(failure);
                let _ = import.answer.send(Err(answer));
                self.leftovers.extend(import.staging.map(|staging| staging.number));
            }
        }
    }

    fn clear_away(&mut self, number: i64) {
        match import::clear_away(&self.connection, number) {
            Ok(Progress::Staged(_)) => {}
            Ok(Progress::Ready) => {
                self.leftovers.pop_front();
            }
            Err(failure) => {
                // Hidden as it is, it does no harm; the next start tries again.
                let error = self.note(failure);
                tracing::warn!(%error, "what an import left behind could not be cleared away");
                self.leftovers.pop_front();
            }
        }
        self.copy_log(SLICE_DEVICES);
    }

    fn answer(&mut self, group: Vec<(Transaction, Answer)>, staging: Option<Staging>) {
        let (transactions, answers): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let results = match &self.down {
            Some(outage) => vec![Err(StoreError::Unavailable(outage.clone())); transactions.len()],
            None => self.write(&transactions, staging),
        };
        // Wake before the answers, so that whoever was answered finds the news already told.
        self.committed.send_if_modified(|told| {
            let now = committed(&self.heads);
            let news = *told != now;
            *told = now;
            news
        });
        for (answer, result) in answers.into_iter().zip(results) {
            // The caller may have given up waiting; that is its right.
            let _ = answer.send(result);
        }
    }

    /// Writes a group and gives each of its transactions an answer. A transaction whose manifest is staged stands alone.
    pub(super) fn write(
        &mut self,
        transactions: &[Transaction],
        staging: Option<Staging>,
    ) -> Vec<StoreResult<Applied>> {
        let broken = match self.group(transactions, staging) {
            Ok((results, heads)) => {
                self.heads = heads;
                return results;
            }
            Err(broken) => broken,
        };
        // After most errors SQLite has rolled back by itself, and this finds nothing to do.
        let _ = self.connection.execute_batch("ROLLBACK");
        let answer = match broken {
            Broken::Before(failure) => self.note(failure),
            Broken::AtCommit(failure) => {
                self.note(failure);
                StoreError::Unknown
            }
        };
        vec![Err(answer); transactions.len()]
    }

    /// Writes a group. Most errors fail one transaction; the ones returned fail the whole group.
    fn group(
        &self,
        transactions: &[Transaction],
        staging: Option<Staging>,
    ) -> Result<(Vec<StoreResult<Applied>>, Heads), Broken> {
        let run = |sql: &str| -> Result<(), Failure> {
            self.connection.prepare_cached(sql)?.execute([])?;
            Ok(())
        };
        let mut heads = self.heads;
        run("BEGIN IMMEDIATE")?;
        let mut results = Vec::with_capacity(transactions.len());
        for transaction in transactions {
            run("SAVEPOINT one")?;
            let mut own = heads;
            match apply(&self.connection, &mut own, transaction, staging) {
                Ok(applied) => {
                    heads = own;
                    results.push(Ok(applied));
                }
                // A full disk or a failed read may have rolled everything back; then the group is lost, not just one.
                Err(failure) if failure.is_fatal() || self.connection.is_autocommit() => return Err(failure.into()),
                Err(failure) => {
                    run("ROLLBACK TO one")?;
                    results.push(Err(failure.into_answer()));
                }
            }
            run("RELEASE one")?;
        }
        if heads != self.heads {
            write_heads(&self.connection, &heads).map_err(Failure::from)?;
        }
        // Only here the outcome can be open: the log may have been written, and its fsync may have failed.
        run("COMMIT").map_err(Broken::AtCommit)?;
        Ok((results, heads))
    }

    /// Turns a failure into an answer, and stops writing for good when it was the disk's.
    fn note(&mut self, failure: Failure) -> StoreError {
        let fatal = failure.is_fatal();
        let answer = failure.into_answer();
        if let (true, StoreError::Unavailable(outage)) = (fatal, &answer) {
            tracing::error!(%outage, "the store failed and stays down until the gateway is started again");
            self.down = Some(outage.clone());
        }
        answer
    }

    /// Copies the log into the database file now and then, when nobody waits for it.
    fn copy_log(&mut self, changes: usize) {
        self.uncopied += changes.max(1);
        if self.uncopied < CHECKPOINT_CHANGES || self.down.is_some() {
            return;
        }
        self.uncopied = 0;
        if let Err(error) = self.connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            self.note(error.into());
        }
    }
}

/// How far a group came that was not written.
enum Broken {
    /// Nothing of it was committed.
    Before(Failure),
    /// Whether it was committed is open.
    AtCommit(Failure),
}

impl From<Failure> for Broken {
    fn from(failure: Failure) -> Self {
        Self::Before(failure)
    }
}

const fn committed(heads: &Heads) -> Committed {
    Committed { change: heads.change, audit: heads.audit.seq }
}

pub(super) fn read_heads(connection: &Connection) -> rusqlite::Result<Heads> {
    connection.prepare_cached("SELECT change_seq, audit_seq, audit_hash FROM heads")?.query_row([], |row| {
        let audit = AuditHead { seq: get(row, 1)?, hash: get(row, 2)? };
        Ok(Heads { change: get(row, 0)?, audit })
    })
}

fn write_heads(connection: &Connection, heads: &Heads) -> rusqlite::Result<()> {
    let (change, audit) = (integer(heads.change.0), integer(heads.audit.seq));
    connection
        .prepare_cached("UPDATE heads SET change_seq = ?1, audit_seq = ?2, audit_hash = ?3")?
        .execute(params![change, audit, &heads.audit.hash.0[..]])
        .map(|_| ())
}

/// Tampering is for `audit verify` to find and must not keep a fleet offline; but it should not go unsaid either.
fn warn_of_a_cut_audit(connection: &Connection, head: AuditHead) -> rusqlite::Result<()> {
    let last: u64 = connection.query_row("SELECT coalesce(max(seq), 0) FROM audit", [], |row| get(row, 0))?;
    if last != head.seq {
        tracing::error!(last, head = head.seq, "the audit's end does not fit its head: records were removed or added");
    }
    Ok(())
}
