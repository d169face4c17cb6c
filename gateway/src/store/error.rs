//! What can go wrong with a store, sorted by what the caller should do next.
//!
//! | error | was the transaction applied? | what to do |
//! |---|---|---|
//! | `Conflict` | no | read again, decide anew, send a new transaction |
//! | `Refused` | no | do not repeat it; tell the cause |
//! | `Unavailable` | no | try again later, with the same or a new transaction |
//! | `Unknown` | perhaps | repeat **the same** transaction, same id, until another answer comes |

use muster_protocol::{Code, DeviceId};

/// Why the store did not do it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row has another version than the transaction expects. Nothing was applied.
    #[error("the row was changed by somebody else in the meantime")]
    Conflict,
    /// The transaction breaks a rule of the store. Nothing was applied, and it will not be next time.
    #[error("{0}")]
    Refused(#[from] Refusal),
    /// The store cannot be reached or has no room now. Nothing was applied.
    #[error("the store is not available: {0}")]
    Unavailable(Outage),
    /// The store failed while it was committing: applied or not is open. Only the same transaction, with the same id,
    /// may be sent again; the answer is then that of the first attempt if it was applied.
    #[error("the store failed while committing; whether it was applied is not known yet")]
    Unknown,
}

/// Why the store is not available.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Outage {
    /// It is being closed.
    #[error("it is closed")]
    Closed,
    /// The file system is full.
    #[error("the disk is full")]
    DiskFull,
    /// The disk or the database failed; the store stays down until the gateway is started again.
    #[error("{0}")]
    Storage(String),
    /// A row holds what this version cannot read.
    #[error("a stored row cannot be read: {0}")]
    Row(String),
    /// A fault put in by a test.
    #[error("injected fault")]
    Injected,
}

/// Which rule a transaction breaks.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The transaction, or a text or list in it, is longer than allowed.
    #[error("{0} is too long")]
    TooLong(&'static str),
    /// Something that is, or looks like, a private key; or a DER certificate that is none.
    #[error("{0} is not what belongs there")]
    Malformed(&'static str),
    /// The registry has no such device.
    #[error("the registry has no device {0}")]
    NoDevice(DeviceId),
    /// The device is registered with another IDevID, or its IDevID's key belongs to another device.
    #[error("device {0} is registered with another key")]
    DeviceConflict(DeviceId),
    /// A certificate with this serial number exists.
    #[error("a certificate with this serial number exists")]
    SerialTaken,
    /// A certificate or an IDevID with this key exists.
    #[error("the key was certified before")]
    KeyTaken,
    /// There is no such certificate.
    #[error("there is no such certificate")]
    NoCertificate,
    /// A device names a manifest that was not imported.
    #[error("there is no such manifest")]
    NoManifest,
}

impl Refusal {
    /// The code that a refused party is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLong(_) => Code::MessageOversized,
            Self::Malformed(_) => Code::MessageMalformed,
            Self::NoDevice(_) => Code::DeviceUnknown,
            Self::DeviceConflict(_) => Code::ManifestConflict,
            Self::KeyTaken => Code::EnrolKeyReused,
            Self::NoCertificate => Code::CertificateUnknown,
            Self::NoManifest | Self::SerialTaken => Code::Unavailable,
        }
    }
}

impl StoreError {
    /// The code that a refused party is told.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Conflict | Self::Unavailable(_) | Self::Unknown => Code::Unavailable,
        }
    }
}
