//! What the gateway keeps of a device, as a plain row. The store's edge reads and writes it; the registrar turns it
//! into states that cannot be invalid.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::device_id::DeviceId;
use crate::pki::key::KeyFingerprint;
use crate::pki::serial::Serial;
use crate::time::UnixTime;

/// Where a device stands in the registry.
///
/// ```text
/// Expected -> Claimed -> Enrolling -> Active <-> Rotating
/// any of these <-> Suspended      any -> Revoked -> Claimed (an operator lets it enrol anew)      any -> Retired
/// ```
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Named by a manifest, never seen.
    Expected,
    /// Seen under its IDevID, no certificate of ours.
    Claimed,
    /// Its first certificate (or the first after a revocation) was issued and not confirmed yet.
    Enrolling,
    /// One confirmed certificate.
    Active,
    /// A confirmed certificate and a candidate.
    Rotating,
    /// Kept out until an operator resumes it; its certificates stay as they are.
    Suspended,
    /// Certificates withdrawn, kept out, enrolment included, until an operator lets it enrol anew.
    Revoked,
    /// Kept out for good.
    Retired,
}

impl Standing {
    /// Every standing, in the order of a device's life.
    pub const ALL: [Self; 8] = [
        Self::Expected,
        Self::Claimed,
        Self::Enrolling,
        Self::Active,
        Self::Rotating,
        Self::Suspended,
        Self::Revoked,
        Self::Retired,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expected => "expected",
            Self::Claimed => "claimed",
            Self::Enrolling => "enrolling",
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Suspended => "suspended",
            Self::Revoked => "revoked",
            Self::Retired => "retired",
        }
    }

    /// The standing of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standing| standing.name() == name)
    }
}

/// A certificate that the registry counts on.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Credential {
    /// Its serial number.
    pub serial: Serial,
    /// Its key.
    pub key: KeyFingerprint,
    /// When it expires.
    pub not_after: UnixTime,
}

/// Why certificates were withdrawn (RFC 5280, section 5.3.1, as far as it concerns devices).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// No reason given.
    Unspecified,
    /// The key is known to somebody else.
    KeyCompromise,
    /// The device changed hands.
    AffiliationChanged,
    /// A newer certificate took its place.
    Superseded,
    /// The device is no longer used.
    CessationOfOperation,
    /// The rights were withdrawn.
    PrivilegeWithdrawn,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Unspecified,
        Self::KeyCompromise,
        Self::AffiliationChanged,
        Self::Superseded,
        Self::CessationOfOperation,
        Self::PrivilegeWithdrawn,
    ];

    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::KeyCompromise => "key_compromise",
            Self::AffiliationChanged => "affiliation_changed",
            Self::Superseded => "superseded",
            Self::CessationOfOperation => "cessation_of_operation",
            Self::PrivilegeWithdrawn => "privilege_withdrawn",
        }
    }

    /// The reason of a name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// The row. Which fields may stand together is said by the states of the registrar; anything else does not boot.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct DeviceRecord {
    /// The device.
    pub device: DeviceId,
    /// Where it stands; for a suspended device, [`DeviceRecord::suspended_from`] says where it stood.
    pub standing: Standing,
    /// The key of its IDevID, from the manifest.
    pub idevid: KeyFingerprint,
    /// The confirmed certificate.
    pub current: Option<Credential>,
    /// The confirmed one before it, accepted until the device has stored its successor.
    pub previous: Option<Credential>,
    /// Issued, not confirmed.
    pub candidate: Option<Credential>,
    /// Number of the last order when the candidate was issued: it serves no later one.
    pub candidate_order: u32,
    /// A rotation that an operator ordered: its number. Done when a candidate issued after it is confirmed.
    pub order: Option<u32>,
    /// Number of the last order given.
    pub orders: u32,
    /// Where a suspended device stood.
    pub suspended_from: Option<Standing>,
    /// Why it is suspended or revoked.
    pub reason: Option<Reason>,
}

impl DeviceRecord {
    /// A device that a manifest names.
    #[must_use]
    pub const fn expected(device: DeviceId, idevid: KeyFingerprint) -> Self {
        Self {
            device,
            standing: Standing::Expected,
            idevid,
            current: None,
            previous: None,
            candidate: None,
            candidate_order: 0,
            order: None,
            orders: 0,
            suspended_from: None,
            reason: None,
        }
    }

    /// The refusal that keeps the device out, if anything does.
    #[must_use]
    pub const fn kept_out(&self) -> Option<Code> {
        match self.standing {
            Standing::Suspended => Some(Code::DeviceSuspended),
            Standing::Revoked => Some(Code::DeviceRevoked),
            Standing::Retired => Some(Code::DeviceRetired),
            _ => None,
        }
    }
}
