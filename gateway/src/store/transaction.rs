//! What is written: typed changes, all or nothing, under an id that makes repeating harmless.
//!
//! The bounds of a transaction are checked here, the same for every implementation of the store.

use std::fmt;
use std::sync::Arc;

use muster_protocol::limits::MANIFEST_DEVICES_MAX;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{DeviceRecord, Reason};
use muster_protocol::{DeviceId, UnixTime};
use rand_core::{OsRng, RngCore};

use super::error::Refusal;
use super::model::{ChangeSeq, DocumentId, FactoryCa, ManifestRow, Operator, Role, RowVersion, Service};
use crate::audit::AuditEvent;

/// Changes and expectations in one transaction. A whole manifest is one change.
pub const CHANGES_MAX: usize = 1024;
/// Bytes of a product or lot name.
pub const LABEL_BYTES_MAX: usize = muster_protocol::limits::PRODUCT_BYTES_MAX;
/// Bytes of a certificate.
pub const DER_BYTES_MAX: usize = 4096;
/// Topic filters in one list of a service.
pub const FILTERS_MAX: usize = 64;
/// Bytes of a topic filter.
pub const FILTER_BYTES_MAX: usize = 256;
/// Bytes of the name of a setting.
pub const META_KEY_BYTES_MAX: usize = 64;
/// Bytes of a setting.
pub const META_VALUE_BYTES_MAX: usize = 4096;
/// For how many later transactions, at least, the store remembers an id and its answer.
pub const REMEMBERED_TRANSACTIONS: u64 = 65_536;

/// Names a transaction for good. Repeating it gives the first answer.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct TransactionId(pub [u8; 16]);

impl TransactionId {
    /// A new one, from the operating system's randomness.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; 16];
        OsRng.fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl fmt::Debug for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A list of changes that are applied together or not at all, in their order.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// Its id.
    pub id: TransactionId,
    /// What must hold before the first change; otherwise [`super::StoreError::Conflict`].
    pub expects: Vec<Expect>,
    /// The changes.
    pub changes: Vec<Change>,
}

impl Transaction {
    /// A transaction with a new id.
    #[must_use]
    pub fn new(changes: Vec<Change>) -> Self {
        Self { id: TransactionId::random(), expects: Vec::new(), changes }
    }

    /// Adds something that must hold.
    #[must_use]
    pub fn expecting(mut self, expect: Expect) -> Self {
        self.expects.push(expect);
        self
    }

    /// Checks every bound. Each implementation calls it first.
    ///
    /// # Errors
    /// [`Refusal::TooLong`] or [`Refusal::Malformed`] with the name of the first thing that is out of bounds.
    pub fn check(&self) -> Result<(), Refusal> {
        bounded("the transaction", self.changes.len() + self.expects.len(), CHANGES_MAX)?;
        if self.changes.iter().filter(|change| matches!(change, Change::Import(_))).count() > 1 {
            return Err(Refusal::Malformed("the second manifest of a transaction"));
        }
        self.changes.iter().try_for_each(Change::check)
    }

    /// The manifest that it imports, if it imports one.
    #[must_use]
    pub fn shipment(&self) -> Option<&Arc<Shipment>> {
        self.changes.iter().find_map(|change| match change {
            Change::Import(shipment) => Some(shipment),
            _ => None,
        })
    }
}

/// What a transaction expects to find.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Expect {
    /// The device's row has this version.
    Device {
        /// Which device.
        device: DeviceId,
        /// The version that was read.
        version: RowVersion,
    },
    /// A setting has this value; `None`: it was never set.
    Meta {
        /// Which setting.
        key: String,
        /// The value that was read.
        value: Option<String>,
    },
}

