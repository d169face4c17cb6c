//! What operators see: one serde type per answer. Fields are only ever added; every answer has `"v": 1`.
//!
//! Texts that came from a device or a factory (product, lot, telemetry, details of the audit) are hostile: whoever shows
//! them escapes them.

use serde::{Deserialize, Serialize};

mod audit;
mod device;
mod registry;
mod status;

pub use audit::{AuditVerified, AuditView};
pub use device::{
    Acted, CertificateStanding, CertificateView, CommandStanding, CommandView, DeviceDetails, DeviceRow, Part,
    SessionView, TelemetryView, TooLongView,
};
pub use registry::{FactoryCaAdded, FactoryCaView, Imported, IssuedView, ManifestView, OperatorView, ServiceView};
pub use status::{ExpiryInterval, ExpiryView, OwnCertificateView, SessionsView, StatusView, StoreView};

/// Version of every answer.
pub const VERSION: u8 = 1;

/// Rows of one kind.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Rows<T> {
    /// Version of the answer.
    pub v: u8,
    /// The rows.
    pub items: Vec<T>,
    /// Where the next page begins: the `after` of the next question. Absent when there is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl<T> Rows<T> {
    /// All rows there are.
    #[must_use]
    pub const fn all(items: Vec<T>) -> Self {
        Self { v: VERSION, items, next: None }
    }
}

/// Whether something was done now or before.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Now.
    Now,
    /// It was done before; nothing was changed.
    Before,
}

/// Something that was removed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Removed {
    /// Version of the answer.
    pub v: u8,
    /// What.
    pub removed: Vec<String>,
}
