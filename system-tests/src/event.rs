//! Everything that can happen in a simulated world, and the queue that says when.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use muster_protocol::device::Failure;
use muster_protocol::pki::{PublicKey, Signature, VerifiedGateway};
use muster_protocol::slot::SlotId;
use muster_protocol::time::Millis;

use crate::plan::Order;

/// Names one connection attempt in a world, and the connection that comes of it.
pub type Epoch = u64;

/// Something that happens at a time.
#[derive(Clone, Debug)]
pub enum Event {
    /// A device gets power.
    PowerOn(usize),
    /// A device loses power.
    PowerCut(usize),
    /// A device loses power for longer than any certificate lasts.
    LongSleep(usize),
    /// The time that the device's core asked for.
    Timer {
        /// Which device.
        device: usize,
        /// The timer counts only if it was not set anew since.
        setting: u64,
    },
    /// Something of the device itself answers, or its owner wants something; void after a reboot.
    Local {
        /// Which device.
        device: usize,
        /// In which life.
        boot: u64,
        /// What.
        what: Local,
    },
    /// A connection attempt reaches the gateway.
    Arrival {
        /// Whose.
        device: usize,
        /// Which attempt.
        epoch: Epoch,
        /// The certificate that the device shows.
        certificate: Arc<[u8]>,
    },
    /// Something reaches the device over the network.
    Down {
        /// Which device.
        device: usize,
        /// On which connection.
        epoch: Epoch,
        /// What.
        what: Down,
    },
    /// Something reaches the gateway over the network.
    Up {
        /// From which device.
        device: usize,
        /// On which connection.
        epoch: Epoch,
        /// What.
        what: Up,
    },
    /// The certificate of a session ends.
    SessionEnds {
        /// Whose session.
        device: usize,
        /// Which one.
        epoch: Epoch,
    },
    /// The connection of a device breaks.
    LinkBreaks(usize),
    /// A device loses the network.
    Offline(usize),
    /// It is back.
    Online(usize),
    /// The gateway crashes.
    GatewayCrash,
    /// It runs again.
    GatewayUp,
    /// The gateway's device CA goes missing among its trust anchors.
    Distrust,
    /// It is back.
    TrustAgain,
    /// An operator does something.
    Operator,
    /// An operator does what the plan names.
    Order(Order),
    /// Somebody at the device wants its key rotated.
    Owner(usize),
    /// Somebody at the device wants it retired.
    OwnerRetires(usize),
    /// The next step of a change of gateway CAs.
    Rollover,
    /// A device's clock is stepped.
    ClockStep(usize),
    /// Faults stop.
    Calm,
    /// Every device that is not kept out has to be operational by now.
    Deadline,
    /// The history ends.
    End,
}

impl Event {
    /// Whether it happens only until faults stop.
    #[must_use]
    pub const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::PowerCut(_)
                | Self::LongSleep(_)
                | Self::LinkBreaks(_)
                | Self::Offline(_)
                | Self::GatewayCrash
                | Self::Distrust
                | Self::Operator
                | Self::Owner(_)
                | Self::OwnerRetires(_)
                | Self::Rollover
                | Self::ClockStep(_)
        )
    }
}

/// An answer from inside the device.
#[derive(Clone, Copy, Debug)]
pub enum Local {
    /// The record is durable.
    Persisted,
    /// It could not be stored.
    PersistFailed,
    /// A key was made.
    KeyGenerated(SlotId, PublicKey),
    /// A key operation failed.
    KeyFailed,
    /// A signature.
    Signed(Signature),
    /// The core wanted a restart.
    Restart,
    /// The newest bundle was fetched from the open address.
    Fetched,
}

/// What the network brings to a device.
#[derive(Clone, Debug)]
pub enum Down {
    /// The connection stands.
    Connected(Box<VerifiedGateway>),
    /// The attempt failed, or the connection ended.
    Lost(Failure),
    /// A control message.
    Message(Vec<u8>),
}

/// What the network brings to the gateway.
#[derive(Clone, Debug)]
pub enum Up {
    /// A control message.
    Message(Vec<u8>),
    /// The connection is gone.
    Closed,
}

/// Events in the order of their time; those of one moment in the order in which they were put in.
#[derive(Debug, Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    count: u64,
}

impl Queue {
    /// Puts an event in.
    pub fn push(&mut self, at: Millis, event: Event) {
        self.count += 1;
        self.heap.push(Reverse(Entry { at, number: self.count, event }));
    }

    /// Takes the next event out.
    pub fn pop(&mut self) -> Option<(Millis, Event)> {
        self.heap.pop().map(|Reverse(entry)| (entry.at, entry.event))
    }
}

#[derive(Debug)]
struct Entry {
    at: Millis,
    number: u64,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}
