//! Devices, their certificates, sessions and telemetry.

use std::net::SocketAddr;

use muster_protocol::message::application::Telemetry as Report;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{Reason, Standing};
use muster_protocol::{DeviceId, UnixTime};
use serde::{Deserialize, Serialize};

use super::{AuditView, VERSION};
use crate::admin::instant::Instant;
use crate::registrar::{CommandOutcome, Telemetry, TooLong};
use crate::store::{Certificate, Device};

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
    pub(in crate::admin) fn new(device: &Device, online: bool) -> Self {
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
    /// That its last message of telemetry was too long to be kept; what stands in `telemetry` is older.
    #[serde(default)]
    pub telemetry_too_long: Option<TooLongView>,
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
    pub(in crate::admin) fn new(certificate: &Certificate, part: Part, now: UnixTime) -> Self {
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
    /// A report of firmware as JSON, like the Linux agent's; any other payload as it is, what is no UTF-8 replaced.
    pub text: String,
}

impl From<Telemetry> for TelemetryView {
    fn from(telemetry: Telemetry) -> Self {
        let text = match Report::decode(&telemetry.payload) {
            Ok(report) => {
                let (load1, used, total) =
                    (f64::from(report.load_percent) / 100.0, report.memory_used_bytes, report.memory_total_bytes);
                let uptime = report.uptime_secs;
                format!(
                    r#"{{"v":1,"uptime_secs":{uptime},"load1":{load1},"memory_used_bytes":{used},"memory_total_bytes":{total}}}"#
                )
            }
            Err(_) => String::from_utf8_lossy(&telemetry.payload).into_owned(),
        };
        Self { at: telemetry.at.into(), text }
    }
}

/// A message of telemetry that was too long to be kept.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct TooLongView {
    /// When it came.
    pub at: Instant,
    /// How long it was.
    pub bytes: usize,
    /// How long it might have been: `telemetry.keep_bytes_max`.
    pub bytes_max: usize,
}

impl From<TooLong> for TooLongView {
    fn from(message: TooLong) -> Self {
        Self { at: message.at.into(), bytes: message.bytes, bytes_max: message.bytes_max }
    }
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

/// What became of a command to a device's program.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct CommandView {
    /// Version of the answer.
    pub v: u8,
    /// The device.
    pub device: DeviceId,
    /// The command.
    pub command: String,
    /// How it went.
    pub outcome: CommandStanding,
    /// What the program gave, as text: hostile, what is no UTF-8 replaced.
    pub result: String,
    /// The same in hexadecimal digits, byte for byte.
    pub result_hex: String,
}

/// How a command went.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CommandStanding {
    /// It was carried out.
    Done,
    /// The device tried and failed.
    Failed,
    /// The device knows no such command.
    Unknown,
}

impl CommandView {
    pub(in crate::admin) fn new(device: &DeviceId, command: String, outcome: CommandOutcome) -> Self {
        let (outcome, result) = match outcome {
            CommandOutcome::Done(result) => (CommandStanding::Done, result),
            CommandOutcome::Failed(result) => (CommandStanding::Failed, result),
            CommandOutcome::Unknown => (CommandStanding::Unknown, Vec::new()),
        };
        Self {
            v: VERSION,
            device: device.clone(),
            command,
            outcome,
            result: String::from_utf8_lossy(&result).into_owned(),
            result_hex: result.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn a_report_of_firmware_reads_like_one_of_linux() {
        let report = Report { uptime_secs: 12, load_percent: 7, memory_used_bytes: 30_000, memory_total_bytes: 65_536 };
        let payload = muster_protocol::message::encode(&report).unwrap().to_vec();
        let text = |payload: &[u8]| TelemetryView::from(Telemetry { at: UnixTime(1), payload: payload.to_vec() }).text;
        assert_eq!(
            text(&payload),
            r#"{"v":1,"uptime_secs":12,"load1":0.07,"memory_used_bytes":30000,"memory_total_bytes":65536}"#
        );
        assert_eq!(text(b"{\"t\":21.5}"), "{\"t\":21.5}");
        assert_eq!(
            text(&payload[..3]),
            String::from_utf8_lossy(&payload[..3]),
            "what is no whole report is shown as it is"
        );
    }
}
