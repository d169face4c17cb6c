//! The identity partition in the internal flash (RM0481, section 7): words of 16 bytes with error correction, sectors of
//! 8 KB, at the end of bank 2, so that the program in bank 1 runs on while it is written.
//!
//! A word whose programming was cut off by the power may fail its error correction when it is read, and the chip reports
//! that by an interrupt that cannot be masked. It is no failure of the flash: such a word reads as zeroes here, which is
//! neither erased nor anything that was ever written, and the records' check sums do the rest.

use core::sync::atomic::{AtomicBool, Ordering};

use embassy_stm32::Peri;
use embassy_stm32::flash::{Blocking, Error, Flash};
use embassy_stm32::pac::FLASH;
use embassy_stm32::peripherals;
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use crate::reset;

/// The partition, and nothing else of the flash: its addresses start at 0.
pub(crate) struct IdentityFlash(Flash<'static, Blocking>);

impl IdentityFlash {
    /// Takes the flash.
    pub(crate) fn new(flash: Peri<'static, peripherals::FLASH>) -> Self {
        Self(Flash::new_blocking(flash))
    }

    /// Where this is in the chip's flash, if it is in the partition.
    fn place(at: u32, length: usize) -> Result<u32, Error> {
        let end = u32::try_from(length).ok().and_then(|length| at.checked_add(length));
        if end.is_some_and(|end| end <= BYTES) { Ok(START + at) } else { Err(Error::Size) }
    }
}

impl ErrorType for IdentityFlash {
    type Error = Error;
}

impl ReadNorFlash for IdentityFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, at: u32, mut bytes: &mut [u8]) -> Result<(), Error> {
        let mut place = Self::place(at, bytes.len())?;
        while !bytes.is_empty() {
            let length = bytes.len().min(WORD - place as usize % WORD);
            let (piece, rest) = core::mem::take(&mut bytes).split_at_mut(length);
            TORN.store(false, Ordering::SeqCst);
            READING.store(true, Ordering::SeqCst);
            let outcome = self.0.blocking_read(place, piece);
            // The interrupt comes before the next instruction.
            cortex_m::asm::dsb();
            cortex_m::asm::isb();
            READING.store(false, Ordering::SeqCst);
            outcome?;
            if TORN.load(Ordering::SeqCst) {
                piece.fill(0);
            }
            place += length as u32;
            bytes = rest;
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES as usize
    }
}

impl NorFlash for IdentityFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR as usize;

    fn write(&mut self, at: u32, bytes: &[u8]) -> Result<(), Error> {
        let place = Self::place(at, bytes.len())?;
        for (index, word) in bytes.chunks(WORD).enumerate() {
            forget_errors();
            // Nothing else may reach the flash between the four writes that make a word.
            critical_section::with(|_| self.0.blocking_write(place + (index * WORD) as u32, word))?;
        }
        Ok(())
    }

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Error> {
        let place = Self::place(from, to.checked_sub(from).ok_or(Error::Size)? as usize)?;
        forget_errors();
        self.0.blocking_erase(place, START + to)
    }
}

/// Errors of an operation before this one: the HAL leaves them set, and would take them for its own.
fn forget_errors() {
    FLASH.nsccr().write(|clear| {
        clear.set_clr_eop(true);
        clear.set_clr_wrperr(true);
        clear.set_clr_pgserr(true);
        clear.set_clr_strberr(true);
        clear.set_clr_incerr(true);
        clear.set_clr_obkerr(true);
        clear.set_clr_obkwerr(true);
        clear.set_clr_optchangeerr(true);
    });
}

// SAFETY: it touches one register of its own and two atomics.
#[cortex_m_rt::exception]
unsafe fn NonMaskableInt() {
    if FLASH.eccdetr().read().eccd() && READING.load(Ordering::SeqCst) {
        FLASH.eccdetr().write(|detected| detected.set_eccd(true));
        TORN.store(true, Ordering::SeqCst);
    } else {
        // The program itself cannot be read, or the clock failed.
        reset::now();
    }
}

/// While the partition is read.
static READING: AtomicBool = AtomicBool::new(false);
/// What was read last failed its error correction.
static TORN: AtomicBool = AtomicBool::new(false);

/// Sector 119 of bank 2: the last of a group that is write protected as one ([`crate::lock`]). As in `memory.x`.
const START: u32 = 0x1E_E000;
const BYTES: u32 = 7 * SECTOR;
const SECTOR: u32 = 8 * 1024;
const WORD: usize = 16;
