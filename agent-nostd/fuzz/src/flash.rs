//! An identity partition in memory: seven units of 4 KiB that begin with whatever the fuzzer gives, or are full of entries
//! in good form that say whatever it gives.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use sha2::{Digest as _, Sha256};

use super::entry::{CHECK_BYTES, COMMIT, Header, Kind, body_bytes};

const UNIT: usize = 4096;
const UNITS: usize = 7;

pub(crate) struct Flash(Vec<u8>);

impl Flash {
    /// Erased, but for a seventh of `bytes` at the start of each unit.
    pub(crate) fn with(bytes: &[u8]) -> Self {
        let mut content = vec![0xff; UNIT * UNITS];
        for (unit, piece) in content.chunks_mut(UNIT).zip(bytes.chunks(bytes.len().div_ceil(UNITS).max(1))) {
            let length = piece.len().min(UNIT);
            unit[..length].copy_from_slice(&piece[..length]);
        }
        Self(content)
    }

    /// Entries one after the other, each in the unit that its first byte names: kind, sequence, length, whether it is
    /// committed, then the payload.
    pub(crate) fn of_entries(mut bytes: &[u8]) -> Self {
        let mut flash = Self(vec![0xff; UNIT * UNITS]);
        let mut ends = [0; UNITS];
        while let Some(([unit, kind, sequence, length, commit], rest)) = bytes.split_first_chunk::<5>() {
            let (payload, rest) = rest.split_at(rest.len().min(usize::from(*length) * 4));
            let unit = usize::from(*unit) % UNITS;
            let entry = entry(KINDS[usize::from(*kind) % KINDS.len()], u32::from(*sequence), payload, commit % 8 != 0);
            let at = ends[unit];
            if at + entry.len() <= UNIT {
                let start = unit * UNIT + at;
                flash.0[start..start + entry.len()].copy_from_slice(&entry);
                ends[unit] += entry.len();
            }
            bytes = rest;
        }
        flash
    }
}

fn entry(kind: Kind, sequence: u32, payload: &[u8], is_committed: bool) -> Vec<u8> {
    let header = Header { kind, sequence, payload_bytes: payload.len() as u16 };
    let mut bytes = [&header.encode(), payload].concat();
    bytes.extend_from_slice(&Sha256::digest(&bytes)[..CHECK_BYTES]);
    bytes.resize(body_bytes(payload.len(), GRAIN) as usize, 0xff);
    bytes.extend_from_slice(&if is_committed { COMMIT } else { [0xff; COMMIT.len()] });
    bytes
}

const KINDS: [Kind; 11] = [
    Kind::Key,
    Kind::Record,
    Kind::Patch,
    Kind::Trust,
    Kind::Life,
    Kind::Rescue,
    Kind::IdevidKey,
    Kind::IdevidCertificate,
    Kind::Fleet,
    Kind::Gateway,
    Kind::Sealed,
];
const GRAIN: u32 = 4;

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let start = offset as usize;
        let from = self.0.get(start..start + bytes.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        bytes.copy_from_slice(from);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = GRAIN as usize;
    const ERASE_SIZE: usize = UNIT;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0.get_mut(from as usize..to as usize).ok_or(NorFlashErrorKind::OutOfBounds)?.fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        let is_aligned = |number: usize| number.is_multiple_of(Self::WRITE_SIZE);
        if !is_aligned(offset as usize) || !is_aligned(bytes.len()) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        let start = offset as usize;
        let to = self.0.get_mut(start..start + bytes.len()).ok_or(NorFlashErrorKind::OutOfBounds)?;
        to.iter_mut().zip(bytes).for_each(|(to, from)| *to &= from);
        Ok(())
    }
}
