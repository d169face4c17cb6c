//! The simulated store of a device: records and keys, with a power cut possible at every byte that is made durable.
//!
//! [`Power`] counts the bytes of both stores together, so one number names one moment of a device's life. The store
//! itself keeps the contract of [`SlotStore`] in one of two ways ([`FlashKind`]), and the core has to live with both.

use std::collections::VecDeque;
use std::future::{Future, ready};

use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::{Item, SlotStore};

use crate::test_pki::TestKey;

/// How a cut leaves an item that was being written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlashKind {
    /// Write a copy, then put it in place: the old bytes or the new ones.
    Replace,
    /// One erase unit per slot: old, empty, torn or new. Trust and life are replaced all the same, as the contract asks.
    EraseFirst,
}

/// Why a write did not happen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlashError {
    /// The power went. Nothing else happens on this device until it boots.
    PowerCut,
    /// The store failed, and the old bytes stand.
    WornOut,
}

/// The supply of a device: it lasts for so many durable bytes.
#[derive(Clone, Debug, Default)]
pub struct Power {
    written: u64,
    cut_at: Option<u64>,
    /// Further cuts, counted from the one before.
    then: VecDeque<u64>,
}

impl Power {
    /// Bytes made durable since the device was made.
    #[must_use]
    pub const fn written(&self) -> u64 {
        self.written
    }

    /// Lets the power go once `written` bytes are durable, before the next one.
    pub const fn cut_at(&mut self, written: u64) {
        self.cut_at = Some(written);
    }

    /// Lets the power go after so many bytes from now, then again after so many more, and so on.
    pub fn cut_after_each(&mut self, bytes: &[u64]) {
        self.then = bytes.iter().copied().collect();
        self.cut_at = self.then.pop_front().map(|after| self.written + after);
    }

    /// Takes `bytes` one by one; says how many became durable before the power went, if it did.
    fn spend(&mut self, bytes: usize) -> Result<(), usize> {
        let end = self.written + bytes as u64;
        match self.cut_at {
            Some(cut_at) if cut_at < end => {
                let done = cut_at.saturating_sub(self.written);
                self.written += done;
                self.cut_at = self.then.pop_front().map(|after| self.written + after);
                Err(done as usize)
            }
            _ => {
                self.written = end;
                Ok(())
            }
        }
    }
}

/// What survives in a device: four records and two private keys.
#[derive(Clone)]
pub struct Flash {
    kind: FlashKind,
    /// The supply.
    pub power: Power,
    records: [Option<Vec<u8>>; 4],
    keys: [Option<TestKey>; 2],
    fail_next: bool,
    changes: u64,
}

impl Flash {
    /// An empty store.
    #[must_use]
    pub fn new(kind: FlashKind) -> Self {
        Self {
            kind,
            power: Power::default(),
            records: [const { None }; 4],
            keys: [None, None],
            fail_next: false,
            changes: 0,
        }
    }

    /// Puts an item in place in the factory: no cut, no count.
    pub fn preset(&mut self, item: Item, bytes: &[u8]) {
        self.records[index(item)] = Some(bytes.to_vec());
    }

    /// Lets the next record fail to be written.
    pub const fn fail_next(&mut self) {
        self.fail_next = true;
    }

    /// Rises with everything that changes what is stored.
    #[must_use]
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The bytes of an item.
    #[must_use]
    pub fn record(&self, item: Item) -> Option<&[u8]> {
        self.records[index(item)].as_deref()
    }

    /// The key in a slot's place.
    #[must_use]
    pub const fn key(&self, slot: SlotId) -> Option<&TestKey> {
        self.keys[slot.index()].as_ref()
    }

    /// Stores a record.
    pub fn write(&mut self, item: Item, bytes: &[u8]) -> Result<(), FlashError> {
        if core::mem::take(&mut self.fail_next) {
            return Err(FlashError::WornOut);
        }
        self.changes += 1;
        let erases = self.kind == FlashKind::EraseFirst && matches!(item, Item::Slot(_));
        // The one byte more is the erase, or the rename that puts the copy in place.
        let outcome = self.power.spend(bytes.len() + 1);
        let record = &mut self.records[index(item)];
        match outcome {
            Ok(()) => *record = Some(bytes.to_vec()),
            Err(done) if erases && done > 0 => *record = torn(bytes, done - 1),
            Err(_) => {}
        }
        outcome.map_err(|_| FlashError::PowerCut)
    }

