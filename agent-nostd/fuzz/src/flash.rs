//! An identity partition in memory: seven units of 4 KiB that begin with whatever the fuzzer gives.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

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
}

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
    const WRITE_SIZE: usize = 4;
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
