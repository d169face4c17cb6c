//! Randomness from a chip's noise source, watched and conditioned, for the agent's keys and handshakes.
//!
//! What the source gives is never handed out: it goes through the two health tests of NIST SP 800-90B (section 4.4), and
//! then into a hash chain, so that a source that is merely weak is not worse than what has been gathered since the start.
//! A source that says that it failed is asked again a few times; after that, and at once when a health test fails, the
//! board starts anew. Nothing is ever made with what failed: `RngCore` has no error that its users would see.
//!
//! | step | what |
//! |---|---|
//! | start | [`STARTUP_BYTES`] bytes through the health tests, and into the chain |
//! | each request | [`FRESH_BYTES`] more: `seed = H(0, chain, fresh)`, `output n = H(1, seed, n)`, `chain = H(2, seed)`, H = SHA-256 |
//!
//! The tests assume one bit of entropy in a byte, far below what chip makers state, and raise a false alarm once in 2^20
//! samples or windows at that rate. They find a source that is stuck or badly biased, not one that an attacker predicts.

use rand_core::{CryptoRng, Error, RngCore};
use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize as _, Zeroizing};

use crate::platform::Reset;

/// The source gave nothing that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SourceFailed;

/// A chip's noise source, with its own tests switched on where it has them.
pub trait Source {
    /// Fills `bytes`; an error when the chip's own tests failed, or when it took too long.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed>;
}

/// A random generator on a noise source.
pub struct Conditioned<S, Z> {
    source: S,
    reset: Z,
    health: Health,
    chain: [u8; 32],
}

impl<S: Source, Z: Reset> Conditioned<S, Z> {
    /// Tests the source, and gathers the first entropy; starts the board anew when it fails.
    pub fn start(source: S, reset: Z) -> Self {
        let mut started = Self { source, reset, health: Health::new(), chain: [0; 32] };
        for _ in 0..STARTUP_BYTES / FRESH_BYTES {
            started.seed();
        }
        started
    }

    /// The seed of one request; the chain goes on.
    fn seed(&mut self) -> Zeroizing<[u8; 32]> {
        let mut fresh = Zeroizing::new([0; FRESH_BYTES]);
        let is_filled = (0..ATTEMPTS).any(|_| self.source.fill(&mut *fresh).is_ok());
        if !is_filled || !fresh.iter().all(|byte| self.health.admits(*byte)) {
            self.reset.reset()
        }
        let seed = Sha256::new().chain_update([0]).chain_update(self.chain).chain_update(*fresh).finalize();
        let seed = Zeroizing::new(<[u8; 32]>::from(seed));
        self.chain = Sha256::new().chain_update([2]).chain_update(*seed).finalize().into();
        seed
    }
}

impl<S: Source, Z: Reset> RngCore for Conditioned<S, Z> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, target: &mut [u8]) {
        let seed = self.seed();
        for (number, piece) in (0_u32..).zip(target.chunks_mut(32)) {
            let output = Sha256::new().chain_update([1]).chain_update(*seed).chain_update(number.to_le_bytes());
            piece.copy_from_slice(&Zeroizing::new(<[u8; 32]>::from(output.finalize()))[..piece.len()]);
        }
    }

    fn try_fill_bytes(&mut self, target: &mut [u8]) -> Result<(), Error> {
        self.fill_bytes(target);
        Ok(())
    }
}

impl<S: Source, Z: Reset> CryptoRng for Conditioned<S, Z> {}

impl<S, Z> Drop for Conditioned<S, Z> {
    fn drop(&mut self) {
        self.chain.zeroize();
    }
}

/// The repetition count test (4.4.1) and the adaptive proportion test (4.4.2), on bytes.
struct Health {
    last: Option<u8>,
    repeated: u32,
    /// The first byte of the window.
    counted: u8,
    seen: u32,
    found: u32,
}

impl Health {
    const fn new() -> Self {
        Self { last: None, repeated: 0, counted: 0, seen: 0, found: 0 }
    }

    fn admits(&mut self, byte: u8) -> bool {
        self.repeated = if self.last == Some(byte) { self.repeated + 1 } else { 1 };
        self.last = Some(byte);
        if self.seen == 0 {
            (self.counted, self.found) = (byte, 0);
        }
        self.found += u32::from(byte == self.counted);
        self.seen = (self.seen + 1) % WINDOW_BYTES;
        self.repeated < REPEATED_MAX && self.found < FOUND_MAX
    }
}

