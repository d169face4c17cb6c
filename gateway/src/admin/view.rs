//! What operators see: one serde type per answer. Fields are only ever added; every answer has `"v": 1`.
//!
//! Texts that came from a device or a factory (product, lot, telemetry, details of the audit) are hostile: whoever shows
//! them escapes them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{Reason, Standing};
use muster_protocol::{Code, DeviceId, FleetId};
use serde::{Deserialize, Serialize};

use super::instant::Instant;
use crate::audit::AuditRecord;
use crate::store::{Certificate, Device, FactoryCa, ManifestRow, Operator, Service};

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

/// A device in a list.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceRow {
    /// Its id.
    pub id: DeviceId,
    /// Where it stands.
    pub standing: Standing,
    /// Product name.
    pub product: String,
    /// Lot.
    pub lot: String,
    /// Serial number of its current certificate.
    pub serial: Option<Serial>,
    /// When that certificate expires.
    pub expires_at: Option<Instant>,
    /// When it was last heard of.
    pub last_seen_at: Option<Instant>,
    /// Whether it has a session now.
    pub online: bool,
    /// When it came into the registry.
    pub created_at: Instant,
    /// When its record was last written.
    pub updated_at: Instant,
}

impl DeviceRow {
    pub(super) fn new(device: &Device, online: bool) -> Self {
        let current = device.record.current.as_ref();
        Self {
            id: device.id().clone(),
            standing: device.record.standing,
            product: device.product.clone(),
            lot: device.lot.clone(),
            serial: current.map(|credential| credential.serial.clone()),
            expires_at: current.map(|credential| credential.not_after.into()),
            last_seen_at: device.last_seen_at.map(Instant),
            online,
            created_at: device.created_at.into(),
            updated_at: device.updated_at.into(),
        }
    }
}

/// Everything about one device.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceDetails {
    /// Version of the answer.
    pub v: u8,
    /// What the list shows.
    #[serde(flatten)]
    pub row: DeviceRow,
    /// Key of its IDevID.
    pub idevid: KeyFingerprint,
    /// The manifest that named it.
    pub manifest: Option<String>,
    /// Why it is suspended or revoked.
    pub reason: Option<Reason>,
    /// Where a suspended device stood.
    pub suspended_from: Option<Standing>,
    /// Number of a rotation that was ordered and has not happened yet.
    pub ordered_rotation: Option<u32>,
    /// Its certificates, newest first.
    pub certificates: Vec<CertificateView>,
    /// Its live sessions.
    pub sessions: Vec<SessionView>,
    /// What it said of itself last.
    pub telemetry: Option<TelemetryView>,
    /// What happened to it, newest first.
    pub history: Vec<AuditView>,
    /// What it was refused lately, newest first.
    pub refusals: Vec<AuditView>,
}

/// What a certificate is to its holder.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// In force and confirmed.
    Current,
    /// Accepted until the device has stored its successor.
    Previous,
    /// Issued, not confirmed.
    Candidate,
    /// Nothing any more.
    None,
}

impl Part {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Candidate => "candidate",
            Self::None => "none",
        }
    }
}

/// What is true of a certificate now.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateStanding {
    /// Within its dates and not withdrawn.
    Good,
    /// Its time is over.
    Expired,
    /// Withdrawn.
    Withdrawn,
}

impl CertificateStanding {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Expired => "expired",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A certificate.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CertificateView {
    /// Its serial number.
    pub serial: Serial,
    /// Its key.
    pub key: KeyFingerprint,
    /// What it is to its holder.
    pub part: Part,
    /// What is true of it now.
    pub status: CertificateStanding,
    /// Valid from.
    pub not_before: Instant,
    /// Valid until.
    pub not_after: Instant,
    /// When it was issued.
    pub issued_at: Instant,
    /// When it was withdrawn.
    pub withdrawn_at: Option<Instant>,
    /// Why it was withdrawn.
    pub reason: Option<Reason>,
}

impl CertificateView {
    pub(super) fn new(certificate: &Certificate, part: Part, now: muster_protocol::UnixTime) -> Self {
        let status = match certificate.withdrawn {
            Some(_) => CertificateStanding::Withdrawn,
            None if certificate.not_after < now => CertificateStanding::Expired,
            None => CertificateStanding::Good,
        };
        Self {
            serial: certificate.serial.clone(),
            key: certificate.key,
            part,
            status,
            not_before: certificate.not_before.into(),
            not_after: certificate.not_after.into(),
            issued_at: certificate.issued_at.into(),
            withdrawn_at: certificate.withdrawn.map(|withdrawal| withdrawal.at.into()),
            reason: certificate.withdrawn.map(|withdrawal| withdrawal.reason),
        }
    }
}

/// A live session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionView {
    /// Address at the other end.
    pub peer: SocketAddr,
    /// When it was opened.
    pub since: Instant,
    /// Serial number of the certificate that it was opened with.
    pub serial: Serial,
    /// `idevid` or `ldevid`.
    pub credential: String,
    /// Version of MQTT.
    pub mqtt: String,
}

