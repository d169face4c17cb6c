//! Between columns and types. What a column holds was checked when it was written; what still does not fit is reported as
//! a row that cannot be read, never guessed at.

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{DeviceRecord, Reason};
use muster_protocol::{DeviceId, UnixTime};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};
use serde::{Deserialize, Serialize};

use crate::audit::{AuditRecord, ChainHash};
use crate::store::model::{
    Certificate, ChangeSeq, Changed, Device, DocumentId, FactoryCa, ManifestRow, Operator, OperatorRole, Role,
    RowVersion, Service, Withdrawal,
};

/// Format version of a stored registrar record.
const RECORD_VERSION: u8 = 1;

/// A registrar record as it is stored: JSON with a version. Postcard would be a third of the size, but here a person with
/// `sqlite3` can read what the registry believes, SQL can look into it, a new optional field needs no migration, and the
/// cost (about 3 µs to write) vanishes beside the commit.
#[derive(Serialize)]
struct Writing<'a> {
    v: u8,
    record: &'a DeviceRecord,
}

#[derive(Deserialize)]
struct Reading {
    v: u8,
    record: DeviceRecord,
}

pub(super) fn record_text(record: &DeviceRecord) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Writing { v: RECORD_VERSION, record })
}

fn record_of(text: &str) -> FromSqlResult<DeviceRecord> {
    let reading: Reading = serde_json::from_str(text).map_err(FromSqlError::other)?;
    if reading.v == RECORD_VERSION { Ok(reading.record) } else { Err(FromSqlError::Other("record version".into())) }
}

/// SQLite's integers have a sign; times, numbers and counters of ours stay far below 2^63.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A column as one of our types.
pub(super) struct Column<T>(pub(super) T);

macro_rules! columns {
    ($($type:ty, $value:ident => $read:expr;)+) => {
        $(impl FromSql for Column<$type> {
            fn column_result($value: ValueRef<'_>) -> FromSqlResult<Self> {
                $read.map(Self)
            }
        })+
    };
}

columns! {
    DeviceId, value => value.as_str().and_then(|text| DeviceId::new(text).map_err(FromSqlError::other));
    Serial, value => value.as_blob().and_then(|bytes| Serial::new(bytes).map_err(FromSqlError::other));
    KeyFingerprint, value => array(value).map(KeyFingerprint);
    DocumentId, value => array(value).map(DocumentId);
    ChainHash, value => array(value).map(ChainHash);
    UnixTime, value => unsigned(value).map(UnixTime);
    RowVersion, value => unsigned(value).map(RowVersion);
    ChangeSeq, value => unsigned(value).map(ChangeSeq);
    u64, value => unsigned(value);
    Role, value => named(value, Role::from_name);
    OperatorRole, value => named(value, OperatorRole::from_name);
    Reason, value => named(value, Reason::from_name);
    DeviceRecord, value => value.as_str().and_then(record_of);
    Vec<String>, value => value.as_str().and_then(|text| serde_json::from_str(text).map_err(FromSqlError::other));
}

fn unsigned(value: ValueRef<'_>) -> FromSqlResult<u64> {
    let number = value.as_i64()?;
    u64::try_from(number).map_err(|_| FromSqlError::OutOfRange(number))
}

fn array(value: ValueRef<'_>) -> FromSqlResult<[u8; 32]> {
    let bytes = value.as_blob()?;
    bytes.try_into().map_err(|_| FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: bytes.len() })
}

fn named<T>(value: ValueRef<'_>, from_name: fn(&str) -> Option<T>) -> FromSqlResult<T> {
    from_name(value.as_str()?).ok_or_else(|| FromSqlError::Other("unknown name".into()))
}

pub(super) fn get<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<T>
where
    Column<T>: FromSql,
{
    row.get::<_, Column<T>>(index).map(|column| column.0)
}

