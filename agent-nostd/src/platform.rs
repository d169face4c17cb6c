//! What a board gives to the agent: traits only, no board's name.
//!
//! | what | how |
//! |---|---|
//! | identity flash | [`NorFlash`] of `embedded-storage`, layout in [`crate::slots`] |
//! | randomness | [`CryptoRngCore`] of `rand_core` 0.6, handed down by `&mut`; a true source, seeded before the agent starts |
//! | network | [`Network`]: TCP by host and port, names resolved inside |
//! | uptime and timers | `embassy-time`'s driver, linked in by the board |
//! | the date | [`Clock`], where there is one |
//! | keys | [`crate::key::KeyStore`]; the soft one lies in the identity flash, a secure element comes behind the same trait |
//! | identity lock | [`IdentityLock`] |
//! | reset | [`Reset`] |
//!
//! Every call but the network's blocks, for as long as a flash erases or a curve multiplies; none may wait for a peer.

pub use embedded_io_async::{Read, Write};
pub use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
pub use rand_core::CryptoRngCore;

use muster_protocol::UnixTime;

/// Why there is no connection. Blames nobody: an outage is no refusal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NetworkError {
    /// No link, or no address yet.
    Down,
    /// The name was not resolved.
    Name,
    /// Nobody answers, or the answer is a reset.
    Unreachable,
}

/// TCP by host and port.
pub trait Network {
    /// One connection. Dropping it aborts the connection; its `read` is safe to cancel.
    type Socket<'a>: Read + Write
    where
        Self: 'a;

    /// Connects to `host`, a DNS name or an IP address. Safe to cancel; the caller sets the deadline.
    fn connect(&mut self, host: &str, port: u16) -> impl Future<Output = Result<Self::Socket<'_>, NetworkError>>;
}

/// The date, as far as the board knows it. A wrong answer can delay a device, never lock it out.
pub trait Clock {
    /// Now; `None` without a clock, or while it was never set.
    fn civil(&mut self) -> Option<UnixTime>;
}

/// A board without a clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoClock;

impl Clock for NoClock {
    fn civil(&mut self) -> Option<UnixTime> {
        None
    }
}

/// The hardware refused to lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LockError;

/// Protects the IDevID's erase unit from any later write: option bytes, a write-protect register, a fuse.
pub trait IdentityLock {
    /// Whether it is locked.
    fn is_locked(&mut self) -> bool;

    /// Locks it, for good where the chip can. Doing it twice is no error.
    fn lock(&mut self) -> Result<(), LockError>;
}

/// Starts the device anew.
pub trait Reset {
    /// Does not come back.
    fn reset(&mut self) -> !;
}
