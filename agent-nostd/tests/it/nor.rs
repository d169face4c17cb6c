//! NOR flash in memory, with its rules, and with a power supply that ends at any word programmed or unit erased.
//!
//! Programming clears bits and never sets one; erasing sets every bit of an erase unit. Where the flash has a check
//! sum per word (8 bytes and more), a word that was programmed, however briefly, takes no second programming.

#![allow(clippy::unwrap_used, dead_code)]

use std::cell::RefCell;
use std::rc::Rc;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};

/// What the power's end leaves of the word or erase unit that it comes upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Torn {
    /// Nothing has happened yet.
    Untouched,
    /// Everything has, only nobody heard of it.
    Complete,
    /// Some bits are as they were, some as they shall be.
    Mixed,
    /// It reads as erased, and is not: a word that takes no programming, a unit of such words.
    Weak,
    /// The first half is done.
    FirstHalf,
    /// The second half is done.
    SecondHalf,
    /// An erase programs everything to zero first.
    Zeroed,
}

impl Torn {
    pub(crate) const ALL: [Self; 7] =
        [Self::Untouched, Self::Complete, Self::Mixed, Self::Weak, Self::FirstHalf, Self::SecondHalf, Self::Zeroed];

    /// Those that differ from one another where a word is being programmed.
    pub(crate) const fn of_a_word(bytes: usize) -> &'static [Self] {
        match bytes {
            1 => &[Self::Complete, Self::Mixed],
            2..8 => &[Self::Complete, Self::Mixed, Self::FirstHalf, Self::SecondHalf],
            _ => &[Self::Complete, Self::Mixed, Self::FirstHalf, Self::SecondHalf, Self::Weak],
        }
    }
}

/// What lies in the flash, and the supply.
#[derive(Clone)]
pub(crate) struct Chip {
    bytes: Vec<u8>,
    /// Whether a word was programmed since it was erased.
    programmed: Vec<bool>,
    word: usize,
    /// Words programmed and units erased so far.
    pub(crate) steps: u64,
    cut_at: Option<u64>,
    torn: Torn,
    dark: bool,
    random: u32,
    /// Erases of each erase unit.
    pub(crate) erases: Vec<u32>,
    /// Which of the steps so far were erases.
    pub(crate) erasing_steps: Vec<u64>,
}

