//! NOR flash in a file of the host, by the rules of real NOR: an erase sets a whole unit to ones, a program turns ones to
//! zeroes and goes word by word. Every step reaches the file before the next one begins, so a killed emulator leaves
//! exactly what was done. Emulation only.
//!
//! Behind the flash the file has option bytes: one of them locks the first unit, for good, as a chip's write protection
//! does.
//!
//! Power can also be cut by plan: after a number of steps the next one is done in part (of a word some bits, of a unit
//! some bytes) and the board is off.

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use muster_agent_nostd::platform::{IdentityLock, LockError};

use crate::console;
use crate::semihosting::{self, File, HostFailed, Mode};

/// What `NorFlash` programs at once, in bytes.
pub(crate) const WORD: usize = if cfg!(feature = "word-1") {
    1
} else if cfg!(feature = "word-8") {
    8
} else if cfg!(feature = "word-16") {
    16
} else if cfg!(feature = "word-32") {
    32
} else {
    4
};

/// What `NorFlash` erases at once, in bytes.
pub(crate) const UNIT: usize = 4096;

/// Flash that is a file.
pub(crate) struct FileFlash {
    file: File,
    capacity: usize,
    /// Steps until the power fails; never when `None`.
    steps_left: Option<u32>,
    /// What a step that is cut leaves is drawn from here.
    chance: u32,
}

/// What the flash refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum FlashError {
    /// Not aligned, or outside.
    Address(NorFlashErrorKind),
    /// A program that would need a zero to become one, or a second program of a word that can be programmed once.
    NotErased,
    /// In the first unit, which is locked.
    Protected,
    /// The file would not be read or written.
    Host,
}

impl FileFlash {
    /// Opens the file; makes it, erased, when there is none.
    pub(crate) fn open(name: &[u8], units: usize) -> Result<Self, HostFailed> {
        let capacity = units * UNIT;
        let mut path = [0; PATH_LEN];
        path.get_mut(..name.len()).filter(|_| name.len() < PATH_LEN).ok_or(HostFailed)?.copy_from_slice(name);
        let path = &path[..=name.len()];
        let file = File::open(path, Mode::ReadWrite).or_else(|_| File::open(path, Mode::Create))?;
        let mut flash = Self { file, capacity, steps_left: None, chance: 1 };
        let have = flash.file.len();
        flash.file.seek(have)?;
        for _ in (have..capacity + PIECE).step_by(PIECE) {
            flash.file.write(&[0xff; PIECE])?;
        }
        Ok(flash)
    }

    /// The lock of the first unit of the flash in the same file.
    pub(crate) fn lock(name: &[u8], units: usize) -> Result<FileLock, HostFailed> {
        Self::open(name, units).map(|flash| FileLock { at: flash.capacity, file: flash.file })
    }

    /// Whether the option byte forbids this.
    fn is_protected(&mut self, at: usize) -> Result<bool, FlashError> {
        let mut option = [0];
        self.file.seek(self.capacity)?;
        self.file.read(&mut option)?;
        Ok(at < UNIT && option != ERASED)
    }

    /// Cuts the power in the step after this many; `seed` says what that step leaves.
    pub(crate) fn cut_after(&mut self, steps: u32, seed: u32) {
        self.steps_left = Some(steps);
        self.chance = seed | 1;
    }

    /// How much of the coming step is done: all of it, or a part and then nothing ever again.
    fn step(&mut self) -> Step {
        match &mut self.steps_left {
            None => Step::Whole,
            Some(0) => Step::Cut,
            Some(left) => {
                *left -= 1;
                Step::Whole
            }
        }
    }

