//! The identity partition as a flash of its own, cut out of a chip's whole flash: for boards whose flash driver reaches the
//! program as well.
//!
//! Its addresses start at 0, nothing outside can be reached through it, and its word may be larger than the driver's. Its
//! first unit, the IDevID's, has a [`Barrier`]: closed, it lets no write or erase through until the next start. That is a
//! guard against mistakes of this firmware, and no protection from anybody who can run another one; a board with hardware
//! for it locks that as well.

use core::sync::atomic::{AtomicBool, Ordering};

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

use crate::platform::{IdentityLock, LockError};
use crate::slots::{idevid_bytes, partition_bytes};

/// Whether the first unit may be written. A static of the board's.
#[derive(Debug)]
pub struct Barrier(AtomicBool);

impl Barrier {
    /// Open.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicBool::new(false))
    }
}

impl Default for Barrier {
    fn default() -> Self {
        Self::new()
    }
}

impl IdentityLock for &Barrier {
    fn is_locked(&mut self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    fn lock(&mut self) -> Result<(), LockError> {
        self.0.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// Part of a flash, programmed in words of `WORD` bytes.
#[derive(Debug)]
pub struct Partition<F, const WORD: usize> {
    flash: F,
    start: u32,
    barrier: &'static Barrier,
}

impl<F: NorFlash, const WORD: usize> Partition<F, WORD> {
    /// Bytes of the whole partition.
    pub const BYTES: u32 = partition_bytes::<Self>();

    /// From `start` of the flash on.
    pub const fn new(flash: F, start: u32, barrier: &'static Barrier) -> Self {
        const { assert!(WORD.is_multiple_of(F::WRITE_SIZE), "a word is whole words of the flash") };
        Self { flash, start, barrier }
    }

    /// Where this is in the flash, if it is in the partition.
    fn place(&self, at: u32, length: usize) -> Result<u32, PartitionError<F::Error>> {
        let end = u32::try_from(length).ok().and_then(|length| at.checked_add(length));
        if end.is_none_or(|end| end > Self::BYTES) {
            return Err(PartitionError::Outside);
        }
        self.start.checked_add(at).ok_or(PartitionError::Outside)
    }

    fn passes(&self, at: u32) -> Result<(), PartitionError<F::Error>> {
        let closed = self.barrier.0.load(Ordering::SeqCst);
        if closed && at < idevid_bytes::<Self>() { Err(PartitionError::Locked) } else { Ok(()) }
    }
}

/// What a partition refuses, or its flash.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PartitionError<E> {
    /// Not in the partition.
    Outside,
    /// In the first unit, which is locked.
    Locked,
    /// The flash's own.
    Flash(E),
}

impl<E: NorFlashError> NorFlashError for PartitionError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Outside => NorFlashErrorKind::OutOfBounds,
            Self::Locked => NorFlashErrorKind::Other,
            Self::Flash(error) => error.kind(),
        }
    }
}

impl<F: NorFlash, const WORD: usize> ErrorType for Partition<F, WORD> {
    type Error = PartitionError<F::Error>;
}

impl<F: NorFlash, const WORD: usize> ReadNorFlash for Partition<F, WORD> {
    const READ_SIZE: usize = F::READ_SIZE;

    fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        let place = self.place(at, bytes.len())?;
        self.flash.read(place, bytes).map_err(PartitionError::Flash)
    }

    fn capacity(&self) -> usize {
        Self::BYTES as usize
    }
}

impl<F: NorFlash, const WORD: usize> NorFlash for Partition<F, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = F::ERASE_SIZE;

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        let place = self.place(at, bytes.len())?;
        self.passes(at)?;
        self.flash.write(place, bytes).map_err(PartitionError::Flash)
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        let length = to.checked_sub(from).ok_or(PartitionError::Outside)?;
        let place = self.place(from, length as usize)?;
        self.passes(from)?;
        self.flash.erase(place, place + length).map_err(PartitionError::Flash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten units of 4 KB, programmed byte by byte.
    struct Small([u8; 40_960]);

    impl ErrorType for Small {
        type Error = NorFlashErrorKind;
    }

    impl ReadNorFlash for Small {
        const READ_SIZE: usize = 1;

        fn read(&mut self, at: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
            bytes.copy_from_slice(&self.0[at as usize..at as usize + bytes.len()]);
            Ok(())
        }

        fn capacity(&self) -> usize {
            self.0.len()
        }
    }

    impl NorFlash for Small {
        const WRITE_SIZE: usize = 1;
        const ERASE_SIZE: usize = 4096;

        fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
            self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
            Ok(())
        }

        fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
            self.0[from as usize..to as usize].fill(0xff);
            Ok(())
        }
    }

    type Cut = Partition<Small, 16>;

    #[test]
    fn reaches_the_partition_and_nothing_else() {
        static OPEN: Barrier = Barrier::new();
        let mut cut = Cut::new(Small([0; 40_960]), 8192, &OPEN);
        assert_eq!((Cut::BYTES, cut.capacity(), Cut::WRITE_SIZE), (7 * 4096, 7 * 4096, 16));
        cut.write(0, &[1; 16]).unwrap();
        cut.write(Cut::BYTES - 16, &[2; 16]).unwrap();
        assert_eq!((cut.flash.0[8192], cut.flash.0[8192 + 7 * 4096 - 1]), (1, 2));
        let mut byte = [0];
        assert_eq!(cut.read(Cut::BYTES, &mut byte), Err(PartitionError::Outside));
        assert_eq!(cut.write(Cut::BYTES - 8, &[0; 16]), Err(PartitionError::Outside));
        assert_eq!(cut.write(u32::MAX, &[0; 16]), Err(PartitionError::Outside));
        assert_eq!(cut.erase(0, Cut::BYTES + 4096), Err(PartitionError::Outside));
        assert_eq!(cut.erase(4096, 0), Err(PartitionError::Outside));
        cut.erase(0, Cut::BYTES).unwrap();
        assert!(cut.flash.0[..8192].iter().chain(&cut.flash.0[36_864..]).all(|byte| *byte == 0));
        assert!(cut.flash.0[8192..36_864].iter().all(|byte| *byte == 0xff));
    }

    #[test]
    fn a_closed_barrier_keeps_the_first_unit_as_it_is() {
        static BARRIER: Barrier = Barrier::new();
        let mut cut = Cut::new(Small([0; 40_960]), 0, &BARRIER);
        let mut lock = &BARRIER;
        assert!(!lock.is_locked());
        cut.write(0, &[7; 16]).unwrap();
        lock.lock().unwrap();
        assert!(lock.is_locked() && lock.lock().is_ok());
        assert_eq!(cut.write(16, &[8; 16]), Err(PartitionError::Locked));
        assert_eq!(cut.erase(0, 8192), Err(PartitionError::Locked));
        cut.write(4096, &[9; 16]).unwrap();
        let mut byte = [0];
        cut.read(0, &mut byte).unwrap();
        assert_eq!(byte, [7]);
    }
}
