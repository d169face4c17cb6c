//! How the gateway is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use muster_protocol::FleetId;
use serde::{Deserialize, Serialize};

use crate::admin::instant::Instant;

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
    /// What people call it: `expired`, `7 days` (and not sooner than the interval before), `later`.
    pub within: String,
    /// From then on, included; absent: from the beginning.
    pub from: Option<Instant>,
    /// Until then, not included; absent: without end.
    pub until: Option<Instant>,
    /// How many.
    pub devices: u64,
}
