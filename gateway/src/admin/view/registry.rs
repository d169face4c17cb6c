//! What is registered beside devices: factory CAs, manifests, services, operators.

use muster_protocol::DeviceId;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use serde::{Deserialize, Serialize};

use super::{CertificateView, Done};
use crate::admin::instant::Instant;
use crate::store::{FactoryCa, ManifestRow, Operator, Service};

/// A factory CA.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FactoryCaView {
    /// SHA-256 of the certificate.
    pub id: String,
    /// Its subject. Hostile text.
    pub subject: String,
    /// Its key.
    pub key: KeyFingerprint,
    /// Until when it is valid.
    pub not_after: Instant,
    /// When it was added.
    pub added_at: Instant,
}

impl From<&FactoryCa> for FactoryCaView {
    fn from(ca: &FactoryCa) -> Self {
        Self {
            id: ca.id.to_string(),
            subject: ca.subject.clone(),
            key: ca.key,
            not_after: ca.not_after.into(),
            added_at: ca.added_at.into(),
        }
    }
}

/// A factory CA that was added.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct FactoryCaAdded {
    /// The CA.
    #[serde(flatten)]
    pub ca: FactoryCaView,
    /// Whether it was added now.
    pub added: Done,
}

/// A manifest in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ManifestView {
    /// SHA-256 of its body.
    pub id: String,
    /// Product name.
    pub product: String,
    /// Lot.
    pub lot: String,
    /// How many devices it names.
    pub devices: u32,
    /// When the factory made it.
    pub made_at: Instant,
    /// When it was imported.
    pub imported_at: Instant,
    /// Key of the CA that signed it.
    pub signer: KeyFingerprint,
}

impl From<&ManifestRow> for ManifestView {
    fn from(row: &ManifestRow) -> Self {
        Self {
            id: row.id.to_string(),
            product: row.product.clone(),
            lot: row.lot.clone(),
            devices: row.devices,
            made_at: row.made_at.into(),
            imported_at: row.imported_at.into(),
            signer: row.signer,
        }
    }
}

/// What an import came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Imported {
    /// Version of the answer.
    pub v: u8,
    /// The manifest's id.
    pub id: String,
    /// Whether it was imported now.
    pub imported: Done,
    /// Product name.
    pub product: String,
    /// Lot.
    pub lot: String,
    /// How many devices it names.
    pub devices: u32,
    /// How many of them were not registered before.
    pub added: u32,
}

/// A back-end service.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: DeviceId,
    /// Where it may publish.
    pub publish: Vec<String>,
    /// What it may subscribe to.
    pub subscribe: Vec<String>,
    /// Whether it may connect under other client ids than its name.
    pub any_client_id: bool,
    /// When its rights were last written.
    pub updated_at: Instant,
    /// Its certificates, newest first.
    pub certificates: Vec<CertificateView>,
}

impl ServiceView {
    pub(in crate::admin) fn new(service: Service, certificates: Vec<CertificateView>) -> Self {
        let Service { name, publish, subscribe, any_client_id, updated_at } = service;
        Self { name, publish, subscribe, any_client_id, updated_at: updated_at.into(), certificates }
    }
}

/// A person who operates the fleet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OperatorView {
    /// Their name.
    pub name: DeviceId,
    /// `viewer`, `operator` or `admin`.
    pub role: String,
    /// The one certificate that counts.
    pub serial: Serial,
    /// When it expires.
    pub expires_at: Option<Instant>,
    /// When role or certificate were last written.
    pub updated_at: Instant,
}

impl OperatorView {
    pub(in crate::admin) fn new(operator: Operator, expires_at: Option<Instant>) -> Self {
        let Operator { name, role, serial, updated_at } = operator;
        Self { name, role: role.name().to_owned(), serial, expires_at, updated_at: updated_at.into() }
    }
}

/// A certificate that was just issued to a service or an operator. Public: the key stayed where it was made.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct IssuedView {
    /// Version of the answer.
    pub v: u8,
    /// For whom.
    pub name: DeviceId,
    /// Serial number.
    pub serial: Serial,
    /// Valid from.
    pub not_before: Instant,
    /// Valid until.
    pub not_after: Instant,
    /// The certificate, PEM.
    pub certificate: String,
    /// The CA that issued it, PEM.
    pub issuer: String,
    /// The CA by which clients know the gateway, PEM.
    pub gateway_ca: String,
}
