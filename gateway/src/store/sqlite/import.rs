//! Manifests: devices that come in all at once, however many they are, and hold nobody up.
//!
//! A small manifest is written by its transaction like anything else. The devices of a larger one are staged first, a slice
//! per commit: they lie in `devices` under the number of their import, and count for nobody while `imports` has a row of
//! that number (the view `registered` leaves them out). Then the transaction itself takes that row away, and all of them
//! are there. An import that was interrupted or refused leaves its row in `imports`; the writer clears its devices away.
//!
//! What would be refused at the end is refused when it is staged: a device that is registered with another key, a key that
//! is another device's or was certified. Nothing can come in between, since staged ids and keys are taken.

use muster_protocol::DeviceId;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::registrar::DeviceRecord;
use rusqlite::{Connection, OptionalExtension, params};

use super::apply::remembered;
use super::column::{integer, record_text};
use super::failure::Failure;
use crate::store::error::{Refusal, StoreError};
use crate::store::model::{DocumentId, ManifestRow, RowVersion};
use crate::store::transaction::{NewDevice, Outcome, Shipment, Transaction};

/// Devices that are staged, or cleared away, in one commit. Bounds how long other transactions wait for it.
pub(super) const SLICE_DEVICES: usize = 1000;

/// Finds a device, by its id, that is staged and not registered.
pub(super) const STAGED: &str = "SELECT 1 FROM devices WHERE id = ?1 AND import IN (SELECT number FROM imports)";

/// How far the staging of a manifest is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Staging {
    /// Number of the import.
    pub(super) number: i64,
    /// Devices of the manifest that were looked at.
    done: usize,
    /// Those among them that are new.
    added: u32,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// There is more to do.
    Staged(Staging),
    /// There is nothing left to do.
    Ready,
}

/// Stages the next slice, durably. When it is [`Progress::Ready`], the transaction can be applied.
pub(super) fn stage(
    connection: &Connection,
    transaction: &Transaction,
    staging: Option<Staging>,
) -> Result<Progress, Failure> {
    let Some(shipment) = transaction.shipment() else { return Ok(Progress::Ready) };
    let slice = connection.unchecked_transaction()?;
    let mut staging = match staging {
        Some(staging) => staging,
        None => {
            transaction.check()?;
            let is_small = shipment.devices.len() <= SLICE_DEVICES;
            if is_small || is_complete(&slice, shipment.row.id)? || remembered(&slice, transaction)?.is_some() {
                return Ok(Progress::Ready);
            }
            begin(&slice, &shipment.row)?
        }
    };
    let devices = shipment.devices.get(staging.done..).unwrap_or_default();
    if devices.is_empty() {
        return Ok(Progress::Ready);
    }
    let devices = devices.get(..SLICE_DEVICES.min(devices.len())).unwrap_or_default();
    let added = insert_devices(&slice, shipment, devices, Some(staging.number))?;
    slice
        .prepare_cached("UPDATE imports SET devices = devices + ?2 WHERE number = ?1")?
        .execute(params![staging.number, added])?;
    slice.commit()?;
    staging.done += devices.len();
    staging.added = staging.added.saturating_add(added);
    Ok(Progress::Staged(staging))
}

/// Opens an import. The manifest's row is there from now on, for its devices to point at, and is not complete.
fn begin(connection: &Connection, row: &ManifestRow) -> Result<Staging, Failure> {
    write_manifest(connection, row, "0", "ON CONFLICT DO NOTHING")?;
    let sql = "INSERT INTO imports (first_device, devices) SELECT coalesce(max(number), 0) + 1, 0 FROM devices";
    let number = connection.prepare_cached(sql)?.insert([])?;
    Ok(Staging { number, done: 0, added: 0 })
}

/// The change itself, inside its transaction.
pub(super) fn import(
    connection: &Connection,
    shipment: &Shipment,
    staging: Option<Staging>,
) -> Result<Outcome, Failure> {
    if insert_manifest(connection, &shipment.row)? == Outcome::AlreadyThere {
        return Ok(Outcome::AlreadyThere);
    }
    let Some(staging) = staging else {
        return insert_devices(connection, shipment, &shipment.devices, None).map(Outcome::Added);
    };
    connection.prepare_cached("DELETE FROM imports WHERE number = ?1")?.execute([staging.number])?;
    Ok(Outcome::Added(staging.added))
}

/// Records a manifest as complete, unless it is.
pub(super) fn insert_manifest(connection: &Connection, row: &ManifestRow) -> Result<Outcome, Failure> {
    let otherwise = "ON CONFLICT (id) DO UPDATE SET is_complete = 1, imported_at = excluded.imported_at
        WHERE NOT is_complete";
    let rows = write_manifest(connection, row, "1", otherwise)?;
    Ok(if rows == 0 { Outcome::AlreadyThere } else { Outcome::Done })
}

fn write_manifest(
    connection: &Connection,
    row: &ManifestRow,
    is_complete: &str,
    otherwise: &str,
) -> Result<usize, Failure> {
    let sql = format!(
        "INSERT INTO manifests (id, product, lot, devices, made_at, imported_at, signer, is_complete)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, {is_complete}) {otherwise}"
    );
    let (made_at, imported_at) = (integer(row.made_at.0), integer(row.imported_at.0));
    let values = params![&row.id.0[..], row.product, row.lot, row.devices, made_at, imported_at, &row.signer.0[..]];
    Ok(connection.prepare_cached(&sql)?.execute(values)?)
}