    /// Marsaglia's xorshift.
    fn draw(&mut self) -> u32 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 17;
        self.chance ^= self.chance << 5;
        self.chance
    }

    fn power_off(&self) -> ! {
        console::say(&[b"flash.power_cut"]);
        semihosting::exit(STATUS_POWER_CUT)
    }

    fn check(&self, at: u32, length: usize, grain: usize) -> Result<usize, FlashError> {
        let at = at as usize;
        if !at.is_multiple_of(grain) || !length.is_multiple_of(grain) {
            return Err(FlashError::Address(NorFlashErrorKind::NotAligned));
        }
        if at.checked_add(length).is_none_or(|end| end > self.capacity) {
            return Err(FlashError::Address(NorFlashErrorKind::OutOfBounds));
        }
        Ok(at)
    }

    fn program_word(&mut self, at: usize, word: &[u8]) -> Result<(), FlashError> {
        if self.is_protected(at)? {
            return Err(FlashError::Protected);
        }
        let mut stored = [0; WORD];
        self.file.seek(at)?;
        self.file.read(&mut stored)?;
        // Words with an error-correcting code beside them can be programmed once; plain ones bit by bit.
        let allowed = if WORD >= 8 {
            stored.iter().all(|byte| *byte == 0xff)
        } else {
            stored.iter().zip(word).all(|(old, new)| old & new == *new)
        };
        if !allowed {
            console::say(&[b"flash.not_erased"]);
            return Err(FlashError::NotErased);
        }
        let step = self.step();
        for (old, new) in stored.iter_mut().zip(word) {
            *old &= match step {
                Step::Whole => *new,
                Step::Cut => *new | self.draw() as u8,
            };
        }
        self.file.seek(at)?;
        self.file.write(&stored)?;
        if step == Step::Cut { self.power_off() } else { Ok(()) }
    }

    fn erase_unit(&mut self, at: usize) -> Result<(), FlashError> {
        if self.is_protected(at)? {
            return Err(FlashError::Protected);
        }
        let step = self.step();
        let pieces = match step {
            Step::Whole => UNIT / PIECE,
            Step::Cut => self.draw() as usize % (UNIT / PIECE),
        };
        self.file.seek(at)?;
        for _ in 0..pieces {
            self.file.write(&[0xff; PIECE])?;
        }
        if step == Step::Cut { self.power_off() } else { Ok(()) }
    }
}

/// The option byte that locks the first unit.
pub(crate) struct FileLock {
    file: File,
    at: usize,
}

impl IdentityLock for FileLock {
    fn is_locked(&mut self) -> bool {
        let mut option = ERASED;
        let read = self.file.seek(self.at).and_then(|()| self.file.read(&mut option));
        read.is_err() || option != ERASED
    }

    fn lock(&mut self) -> Result<(), LockError> {
        let written = self.file.seek(self.at).and_then(|()| self.file.write(&[0]));
        written.map_err(|_| LockError)
    }
}

impl ErrorType for FileFlash {
    type Error = FlashError;
}

impl ReadNorFlash for FileFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let at = self.check(offset, bytes.len(), 1)?;
        self.file.seek(at)?;
        Ok(self.file.read(bytes)?)
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for FileFlash {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = UNIT;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let length = to.checked_sub(from).ok_or(FlashError::Address(NorFlashErrorKind::OutOfBounds))? as usize;
        let at = self.check(from, length, UNIT)?;
        (at..at + length).step_by(UNIT).try_for_each(|unit| self.erase_unit(unit))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let at = self.check(offset, bytes.len(), WORD)?;
        bytes.chunks_exact(WORD).zip((at..).step_by(WORD)).try_for_each(|(word, at)| self.program_word(at, word))
    }
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::Address(kind) => *kind,
            Self::NotErased | Self::Protected | Self::Host => NorFlashErrorKind::Other,
        }
    }
}

impl From<HostFailed> for FlashError {
    fn from(_: HostFailed) -> Self {
        Self::Host
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Step {
    Whole,
    Cut,
}

/// The longest name of the file, with its final zero.
const PATH_LEN: usize = 256;
/// What one write to the file erases.
const PIECE: usize = 256;
/// The option byte of an unlocked flash.
const ERASED: [u8; 1] = [0xff];
/// Exit status when the power was cut by plan.
const STATUS_POWER_CUT: u8 = 103;