pub(super) fn optional<T>(row: &Row<'_>, index: usize) -> rusqlite::Result<Option<T>>
where
    Column<T>: FromSql,
{
    row.get::<_, Option<Column<T>>>(index).map(|column| column.map(|column| column.0))
}

pub(super) const DEVICE_COLUMNS: &str = "record, product, lot, manifest, created_at, updated_at, last_seen_at, version";

pub(super) fn device(row: &Row<'_>) -> rusqlite::Result<Device> {
    Ok(Device {
        record: get(row, 0)?,
        product: row.get(1)?,
        lot: row.get(2)?,
        manifest: optional(row, 3)?,
        created_at: get(row, 4)?,
        updated_at: get(row, 5)?,
        last_seen_at: optional(row, 6)?,
        version: get(row, 7)?,
    })
}

pub(super) const CERTIFICATE_COLUMNS: &str =
    "serial, key, role, holder, der, not_before, not_after, issued_at, withdrawn_at, reason";

pub(super) fn certificate(row: &Row<'_>) -> rusqlite::Result<Certificate> {
    let withdrawn = optional::<UnixTime>(row, 8)?.zip(optional::<Reason>(row, 9)?);
    Ok(Certificate {
        serial: get(row, 0)?,
        key: get(row, 1)?,
        role: get(row, 2)?,
        holder: get(row, 3)?,
        der: row.get(4)?,
        not_before: get(row, 5)?,
        not_after: get(row, 6)?,
        issued_at: get(row, 7)?,
        withdrawn: withdrawn.map(|(at, reason)| Withdrawal { at, reason }),
    })
}

pub(super) fn manifest(row: &Row<'_>) -> rusqlite::Result<ManifestRow> {
    Ok(ManifestRow {
        id: get(row, 0)?,
        product: row.get(1)?,
        lot: row.get(2)?,
        devices: row.get(3)?,
        made_at: get(row, 4)?,
        imported_at: get(row, 5)?,
        signer: get(row, 6)?,
    })
}

pub(super) fn factory_ca(row: &Row<'_>) -> rusqlite::Result<FactoryCa> {
    Ok(FactoryCa {
        id: get(row, 0)?,
        key: get(row, 1)?,
        subject: row.get(2)?,
        der: row.get(3)?,
        not_after: get(row, 4)?,
        added_at: get(row, 5)?,
    })
}

pub(super) fn service(row: &Row<'_>) -> rusqlite::Result<Service> {
    Ok(Service {
        name: get(row, 0)?,
        publish: get(row, 1)?,
        subscribe: get(row, 2)?,
        any_client_id: row.get(3)?,
        updated_at: get(row, 4)?,
    })
}

pub(super) fn operator(row: &Row<'_>) -> rusqlite::Result<Operator> {
    Ok(Operator { name: get(row, 0)?, role: get(row, 1)?, serial: get(row, 2)?, updated_at: get(row, 3)? })
}

pub(super) fn audit_record(row: &Row<'_>) -> rusqlite::Result<AuditRecord> {
    Ok(AuditRecord { seq: get(row, 0)?, body: row.get(1)?, hash: get(row, 2)? })
}

/// A change as it is stored: kind, name, role, serial.
pub(super) type ChangeColumns<'a> = (&'static str, Option<&'a str>, Option<&'static str>, Option<&'a [u8]>);

pub(super) fn change_columns(changed: &Changed) -> ChangeColumns<'_> {
    match changed {
        Changed::Device(name) => ("device", Some(name.as_str()), None, None),
        Changed::Certificate { serial, role, holder } => {
            ("certificate", Some(holder.as_str()), Some(role.name()), Some(serial.as_bytes()))
        }
        Changed::Service(name) => ("service", Some(name.as_str()), None, None),
        Changed::Operator(name) => ("operator", Some(name.as_str()), None, None),
        Changed::FactoryCas => ("factory_cas", None, None, None),
    }
}

pub(super) fn changed(row: &Row<'_>) -> rusqlite::Result<(ChangeSeq, Changed)> {
    let changed = match row.get_ref(1)?.as_str()? {
        "device" => Changed::Device(get(row, 2)?),
        "certificate" => Changed::Certificate { holder: get(row, 2)?, role: get(row, 3)?, serial: get(row, 4)? },
        "service" => Changed::Service(get(row, 2)?),
        "operator" => Changed::Operator(get(row, 2)?),
        "factory_cas" => Changed::FactoryCas,
        _ => return Err(rusqlite::Error::FromSqlConversionFailure(1, Type::Text, "unknown kind of change".into())),
    };
    Ok((get(row, 0)?, changed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use muster_protocol::registrar::{Credential, Standing};

    use super::*;

    /// Golden bytes of version 1.
    #[test]
    fn records_are_written_as_documented() {
        let key = KeyFingerprint([0xab; 32]);
        let credential = Credential {
            serial: Serial::from_random([0x2a; 16]),
            key: KeyFingerprint([0xcd; 32]),
            not_after: UnixTime(1_800_000_000),
        };
        let record = DeviceRecord {
            standing: Standing::Rotating,
            current: Some(credential),
            order: Some(3),
            orders: 3,
            reason: Some(Reason::KeyCompromise),
            ..DeviceRecord::expected(DeviceId::new("dev-1").unwrap(), key)
        };
        let text = record_text(&record).unwrap();
        assert_eq!(record_of(&text).unwrap(), record);
        let golden = include_str!("golden/record-1.json");
        assert_eq!(text, golden.trim_end());
    }

    #[test]
    fn the_page_of_formats_shows_a_record() {
        let credential = Credential {
            serial: Serial::from_random([0x2a; 16]),
            key: KeyFingerprint([0x22; 32]),
            not_after: UnixTime(1_800_604_800),
        };
        let record = DeviceRecord {
            standing: Standing::Suspended,
            current: Some(credential),
            order: Some(3),
            orders: 3,
            suspended_from: Some(Standing::Active),
            reason: Some(Reason::PrivilegeWithdrawn),
            ..DeviceRecord::expected(DeviceId::new("lamp-000001").unwrap(), KeyFingerprint([0x11; 32]))
        };
        let text = record_text(&record).unwrap();
        assert!(include_str!("../../../../docs/formats.md").contains(&format!("\n{text}\n")), "{text}");
    }

    #[test]
    fn a_record_of_another_version_is_not_guessed_at() {
        let record = DeviceRecord::expected(DeviceId::new("dev-1").unwrap(), KeyFingerprint([1; 32]));
        let text = record_text(&record).unwrap();
        for other in [text.replacen("\"v\":1", "\"v\":2", 1), text.replace("expected", "lost"), "{}".to_owned()] {
            assert!(record_of(&other).is_err(), "{other}");
        }
    }
}