/// What a device said of itself last. Hostile text.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TelemetryView {
    /// When it came.
    pub at: Instant,
    /// The payload, what is no UTF-8 replaced.
    pub text: String,
}

/// One record of the audit.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditView {
    /// Its number.
    pub seq: u64,
    /// When.
    pub at: Instant,
    /// What happened.
    pub kind: String,
    /// By whose hand.
    pub actor: String,
    /// The device it is about.
    pub device: Option<DeviceId>,
    /// Why it was refused or cut.
    pub code: Option<Code>,
    /// The certificate it is about.
    pub serial: Option<Serial>,
    /// The address at the other end.
    pub peer: Option<SocketAddr>,
    /// More, by name. Hostile text.
    pub details: BTreeMap<String, String>,
    /// Its link in the chain.
    pub hash: String,
}

impl AuditView {
    /// `None` for a record of a version that this program does not know.
    pub(super) fn new(record: &AuditRecord) -> Option<Self> {
        let event = record.event().ok()?;
        Some(Self {
            seq: record.seq,
            at: event.at.into(),
            kind: event.kind.name().to_owned(),
            actor: event.actor.to_string(),
            details: event.details().iter().map(|(name, text)| (name.to_string(), text.clone())).collect(),
            device: event.device,
            code: event.code,
            serial: event.serial,
            peer: event.peer,
            hash: record.hash.to_string(),
        })
    }
}

/// The audit holds.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct AuditVerified {
    /// Version of the answer.
    pub v: u8,
    /// How many records there are.
    pub records: u64,
    /// The last link. Whoever writes it down elsewhere can show later that nothing before it was changed.
    pub hash: String,
}

/// What an act came to.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Acted {
    /// Version of the answer.
    pub v: u8,
    /// The device.
    pub device: DeviceId,
    /// The act.
    pub act: String,
    /// Where the device stands now.
    pub standing: Standing,
}

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

/// Whether something was done now or before.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Done {
    /// Now.
    Now,
    /// It was done before; nothing was changed.
    Before,
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

/// Something that was removed.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Removed {
    /// Version of the answer.
    pub v: u8,
    /// What.
    pub removed: Vec<String>,
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
    pub(super) fn new(service: Service, certificates: Vec<CertificateView>) -> Self {
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
    pub(super) fn new(operator: Operator, expires_at: Option<Instant>) -> Self {
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

/// How the gateway is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StatusView {
    /// Version of the answer.
    pub v: u8,
    /// Version of the program.
    pub version: String,
    /// The fleet.
    pub fleet: FleetId,
    /// Number of the newest trust bundle.
    pub bundle: u32,
    /// Since when it runs; absent when it is stopped.
    pub running_since: Option<Instant>,
    /// Where it listens for MQTT.
    pub mqtt: Option<SocketAddr>,
    /// Where it listens for HTTPS.
    pub https: Option<SocketAddr>,
    /// Live sessions; absent when it is stopped.
    pub sessions: Option<SessionsView>,
    /// Devices by standing.
    pub devices: BTreeMap<String, u64>,
    /// All devices.
    pub devices_total: u64,
    /// The gateway's own certificates and the factories'.
    pub certificates: Vec<OwnCertificateView>,
    /// How the store is.
    pub store: StoreView,
}

/// How many sessions live.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct SessionsView {
    /// Devices.
    pub devices: u64,
    /// Back-end services.
    pub services: u64,
}

/// One of the gateway's own certificates, or a factory's.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct OwnCertificateView {
    /// What it is: `device-ca`, `gateway-ca`, `operator-ca`, `server`, `factory-ca`.
    pub name: String,
    /// Its subject. Hostile text when it is a factory's.
    pub subject: String,
    /// When it expires.
    pub not_after: Instant,
    /// How long that is, in seconds; negative when it is over.
    pub expires_in_secs: i64,
}

/// How the store is.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct StoreView {
    /// Whether it answered.
    pub healthy: bool,
    /// Why not.
    pub trouble: Option<String>,
    /// Records in the audit.
    pub audit_records: Option<u64>,
}

/// How many certificates expire when.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExpiryView {
    /// Version of the answer.
    pub v: u8,
    /// The intervals, in order.
    pub intervals: Vec<ExpiryInterval>,
}

/// Devices whose current certificate expires in an interval.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct ExpiryInterval {
    /// From then on, included; absent: from the beginning.
    pub from: Option<Instant>,
    /// Until then, not included; absent: without end.
    pub until: Option<Instant>,
    /// How many.
    pub devices: u64,
}
