//! NOR flash in a file, by the rules of real NOR: a program clears bits and goes word by word, an erase sets a whole
//! unit. Every step is in the file before the next one begins, so a killed process leaves exactly what was done.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, Result};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// Flash that is a file.
#[derive(Debug)]
pub(crate) struct FileFlash {
    file: File,
    bytes: usize,
    steps_left: Option<u64>,
}

/// What the flash refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlashError {
    Misaligned,
    OutOfBounds,
    /// A program that would need a zero to become a one.
    NotErased,
    /// The file would not be read or written.
    File,
}

impl FileFlash {
    /// Makes the file, erased.
    pub(crate) fn create(path: &Path, bytes: usize) -> Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create_new(true).read(true).write(true).mode(0o600).open(path);
        let file = file.with_context(|| format!("cannot make {}", path.display()))?;
        file.write_all_at(&vec![0xff; bytes], 0)?;
        Ok(Self { file, bytes, steps_left: None })
    }

    /// Opens a file that was made.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path);
        let file = file.with_context(|| format!("cannot open {}", path.display()))?;
        let bytes = usize::try_from(file.metadata()?.len())?;
        Ok(Self { file, bytes, steps_left: None })
    }

    /// Ends the process in the middle of a later step, as a power cut does.
    pub(crate) fn cut_after(&mut self, steps: u64) {
        self.steps_left = Some(steps);
    }

    /// Whether the coming step is the last one, and only half done.
    fn is_cut(&mut self) -> bool {
        match &mut self.steps_left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => false,
        }
    }

    fn check(&self, offset: u32, length: usize, grain: usize) -> Result<u64, FlashError> {
        let at = offset as usize;
        if !at.is_multiple_of(grain) || !length.is_multiple_of(grain) {
            return Err(FlashError::Misaligned);
        }
        if at.checked_add(length).is_none_or(|end| end > self.bytes) {
            return Err(FlashError::OutOfBounds);
        }
        Ok(at as u64)
    }

    fn put(&self, at: u64, bytes: &[u8]) -> Result<(), FlashError> {
        self.file.write_all_at(bytes, at).map_err(|_| FlashError::File)
    }
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Misaligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::NotErased | Self::File => NorFlashErrorKind::Other,
        }
    }
}

impl ErrorType for FileFlash {
    type Error = FlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), FlashError> {
        let at = self.check(offset, out.len(), Self::READ_SIZE)?;
        self.file.read_exact_at(out, at).map_err(|_| FlashError::File)
    }

    fn capacity(&self) -> usize {
        self.bytes
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.check(from, to.saturating_sub(from) as usize, Self::ERASE_SIZE)?;
        for unit in (from..to).step_by(Self::ERASE_SIZE) {
            if self.is_cut() {
                self.put(u64::from(unit), &[0xff; Self::ERASE_SIZE / 2])?;
                std::process::abort();
            }
            self.put(u64::from(unit), &[0xff; Self::ERASE_SIZE])?;
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let mut at = self.check(offset, bytes.len(), Self::WRITE_SIZE)?;
        for word in bytes.chunks(Self::WRITE_SIZE) {
            let mut old = [0; Self::WRITE_SIZE];
            self.file.read_exact_at(&mut old, at).map_err(|_| FlashError::File)?;
            if old.iter().zip(word).any(|(old, new)| old & new != *new) {
                return Err(FlashError::NotErased);
            }
            if self.is_cut() {
                self.put(at, word.get(..Self::WRITE_SIZE / 2).unwrap_or_default())?;
                std::process::abort();
            }
            self.put(at, word)?;
            at += Self::WRITE_SIZE as u64;
        }
        Ok(())
    }
}
