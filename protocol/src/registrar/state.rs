//! The registrar's states, one struct each, and their way from and to the stored row.

use crate::code::Code;

use super::record::{Credential, DeviceRecord, Reason, Standing};

/// Issued and not confirmed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Candidate {
    pub(super) credential: Credential,
    /// Number of the last order when it was issued.
    pub(super) order: u32,
}

/// A confirmed certificate, perhaps with its predecessor, perhaps with a candidate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Active {
    pub(super) current: Credential,
    /// Accepted until the device has stored its successor.
    pub(super) previous: Option<Credential>,
    /// With one, the device's standing is rotating.
    pub(super) candidate: Option<Candidate>,
}

/// The states in which a device may come in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Welcome {
    Expected,
    Claimed,
    Enrolling(Candidate),
    Active(Active),
}

/// The state of a device in the registry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum State {
    In(Welcome),
    Suspended { was: Welcome, reason: Option<Reason> },
    Revoked(Reason),
    Retired,
}

impl Welcome {
    pub(super) fn standing(&self) -> Standing {
        match self {
            Self::Expected => Standing::Expected,
            Self::Claimed => Standing::Claimed,
            Self::Enrolling(_) => Standing::Enrolling,
            Self::Active(Active { candidate: None, .. }) => Standing::Active,
            Self::Active(Active { candidate: Some(_), .. }) => Standing::Rotating,
        }
    }

    fn from_record(record: &DeviceRecord, standing: Standing) -> Option<Self> {
        let candidate =
            record.candidate.clone().map(|credential| Candidate { credential, order: record.candidate_order });
        let parts = (record.current.clone(), record.previous.clone(), candidate);
        match (standing, parts) {
            (Standing::Expected, (None, None, None)) => Some(Self::Expected),
            (Standing::Claimed, (None, None, None)) => Some(Self::Claimed),
            (Standing::Enrolling, (None, None, Some(candidate))) => Some(Self::Enrolling(candidate)),
            (Standing::Active, (Some(current), previous, None)) => {
                Some(Self::Active(Active { current, previous, candidate: None }))
            }
            (Standing::Rotating, (Some(current), previous, Some(candidate))) => {
                Some(Self::Active(Active { current, previous, candidate: Some(candidate) }))
            }
            _ => None,
        }
    }

    /// Every certificate that would be accepted.
    pub(super) fn credentials(&self) -> impl Iterator<Item = &Credential> {
        let [a, b, c] = match self {
            Self::Expected | Self::Claimed => [None, None, None],
            Self::Enrolling(candidate) => [Some(&candidate.credential), None, None],
            Self::Active(Active { current, previous, candidate }) => {
                [Some(current), previous.as_ref(), candidate.as_ref().map(|candidate| &candidate.credential)]
            }
        };
        [a, b, c].into_iter().flatten()
    }
}

impl State {
    /// The state that a row means; a row that means none was not written by this registrar.
    pub(super) fn from_record(record: &DeviceRecord) -> Option<Self> {
        match record.standing {
            Standing::Suspended => {
                let was = Welcome::from_record(record, record.suspended_from?)?;
                Some(Self::Suspended { was, reason: record.reason })
            }
            Standing::Revoked => Some(Self::Revoked(record.reason?)),
            Standing::Retired => Some(Self::Retired),
            standing => Welcome::from_record(record, standing).map(Self::In),
        }
    }

    /// Writes this state into the row.
    pub(super) fn write(&self, record: &mut DeviceRecord) {
        (record.current, record.previous, record.candidate, record.candidate_order) = (None, None, None, 0);
        (record.suspended_from, record.reason) = (None, None);
        let inside = match self {
            Self::In(inside) => {
                record.standing = inside.standing();
                inside
            }
            Self::Suspended { was, reason } => {
                record.standing = Standing::Suspended;
                record.suspended_from = Some(was.standing());
                record.reason = *reason;
                was
            }
            Self::Revoked(reason) => {
                record.standing = Standing::Revoked;
                record.reason = Some(*reason);
                return;
            }
            Self::Retired => {
                record.standing = Standing::Retired;
                return;
            }
        };
        let candidate = match inside {
            Welcome::Expected | Welcome::Claimed => return,
            Welcome::Enrolling(candidate) => Some(candidate),
            Welcome::Active(Active { current, previous, candidate }) => {
                record.current = Some(current.clone());
                record.previous.clone_from(previous);
                candidate.as_ref()
            }
        };
        if let Some(Candidate { credential, order }) = candidate {
            record.candidate = Some(credential.clone());
            record.candidate_order = *order;
        }
    }

    /// The refusal that keeps the device out, if anything does.
    pub(super) const fn kept_out(&self) -> Option<Code> {
        match self {
            Self::In(_) => None,
            Self::Suspended { .. } => Some(Code::DeviceSuspended),
            Self::Revoked(_) => Some(Code::DeviceRevoked),
            Self::Retired => Some(Code::DeviceRetired),
        }
    }
}
