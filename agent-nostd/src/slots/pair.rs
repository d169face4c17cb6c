//! Items that lie in two units in turns: the trust bundle, and the life record.

use embedded_storage::nor_flash::NorFlash;

use super::entry::Kind;
use super::log::{Entry, Half, Payload, Unit};
use super::{SlotError, Slots};

/// Which item: its kind of entry, and its two units.
#[derive(Clone, Copy)]
pub(super) struct Pair {
    kind: Kind,
    unit: fn(Half) -> Unit,
}

pub(super) const TRUST: Pair = Pair { kind: Kind::Trust, unit: Unit::Trust };
pub(super) const LIFE: Pair = Pair { kind: Kind::Life, unit: Unit::Life };

impl<F: NorFlash> Slots<F> {
    /// The entry in force, and which unit has it.
    pub(super) fn newest_of_pair(&mut self, pair: Pair) -> Result<Option<(Half, Entry)>, SlotError> {
        let mut newest: Option<(Half, Entry)> = None;
        for half in Half::BOTH {
            if let Some(entry) = self.units.newest((pair.unit)(half), pair.kind)?
                && newest.is_none_or(|(_, other)| entry.header.sequence > other.header.sequence)
            {
                newest = Some((half, entry));
            }
        }
        Ok(newest)
    }

    pub(super) fn write_pair(&mut self, pair: Pair, bytes: &[u8]) -> Result<(), SlotError> {
        let payload = Payload::Bytes(bytes);
        let newest = self.newest_of_pair(pair)?;
        let mut sequence = 1;
        for half in Half::BOTH {
            sequence = sequence.max(self.units.next_sequence((pair.unit)(half))?);
        }
        if let Some((half, _)) = newest
            && self.units.append((pair.unit)(half), pair.kind, sequence, &payload).is_ok()
        {
            return Ok(());
        }
        // Full, or failing: the other unit, which has nothing that is in force.
        let other = (pair.unit)(newest.map_or(Half::First, |(half, _)| half.other()));
        self.units.clear(other)?;
        // A word that was torn may look blank and not be: erased, it is.
        if self.units.append(other, pair.kind, sequence, &payload).is_err() {
            self.units.erase(other)?;
            self.units.append(other, pair.kind, sequence, &payload)?;
        }
        Ok(())
    }

    /// The trust unit with nothing in force: where a slot is kept while it is rewritten.
    pub(super) fn spare(&mut self) -> Result<Unit, SlotError> {
        let used = self.newest_of_pair(TRUST)?;
        Ok(Unit::Trust(used.map_or(Half::Second, |(half, _)| half.other())))
    }
}