/// One change.
#[derive(Clone, Debug)]
pub enum Change {
    /// Registers a device, if it is not registered yet.
    InsertDevice(NewDevice),
    /// Writes a device's record. Standing, expiry and the search columns follow from it.
    PutDevice {
        /// The new record.
        record: DeviceRecord,
        /// The version that was read; another one is a conflict.
        expect: RowVersion,
        /// When.
        at: UnixTime,
    },
    /// Records an issued certificate. A device must be registered; serial and key must be new.
    InsertCertificate(NewCertificate),
    /// Withdraws a certificate; one that is withdrawn already keeps its first date and reason.
    WithdrawCertificate {
        /// Which.
        serial: Serial,
        /// Why.
        reason: Reason,
        /// When.
        at: UnixTime,
    },
    /// Withdraws every certificate of a holder that is not withdrawn yet.
    WithdrawCertificates {
        /// What kind of party.
        role: Role,
        /// Who.
        holder: DeviceId,
        /// Why.
        reason: Reason,
        /// When.
        at: UnixTime,
    },
    /// Records a manifest, if it is not recorded yet.
    InsertManifest(ManifestRow),
    /// Records a manifest and registers every device in it, if that was not done before; one per transaction. However
    /// many devices there are, the transaction stays all or nothing, and other transactions need not wait for it: they are
    /// applied before it, but for other imports.
    Import(Arc<Shipment>),
    /// Adds a factory CA, if it is not there yet.
    AddFactoryCa(FactoryCa),
    /// Removes a factory CA.
    RemoveFactoryCa(DocumentId),
    /// Writes a service and its rights.
    PutService(Service),
    /// Removes a service's rights. Its certificates are withdrawn by a change of their own.
    RemoveService(DeviceId),
    /// Writes an operator.
    PutOperator(Operator),
    /// Removes an operator. The certificate is withdrawn by a change of its own.
    RemoveOperator(DeviceId),
    /// Appends to the audit.
    Audit(Box<AuditEvent>),
    /// Writes a setting.
    SetMeta {
        /// Its name.
        key: String,
        /// Its value. Never a secret.
        value: String,
    },
    /// Notes that a device was heard of. Does not raise the row's version; an unknown device is ignored.
    LastSeen {
        /// Which device.
        device: DeviceId,
        /// When; an earlier time than the stored one is ignored.
        at: UnixTime,
    },
}

/// A device as a manifest names it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewDevice {
    /// Its id.
    pub device: DeviceId,
    /// Key of its IDevID.
    pub idevid: KeyFingerprint,
    /// Product name.
    pub product: String,
    /// Lot; may be empty.
    pub lot: String,
    /// The manifest; inserted before, or earlier in the same transaction.
    pub manifest: Option<DocumentId>,
    /// When.
    pub at: UnixTime,
}

/// A manifest with its devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shipment {
    /// The manifest. Its `imported_at` is when its devices come in.
    pub row: ManifestRow,
    /// Its devices and the keys of their IDevIDs; none twice.
    pub devices: Vec<(DeviceId, KeyFingerprint)>,
}

/// A certificate that was just issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewCertificate {
    /// Its serial number.
    pub serial: Serial,
    /// Its key.
    pub key: KeyFingerprint,
    /// What kind of party holds it.
    pub role: Role,
    /// Device id, or the name of the service or operator.
    pub holder: DeviceId,
    /// The certificate.
    pub der: Vec<u8>,
    /// Valid from.
    pub not_before: UnixTime,
    /// Valid until.
    pub not_after: UnixTime,
    /// When it was issued.
    pub issued_at: UnixTime,
}

/// The answer to a transaction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// The last change for live sessions that the transaction made; `None` when it made none.
    pub change_seq: Option<ChangeSeq>,
    /// What became of each change, in their order.
    pub outcomes: Vec<Outcome>,
}

impl Applied {
    /// The version that the change at `index` gave to its row.
    #[must_use]
    pub fn version(&self, index: usize) -> Option<RowVersion> {
        match self.outcomes.get(index)? {
            Outcome::Written(version) => Some(*version),
            Outcome::Done | Outcome::Added(_) | Outcome::AlreadyThere => None,
        }
    }

    /// How many changes found their work done before.
    #[must_use]
    pub fn already_there(&self) -> usize {
        self.outcomes.iter().filter(|outcome| **outcome == Outcome::AlreadyThere).count()
    }
}

/// What became of one change.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Done; the row has no version.
    Done,
    /// Done; the row has this version now.
    Written(RowVersion),
    /// Done; so many rows are new, and the others were there.
    Added(u32),
    /// Nothing to do: it was there, withdrawn, or gone before.
    AlreadyThere,
}

