//! The audit.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use muster_protocol::pki::serial::Serial;
use muster_protocol::{Code, DeviceId};
use serde::{Deserialize, Serialize};

use crate::admin::instant::Instant;
use crate::audit::AuditRecord;

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
    pub(in crate::admin) fn new(record: &AuditRecord) -> Option<Self> {
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
