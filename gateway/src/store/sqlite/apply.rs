//! One transaction inside the group that is being written: its id, its expectations, its answer. What its changes do is in
//! [`super::change`].
//!
//! Runs on the writer thread, inside a savepoint. Whatever fails here fails this transaction alone.

use rusqlite::{Connection, OptionalExtension, params};

use super::change::Work;
use super::column::{get, integer, optional};
use super::failure::Failure;
use super::import::Staging;
use crate::audit::AuditHead;
use crate::store::error::StoreError;
use crate::store::model::{ChangeSeq, RowVersion};
use crate::store::transaction::{Applied, Expect, Outcome, REMEMBERED_TRANSACTIONS, Transaction};

/// The counters and the end of the audit chain. Each transaction works on a copy; the group writes the last one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Heads {
    pub(super) change: ChangeSeq,
    pub(super) audit: AuditHead,
}

/// Applies one transaction, or finds that it was applied before. The devices of its manifest may lie ready.
pub(super) fn apply(
    connection: &Connection,
    heads: &mut Heads,
    transaction: &Transaction,
    staging: Option<Staging>,
) -> Result<Applied, Failure> {
    transaction.check()?;
    if let Some(applied) = remembered(connection, transaction)? {
        return Ok(applied);
    }
    for expect in &transaction.expects {
        hold(connection, expect)?;
    }
    let before = heads.change;
    let mut work = Work::new(connection, heads, staging);
    let outcomes =
        transaction.changes.iter().map(|change| work.change(change)).collect::<Result<Vec<Outcome>, Failure>>()?;
    let applied = Applied { change_seq: (heads.change > before).then_some(heads.change), outcomes };
    remember(connection, transaction, &applied)?;
    Ok(applied)
}

pub(super) fn remembered(connection: &Connection, transaction: &Transaction) -> Result<Option<Applied>, Failure> {
    let found = connection
        .prepare_cached("SELECT change_seq, outcomes FROM transactions WHERE id = ?1")?
        .query_row([&transaction.id.0[..]], |row| Ok((optional(row, 0)?, row.get::<_, String>(1)?)))
        .optional()?;
    let Some((change_seq, outcomes)) = found else { return Ok(None) };
    let outcomes: Vec<i64> = serde_json::from_str(&outcomes)?;
    let outcome = |number: i64| match number {
        0 => Outcome::Done,
        version @ 1.. => Outcome::Written(RowVersion(version.unsigned_abs())),
        -1 => Outcome::AlreadyThere,
        added => Outcome::Added(u32::try_from(added.unsigned_abs() - 2).unwrap_or(u32::MAX)),
    };
    let outcomes = outcomes.into_iter().map(outcome).collect();
    Ok(Some(Applied { change_seq, outcomes }))
}

fn remember(connection: &Connection, transaction: &Transaction, applied: &Applied) -> Result<(), Failure> {
    let number = |outcome: &Outcome| match outcome {
        Outcome::Done => 0,
        Outcome::Written(version) => integer(version.0),
        Outcome::AlreadyThere => -1,
        Outcome::Added(added) => -2 - i64::from(*added),
    };
    let outcomes = serde_json::to_string(&applied.outcomes.iter().map(number).collect::<Vec<i64>>())?;
    let number = connection
        .prepare_cached("INSERT INTO transactions (id, change_seq, outcomes) VALUES (?1, ?2, ?3)")?
        .insert(params![&transaction.id.0[..], applied.change_seq.map(|seq| integer(seq.0)), outcomes])?;
    if number % 1024 == 0 {
        connection
            .prepare_cached("DELETE FROM transactions WHERE number <= ?1")?
            .execute([number.saturating_sub(integer(REMEMBERED_TRANSACTIONS))])?;
    }
    Ok(())
}

fn hold(connection: &Connection, expect: &Expect) -> Result<(), Failure> {
    let holds = match expect {
        Expect::Device { device, version } => connection
            .prepare_cached("SELECT version FROM registered WHERE id = ?1")?
            .query_row([device.as_str()], |row| get::<u64>(row, 0))
            .optional()?
            .is_some_and(|found| found == version.0),
        Expect::Meta { key, value } => {
            let found = connection
                .prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |row| row.get::<_, String>(0))
                .optional()?;
            found == *value
        }
    };
    if holds { Ok(()) } else { Err(StoreError::Conflict.into()) }
}
