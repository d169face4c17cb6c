//! What the store gives back: one struct per kind of row. Bytes and texts were checked when they went in.
//!
//! No private key has a place here: certificates, fingerprints and names only.

use std::fmt;
use std::str::FromStr;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{DeviceRecord, Reason, Standing};
use muster_protocol::{DeviceId, UnixTime};
use sha2::{Digest, Sha256};

/// Counts the writes to one row, from 1. A writer says which version it has read.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct RowVersion(pub u64);

/// Number of a change that live sessions must hear of: from 1, in the order of the commits, without gaps.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChangeSeq(pub u64);

/// A SHA-256 that names a document: a manifest's body, a certificate's DER. Lower-case hex in text.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct DocumentId(pub [u8; 32]);

impl DocumentId {
    /// The id of these bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 64 lower-case hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not 64 hexadecimal digits")]
pub struct DocumentIdError;

impl FromStr for DocumentId {
    type Err = DocumentIdError;

    fn from_str(text: &str) -> Result<Self, DocumentIdError> {
        if text.len() != 64 || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(DocumentIdError);
        }
        let mut bytes = [0; 32];
        for (index, byte) in bytes.iter_mut().enumerate() {
            let digits = text.get(2 * index..2 * index + 2).ok_or(DocumentIdError)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| DocumentIdError)?;
        }
        Ok(Self(bytes))
    }
}

/// A device as the registry knows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Device {
    /// What the registrar keeps; its `device` is the row's key.
    pub record: DeviceRecord,
    /// Product name, from the manifest.
    pub product: String,
    /// Lot, from the manifest; empty when none was given.
    pub lot: String,
    /// The manifest that named the device first.
    pub manifest: Option<DocumentId>,
    /// When it came into the registry.
    pub created_at: UnixTime,
    /// When its record was last written.
    pub updated_at: UnixTime,
    /// When it was last heard of, to the precision with which the gateway reports it.
    pub last_seen_at: Option<UnixTime>,
    /// Version of the record; what [`super::Change::PutDevice`] must expect. `last_seen_at` does not raise it.
    pub version: RowVersion,
}

impl Device {
    /// The device's id.
    #[must_use]
    pub const fn id(&self) -> &DeviceId {
        &self.record.device
    }
}

/// What kind of party a certificate was issued to.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// A device (LDevID).
    Device,
    /// A back-end service.
    Service,
    /// A person who operates the fleet.
    Operator,
}

impl Role {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Service => "service",
            Self::Operator => "operator",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Device, Self::Service, Self::Operator].into_iter().find(|role| role.name() == name)
    }
}

/// A certificate that the gateway issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Its serial number; no two certificates of the store share one.
    pub serial: Serial,
    /// Its key; no two certificates of the store share one, and none is the key of an IDevID.
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
    /// When and why it was withdrawn.
    pub withdrawn: Option<Withdrawal>,
}

/// That a certificate was withdrawn. Final.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Withdrawal {
    /// When.
    pub at: UnixTime,
    /// Why.
    pub reason: Reason,
}

/// A shipment manifest that was imported. Its devices are rows of their own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ManifestRow {
    /// SHA-256 of its body.
    pub id: DocumentId,
    /// Product name.
    pub product: String,
    /// Lot; empty when none was given.
    pub lot: String,
    /// How many devices it names.
    pub devices: u32,
    /// When the factory made it.
    pub made_at: UnixTime,
    /// When it was imported first.
    pub imported_at: UnixTime,
    /// Key of the issuing CA that signed it.
    pub signer: KeyFingerprint,
}

/// A factory CA whose IDevIDs and manifests count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FactoryCa {
    /// SHA-256 of the DER.
    pub id: DocumentId,
    /// Its key.
    pub key: KeyFingerprint,
    /// The subject, for people.
    pub subject: String,
    /// The certificate.
    pub der: Vec<u8>,
    /// Until when it is valid.
    pub not_after: UnixTime,
    /// When it was added.
    pub added_at: UnixTime,
}

/// A back-end service and its rights.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Service {
    /// Its name, as in its certificate.
    pub name: DeviceId,
    /// Topic filters it may publish to.
    pub publish: Vec<String>,
    /// Topic filters it may subscribe to.
    pub subscribe: Vec<String>,
    /// Whether it may connect under client ids other than its name.
    pub any_client_id: bool,
    /// When its rights were last written.
    pub updated_at: UnixTime,
}

/// What an operator may do. Each role includes the ones before it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum OperatorRole {
    /// Reads.
    Viewer,
    /// Rotates, suspends, resumes, revokes.
    Operator,
    /// Everything.
    Admin,
}

impl OperatorRole {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }

    /// The role of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Viewer, Self::Operator, Self::Admin].into_iter().find(|role| role.name() == name)
    }
}

/// A person who operates the fleet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Operator {
    /// Their name, as in their certificate.
    pub name: DeviceId,
    /// What they may do.
    pub role: OperatorRole,
    /// Serial of the one certificate that counts for them.
    pub serial: Serial,
    /// When role or certificate were last written.
    pub updated_at: UnixTime,
}

/// Something that live sessions must hear of. Says what to read again, not what it says now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Changed {
    /// A device was suspended, resumed, revoked, readmitted or retired, or ordered to rotate.
    Device(DeviceId),
    /// A certificate was withdrawn.
    Certificate {
        /// Which.
        serial: Serial,
        /// What kind of party held it.
        role: Role,
        /// Who held it.
        holder: DeviceId,
    },
    /// A service's rights were written or removed.
    Service(DeviceId),
    /// An operator's role or certificate was written or removed.
    Operator(DeviceId),
    /// A factory CA was added or removed.
    FactoryCas,
}

/// How many devices stand where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// One number per standing, in the order of [`Standing::ALL`].
    pub by_standing: [u64; Standing::ALL.len()],
}

impl Counts {
    /// How many devices stand there.
    #[must_use]
    pub fn of(&self, standing: Standing) -> u64 {
        Standing::ALL.iter().zip(self.by_standing).find(|(other, _)| **other == standing).map_or(0, |(_, count)| count)
    }

    /// All devices.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.by_standing.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn document_ids_survive_their_text() {
        let id = DocumentId::of(b"abc");
        assert_eq!(id.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in ["", "ba", &"g".repeat(64), &"é".repeat(32), &"+1".repeat(32)] {
            assert_eq!(text.parse::<DocumentId>(), Err(DocumentIdError), "{text}");
        }
    }

    #[test]
    fn names_of_roles_read_back() {
        for role in [Role::Device, Role::Service, Role::Operator] {
            assert_eq!(Role::from_name(role.name()), Some(role));
        }
        for role in [OperatorRole::Viewer, OperatorRole::Operator, OperatorRole::Admin] {
            assert_eq!(OperatorRole::from_name(role.name()), Some(role));
        }
        assert!(OperatorRole::Viewer < OperatorRole::Operator && OperatorRole::Operator < OperatorRole::Admin);
        assert_eq!(OperatorRole::from_name("root"), None);
    }
}
