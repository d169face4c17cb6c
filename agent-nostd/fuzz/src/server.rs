//! A peer that answers with given bytes, in pieces, and then hangs up.

use std::cell::RefCell;
use std::rc::Rc;

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use muster_agent_nostd::tls::GuardError;
use rand_core::{CryptoRng, Error, RngCore};

/// A socket whose other end follows a script.
pub(crate) struct Script {
    answer: Vec<u8>,
    at: usize,
    piece: usize,
    /// What we sent.
    pub(crate) sent: Rc<RefCell<Vec<u8>>>,
}

impl Script {
    pub(crate) fn new(answer: &[u8], piece: usize) -> Self {
        Self { answer: answer.to_vec(), at: 0, piece, sent: Rc::default() }
    }
}

impl ErrorType for Script {
    type Error = ErrorKind;
}

impl Read for Script {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, ErrorKind> {
        let rest = &self.answer[self.at..];
        let count = rest.len().min(target.len()).min(self.piece);
        target[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Script {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.sent.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// The same as the guard's stream: its end is an error.
pub(crate) struct Plain(pub(crate) Script);

impl ErrorType for Plain {
    type Error = GuardError;
}

impl Read for Plain {
    async fn read(&mut self, target: &mut [u8]) -> Result<usize, GuardError> {
        match self.0.read(target).await {
            Ok(0) if !target.is_empty() => Err(super::ENDED),
            Ok(count) => Ok(count),
            Err(_) => Err(super::ENDED),
        }
    }
}

impl Write for Plain {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, GuardError> {
        self.0.write(bytes).await.map_err(|_| super::ENDED)
    }

    async fn flush(&mut self) -> Result<(), GuardError> {
        Ok(())
    }
}

/// Always the same numbers: a finding has to happen again.
pub(crate) struct Seeded(u64);

impl Seeded {
    pub(crate) const fn new() -> Self {
        Self(0x6d75_7374_6572)
    }
}

impl RngCore for Seeded {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        for piece in target.chunks_mut(8) {
            let number = self.next_u64().to_le_bytes();
            piece.copy_from_slice(&number[..piece.len()]);
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl CryptoRng for Seeded {}
