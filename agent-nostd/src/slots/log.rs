//! Entries in erase units: finding them, appending them. Which entries mean what is not known here.

use core::marker::PhantomData;

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::slot::SlotId;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::SlotError;
use super::entry::{CHECK_BYTES, COMMIT, HEADER_BYTES, Header, Kind, body_bytes, entry_bytes, padded};

/// One of the seven erase units of the identity partition, in their order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Unit {
    Idevid,
    Slot(SlotId),
    Trust(Half),
    Life(Half),
}

/// One of the two units of a pair.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Half {
    First,
    Second,
}

impl Half {
    pub(super) const BOTH: [Self; 2] = [Self::First, Self::Second];

    pub(super) const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

impl Unit {
    pub(super) const COUNT: u32 = 7;

    const fn index(self) -> u32 {
        match self {
            Self::Idevid => 0,
            Self::Slot(SlotId::A) => 1,
            Self::Slot(SlotId::B) => 2,
            Self::Trust(Half::First) => 3,
            Self::Trust(Half::Second) => 4,
            Self::Life(Half::First) => 5,
            Self::Life(Half::Second) => 6,
        }
    }
}

/// What follows from a flash's word and erase sizes.
pub(super) struct Geometry<F>(PhantomData<F>);

impl<F: NorFlash> Geometry<F> {
    /// The smallest piece that is read or programmed.
    pub(super) const GRAIN: u32 = {
        let (read, write) = (F::READ_SIZE as u32, F::WRITE_SIZE as u32);
        let grain = if read > write { read } else { write };
        assert!(read.is_power_of_two() && write.is_power_of_two() && grain <= CHUNK_BYTES as u32);
        grain
    };

    /// Bytes of one of our erase units: whole erase units of the flash.
    pub(super) const UNIT: u32 = {
        let erase = F::ERASE_SIZE as u32;
        assert!(erase.is_multiple_of(CHUNK_BYTES as u32));
        padded(super::UNIT_BYTES_MIN, erase)
    };
}

/// An entry with a header that can be believed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    /// Where it starts in the flash.
    at: u32,
    pub(super) header: Header,
    committed: bool,
}

/// The bytes of an entry to be written: at hand, or stored elsewhere.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    Bytes(&'a [u8]),
    Stored { entry: Entry, patch: Option<Patch> },
}

/// What stands in place of some bytes of a stored payload.
#[derive(Clone, Copy)]
pub(super) struct Patch {
    /// For the bytes from [`Patch::AT`] on.
    pub(super) phase: [u8; 2],
    /// For the last bytes.
    pub(super) check: [u8; CHECK_BYTES],
}

impl Patch {
    /// Where phase and trials stand in a slot record.
    pub(super) const AT: usize = 5;
    pub(super) const BYTES: usize = 2 + CHECK_BYTES;

    /// Puts the bytes in place in `out`, which is `offset` into a payload of `length` bytes.
    fn apply(&self, length: usize, offset: usize, out: &mut [u8]) {
        let phase = self.phase.iter().enumerate().map(|(index, byte)| (Self::AT + index, byte));
        let check = self.check.iter().enumerate().map(|(index, byte)| (length - CHECK_BYTES + index, byte));
        for (place, byte) in phase.chain(check) {
            if let Some(out) = place.checked_sub(offset).and_then(|place| out.get_mut(place)) {
                *out = *byte;
            }
        }
    }
}

impl Payload<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Stored { entry, .. } => usize::from(entry.header.payload_bytes),
        }
    }
}

/// The flash, seen as units of entries.
#[derive(Debug)]
pub(super) struct Units<F> {
    flash: F,
    start: u32,
}

impl<F: NorFlash> Units<F> {
    pub(super) fn new(flash: F, start: u32) -> Result<Self, SlotError> {
        let end = start.checked_add(Unit::COUNT * Geometry::<F>::UNIT).ok_or(SlotError::Layout)?;
        if !(start as usize).is_multiple_of(F::ERASE_SIZE) || end as usize > flash.capacity() {
            return Err(SlotError::Layout);
        }
        Ok(Self { flash, start })
    }

    /// The newest whole entry of a kind.
    pub(super) fn newest(&mut self, unit: Unit, kind: Kind) -> Result<Option<Entry>, SlotError> {
        let mut below = None;
        loop {
            let mut best: Option<Entry> = None;
            let mut log = Log::new(self, unit);
            while let Some(entry) = log.next(self)? {
                let is_older = below.is_none_or(|below| entry.header.sequence < below);
                let is_newest = best.is_none_or(|best| entry.header.sequence > best.header.sequence);
                if entry.header.kind == kind && entry.committed && is_older && is_newest {
                    best = Some(entry);
                }
            }
            match best {
                Some(entry) if self.is_whole(entry)? => return Ok(Some(entry)),
                Some(entry) => below = Some(entry.header.sequence),
                None => return Ok(None),
            }
        }
    }