fn is_complete(connection: &Connection, id: DocumentId) -> Result<bool, Failure> {
    let sql = "SELECT 1 FROM manifests WHERE id = ?1 AND is_complete";
    Ok(connection.prepare_cached(sql)?.exists([&id.0[..]])?)
}

/// Gives how many were not there.
fn insert_devices(
    connection: &Connection,
    shipment: &Shipment,
    devices: &[(DeviceId, KeyFingerprint)],
    import: Option<i64>,
) -> Result<u32, Failure> {
    let row = &shipment.row;
    let mut new = NewDevice {
        device: match devices.first() {
            Some((device, _)) => device.clone(),
            None => return Ok(0),
        },
        idevid: row.signer,
        product: row.product.clone(),
        lot: row.lot.clone(),
        manifest: Some(row.id),
        at: row.imported_at,
    };
    let mut added = 0_u32;
    for (device, idevid) in devices {
        new.device.clone_from(device);
        new.idevid = *idevid;
        if insert_device(connection, &new, import)? != Outcome::AlreadyThere {
            added = added.saturating_add(1);
        }
    }
    Ok(added)
}

/// Registers a device, or stages it for an import.
pub(super) fn insert_device(connection: &Connection, new: &NewDevice, import: Option<i64>) -> Result<Outcome, Failure> {
    let record = DeviceRecord::expected(new.device.clone(), new.idevid);
    let exists = |sql: &str| connection.prepare_cached(sql)?.exists(params![new.device.as_str(), &new.idevid.0[..]]);
    if exists("SELECT 1 FROM certificates WHERE key = ?2 AND ?1 IS NOT NULL")? {
        return Err(Refusal::DeviceConflict(new.device.clone()).into());
    }
    let sql = "INSERT INTO devices
        (id, idevid, product, lot, manifest, standing, expires_at, record, created_at, updated_at, version, import)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, ?7, ?8, ?8, 1, ?9) ON CONFLICT DO NOTHING";
    let values = params![
        new.device.as_str(),
        &new.idevid.0[..],
        new.product,
        new.lot,
        new.manifest.as_ref().map(|id| &id.0[..]),
        record.standing.name(),
        record_text(&record)?,
        integer(new.at.0),
        import,
    ];
    let written = connection.prepare_cached(sql)?.execute(values);
    if written.map_err(|error| Failure::from(error).or_foreign_key(Refusal::NoManifest))? > 0 {
        return Ok(Outcome::Written(RowVersion(1)));
    }
    // The id or the key is taken. The same device with the same key was imported before.
    if exists("SELECT 1 FROM registered WHERE id = ?1 AND idevid = ?2")? {
        return Ok(Outcome::AlreadyThere);
    }
    let staged = "SELECT 1 FROM devices WHERE (id = ?1 OR idevid = ?2) AND import IN (SELECT number FROM imports)";
    if import.is_none() && exists(staged)? {
        // By an import that may come in or not: nobody can say yet.
        return Err(StoreError::Conflict.into());
    }
    Err(Refusal::DeviceConflict(new.device.clone()).into())
}

/// Imports that were begun and have not come in.
pub(super) fn under_way(connection: &Connection) -> rusqlite::Result<Vec<i64>> {
    connection.prepare("SELECT number FROM imports ORDER BY number")?.query_map([], |row| row.get(0))?.collect()
}

/// Clears away a slice of an import that came to nothing. One that came in has no row in `imports` and stays.
pub(super) fn clear_away(connection: &Connection, number: i64) -> Result<Progress, Failure> {
    // Nothing points at a staged device, and to look for it would read all certificates for each.
    connection.execute_batch("PRAGMA foreign_keys = OFF")?;
    let result = clear_slice(connection, number);
    connection.execute_batch("PRAGMA foreign_keys = ON")?;
    result
}

fn clear_slice(connection: &Connection, number: i64) -> Result<Progress, Failure> {
    let slice = connection.unchecked_transaction()?;
    let first: Option<i64> = slice
        .prepare_cached("SELECT first_device FROM imports WHERE number = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    let Some(first) = first else { return Ok(Progress::Ready) };
    let sql = "DELETE FROM devices WHERE number IN
        (SELECT number FROM devices WHERE number >= ?1 AND import = ?2 ORDER BY number LIMIT ?3)";
    let cleared = slice.prepare_cached(sql)?.execute(params![first, number, SLICE_DEVICES as i64])?;
    if cleared < SLICE_DEVICES {
        slice.prepare_cached("DELETE FROM imports WHERE number = ?1")?.execute([number])?;
    } else {
        slice
            .prepare_cached("UPDATE imports SET devices = devices - ?2 WHERE number = ?1")?
            .execute(params![number, cleared as i64])?;
    }
    slice.commit()?;
    Ok(if cleared < SLICE_DEVICES { Progress::Ready } else { Progress::Staged(Staging { number, done: 0, added: 0 }) })
}
