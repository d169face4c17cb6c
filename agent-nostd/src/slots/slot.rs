//! A slot's unit: key, record, changes of phase; and how a unit with a key is rewritten without ever being without a
//! whole copy.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::slot::SlotId;

use super::entry::{CHECK_BYTES, Kind};
use super::log::{Entry, Half, Patch, Payload, Unit};
use super::{SlotError, Slots};

/// What a rewritten unit shall hold.
#[derive(Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) key: Option<Payload<'a>>,
    pub(super) record: Option<Payload<'a>>,
}

impl<F: NorFlash> Slots<F> {
    /// The slot's record as it stands.
    pub(super) fn record(&mut self, slot: SlotId) -> Result<Option<Payload<'static>>, SlotError> {
        let unit = Unit::Slot(slot);
        let Some(entry) = self.units.newest(unit, Kind::Record)? else { return Ok(None) };
        let patch = match self.units.newest(unit, Kind::Patch)? {
            Some(patch) if patch.header.sequence > entry.header.sequence => self.read_patch(entry, patch)?,
            _ => None,
        };
        Ok(Some(Payload::Stored { entry, patch }))
    }

    /// The slot's key entry.
    pub(super) fn key_entry(&mut self, slot: SlotId) -> Result<Option<Payload<'static>>, SlotError> {
        let entry = self.units.newest(Unit::Slot(slot), Kind::Key)?;
        Ok(entry.map(|entry| Payload::Stored { entry, patch: None }))
    }

    pub(super) fn write_record(&mut self, slot: SlotId, bytes: &[u8]) -> Result<(), SlotError> {
        let unit = Unit::Slot(slot);
        let sequence = self.units.next_sequence(unit)?;
        let patch = self.patch_for(slot, bytes)?;
        let appended = match &patch {
            Some(patch) => self.units.append(unit, Kind::Patch, sequence, &Payload::Bytes(patch)),
            None => self.units.append(unit, Kind::Record, sequence, &Payload::Bytes(bytes)),
        };
        if appended.is_ok() {
            return Ok(());
        }
        let key = self.key_entry(slot)?;
        self.rewrite(unit, Content { key, record: Some(Payload::Bytes(bytes)) })
    }

    /// Erases a unit and writes it anew. Until the copy in the spare unit is whole, the unit is as it was; from then on
    /// it is as it shall be, whatever lies in it.
    pub(super) fn rewrite(&mut self, unit: Unit, content: Content<'_>) -> Result<(), SlotError> {
        let spare = self.spare()?;
        // Its first try may find words that only look blank.
        if self.write_rescue(spare, unit, content).is_err() {
            self.units.erase(spare)?;
            self.write_rescue(spare, unit, content)?;
        }
        self.unfinished = true;
        self.settle()
    }

    fn write_rescue(&mut self, spare: Unit, unit: Unit, content: Content<'_>) -> Result<(), SlotError> {
        self.units.clear(spare)?;
        let Content { key, record } = content;
        if let Some(key) = &key {
            self.units.append(spare, Kind::Key, 1, key)?;
        }
        if let Some(record) = &record {
            self.units.append(spare, Kind::Record, 2, record)?;
        }
        let rescue = [rescue_byte(unit), u8::from(key.is_some()), u8::from(record.is_some())];
        self.units.append(spare, Kind::Rescue, 3, &Payload::Bytes(&rescue))
    }

    /// Finishes a rewrite that was begun. Does nothing when there is none.
    pub(super) fn settle(&mut self) -> Result<(), SlotError> {
        if !self.unfinished {
            return Ok(());
        }
        for half in Half::BOTH {
            let spare = Unit::Trust(half);
            let Some(entry) = self.units.newest(spare, Kind::Rescue)? else { continue };
            let mut rescue = [0; 3];
            if usize::from(entry.header.payload_bytes) == rescue.len() {
                self.units.read_payload(&Payload::Stored { entry, patch: None }, 0, &mut rescue)?;
                if let Some(unit) = RESCUED.into_iter().find(|unit| rescue_byte(*unit) == rescue[0]) {
                    self.restore(spare, unit, [rescue[1] != 0, rescue[2] != 0])?;
                }
            }
            self.units.erase(spare)?;
        }
        self.unfinished = false;
        Ok(())
    }

    fn restore(&mut self, spare: Unit, unit: Unit, has: [bool; 2]) -> Result<(), SlotError> {
        self.units.erase(unit)?;
        let key = if unit == Unit::Idevid { Kind::IdevidKey } else { Kind::Key };
        for (from, to, has) in [(Kind::Key, key, has[0]), (Kind::Record, Kind::Record, has[1])] {
            if has && let Some(entry) = self.units.newest(spare, from)? {
                let sequence = entry.header.sequence;
                self.units.append(unit, to, sequence, &Payload::Stored { entry, patch: None })?;
            }
        }
        Ok(())
    }

    /// The patch that turns the stored record into `bytes`, if a change of phase is all there is between them.
    fn patch_for(&mut self, slot: SlotId, bytes: &[u8]) -> Result<Option<[u8; Patch::BYTES]>, SlotError> {
        let Some(stored) = self.record(slot)? else { return Ok(None) };
        if stored.len() != bytes.len() || bytes.len() < Patch::AT + 2 + CHECK_BYTES {
            return Ok(None);
        }
        let body = bytes.len() - CHECK_BYTES;
        let mut chunk = [0; 64];
        for range in [0..Patch::AT, Patch::AT + 2..body] {
            let mut at = range.start;
            while at < range.end {
                let size = (range.end - at).min(chunk.len());
                self.units.read_payload(&stored, at, &mut chunk[..size])?;
                if bytes.get(at..at + size) != Some(&chunk[..size]) {
                    return Ok(None);
                }
                at += size;
            }
        }
        let mut patch = [0; Patch::BYTES];
        let (phase, check) = patch.split_at_mut(2);
        phase.copy_from_slice(&bytes[Patch::AT..Patch::AT + 2]);
        check.copy_from_slice(&bytes[body..]);
        Ok(Some(patch))
    }

    fn read_patch(&mut self, record: Entry, patch: Entry) -> Result<Option<Patch>, SlotError> {
        let fits = usize::from(patch.header.payload_bytes) == Patch::BYTES
            && usize::from(record.header.payload_bytes) >= Patch::AT + 2 + CHECK_BYTES;
        if !fits {
            return Ok(None);
        }
        let mut bytes = [0; Patch::BYTES];
        self.units.read_payload(&Payload::Stored { entry: patch, patch: None }, 0, &mut bytes)?;
        let mut read = Patch { phase: [0; 2], check: [0; CHECK_BYTES] };
        read.phase.copy_from_slice(&bytes[..2]);
        read.check.copy_from_slice(&bytes[2..]);
        Ok(Some(read))
    }
}

/// Units that are rewritten through the spare one.
const RESCUED: [Unit; 3] = [Unit::Slot(SlotId::A), Unit::Slot(SlotId::B), Unit::Idevid];

const fn rescue_byte(unit: Unit) -> u8 {
    match unit {
        Unit::Slot(SlotId::A) => 0,
        Unit::Slot(SlotId::B) => 1,
        _ => 2,
    }
}
