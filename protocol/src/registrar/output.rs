//! What goes into a registrar and what comes out.

use crate::code::Code;
use crate::device_id::DeviceId;
use crate::pki::chain::VerifiedClient;
use crate::pki::key::{KeyFingerprint, PublicKey};
use crate::pki::serial::Serial;
use crate::time::UnixTime;
use crate::topic::Channel;

use super::record::{DeviceRecord, Reason};

/// What the registry's store says of a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CertificateStatus {
    /// Never issued here.
    Unknown,
    /// Issued, not withdrawn.
    Good,
    /// Withdrawn.
    Withdrawn(Reason),
}

/// Whether a key was certified before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyUse {
    /// No certificate was ever issued for it, to anybody.
    Fresh,
    /// One was.
    Spent,
}

/// What an operator wants.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Act {
    /// Have the device make a new key.
    Rotate,
    /// Keep it out for now.
    Suspend(Option<Reason>),
    /// Let a suspended device in again; let a revoked one enrol anew.
    Resume,
    /// Withdraw its certificates and keep it out.
    Revoke(Reason),
    /// Keep it out for good.
    Retire,
}

/// Something that happened.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A verified peer wants a session. [`Output::Admit`] or [`Output::Refuse`] answers.
    Arrived {
        /// Who, proven by its chain.
        client: &'a VerifiedClient,
        /// What the store says of its certificate; nobody asks for an IDevID.
        status: CertificateStatus,
    },
    /// A control message came on a session that was admitted.
    Message {
        /// Who sent it.
        client: &'a VerifiedClient,
        /// On which channel.
        channel: Channel,
        /// The encoded [`crate::message::Up`].
        bytes: &'a [u8],
    },
    /// The answer to [`Output::LookUpKey`].
    KeyUse(KeyUse),
    /// The answer to [`Output::Issue`]: the certificate, DER.
    Issued(&'a [u8]),
    /// The issuer could not.
    IssueFailed,
    /// The change is durable.
    Persisted,
    /// The change could not be stored; nothing of it happened.
    PersistFailed,
    /// An operator acts. [`Output::Done`] answers.
    Operator(Act),
    /// The time of [`super::Registrar::poll_timeout`] has come.
    Timeout,
}

/// One change of the registry: all of it is stored, or nothing.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    /// The new row.
    pub record: &'a DeviceRecord,
    /// A certificate that was issued.
    pub issued: Option<NewCertificate<'a>>,
    /// Certificates that are withdrawn.
    pub withdrawn: &'a [(Serial, Reason)],
    /// For the audit stream.
    pub event: Event,
}

/// A certificate on its way into the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NewCertificate<'a> {
    /// Its serial number.
    pub serial: Serial,
    /// Its key; the store refuses a key twice.
    pub key: KeyFingerprint,
    /// Start of its life.
    pub not_before: UnixTime,
    /// End of its life.
    pub not_after: UnixTime,
    /// DER.
    pub der: &'a [u8],
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Output<'a> {
    /// Let the peer in, with the rights of its role.
    Admit,
    /// Turn the peer away, with this reason on both ends.
    Refuse(Code),
    /// Ask the store whether a certificate was ever issued for this key.
    LookUpKey(KeyFingerprint),
    /// Have the device CA certify this key for the device. `Input::Issued` or `Input::IssueFailed` answers.
    Issue(&'a PublicKey),
    /// Store the change durably, then give [`Input::Persisted`]. Nothing comes out before that.
    Persist(Change<'a>),
    /// Send this control message on the asking session.
    Send(&'a [u8]),
    /// Send the stored certificate of this serial on the asking session, as [`crate::message::Down::Issued`].
    SendCertificate(Serial),
    /// Send the newest trust bundle on the asking session.
    SendBundle,
    /// Send this control message on the device's live session, if it has one under an LDevID.
    Notify(&'a [u8]),
    /// End the device's live sessions now, with this reason on both ends.
    Cut(Code),
    /// For the audit stream: something was refused, nothing changed.
    Event(Event),
    /// The answer to an operator.
    Done(Result<(), Code>),
}

/// What the audit stream records of a device.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// First seen under its IDevID.
    Claimed,
    /// A certificate was issued by enrolment.
    Enrolled(Serial),
    /// A certificate was issued by rotation.
    Rotated(Serial),
    /// The device connected under it, and it is current now.
    Confirmed(Serial),
    /// The device has stored its successor: withdrawn.
    Superseded(Serial),
    /// The device gave its candidate up and goes on with this one.
    RolledBack(Serial),
    /// An operator ordered a rotation.
    RotationOrdered(u32),
    /// An operator suspended the device.
    Suspended,
    /// An operator resumed it, or lets it enrol anew.
    Resumed,
    /// An operator withdrew its certificates.
    Revoked(Reason),
    /// It is retired, by an operator or by itself.
    Retired,
    /// Something was refused.
    Refused(Code),
}

impl Event {
    /// The stable name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Claimed => "device.claimed",
            Self::Enrolled(_) => "device.enrolled",
            Self::Rotated(_) => "device.rotated",
            Self::Confirmed(_) => "device.confirmed",
            Self::Superseded(_) => "certificate.superseded",
            Self::RolledBack(_) => "device.rolled_back",
            Self::RotationOrdered(_) => "device.rotation_ordered",
            Self::Suspended => "device.suspended",
            Self::Resumed => "device.resumed",
            Self::Revoked(_) => "device.revoked",
            Self::Retired => "device.retired",
            Self::Refused(_) => "device.refused",
        }
    }
}

/// What every registrar of a gateway shares.
#[derive(Clone, Debug)]
pub struct Context {
    /// The fleet.
    pub fleet: crate::device_id::FleetId,
    /// Number of the newest trust bundle.
    pub bundle: u32,
}

/// For whom a registrar is working now: it says who hears of a failure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Asker {
    Nobody,
    Peer,
    Session,
    Operator,
}

/// The device in a record, for convenience of the shell.
impl DeviceRecord {
    /// The identity that the device's certificates carry.
    #[must_use]
    pub fn identity(&self, fleet: &crate::device_id::FleetId) -> crate::device_id::Identity {
        crate::device_id::Identity::device(fleet.clone(), DeviceId::clone(&self.device))
    }
}
