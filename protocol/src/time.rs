//! Time as an argument: seconds of the civil clock and milliseconds of uptime. Nothing here reads a clock.

use serde::{Deserialize, Serialize};

/// Seconds since 1970-01-01T00:00:00Z. 64 bits everywhere: certificates run to the year 9999.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// 9999-12-31T23:59:59Z, "no well-defined expiry" (RFC 5280, section 4.1.2.5).
    pub const FOREVER: Self = Self(253_402_300_799);

    /// This time plus `seconds`, at most [`UnixTime::FOREVER`].
    #[must_use]
    pub const fn plus_secs(self, seconds: u64) -> Self {
        let sum = self.0.saturating_add(seconds);
        if sum > Self::FOREVER.0 { Self::FOREVER } else { Self(sum) }
    }

    /// Seconds from `earlier` to this time; 0 when `earlier` is later.
    #[must_use]
    pub const fn secs_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// Milliseconds since some fixed point of this boot. Never goes back, says nothing about the date.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Millis(pub u64);

impl Millis {
    /// This time plus `millis`.
    #[must_use]
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Milliseconds from `earlier` to this time; 0 when `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// What a device knows of time at the moment of an input.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Now {
    /// Uptime; drives timeouts.
    pub uptime: Millis,
    /// The civil clock, where the device has one. The core never trusts it below its own floor.
    pub civil: Option<UnixTime>,
}
