//! Time for the core: uptime from the monotonic clock, the date from the system's, as far as it can be believed.
//!
//! A machine without a battery starts in 1970. A clock that stands before what has surely passed is no clock, so the
//! core is told that there is none, and goes by its floor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_protocol::time::{Millis, Now, UnixTime};
use tokio::time::Instant;

/// 2026-11-01T00:00:00Z: no running agent is older than this release. Raised with each release.
pub const RELEASED_AT: UnixTime = UnixTime(1_793_491_200);

/// The clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Uptime counts from here.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// The present; the date only when it is not before `floor`.
    #[must_use]
    pub fn now(&self, floor: UnixTime) -> Now {
        Now { uptime: Millis(self.uptime_millis()), civil: civil(floor) }
    }

    /// The moment of an uptime.
    #[must_use]
    pub fn instant(&self, uptime: Millis) -> Instant {
        // A year at most: the sum cannot leave what an Instant holds, and nobody waits longer.
        self.started + Duration::from_millis(uptime.0.min(self.uptime_millis().saturating_add(YEAR_MILLIS)))
    }

    fn uptime_millis(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The system's date, unless it stands before `floor`.
#[must_use]
pub fn civil(floor: UnixTime) -> Option<UnixTime> {
    let date = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some(UnixTime(date.as_secs())).filter(|date| *date >= floor)
}

const YEAR_MILLIS: u64 = 366 * 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_before_the_floor_is_no_date() {
        assert!(civil(RELEASED_AT).is_some(), "this machine's clock stands before the release");
        assert_eq!(civil(UnixTime::FOREVER), None);
    }
}
