//! Bounds on what strangers can cause: records of refusals per address, and file descriptors.
//!
//! Refusals of parties that proved who they are have a measure of their own ([`crate::registrar::RefusalMeter`]).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use muster_protocol::UnixTime;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many refused handshakes the audit records, address by address. Each address has [`BURST`] records in hand and gets
/// one more every second; the rest is counted, and the address's next record says how many were withheld. An IPv6
/// address stands for its /64. More addresses than [`ADDRESSES_MAX`] share one measure.
#[derive(Debug, Default)]
pub struct StrangerMeter {
    addresses: Mutex<HashMap<IpAddr, Measure>>,
}

#[derive(Clone, Copy, Debug)]
struct Measure {
    in_hand: u64,
    refilled_at: UnixTime,
    withheld: u64,
}

impl StrangerMeter {
    /// Counts one refusal. `Some(withheld)` when it is to be recorded.
    pub fn count(&self, address: IpAddr, now: UnixTime) -> Option<u64> {
        let address = network_of(address);
        let mut addresses = self.addresses.lock().unwrap_or_else(PoisonError::into_inner);
        if !addresses.contains_key(&address) && addresses.len() >= ADDRESSES_MAX {
            addresses.retain(|_, measure| now.secs_since(measure.refilled_at) < BURST);
        }
        let crowded = !addresses.contains_key(&address) && addresses.len() >= ADDRESSES_MAX;
        let address = if crowded { CROWD } else { address };
        let measure = addresses.entry(address).or_insert(Measure { in_hand: BURST, refilled_at: now, withheld: 0 });
        measure.in_hand = measure.in_hand.saturating_add(now.secs_since(measure.refilled_at)).min(BURST);
        measure.refilled_at = measure.refilled_at.max(now);
        if measure.in_hand == 0 {
            measure.withheld = measure.withheld.saturating_add(1);
            return None;
        }
        measure.in_hand -= 1;
        Some(std::mem::take(&mut measure.withheld))
    }
}

fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Lets this process open `wanted` files, as far as the hard limit goes; gives what it may open now.
#[must_use]
pub fn raise_open_files(wanted: u64) -> u64 {
    let now = getrlimit(Resource::Nofile);
    let current = now.current.unwrap_or(u64::MAX);
    let most = now.maximum.unwrap_or(u64::MAX);
    let target = wanted.min(most);
    if target <= current {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: Some(target), maximum: now.maximum }) {
        Ok(()) => target,
        Err(_) => current,
    }
}

/// Records that an address may leave at once.
pub const BURST: u64 = 100;
/// Addresses that are told apart.
pub const ADDRESSES_MAX: usize = 16_384;
/// Stands for all addresses that are one too many.
const CROWD: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_hammering_address_is_withheld_and_counted_and_others_are_not() {
        let meter = StrangerMeter::default();
        let now = UnixTime(1_000_000);
        for _ in 0..BURST {
            assert_eq!(meter.count(address("192.0.2.1"), now), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(meter.count(address("192.0.2.1"), now), None);
        }
        assert_eq!(meter.count(address("::ffff:192.0.2.1"), now), None);
        assert_eq!(meter.count(address("192.0.2.2"), now), Some(0));
        assert_eq!(meter.count(address("192.0.2.1"), now.plus_secs(1)), Some(8));
        assert_eq!(meter.count(address("192.0.2.1"), now.plus_secs(1)), None);
    }

    #[test]
    fn a_v6_network_is_one_address_and_crowds_share_a_measure() {
        let meter = StrangerMeter::default();
        let now = UnixTime(1_000_000);
        for host in 0..BURST {
            assert!(meter.count(address(&format!("2001:db8::{host:x}")), now).is_some());
        }
        assert_eq!(meter.count(address("2001:db8::ffff"), now), None);
        for number in 0..ADDRESSES_MAX as u32 {
            let _ = meter.count(IpAddr::from(std::net::Ipv4Addr::from(number)), now);
        }
        let recorded = (0..1000u32)
            .filter(|number| meter.count(IpAddr::from(std::net::Ipv4Addr::from(0x7000_0000 + number)), now).is_some());
        assert!(recorded.count() as u64 <= BURST);
    }

    #[test]
    fn asking_for_fewer_files_than_allowed_changes_nothing() {
        assert_eq!(raise_open_files(1), getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX));
    }
}