    /// Stores a key in a slot's place of the key store.
    pub fn write_key(&mut self, slot: SlotId, key: TestKey) -> Result<(), FlashError> {
        self.changes += 1;
        let outcome = self.power.spend(KEY_BYTES + 1);
        let place = &mut self.keys[slot.index()];
        match outcome {
            Ok(()) => *place = Some(key),
            Err(done) if self.kind == FlashKind::EraseFirst && done > 0 => *place = None,
            Err(_) => {}
        }
        outcome.map_err(|_| FlashError::PowerCut)
    }

    /// Destroys the key in a slot's place.
    pub fn wipe_key(&mut self, slot: SlotId) -> Result<(), FlashError> {
        self.changes += 1;
        self.power.spend(1).map_err(|_| FlashError::PowerCut)?;
        self.keys[slot.index()] = None;
        Ok(())
    }
}

impl SlotStore for Flash {
    type Error = FlashError;

    fn load(&mut self, item: Item, buffer: &mut [u8]) -> impl Future<Output = Result<Option<usize>, FlashError>> {
        let loaded = self.record(item).and_then(|bytes| {
            buffer.get_mut(..bytes.len())?.copy_from_slice(bytes);
            Some(bytes.len())
        });
        ready(Ok(loaded))
    }

    fn put(&mut self, item: Item, bytes: &[u8]) -> impl Future<Output = Result<(), FlashError>> {
        ready(self.write(item, bytes))
    }
}

/// What stands in an erase unit of which only the first bytes were programmed.
fn torn(bytes: &[u8], programmed: usize) -> Option<Vec<u8>> {
    let mut unit = bytes.get(..programmed)?.to_vec();
    unit.resize(bytes.len(), 0xff);
    (programmed > 0).then_some(unit)
}

const fn index(item: Item) -> usize {
    match item {
        Item::Slot(slot) => slot.index(),
        Item::Trust => 2,
        Item::Life => 3,
    }
}

const KEY_BYTES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// Cuts a rewrite of `item` after each byte and shows what is left.
    fn after_every_cut(kind: FlashKind, item: Item) -> Vec<Option<Vec<u8>>> {
        let (old, new) = (b"old".to_vec(), b"newer".to_vec());
        (0..=6)
            .map(|byte| {
                let mut flash = Flash::new(kind);
                assert_eq!(flash.write(item, &old), Ok(()));
                flash.power.cut_at(flash.power.written() + byte);
                let cut = flash.write(item, &new);
                assert_eq!(cut.is_err(), byte < 6, "{byte}");
                flash.record(item).map(<[u8]>::to_vec)
            })
            .collect()
    }

    #[test]
    fn replacing_leaves_old_or_new() {
        let left = after_every_cut(FlashKind::Replace, Item::Slot(SlotId::A));
        assert!(left[..6].iter().all(|bytes| bytes.as_deref() == Some(b"old")));
        assert_eq!(left[6].as_deref(), Some(&b"newer"[..]));
        assert_eq!(left, after_every_cut(FlashKind::EraseFirst, Item::Life), "life is replaced in both kinds");
    }

    #[test]
    fn erasing_first_leaves_old_empty_torn_or_new() {
        let left = after_every_cut(FlashKind::EraseFirst, Item::Slot(SlotId::B));
        let expected: [Option<&[u8]>; 7] = [
            Some(b"old"),
            None,
            Some(b"n\xff\xff\xff\xff"),
            Some(b"ne\xff\xff\xff"),
            Some(b"new\xff\xff"),
            Some(b"newe\xff"),
            Some(b"newer"),
        ];
        for (found, expected) in left.iter().zip(expected) {
            assert_eq!(found.as_deref(), expected);
        }
    }

    #[test]
    fn a_store_that_fails_keeps_the_old_bytes() {
        let mut flash = Flash::new(FlashKind::EraseFirst);
        assert_eq!(flash.write(Item::Life, b"old"), Ok(()));
        flash.fail_next();
        assert_eq!(flash.write(Item::Life, b"new"), Err(FlashError::WornOut));
        assert_eq!(flash.record(Item::Life), Some(&b"old"[..]));
    }
}
