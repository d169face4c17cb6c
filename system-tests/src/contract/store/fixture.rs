//! Rows to write: everything about number `n` is made from `n`, and nothing of two numbers is equal.

use muster_gateway::audit::{Actor, AuditEvent, AuditKind};
use muster_gateway::store::{
    Change, DocumentId, FactoryCa, ManifestRow, NewCertificate, NewDevice, Role, RowVersion, Store, Transaction,
};
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{Credential, DeviceRecord, Standing};
use muster_protocol::{DeviceId, UnixTime};
use sha2::{Digest, Sha256};

/// When everything happens.
pub const NOW: UnixTime = UnixTime(1_800_000_000);

/// A name.
#[must_use]
pub fn name(text: &str) -> DeviceId {
    DeviceId::new(text).unwrap()
}

/// Device id number `n`; ids are in the order of their numbers.
#[must_use]
pub fn id(n: u32) -> DeviceId {
    name(&format!("dev-{n:06}"))
}

/// Fingerprint of the IDevID key of device `n`.
#[must_use]
pub fn idevid(n: u32) -> KeyFingerprint {
    KeyFingerprint(Sha256::digest(format!("idevid {n}")).into())
}

/// Fingerprint of some other key.
#[must_use]
pub fn key(n: u32) -> KeyFingerprint {
    KeyFingerprint(Sha256::digest(format!("key {n}")).into())
}

/// A serial number.
#[must_use]
pub fn serial(n: u32) -> Serial {
    let mut octets = [0x11; 16];
    octets[12..].copy_from_slice(&n.to_be_bytes());
    Serial::from_random(octets)
}

/// Device `n` as a manifest names it.
#[must_use]
pub fn new_device(n: u32) -> NewDevice {
    NewDevice {
        device: id(n),
        idevid: idevid(n),
        product: "thermostat".to_owned(),
        lot: format!("lot-{}", n / 100),
        manifest: None,
        at: NOW,
    }
}

/// Certificate `n`, held by device `holder`.
#[must_use]
pub fn new_certificate(n: u32, holder: u32) -> NewCertificate {
    let mut der = vec![0x30, 0x06, 0x30, 0x04];
    der.extend(n.to_be_bytes());
    NewCertificate {
        serial: serial(n),
        key: key(n),
        role: Role::Device,
        holder: id(holder),
        der,
        not_before: NOW,
        not_after: NOW.plus_secs(u64::from(n)),
        issued_at: NOW,
    }
}

/// Manifest `n`.
#[must_use]
pub fn manifest(n: u32) -> ManifestRow {
    ManifestRow {
        id: DocumentId::of(&n.to_be_bytes()),
        product: "thermostat".to_owned(),
        lot: "lot".to_owned(),
        devices: n,
        made_at: NOW,
        imported_at: NOW.plus_secs(1),
        signer: key(n),
    }
}

/// Factory CA `n`.
#[must_use]
pub fn factory_ca(n: u32) -> FactoryCa {
    let der = new_certificate(n, n).der;
    let subject = format!("Factory CA {n}");
    FactoryCa { id: DocumentId::of(&der), key: key(n), subject, der, not_after: UnixTime::FOREVER, added_at: NOW }
}

/// The record of device `n` in operation, under certificate `n`.
#[must_use]
pub fn active(n: u32) -> DeviceRecord {
    let current = Credential { serial: serial(n), key: key(n), not_after: NOW.plus_secs(u64::from(n)) };
    DeviceRecord { standing: Standing::Active, current: Some(current), ..DeviceRecord::expected(id(n), idevid(n)) }
}

/// A write of a record that was read at `version`.
#[must_use]
pub fn put(record: DeviceRecord, version: u64) -> Change {
    Change::PutDevice { record, expect: RowVersion(version), at: NOW }
}

/// An event about device `n`.
#[must_use]
pub fn event(kind: AuditKind, n: u32) -> Change {
    Change::Audit(Box::new(AuditEvent::new(NOW, kind, Actor::Device(id(n))).device(&id(n)).detail("number", n)))
}

/// Registers devices.
pub async fn insert(store: &impl Store, numbers: impl IntoIterator<Item = u32>) {
    let changes: Vec<Change> = numbers.into_iter().map(|n| Change::InsertDevice(new_device(n))).collect();
    for chunk in changes.chunks(muster_gateway::store::CHANGES_MAX) {
        store.apply(Transaction::new(chunk.to_vec())).await.unwrap();
    }
}