/// What the tests see before anything is handed out (SP 800-90B, section 4.3).
pub const STARTUP_BYTES: usize = 1_152;
/// Bytes of the source in each seed: 48 bits of entropy at the rate that the tests assume, 256 at 5.4 bits in a byte.
pub const FRESH_BYTES: usize = 48;
/// Failures of the source in a row that end in a new start.
const ATTEMPTS: u32 = 8;
/// 1 + 20 / 1 bit.
const REPEATED_MAX: u32 = 21;
const WINDOW_BYTES: u32 = 512;
/// The least count of a byte of probability 1/2 in a window that has a probability below 2^-20.
const FOUND_MAX: u32 = 311;

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use super::*;

    struct Unwind;

    impl Reset for Unwind {
        fn reset(&mut self) -> ! {
            resume_unwind(Box::new("reset"))
        }
    }

    /// Bytes of a fixed sequence, through a fault.
    struct Faulty<F>(u64, F);

    impl<F: FnMut(u8) -> Result<u8, SourceFailed>> Source for Faulty<F> {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), SourceFailed> {
            for byte in bytes {
                self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                *byte = (self.1)((self.0 >> 56) as u8)?;
            }
            Ok(())
        }
    }

    fn drawn(seed: u64, fault: impl FnMut(u8) -> Result<u8, SourceFailed>) -> Option<[u8; 100]> {
        let mut bytes = [0; 100];
        let attempt = catch_unwind(AssertUnwindSafe(|| {
            Conditioned::start(Faulty(seed, fault), Unwind).fill_bytes(&mut bytes);
        }));
        attempt.is_ok().then_some(bytes)
    }

    #[test]
    fn a_healthy_source_gives_bytes_that_depend_on_all_of_it() {
        let one = drawn(1, Ok);
        assert!(one.is_some_and(|bytes| bytes[..32] != bytes[32..64] && bytes[96..] != [0; 4]));
        assert_eq!(one, drawn(1, Ok));
        assert_ne!(one, drawn(2, Ok));
        // One bit of one byte of the first seed.
        let mut count = 0;
        let changed = drawn(1, |byte| {
            count += 1;
            Ok(if count == 7 { byte ^ 1 } else { byte })
        });
        assert!(changed.is_some() && changed != one);
    }

    #[test]
    fn a_source_that_fails_now_and_then_is_asked_again() {
        let mut count = 0_u32;
        let often = drawn(1, |byte| {
            count += 1;
            if count.is_multiple_of(97) { Err(SourceFailed) } else { Ok(byte) }
        });
        assert!(often.is_some());
    }

    #[test]
    fn nothing_comes_from_a_source_that_is_stuck_biased_or_dead() {
        assert_eq!(drawn(1, |_| Err(SourceFailed)), None);
        assert_eq!(drawn(1, |_| Ok(0x55)), None);
        // Three of four bytes are the same.
        assert_eq!(drawn(1, |byte| Ok(if byte < 192 { 0 } else { byte })), None);
        // Alternating: no byte repeats, and half of each window is the same byte; that is within what is allowed.
        let mut flip = 0;
        let alternating = drawn(1, |_| {
            flip ^= 0xff;
            Ok(flip)
        });
        assert!(alternating.is_some(), "the tests find no patterns, and do not say so");
    }

    #[test]
    fn the_tests_fail_at_their_bounds_and_not_before() {
        let mut health = Health::new();
        let admitted = (0..REPEATED_MAX).filter(|_| health.admits(7)).count();
        assert_eq!(admitted, REPEATED_MAX as usize - 1);
        // Each other byte differs from the one before, so only the proportion counts.
        let fails = |of_window: u32| {
            let mut health = Health::new();
            (0..WINDOW_BYTES).any(|at| {
                let common = at == 0 || at * of_window / WINDOW_BYTES > (at - 1) * of_window / WINDOW_BYTES;
                !health.admits(if common { 1 } else { 2 + (at % 200) as u8 })
            })
        };
        assert!(!fails(FOUND_MAX - 3) && fails(FOUND_MAX + 3));
    }
}
