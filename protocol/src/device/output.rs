//! What a device wants done: every output of the state machine.

use crate::code::Code;
use crate::slot::SlotId;
use crate::slot::store::Item;
use crate::time::UnixTime;
use crate::topic::Channel;

/// With which credential to connect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Credential {
    /// The factory's.
    Idevid,
    /// The one in a slot; [`super::Device::certificate`] has its certificate.
    Slot(SlotId),
}

impl Credential {
    /// The control channel that a session under this credential uses.
    #[must_use]
    pub const fn channel(self) -> Channel {
        match self {
            Self::Idevid => Channel::Enrol,
            Self::Slot(_) => Channel::Control,
        }
    }
}

/// Something to do. Do it, answer with the input it names, then go on polling.
#[derive(Debug, Eq, PartialEq)]
pub enum Output<'a> {
    /// Store `bytes` under `item`, durably, then give [`super::Input::Persisted`]. Nothing comes out before that.
    Persist {
        /// Which record.
        item: Item,
        /// Its new content.
        bytes: &'a [u8],
    },
    /// Make a P-256 key in this slot's place of the key store, durably; [`super::Input::KeyGenerated`] answers.
    GenerateKey(SlotId),
    /// Sign with this slot's key, ECDSA P-256 with SHA-256; [`super::Input::Signed`] answers.
    Sign {
        /// Whose key.
        slot: SlotId,
        /// What: not hashed yet.
        message: &'a [u8],
    },
    /// Destroy this slot's key. No answer.
    WipeKey(SlotId),
    /// Connect to the gateway; [`super::Input::Connected`] or [`super::Input::ConnectFailed`] answers.
    Connect(Credential),
    /// Drop the connection, or the attempt. No answer; a later `Disconnected` for it is ignored.
    Disconnect,
    /// Publish on the up topic of the session's channel, QoS 1. A publication that fails ends the connection.
    Send(&'a [u8]),
    /// Get the newest trust bundle from the open address; [`super::Input::Bundle`] answers, or nothing.
    FetchBundle,
    /// The records are no longer what this machine believes: boot a new one from the store.
    Restart,
    /// For logs and people.
    Event(Event),
}

/// What a log or a console shows of a device's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A state was entered.
    Entered(super::StateName),
    /// The gateway refused something.
    Refused(Code),
    /// The gateway's chain was refused.
    GatewayRefused(Code),
    /// A candidate failed while the old credential worked: so many times now.
    TrialCounted(u8),
    /// Nothing could connect: the trial was given back.
    TrialGivenBack,
    /// The candidate was given up, the old credential stays.
    RolledBack,
    /// A new trust bundle is in force; read it again before the next connection.
    BundleInForce(u32),
    /// A trust bundle was refused.
    BundleRefused(Code),
    /// The clock floor rose.
    FloorRaised(UnixTime),
    /// The key store failed.
    KeyStoreFailed,
    /// The record store failed.
    StoreFailed,
}