impl Change {
    fn check(&self) -> Result<(), Refusal> {
        match self {
            Self::InsertDevice(new) => {
                bounded("the product name", new.product.len(), LABEL_BYTES_MAX)?;
                bounded("the lot name", new.lot.len(), LABEL_BYTES_MAX)
            }
            Self::InsertCertificate(new) => certificate_shaped(&new.der),
            Self::InsertManifest(row) => {
                bounded("the product name", row.product.len(), LABEL_BYTES_MAX)?;
                bounded("the lot name", row.lot.len(), LABEL_BYTES_MAX)
            }
            Self::Import(shipment) => {
                bounded("the product name", shipment.row.product.len(), LABEL_BYTES_MAX)?;
                bounded("the lot name", shipment.row.lot.len(), LABEL_BYTES_MAX)?;
                bounded("the manifest", shipment.devices.len(), MANIFEST_DEVICES_MAX as usize)
            }
            Self::AddFactoryCa(ca) => {
                bounded("the subject", ca.subject.len(), FILTER_BYTES_MAX)?;
                certificate_shaped(&ca.der)
            }
            Self::PutService(service) => {
                for filters in [&service.publish, &service.subscribe] {
                    bounded("the list of topic filters", filters.len(), FILTERS_MAX)?;
                    filters.iter().try_for_each(|filter| bounded("a topic filter", filter.len(), FILTER_BYTES_MAX))?;
                }
                Ok(())
            }
            Self::SetMeta { key, value } => {
                bounded("the setting's name", key.len(), META_KEY_BYTES_MAX)?;
                bounded("the setting", value.len(), META_VALUE_BYTES_MAX)?;
                if value.contains("PRIVATE KEY") { Err(Refusal::Malformed("the setting")) } else { Ok(()) }
            }
            Self::Audit(event) => {
                if event.is_bounded() {
                    Ok(())
                } else {
                    Err(Refusal::TooLong("the audit event"))
                }
            }
            Self::PutDevice { .. }
            | Self::WithdrawCertificate { .. }
            | Self::WithdrawCertificates { .. }
            | Self::RemoveFactoryCa(_)
            | Self::RemoveService(_)
            | Self::PutOperator(_)
            | Self::RemoveOperator(_)
            | Self::LastSeen { .. } => Ok(()),
        }
    }
}

fn bounded(what: &'static str, size: usize, bound: usize) -> Result<(), Refusal> {
    if size > bound { Err(Refusal::TooLong(what)) } else { Ok(()) }
}

/// A certificate is a SEQUENCE that starts with a SEQUENCE; plain private keys (RFC 5958, RFC 5915) start with an
/// INTEGER. This keeps a mixed-up variable from writing a key to disk; it does not parse the certificate.
fn certificate_shaped(der: &[u8]) -> Result<(), Refusal> {
    bounded("the certificate", der.len(), DER_BYTES_MAX)?;
    let content = match der {
        [0x30, 0x81, _, rest @ ..] | [0x30, 0x82, _, _, rest @ ..] | [0x30, 0x00..=0x7f, rest @ ..] => rest,
        _ => return Err(Refusal::Malformed("the certificate")),
    };
    if content.first() == Some(&0x30) { Ok(()) } else { Err(Refusal::Malformed("the certificate")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_taken_for_certificates() {
        assert_eq!(certificate_shaped(&[0x30, 0x82, 0x01, 0x00, 0x30, 0x00]), Ok(()));
        for key in [
            &[0x30, 0x81, 0x87, 0x02, 0x01, 0x00][..],
            &[0x30, 0x77, 0x02, 0x01, 0x01],
            &[0x04, 0x20],
            b"-----BEGIN PRIVATE KEY-----",
            &[],
        ] {
            assert_eq!(certificate_shaped(key), Err(Refusal::Malformed("the certificate")), "{key:02x?}");
        }
        assert_eq!(certificate_shaped(&[0x30; DER_BYTES_MAX + 1]), Err(Refusal::TooLong("the certificate")));
    }

    #[test]
    fn too_many_changes_are_refused() {
        let one = Change::SetMeta { key: "k".into(), value: "v".into() };
        assert_eq!(Transaction::new(vec![one.clone(); CHANGES_MAX]).check(), Ok(()));
        assert_eq!(Transaction::new(vec![one; CHANGES_MAX + 1]).check(), Err(Refusal::TooLong("the transaction")));
    }

    #[test]
    fn settings_hold_no_keys() {
        let change = Change::SetMeta { key: "k".into(), value: "-----BEGIN PRIVATE KEY-----".into() };
        assert_eq!(Transaction::new(vec![change]).check(), Err(Refusal::Malformed("the setting")));
    }
}
