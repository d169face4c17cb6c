//! When: back-off between attempts, and the moment at which a certificate is renewed.

use crate::time::{Millis, UnixTime};

/// How patient the device is. The defaults suit a fleet; tests shorten them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Settings {
    /// First wait after a failed connection, in milliseconds.
    pub backoff_millis_min: u64,
    /// Longest wait after a failed connection, in milliseconds.
    pub backoff_millis_max: u64,
    /// First wait when only an operator can change the gateway's answer, in milliseconds.
    pub operator_backoff_millis_min: u64,
    /// Longest such wait, in milliseconds.
    pub operator_backoff_millis_max: u64,
    /// How long an answer may take, in milliseconds; also how long a connection attempt may.
    pub answer_millis_max: u64,
    /// A connection that held this long ends the back-off, in milliseconds.
    pub stable_millis: u64,
    /// Wait between two trials of a candidate while the old credential is connected, in milliseconds.
    pub trial_pause_millis: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff_millis_min: 1_000,
            backoff_millis_max: 300_000,
            operator_backoff_millis_min: 60_000,
            operator_backoff_millis_max: 4 * 3_600_000,
            answer_millis_max: 30_000,
            stable_millis: 60_000,
            trial_pause_millis: 5_000,
        }
    }
}

/// Longest time between two looks at the clock: a clock that was stepped is noticed by then.
pub(super) const LOOK_MILLIS_MAX: u64 = 3_600_000;

/// Waits that double, with jitter, so that a fleet that lost its gateway does not come back as one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    failures: u32,
    random: u64,
}

impl Backoff {
    pub(super) const fn new(seed: u64) -> Self {
        // The generator below stands still at zero.
        Self { failures: 0, random: seed | 1 }
    }

    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait: between half and the whole of `min * 2^failures`, at most `max`.
    pub(super) fn next(&mut self, min: u64, max: u64) -> u64 {
        let whole = min.saturating_mul(1_u64 << self.failures.min(32)).min(max).max(1);
        self.failures = self.failures.saturating_add(1);
        whole / 2 + self.random() % (whole - whole / 2 + 1)
    }

    /// Marsaglia's xorshift64: spread, not secrecy.
    pub(super) const fn random(&mut self) -> u64 {
        let mut x = self.random;
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random = x;
        x
    }
}

/// When a certificate is due for renewal: after `percent` of its life, earlier by up to a twentieth of it, so that
/// devices made together do not renew together.
pub(super) fn renew_at(not_before: UnixTime, not_after: UnixTime, percent: u8, seed: u64) -> UnixTime {
    let life = not_after.secs_since(not_before);
    let percent = u64::from(percent);
    // Hundreds and rest apart, so that no life is too long to be multiplied.
    let due = (life / 100).saturating_mul(percent).saturating_add(life % 100 * percent / 100);
    let jitter = seed % (life / 20 + 1);
    not_before.plus_secs(due.saturating_sub(jitter))
}

/// The uptime at which `when` comes, seen from `known` at `uptime`; at most [`LOOK_MILLIS_MAX`] away.
pub(super) fn uptime_of(when: UnixTime, known: UnixTime, uptime: Millis) -> Millis {
    let wait = when.secs_since(known).saturating_mul(1000);
    uptime.plus(wait.min(LOOK_MILLIS_MAX))
}
