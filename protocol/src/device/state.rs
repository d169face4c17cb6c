//! The states of a device, one struct each.
//!
//! ```text
//!                 request            issued               confirmed
//! Manufactured ------------> Enrolling ------> Confirming ----------> Operational
//!      ^                         ^                 |                    |     ^
//!      | no credential           | by IDevID       | rolled back        |     | rolled back, refused
//!      +-------------------------+--- Lapsed <-----+--------------------+     |
//!                                        ^  expired or refused          v     |
//!                                        +-------------------------- Rekeying +--> Confirming
//!                                                  any -> Retired
//! ```

use crate::slot::SlotId;
use crate::time::Millis;

use super::output::Credential;

/// Names of the states, for logs and status.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StateName {
    /// IDevID only.
    Manufactured,
    /// Asking for a certificate by IDevID.
    Enrolling,
    /// One confirmed credential in use.
    Operational,
    /// Operational, and asking for a certificate for a new key.
    Rekeying,
    /// A candidate is being tried.
    Confirming,
    /// The credential no longer serves; on the way to enrolment by IDevID.
    Lapsed,
    /// Given up for good.
    Retired,
}

impl StateName {
    /// The stable name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Manufactured => "manufactured",
            Self::Enrolling => "enrolling",
            Self::Operational => "operational",
            Self::Rekeying => "rekeying",
            Self::Confirming => "confirming",
            Self::Lapsed => "lapsed",
            Self::Retired => "retired",
        }
    }
}

/// No certificate of the gateway's at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manufactured;

/// A certificate was asked for under the IDevID.
#[derive(Clone, Copy, Debug)]
pub(super) struct Enrolling {
    /// The confirmed credential that lapsed, if there was one; kept until its successor is confirmed.
    pub(super) lapsed: Option<SlotId>,
    pub(super) request: Request,
}

/// A confirmed credential in use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Operational {
    pub(super) active: SlotId,
}

/// A confirmed credential in use, and a request for its successor under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rekeying {
    pub(super) active: SlotId,
    pub(super) request: Request,
}

/// A candidate on trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirming {
    pub(super) candidate: SlotId,
    /// The confirmed credential, if there is one.
    pub(super) active: Option<SlotId>,
    pub(super) probe: Probe,
}

/// What the device connects with while a candidate is on trial.
#[derive(Clone, Copy, Debug)]
pub(super) enum Probe {
    /// The candidate itself.
    Candidate,
    /// What worked before, to learn whether the candidate is at fault or the gateway is away.
    Fallback,
    /// The IDevID, after the gateway refused both the candidate and what worked before.
    Idevid,
    /// What worked before is connected; the candidate is tried again at this time.
    Waiting(Millis),
}

/// The confirmed credential no longer serves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lapsed {
    pub(super) active: SlotId,
}

/// A request for a certificate: which slot, and how far.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request {
    pub(super) slot: SlotId,
    pub(super) step: Step,
}

/// How far a request is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Step {
    /// Waiting for a session to ask on.
    Waiting,
    /// Waiting for the key store to make the key.
    MakingKey,
    /// Waiting for the key store to sign the CSR.
    Signing,
    /// Waiting for the gateway.
    Asked,
    /// Asking again at this time, on the same session.
    Again(Millis),
}

/// The state of a device.
#[derive(Clone, Copy, Debug)]
pub(super) enum State {
    Manufactured(Manufactured),
    Enrolling(Enrolling),
    Operational(Operational),
    Rekeying(Rekeying),
    Confirming(Confirming),
    Lapsed(Lapsed),
    Retired,
}

impl State {
    pub(super) const fn name(&self) -> StateName {
        match self {
            Self::Manufactured(_) => StateName::Manufactured,
            Self::Enrolling(_) => StateName::Enrolling,
            Self::Operational(_) => StateName::Operational,
            Self::Rekeying(_) => StateName::Rekeying,
            Self::Confirming(_) => StateName::Confirming,
            Self::Lapsed(_) => StateName::Lapsed,
            Self::Retired => StateName::Retired,
        }
    }

    /// The slot with the confirmed credential.
    pub(super) const fn active(&self) -> Option<SlotId> {
        match *self {
            Self::Operational(Operational { active })
            | Self::Rekeying(Rekeying { active, .. })
            | Self::Lapsed(Lapsed { active }) => Some(active),
            Self::Confirming(Confirming { active, .. }) => active,
            Self::Enrolling(Enrolling { lapsed, .. }) => lapsed,
            Self::Manufactured(_) | Self::Retired => None,
        }
    }

    /// The request under way.
    pub(super) const fn request_mut(&mut self) -> Option<&mut Request> {
        match self {
            Self::Enrolling(Enrolling { request, .. }) | Self::Rekeying(Rekeying { request, .. }) => Some(request),
            _ => None,
        }
    }
}

/// The connection, which lives across states.
#[derive(Clone, Copy, Debug)]
pub(super) enum Link {
    /// No connection; the next attempt is due at this time.
    Down { retry_at: Millis },
    /// An attempt is under way.
    Connecting { credential: Credential, give_up_at: Millis },
    /// Connected.
    Open {
        credential: Credential,
        since: Millis,
        /// The gateway answered our hello.
        welcomed: bool,
        /// An answer is due by then.
        answer_by: Option<Millis>,
    },
}
