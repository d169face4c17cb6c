//! What an agent says of itself: to the command line, to other programs, to tests.

use muster_protocol::device::{Credential, Device, LifeRecord, StateName};
use muster_protocol::pki::{Certificate, PublicKey};
use muster_protocol::slot::{Phase, SlotId, SlotRecord};
use muster_protocol::time::UnixTime;
use muster_protocol::{Code, DeviceId, Disposition, Identity};
use muster_terminal::time::rfc3339;
use serde::Serialize;

use super::records::Trust;

/// One device at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    v: u8,
    /// The device id.
    pub device: String,
    /// The fleet it belongs to.
    pub fleet: String,
    /// `running`, or `stopped` when only its files were asked.
    pub agent: &'static str,
    /// The state of its life; `starting` before the first is known.
    pub state: &'static str,
    /// The credential of the open session, once the gateway welcomed it: `idevid`, `a` or `b`.
    pub session: Option<&'static str>,
    /// The slot whose certificate is in use.
    pub active: Option<&'static str>,
    /// Gateways, in the order in which they are tried.
    pub gateways: Vec<String>,
    /// Number of the trust bundle in force.
    pub bundle: u32,
    /// No time before this is believed; RFC 3339.
    pub clock_floor: Option<String>,
    /// The slots that hold something.
    pub slots: Vec<SlotStatus>,
    /// What the gateway, or the device itself, last refused.
    pub last_refusal: Option<LastRefusal>,
}

/// What is in a slot.
#[derive(Clone, Debug, Serialize)]
pub struct SlotStatus {
    /// `a` or `b`.
    pub slot: &'static str,
    /// `keyed`, `issued`, `trial`, `confirmed`, `superseded` or `wiped`.
    pub phase: &'static str,
    /// Rises with every key.
    pub generation: u32,
    /// SHA-256 of the key's SubjectPublicKeyInfo.
    pub key: String,
    /// The certificate's serial number.
    pub serial: Option<String>,
    /// First second of validity; RFC 3339.
    pub not_before: Option<String>,
    /// Last second of validity; RFC 3339.
    pub not_after: Option<String>,
    /// The same in seconds since 1970.
    pub not_after_unix: Option<u64>,
}

/// A refusal, and what to do about it.
#[derive(Clone, Debug, Serialize)]
pub struct LastRefusal {
    /// The stable code.
    pub code: &'static str,
    /// Who refused: `gateway` or `device`.
    pub by: &'static str,
    /// One sentence.
    pub message: &'static str,
    /// What to do.
    pub hint: &'static str,
    /// When; RFC 3339.
    pub at: String,
}

/// Who refused whom.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Refuser {
    Gateway,
    Device,
}

impl Status {
    pub(super) fn starting(device: &DeviceId) -> Self {
        Self {
            v: 1,
            device: device.to_string(),
            fleet: String::new(),
            agent: "running",
            state: "starting",
            session: None,
            active: None,
            gateways: Vec::new(),
            bundle: 0,
            clock_floor: None,
            slots: Vec::new(),
            last_refusal: None,
        }
    }

    pub(super) fn of(device: &Device, trust: &Trust, last_refusal: Option<LastRefusal>) -> Self {
        Self {
            v: 1,
            device: device.identity().name().to_string(),
            fleet: device.identity().fleet().to_string(),
            agent: "running",
            state: device.state().name(),
            session: device.session().map(credential_name),
            active: device.active_slot().map(SlotId::name),
            gateways: addresses(trust),
            bundle: device.bundle(),
            clock_floor: Some(rfc3339(device.clock_floor().0)),
            slots: slots(SlotId::BOTH.map(|slot| device.slot(slot))),
            last_refusal,
        }
    }

    /// Whether the device has a confirmed certificate, uses it, and the gateway has welcomed it.
    #[must_use]
    pub fn is_operational(&self) -> bool {
        let at_work = matches!(self.state, "operational" | "rekeying");
        at_work && self.session.is_some() && self.session == self.active
    }

    /// The generation of the key in use; rises with every rotation.
    #[must_use]
    pub fn generation(&self) -> Option<u32> {
        self.slots.iter().find(|slot| Some(slot.slot) == self.active).map(|slot| slot.generation)
    }
}

impl LastRefusal {
    pub(super) fn new(code: Code, by: Refuser, at_unix_secs: u64) -> Self {
        Self {
            code: code.name(),
            by: match by {
                Refuser::Gateway => "gateway",
                Refuser::Device => "device",
            },
            message: code.text(),
            hint: hint(code, by),
            at: rfc3339(at_unix_secs),
        }
    }
}

