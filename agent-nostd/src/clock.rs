//! Time for the core: uptime from the board's timer, the date from its clock, as far as it can be believed.
//!
//! A clock without a battery starts in 1970, a broken one in 2106. One that stands before what has surely passed is no
//! clock, so the core is told that there is none and goes by its floor. One that is ahead makes the gateway's certificate
//! look expired: it is doubted then, and the next attempt goes by the floor, which is the rule that always holds. So a
//! wrong clock costs an attempt and never the device; and a certificate that ended before the last authenticated time is
//! refused with any clock.

use embassy_time::{Duration, Instant};
use muster_protocol::UnixTime;
use muster_protocol::time::{Millis, Now};

use crate::platform::Clock;

/// 2026-11-01T00:00:00Z: no running agent is older than this release. Raised with each release.
pub const RELEASED_AT: UnixTime = UnixTime(1_793_491_200);

/// The present; the date only when it is not before `floor`.
pub fn now(clock: &mut impl Clock, floor: UnixTime) -> Now {
    Now { uptime: uptime(), civil: civil(clock, floor) }
}

/// The board's date, unless it stands before `floor`.
pub fn civil(clock: &mut impl Clock, floor: UnixTime) -> Option<UnixTime> {
    clock.civil().filter(|date| *date >= floor)
}

/// A clock that is not asked while it is in doubt.
pub(crate) struct Doubtable<C> {
    clock: C,
    is_doubted: bool,
}

impl<C> Doubtable<C> {
    pub(crate) const fn new(clock: C) -> Self {
        Self { clock, is_doubted: false }
    }

    /// The gateway's certificate was out of its time: by the clock, or by the floor. Each may be what is wrong, so they
    /// take turns.
    pub(crate) const fn doubt(&mut self) {
        self.is_doubted = !self.is_doubted;
    }
}

impl<C: Clock> Clock for Doubtable<C> {
    fn civil(&mut self) -> Option<UnixTime> {
        if self.is_doubted { None } else { self.clock.civil() }
    }
}

/// Since the start.
#[must_use]
pub fn uptime() -> Millis {
    Millis(Instant::now().as_millis())
}

/// The moment of an uptime, at most a day away: whoever waits looks at the time again.
#[must_use]
pub fn instant(uptime: Millis) -> Instant {
    let now = Instant::now();
    now + Duration::from_millis(uptime.since(Millis(now.as_millis())).min(DAY_MILLIS))
}

const DAY_MILLIS: u64 = 86_400_000;

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u64);

    impl Clock for Fixed {
        fn civil(&mut self) -> Option<UnixTime> {
            Some(UnixTime(self.0))
        }
    }

    #[test]
    fn a_date_before_the_floor_is_no_date() {
        for (date, seen) in [(0, None), (RELEASED_AT.0 - 1, None), (RELEASED_AT.0, Some(RELEASED_AT))] {
            assert_eq!(civil(&mut Fixed(date), RELEASED_AT), seen);
        }
        assert_eq!(civil(&mut crate::platform::NoClock, UnixTime(0)), None);
        // 2038 and 2106, where clocks of 31 and 32 bits end.
        for date in [0x8000_0000, 0x1_0000_0000] {
            assert_eq!(civil(&mut Fixed(date), RELEASED_AT), Some(UnixTime(date)));
        }
    }

    #[test]
    fn clock_and_floor_take_turns_while_one_is_in_doubt() {
        let mut clock = Doubtable::new(Fixed(0x1_0000_0000));
        assert!(civil(&mut clock, RELEASED_AT).is_some());
        clock.doubt();
        assert_eq!(civil(&mut clock, RELEASED_AT), None);
        clock.doubt();
        assert!(civil(&mut clock, RELEASED_AT).is_some());
    }

    #[test]
    fn a_moment_that_has_passed_is_now() {
        assert!(instant(Millis(0)) <= Instant::now());
        assert!(instant(Millis(u64::MAX)) <= Instant::now() + Duration::from_millis(DAY_MILLIS));
    }
}
