//! The contract of whatever keeps a device's records: files, NOR flash, a simulated disk.

use core::future::Future;

use super::SlotId;

/// One of the things that a device keeps.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Item {
    /// A slot ([`super::SlotRecord`]).
    Slot(SlotId),
    /// The signed trust bundle in force, with its pins (a fleet file, [`crate::trust`]).
    Trust,
    /// Clock floor and retirement ([`crate::device::LifeRecord`]).
    Life,
}

impl Item {
    /// Every item.
    pub const ALL: [Self; 4] = [Self::Slot(SlotId::A), Self::Slot(SlotId::B), Self::Trust, Self::Life];
}

/// Keeps the records of one device.
///
/// The contract, tested for every implementation by the suite in `system-tests`:
/// - After `put` returned, `load` gives the new bytes, also after a power cut.
/// - A cut during `put` leaves, for that item, the old bytes or the new ones. A store that cannot promise the old ones
///   for a slot (one erase unit per slot) may leave the slot empty: the device never rewrites the slot that it lives on
///   except to supersede it.
/// - No `put` ever changes another item.
pub trait SlotStore {
    /// Why the store failed.
    type Error: core::fmt::Debug;

    /// Copies the item into `buffer` and returns its length; `None` when there is none.
    fn load(&mut self, item: Item, buffer: &mut [u8]) -> impl Future<Output = Result<Option<usize>, Self::Error>>;

    /// Stores the item, durably, before it returns.
    fn put(&mut self, item: Item, bytes: &[u8]) -> impl Future<Output = Result<(), Self::Error>>;
}