/// The status that stored records mean.
pub(super) fn from_records(
    identity: &Identity,
    records: [Option<&SlotRecord>; 2],
    keys: [Option<PublicKey>; 2],
    life: LifeRecord,
    trust: &Trust,
) -> Status {
    let usable = |slot: &SlotId, wanted: fn(Phase) -> bool| {
        let record = records[slot.index()];
        record.is_some_and(|record| wanted(record.phase) && keys[slot.index()] == Some(record.public_key))
    };
    let active = SlotId::BOTH
        .into_iter()
        .filter(|slot| usable(slot, |phase| phase == Phase::Confirmed))
        .max_by_key(|slot| records[slot.index()].map(|record| record.generation));
    let trying = |slot: &SlotId| usable(slot, |phase| matches!(phase, Phase::Issued | Phase::Trial(_)));
    let keyed = |slot: &SlotId| usable(slot, |phase| phase == Phase::Keyed);
    let state = match active {
        _ if life.retired => StateName::Retired,
        _ if SlotId::BOTH.iter().any(trying) => StateName::Confirming,
        Some(_) if SlotId::BOTH.iter().any(keyed) => StateName::Rekeying,
        Some(_) => StateName::Operational,
        None if SlotId::BOTH.iter().any(keyed) => StateName::Enrolling,
        None => StateName::Manufactured,
    };
    Status {
        v: 1,
        device: identity.name().to_string(),
        fleet: identity.fleet().to_string(),
        agent: "stopped",
        state: state.name(),
        session: None,
        active: active.map(SlotId::name),
        gateways: addresses(trust),
        bundle: trust.number,
        clock_floor: (life.floor > UnixTime(0)).then(|| rfc3339(life.floor.0)),
        slots: slots(records),
        last_refusal: None,
    }
}

pub(super) const fn credential_name(credential: Credential) -> &'static str {
    match credential {
        Credential::Idevid => "idevid",
        Credential::Slot(slot) => slot.name(),
    }
}

fn addresses(trust: &Trust) -> Vec<String> {
    trust.gateways.iter().map(|gateway| format!("{}:{}", gateway.host, gateway.mqtt_port)).collect()
}

fn slots(records: [Option<&SlotRecord>; 2]) -> Vec<SlotStatus> {
    let both = SlotId::BOTH.into_iter().zip(records);
    both.filter_map(|(slot, record)| Some(slot_status(slot, record?))).collect()
}

fn slot_status(slot: SlotId, record: &SlotRecord) -> SlotStatus {
    let certificate = Certificate::parse(&record.certificate).ok();
    let at = |time: UnixTime| rfc3339(time.0);
    SlotStatus {
        slot: slot.name(),
        phase: match record.phase {
            Phase::Keyed => "keyed",
            Phase::Issued => "issued",
            Phase::Trial(_) => "trial",
            Phase::Confirmed => "confirmed",
            Phase::Superseded => "superseded",
            Phase::Wiped => "wiped",
        },
        generation: record.generation,
        key: record.public_key.fingerprint().to_string(),
        serial: certificate.as_ref().map(|certificate| certificate.serial().to_string()),
        not_before: certificate.as_ref().map(|certificate| at(certificate.not_before())),
        not_after: certificate.as_ref().map(|certificate| at(certificate.not_after())),
        not_after_unix: certificate.as_ref().map(|certificate| certificate.not_after().0),
    }
}

/// What a person at the device does about a refusal.
fn hint(code: Code, by: Refuser) -> &'static str {
    match (by, code) {
        (Refuser::Device, Code::CertificateExpired) => {
            "the gateway's certificate has expired, or this machine's clock is wrong; check both"
        }
        (Refuser::Device, Code::CertificateWrongName) => {
            "the address in the identity folder is not a name of the gateway; name it with `muster-gateway init --name`"
        }
        (Refuser::Device, Code::CertificateUntrusted | Code::CertificateSelfSigned) => {
            "this is not the fleet's gateway, or its CA changed: the device asks for the newest trust bundle by itself"
        }
        (Refuser::Device, _) => "look at the gateway's server certificate and its trust bundle",
        (Refuser::Gateway, Code::DeviceUnknown) => {
            "import the shipment manifest that names this device: `muster-gateway manifest import FILE`"
        }
        (Refuser::Gateway, Code::DeviceSuspended) => "an operator can let it back: `muster-gateway device resume`",
        (Refuser::Gateway, Code::DeviceRevoked) => "an operator must let it enrol anew at the gateway",
        (Refuser::Gateway, Code::DeviceRetired) => "retirement is final; make a new identity",
        (Refuser::Gateway, code) => match code.disposition() {
            Disposition::Retry => "nothing: the device tries again by itself",
            Disposition::Enrol => "nothing: the device enrols again by itself",
            Disposition::AskOperator => "ask the operator of the fleet",
            Disposition::Never => "the gateway's log and audit tell more; the device goes on trying slowly",
        },
    }
}