/// One flash: word to program, word to read, erase unit. Clones share the chip.
#[derive(Clone)]
pub(crate) struct Nor<const WRITE: usize, const READ: usize, const ERASE: usize>(pub(crate) Rc<RefCell<Chip>>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NorError {
    Dark,
    Misaligned,
    OutOfBounds,
    /// A word was programmed twice, or a cleared bit was to be set.
    NotErased,
}

impl NorFlashError for NorError {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const WRITE: usize, const READ: usize, const ERASE: usize> Nor<WRITE, READ, ERASE> {
    /// A new chip with `bytes` bytes, erased.
    pub(crate) fn new(bytes: usize) -> Self {
        Self::of(Chip {
            bytes: vec![0xff; bytes],
            programmed: vec![false; bytes / WRITE],
            word: WRITE,
            steps: 0,
            cut_at: None,
            torn: Torn::Untouched,
            dark: false,
            random: 0x9e37_79b9,
            erases: vec![0; bytes / ERASE],
            erasing_steps: Vec::new(),
        })
    }

    /// A flash with a chip's content.
    pub(crate) fn of(chip: Chip) -> Self {
        Self(Rc::new(RefCell::new(chip)))
    }

    /// The content, apart from this flash.
    pub(crate) fn chip(&self) -> Chip {
        self.0.borrow().clone()
    }

    /// Lets the power end after so many steps from now.
    pub(crate) fn cut_after(&self, steps: u64, torn: Torn) {
        let mut chip = self.0.borrow_mut();
        chip.cut_at = Some(chip.steps + steps);
        chip.torn = torn;
    }

    /// The power is back, and stays. Says whether it was gone.
    pub(crate) fn power_back(&self) -> bool {
        let mut chip = self.0.borrow_mut();
        chip.cut_at = None;
        core::mem::take(&mut chip.dark)
    }

    /// Whether these bytes lie anywhere in the flash.
    pub(crate) fn holds(&self, bytes: &[u8]) -> bool {
        self.0.borrow().bytes.windows(bytes.len()).any(|window| window == bytes)
    }
}

impl Chip {
    /// Whether the power ends with this step.
    fn ends(&mut self) -> Result<Option<Torn>, NorError> {
        if self.dark {
            return Err(NorError::Dark);
        }
        if self.cut_at == Some(self.steps) {
            self.dark = true;
            return Ok(Some(self.torn));
        }
        self.steps += 1;
        Ok(None)
    }

    fn random(&mut self) -> u8 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        (self.random >> 11) as u8
    }

    fn program(&mut self, at: usize, new: &[u8]) -> Result<(), NorError> {
        let word = at / self.word;
        let once_only = self.word >= 8;
        let settable = self.bytes[at..at + new.len()].iter().zip(new).all(|(old, new)| old & new == *new);
        let torn = self.ends()?;
        if (once_only && self.programmed[word]) || !settable {
            return Err(NorError::NotErased);
        }
        for (index, new) in new.iter().enumerate() {
            let keep = match torn {
                None | Some(Torn::Complete) => 0,
                Some(Torn::Untouched | Torn::Weak) => 0xff,
                Some(Torn::FirstHalf) if index < self.word / 2 => 0,
                Some(Torn::SecondHalf) if index >= self.word / 2 => 0,
                Some(Torn::FirstHalf | Torn::SecondHalf) => 0xff,
                Some(Torn::Mixed | Torn::Zeroed) => self.random(),
            };
            self.bytes[at + index] &= new | keep;
        }
        self.programmed[word] = torn != Some(Torn::Untouched);
        torn.map_or(Ok(()), |_| Err(NorError::Dark))
    }

    fn erase(&mut self, from: usize, to: usize) -> Result<(), NorError> {
        self.erasing_steps.push(self.steps);
        let torn = self.ends()?;
        let half = from + (to - from) / 2;
        let (sure, weak) = match torn {
            None | Some(Torn::Complete) => (from..to, None),
            Some(Torn::Untouched) => return Err(NorError::Dark),
            Some(Torn::FirstHalf) => (from..half, None),
            Some(Torn::SecondHalf) => (half..to, None),
            Some(Torn::Weak) => (from..from, Some(0xff)),
            Some(Torn::Zeroed) => (from..from, Some(0)),
            Some(Torn::Mixed) => {
                for at in from..to {
                    self.bytes[at] |= self.random() & self.random();
                }
                (from..from, None)
            }
        };
        for at in sure {
            self.bytes[at] = 0xff;
            self.programmed[at / self.word] = false;
        }
        if let Some(byte) = weak {
            for at in from..to {
                self.bytes[at] = byte;
                self.programmed[at / self.word] = true;
            }
        }
        let unit = from / (to - from);
        self.erases[unit] += 1;
        torn.map_or(Ok(()), |_| Err(NorError::Dark))
    }
}

impl<const WRITE: usize, const READ: usize, const ERASE: usize> ErrorType for Nor<WRITE, READ, ERASE> {
    type Error = NorError;
}

impl<const WRITE: usize, const READ: usize, const ERASE: usize> ReadNorFlash for Nor<WRITE, READ, ERASE> {
    const READ_SIZE: usize = READ;

    fn read(&mut self, offset: u32, out: &mut [u8]) -> Result<(), NorError> {
        let at = offset as usize;
        if !at.is_multiple_of(READ) || !out.len().is_multiple_of(READ) {
            return Err(NorError::Misaligned);
        }
        let chip = self.0.borrow();
        if chip.dark {
            return Err(NorError::Dark);
        }
        out.copy_from_slice(chip.bytes.get(at..at + out.len()).ok_or(NorError::OutOfBounds)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.borrow().bytes.len()
    }
}

impl<const WRITE: usize, const READ: usize, const ERASE: usize> NorFlash for Nor<WRITE, READ, ERASE> {
    const WRITE_SIZE: usize = WRITE;
    const ERASE_SIZE: usize = ERASE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorError> {
        let (from, to) = (from as usize, to as usize);
        if !from.is_multiple_of(ERASE) || !to.is_multiple_of(ERASE) {
            return Err(NorError::Misaligned);
        }
        let mut chip = self.0.borrow_mut();
        if to > chip.bytes.len() {
            return Err(NorError::OutOfBounds);
        }
        (from..to).step_by(ERASE).try_for_each(|from| chip.erase(from, from + ERASE))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorError> {
        let at = offset as usize;
        if !at.is_multiple_of(WRITE) || !bytes.len().is_multiple_of(WRITE) {
            return Err(NorError::Misaligned);
        }
        let mut chip = self.0.borrow_mut();
        if at + bytes.len() > chip.bytes.len() {
            return Err(NorError::OutOfBounds);
        }
        bytes.chunks(WRITE).enumerate().try_for_each(|(index, word)| chip.program(at + index * WRITE, word))
    }
}