    /// Whether the unit has an entry of a kind, whole or not.
    pub(super) fn has_any(&mut self, unit: Unit, kind: Kind) -> Result<bool, SlotError> {
        let mut log = Log::new(self, unit);
        while let Some(entry) = log.next(self)? {
            if entry.header.kind == kind {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A sequence above every one in the unit.
    pub(super) fn next_sequence(&mut self, unit: Unit) -> Result<u32, SlotError> {
        let mut next = 1;
        let mut log = Log::new(self, unit);
        while let Some(entry) = log.next(self)? {
            next = next.max(entry.header.sequence.checked_add(1).ok_or(SlotError::Worn)?);
        }
        Ok(next)
    }

    /// Reads a payload, from `offset` on.
    pub(super) fn read_payload(
        &mut self,
        payload: &Payload<'_>,
        offset: usize,
        out: &mut [u8],
    ) -> Result<(), SlotError> {
        match payload {
            Payload::Bytes(bytes) => {
                let end = offset.checked_add(out.len()).ok_or(SlotError::TooLong)?;
                out.copy_from_slice(bytes.get(offset..end).ok_or(SlotError::TooLong)?);
            }
            Payload::Stored { entry, patch } => {
                self.read(entry.at + HEADER_BYTES as u32 + offset as u32, out)?;
                if let Some(patch) = patch {
                    patch.apply(payload.len(), offset, out);
                }
            }
        }
        Ok(())
    }

    /// Appends an entry behind everything in the unit. Fails without harm when there is no room.
    pub(super) fn append(
        &mut self,
        unit: Unit,
        kind: Kind,
        sequence: u32,
        payload: &Payload<'_>,
    ) -> Result<(), SlotError> {
        let length = payload.len();
        let payload_bytes = u16::try_from(length).map_err(|_| SlotError::TooLong)?;
        let mut log = Log::new(self, unit);
        while log.next(self)?.is_some() {}
        let at = log.at;
        let bytes = entry_bytes(length, Geometry::<F>::GRAIN);
        if bytes > log.end - at {
            return Err(SlotError::Full);
        }
        if !self.is_blank(at, bytes)? {
            return Err(SlotError::Worn);
        }
        let header = Header { kind, sequence, payload_bytes };
        let check = self.write_body(at, header, payload)?;
        let entry = Entry { at, header, committed: true };
        if self.digest(entry)? != check || !self.is_whole(entry)? {
            return Err(SlotError::Worn);
        }
        let commit_at = at + body_bytes(length, Geometry::<F>::GRAIN);
        let mut writer = Writer::new(commit_at);
        writer.put(self, &COMMIT)?;
        writer.finish(self)?;
        if self.is_committed(commit_at)? { Ok(()) } else { Err(SlotError::Worn) }
    }

    /// Erases the unit.
    pub(super) fn erase(&mut self, unit: Unit) -> Result<(), SlotError> {
        let from = self.start_of(unit);
        self.flash.erase(from, from + Geometry::<F>::UNIT).map_err(|_| SlotError::Flash)
    }

    /// Erases the unit unless it is blank already.
    pub(super) fn clear(&mut self, unit: Unit) -> Result<(), SlotError> {
        let from = self.start_of(unit);
        if self.is_blank(from, Geometry::<F>::UNIT)? { Ok(()) } else { self.erase(unit) }
    }

    const fn start_of(&self, unit: Unit) -> u32 {
        self.start + unit.index() * Geometry::<F>::UNIT
    }

    /// Writes all but the commit word; returns what the check sum has to be.
    fn write_body(&mut self, at: u32, header: Header, payload: &Payload<'_>) -> Result<[u8; CHECK_BYTES], SlotError> {
        let mut writer = Writer::new(at);
        let mut hash = Sha256::new();
        let head = header.encode();
        hash.update(head);
        writer.put(self, &head)?;
        let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
        let length = payload.len();
        let mut offset = 0;
        while offset < length {
            let size = (length - offset).min(CHUNK_BYTES);
            let chunk = &mut chunk[..size];
            self.read_payload(payload, offset, chunk)?;
            hash.update(&*chunk);
            writer.put(self, chunk)?;
            offset += size;
        }
        let check = shortened(hash);
        writer.put(self, &check)?;
        writer.finish(self)?;
        Ok(check)
    }

    /// Whether header, payload and check sum fit together.
    fn is_whole(&mut self, entry: Entry) -> Result<bool, SlotError> {
        let digest = self.digest(entry)?;
        let mut check = [0; CHECK_BYTES];
        self.read(entry.at + (HEADER_BYTES + usize::from(entry.header.payload_bytes)) as u32, &mut check)?;
        Ok(digest == check)
    }

    fn digest(&mut self, entry: Entry) -> Result<[u8; CHECK_BYTES], SlotError> {
        let mut hash = Sha256::new();
        let mut chunk = Zeroizing::new([0; CHUNK_BYTES]);
        let end = entry.at + (HEADER_BYTES + usize::from(entry.header.payload_bytes)) as u32;
        let mut at = entry.at;
        while at < end {
            let size = ((end - at) as usize).min(CHUNK_BYTES);
            self.read(at, &mut chunk[..size])?;
            hash.update(&chunk[..size]);
            at += size as u32;
        }
        Ok(shortened(hash))
    }

    fn is_committed(&mut self, at: u32) -> Result<bool, SlotError> {
        let mut word = [0; COMMIT.len()];
        self.read(at, &mut word)?;
        Ok(word == COMMIT)
    }

    fn is_blank(&mut self, from: u32, bytes: u32) -> Result<bool, SlotError> {
        let mut chunk = [0; CHUNK_BYTES];
        let mut at = from;
        while at < from + bytes {
            let size = ((from + bytes - at) as usize).min(CHUNK_BYTES);
            self.read(at, &mut chunk[..size])?;
            if chunk[..size].iter().any(|byte| *byte != BLANK) {
                return Ok(false);
            }
            at += size as u32;
        }
        Ok(true)
    }

    /// Reads any bytes, whatever the flash's grain.
    fn read(&mut self, at: u32, out: &mut [u8]) -> Result<(), SlotError> {
        let grain = F::READ_SIZE as u32;
        let mut window = Zeroizing::new([0; 2 * CHUNK_BYTES]);
        let mut done = 0;
        while done < out.len() {
            let from = at + done as u32;
            let aligned = from / grain * grain;
            let lead = (from - aligned) as usize;
            let size = (out.len() - done).min(CHUNK_BYTES);
            let window = &mut window[..padded((lead + size) as u32, grain) as usize];
            self.flash.read(aligned, window).map_err(|_| SlotError::Flash)?;
            out[done..done + size].copy_from_slice(&window[lead..lead + size]);
            done += size;
        }
        Ok(())
    }
}

/// Walks over the entries of a unit. A torn header is followed by nothing that belongs to it.
struct Log {
    at: u32,
    end: u32,
}

impl Log {
    fn new<F: NorFlash>(units: &Units<F>, unit: Unit) -> Self {
        let at = units.start_of(unit);
        Self { at, end: at + Geometry::<F>::UNIT }
    }

    /// The next entry; at the end, `at` is where the next one may be written.
    fn next<F: NorFlash>(&mut self, units: &mut Units<F>) -> Result<Option<Entry>, SlotError> {
        let grain = Geometry::<F>::GRAIN;
        let head = padded(HEADER_BYTES as u32, grain);
        while self.at + head <= self.end {
            // The whole of the first grains: a torn one may be blank where the header lies.
            let at = self.at;
            if units.is_blank(at, head)? {
                return Ok(None);
            }
            let mut bytes = [0; HEADER_BYTES];
            units.read(at, &mut bytes)?;
            if let Some(header) = Header::decode(&bytes) {
                let length = usize::from(header.payload_bytes);
                let bytes = entry_bytes(length, grain);
                if bytes <= self.end - at {
                    self.at += bytes;
                    let committed = units.is_committed(at + body_bytes(length, grain))?;
                    return Ok(Some(Entry { at, header, committed }));
                }
            }
            self.at += head;
        }
        Ok(None)
    }
}

/// Programs bytes in order, in whole words.
struct Writer {
    at: u32,
    buffer: Zeroizing<[u8; CHUNK_BYTES]>,
    filled: usize,
}

impl Writer {
    fn new(at: u32) -> Self {
        Self { at, buffer: Zeroizing::new([BLANK; CHUNK_BYTES]), filled: 0 }
    }

    fn put<F: NorFlash>(&mut self, units: &mut Units<F>, mut bytes: &[u8]) -> Result<(), SlotError> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - self.filled));
            self.buffer[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            bytes = rest;
            if self.filled == CHUNK_BYTES {
                self.program(units, CHUNK_BYTES)?;
            }
        }
        Ok(())
    }

    /// Fills the last word up and programs it.
    fn finish<F: NorFlash>(&mut self, units: &mut Units<F>) -> Result<(), SlotError> {
        let bytes = padded(self.filled as u32, Geometry::<F>::GRAIN) as usize;
        if bytes == 0 { Ok(()) } else { self.program(units, bytes) }
    }

    fn program<F: NorFlash>(&mut self, units: &mut Units<F>, bytes: usize) -> Result<(), SlotError> {
        units.flash.write(self.at, &self.buffer[..bytes]).map_err(|_| SlotError::Flash)?;
        self.at += bytes as u32;
        self.filled = 0;
        self.buffer.fill(BLANK);
        Ok(())
    }
}

fn shortened(hash: Sha256) -> [u8; CHECK_BYTES] {
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&hash.finalize()[..CHECK_BYTES]);
    check
}

const BLANK: u8 = 0xff;
/// A multiple of every word.
const CHUNK_BYTES: usize = 64;
