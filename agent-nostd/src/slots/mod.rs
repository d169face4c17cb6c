//! A device's records and soft keys on NOR flash, safe against a power cut at any moment.
//!
//! The identity partition has seven units, each [`UNIT_BYTES_MIN`] or the flash's erase unit, whichever is more:
//!
//! | unit | what | rewritten |
//! |---|---|---|
//! | 0 | IDevID: key, certificate, fleet file, gateway address, seal ([`identity`](FactoryRecords)) | never: the factory's, then locked |
//! | 1, 2 | slots A and B: private key, record, changes of phase | when the key comes or goes, or the log is full |
//! | 3, 4 | trust bundle; the one not in use also holds a slot while that is rewritten | in turns |
//! | 5, 6 | clock floor and retirement | in turns |
//!
//! Every unit is a log of entries. Nothing is programmed twice, nothing counts before its commit word, and
//! what is in force is never in a unit that is being erased:
//!
//! - Trust and life append to the unit with the newest entry; when that is full or fails, the other unit is erased and
//!   written, and the higher sequence wins.
//! - A slot that has to be erased is first written, whole, to the trust unit that is not in use, with a
//!   `Rescue` entry last. From there on the slot's own unit counts for nothing: the next start finishes
//!   what was begun.
//!
//! So after a cut every item, each key included, is the old one or the new one. Keys that are replaced or wiped are
//! erased from the flash, not just forgotten. The form is protection against cuts and wear, not against somebody who
//! can write the flash: that is for the chip's own protection.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::slot::store::{Item, SlotStore};

mod entry;
mod identity;
mod log;
mod pair;
mod secret;
mod slot;

pub use identity::{FactoryItem, FactoryRecords};
pub(crate) use secret::Secret;

use entry::Kind;
use log::{Payload, Unit, Units};

/// The least that a unit has: a trust bundle of the longest kind has to fit.
pub const UNIT_BYTES_MIN: u32 = 4096;

/// Bytes of the identity partition on this flash.
#[must_use]
pub const fn partition_bytes<F: NorFlash>() -> u32 {
    Unit::COUNT * log::Geometry::<F>::UNIT
}

/// Bytes of the partition's first unit, the IDevID's: what the board locks.
#[must_use]
pub const fn idevid_bytes<F: NorFlash>() -> u32 {
    log::Geometry::<F>::UNIT
}

/// Why the store failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SlotError {
    /// The partition is not where and as large as it has to be.
    Layout,
    /// The flash reported a failure.
    Flash,
    /// The flash did not hold what was written.
    Worn,
    /// No room in the unit.
    Full,
    /// Longer than the entry or the buffer may be.
    TooLong,
    /// The factory is done with this device, or has written this already.
    Sealed,
    /// What has to be there before is missing.
    Missing,
}

/// The store on one flash.
#[derive(Debug)]
pub struct Slots<F> {
    units: Units<F>,
    /// A rewrite was begun and failed: it has to be finished before anything else.
    unfinished: bool,
}

impl<F: NorFlash> Slots<F> {
    /// Opens the partition that starts at `start` of the flash, and finishes what a power cut left unfinished.
    pub fn open(flash: F, start: u32) -> Result<Self, SlotError> {
        let mut slots = Self { units: Units::new(flash, start)?, unfinished: true };
        slots.settle()?;
        Ok(slots)
    }

    /// Reads an item into `buffer`; its length, or `None` when there is none.
    pub fn read(&mut self, item: Item, buffer: &mut [u8]) -> Result<Option<usize>, SlotError> {
        self.settle()?;
        let payload = match item {
            Item::Slot(slot) => self.record(slot)?,
            Item::Trust => self.newest_of_pair(pair::TRUST)?.map(|(_, entry)| Payload::Stored { entry, patch: None }),
            Item::Life => self.newest_of_pair(pair::LIFE)?.map(|(_, entry)| Payload::Stored { entry, patch: None }),
        };
        payload.map(|payload| self.copy(&payload, buffer)).transpose()
    }

    /// Stores an item; durable when it returns.
    pub fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), SlotError> {
        self.settle()?;
        match item {
            Item::Slot(slot) => self.write_record(slot, bytes),
            Item::Trust => self.write_pair(pair::TRUST, bytes),
            Item::Life => self.write_pair(pair::LIFE, bytes),
        }
    }

    fn copy(&mut self, payload: &Payload<'_>, buffer: &mut [u8]) -> Result<usize, SlotError> {
        let length = payload.len();
        self.units.read_payload(payload, 0, buffer.get_mut(..length).ok_or(SlotError::TooLong)?)?;
        Ok(length)
    }
}

impl<F: NorFlash> SlotStore for Slots<F> {
    type Error = SlotError;

    async fn load(&mut self, item: Item, buffer: &mut [u8]) -> Result<Option<usize>, SlotError> {
        self.read(item, buffer)
    }

    async fn put(&mut self, item: Item, bytes: &[u8]) -> Result<(), SlotError> {
        self.write(item, bytes)
    }
}
