//! A change of the core as one transaction of the store, and the store's answer brought to a known end.

use std::time::Duration;

use muster_protocol::UnixTime;
use muster_protocol::registrar::{Change as CoreChange, Event, Standing};

use super::By;
use crate::audit::{AuditEvent, AuditKind};
use crate::store::{Applied, Change, Device, NewCertificate, Role, Store, StoreError, Transaction};

/// How often a transaction is sent again while its outcome is unknown; with doubling waits about two seconds.
const REPEATS_MAX: u32 = 7;
const REPEAT_AFTER: Duration = Duration::from_millis(15);

/// The transaction that makes `change` durable: row, certificate, withdrawals and audit record, or nothing.
pub(super) fn transaction(before: &Device, change: &CoreChange<'_>, by: &By, now: UnixTime) -> Transaction {
    let mut changes = vec![Change::PutDevice { record: change.record.clone(), expect: before.version, at: now }];
    if let Some(issued) = &change.issued {
        changes.push(Change::InsertCertificate(NewCertificate {
            serial: issued.serial.clone(),
            key: issued.key,
            role: Role::Device,
            holder: change.record.device.clone(),
            der: issued.der.to_vec(),
            not_before: issued.not_before,
            not_after: issued.not_after,
            issued_at: now,
        }));
    }
    let withdrawn = change.withdrawn.iter().cloned();
    changes.extend(withdrawn.map(|(serial, reason)| Change::WithdrawCertificate { serial, reason, at: now }));
    changes.push(Change::Audit(Box::new(audit_event(before, change, by, now))));
    Transaction::new(changes)
}

fn audit_event(before: &Device, change: &CoreChange<'_>, by: &By, now: UnixTime) -> AuditEvent {
    let kind = match &change.event {
        Event::Claimed => AuditKind::DeviceClaimed,
        Event::Enrolled(_) => AuditKind::EnrolmentIssued,
        Event::Rotated(_) => AuditKind::RotationIssued,
        Event::Confirmed(_) if before.record.current.is_none() => AuditKind::EnrolmentConfirmed,
        Event::Confirmed(_) => AuditKind::RotationConfirmed,
        Event::Superseded(_) => AuditKind::RotationCompleted,
        Event::RolledBack(_) => AuditKind::RotationRolledBack,
        Event::RotationOrdered(_) => AuditKind::RotationOrdered,
        Event::Suspended => AuditKind::DeviceSuspended,
        Event::Resumed if before.record.standing == Standing::Revoked => AuditKind::DeviceReadmitted,
        Event::Resumed => AuditKind::DeviceResumed,
        Event::Revoked(_) => AuditKind::DeviceRevoked,
        Event::Retired => AuditKind::DeviceRetired,
        Event::Refused(_) => AuditKind::RequestRefused,
        // The enum may grow; an event without a kind of its own is still recorded, under its own name.
        _ => AuditKind::DeviceChanged,
    };
    let mut event = AuditEvent::new(now, kind, by.actor.clone()).device(&change.record.device);
    event.peer = by.peer;
    event = match &change.event {
        Event::Enrolled(serial)
        | Event::Rotated(serial)
        | Event::Confirmed(serial)
        | Event::Superseded(serial)
        | Event::RolledBack(serial) => event.serial(serial),
        Event::RotationOrdered(order) => event.detail("order", order),
        Event::Revoked(reason) => event.detail("reason", reason.name()),
        Event::Suspended => match change.record.reason {
            Some(reason) => event.detail("reason", reason.name()),
            None => event,
        },
        Event::Refused(code) => event.code(*code),
        other if kind == AuditKind::DeviceChanged => event.detail("event", other.name()),
        _ => event,
    };
    if let Some(issued) = &change.issued {
        event = event.detail("key", issued.key).detail("not_after", muster_terminal::time::rfc3339(issued.not_after.0));
    }
    if let [(serial, _), ..] = change.withdrawn
        && event.serial.is_none()
    {
        event = event.serial(serial);
    }
    if !change.withdrawn.is_empty() {
        let withdrawn = change.withdrawn.iter().map(|(serial, reason)| format!("{serial} {}", reason.name()));
        event = event.detail("withdrawn", withdrawn.collect::<Vec<_>>().join(", "));
    }
    event
}

/// Applies a transaction; while its outcome is unknown it is sent again under the same id, so that nothing is done twice.
///
/// # Errors
/// The store's; [`StoreError::Unknown`] only when it stayed unknown to the end. Whoever reads the row again sees which
/// it was.
pub async fn apply_until_known<S: Store>(store: &S, transaction: Transaction) -> Result<Applied, StoreError> {
    let mut wait = REPEAT_AFTER;
    for _ in 0..REPEATS_MAX {
        match store.apply(transaction.clone()).await {
            Err(StoreError::Unknown) => {
                tracing::warn!(transaction = ?transaction.id, "the outcome of a transaction is not known yet");
                tokio::time::sleep(wait).await;
                wait *= 2;
            }
            known => return known,
        }
    }
    store.apply(transaction).await
}
