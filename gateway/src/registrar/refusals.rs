//! How many refusals of one party the audit records, so that nobody fills the disk by hammering.
//!
//! The rule: each party has [`BURST`] records in hand and gets one more every [`REFILL_SECS`] seconds, never more than
//! [`BURST`]. A refusal beyond that is refused all the same and only counted; the party's next record says how many
//! were `withheld`. At most [`PARTIES_MAX`] parties are told apart; beyond that, newcomers share one measure.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use muster_protocol::UnixTime;

use crate::audit::Actor;

/// Records that a party may leave at once.
pub const BURST: u32 = 20;
/// Seconds until it may leave another one.
pub const REFILL_SECS: u64 = 30;
/// Parties that are told apart.
pub const PARTIES_MAX: usize = 65_536;

/// Whether a refusal is recorded.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is; so many were withheld since the last record.
    Record {
        /// How many.
        withheld: u64,
    },
    /// It is only counted.
    Withhold,
}

/// Measures refusals, party by party.
#[derive(Debug, Default)]
pub struct RefusalMeter {
    parties: Mutex<HashMap<Actor, Measure>>,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    in_hand: u32,
    refilled_at: UnixTime,
    withheld: u64,
}

impl RefusalMeter {
    /// Counts one refusal of this party.
    pub fn count(&self, party: &Actor, now: UnixTime) -> Verdict {
        let mut parties = self.parties.lock().unwrap_or_else(PoisonError::into_inner);
        if !parties.contains_key(party) && parties.len() >= PARTIES_MAX {
            parties.retain(|_, measure| !measure.is_full(now));
        }
        let crowded = !parties.contains_key(party) && parties.len() >= PARTIES_MAX;
        // Nobody proven is `Peer`, so it stands for the crowd.
        let party = if crowded { Actor::Peer } else { party.clone() };
        parties.entry(party).or_insert(Measure { in_hand: BURST, refilled_at: now, withheld: 0 }).count(now)
    }
}

impl Measure {
    fn refill(&mut self, now: UnixTime) {
        let more = now.secs_since(self.refilled_at) / REFILL_SECS;
        self.refilled_at = self.refilled_at.plus_secs(more * REFILL_SECS);
        self.in_hand = u32::try_from(more).unwrap_or(BURST).saturating_add(self.in_hand).min(BURST);
    }

    fn is_full(&self, now: UnixTime) -> bool {
        let mut later = *self;
        later.refill(now);
        later.in_hand == BURST && later.withheld == 0
    }

    fn count(&mut self, now: UnixTime) -> Verdict {
        self.refill(now);
        if self.in_hand == 0 {
            self.withheld = self.withheld.saturating_add(1);
            return Verdict::Withhold;
        }
        self.in_hand -= 1;
        Verdict::Record { withheld: std::mem::take(&mut self.withheld) }
    }
}

#[cfg(test)]
mod tests {
    use muster_protocol::DeviceId;

    use super::*;

    fn device(name: &str) -> Actor {
        Actor::Device(DeviceId::new(name).unwrap())
    }

    #[test]
    fn a_hammering_device_is_withheld_and_counted() {
        let meter = RefusalMeter::default();
        let now = UnixTime(1_000_000);
        for _ in 0..BURST {
            assert_eq!(meter.count(&device("a"), now), Verdict::Record { withheld: 0 });
        }
        for _ in 0..1000 {
            assert_eq!(meter.count(&device("a"), now), Verdict::Withhold);
        }
        assert_eq!(meter.count(&device("b"), now), Verdict::Record { withheld: 0 });
        let later = now.plus_secs(REFILL_SECS);
        assert_eq!(meter.count(&device("a"), later), Verdict::Record { withheld: 1000 });
        assert_eq!(meter.count(&device("a"), later), Verdict::Withhold);
    }

    #[test]
    fn a_day_of_hammering_leaves_a_bounded_number_of_records() {
        let meter = RefusalMeter::default();
        let recorded = (0..86_400_u64)
            .filter(|second| meter.count(&device("a"), UnixTime(*second)) != Verdict::Withhold)
            .count() as u64;
        assert!(recorded <= u64::from(BURST) + 86_400 / REFILL_SECS, "{recorded}");
    }

    #[test]
    fn more_parties_than_can_be_told_apart_share_one_measure() {
        let meter = RefusalMeter::default();
        let now = UnixTime(1_000_000);
        for number in 0..PARTIES_MAX {
            meter.count(&device(&format!("d{number}")), now);
        }
        let recorded = (0..1000).filter(|n| meter.count(&device(&format!("x{n}")), now) != Verdict::Withhold).count();
        // What is left of the measure that all newcomers share; nobody known was forgotten for them.
        assert!(recorded <= BURST as usize, "{recorded}");
        let later = now.plus_secs(REFILL_SECS * u64::from(BURST));
        assert_eq!(meter.count(&device("y"), later), Verdict::Record { withheld: 0 });
    }
}
