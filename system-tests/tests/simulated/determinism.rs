//! The same seed is the same history, and the histories reach what they are for.

use std::collections::BTreeSet;

use muster_system_tests::history::History;
use muster_system_tests::plan::Plan;
use muster_system_tests::world::World;

fn lines_of(seed: u64) -> (u64, Vec<String>) {
    let mut world = World::new(Plan::from_seed(seed), History::readable());
    let outcome = world.run();
    (outcome.hash, world.history.lines().to_vec())
}

#[test]
fn the_same_seed_is_the_same_history() {
    let mut hashes = BTreeSet::new();
    for seed in 0..60 {
        let (hash, lines) = lines_of(seed);
        let again = World::new(Plan::from_seed(seed), History::hashed()).run();
        assert_eq!(hash, again.hash, "seed {seed} has two histories");
        assert!(hashes.insert(hash), "seed {seed} tells the history of another one");
        assert!(lines.len() > 20, "seed {seed} tells nothing: {lines:?}");
    }
}

/// Without this, a fault that is never drawn any more would look like a world without faults.
#[test]
fn histories_reach_what_they_are_for() {
    let mut wanted = vec![
        "Err(PowerCut)",
        "Err(WornOut)",
        "KeyStoreFailed",
        "StoreFailed",
        "power off",
        "network lost",
        "crashes",
        "cannot store a change",
        "Entered(Enrolling)",
        "Entered(Rekeying)",
        "Entered(Confirming)",
        "Entered(Operational)",
        "Entered(Lapsed)",
        "Entered(Retired)",
        "TrialCounted",
        "TrialGivenBack",
        "RolledBack",
        "FloorRaised",
        "BundleInForce",
        "GatewayRefused(CertificateUntrusted)",
        "Refused(CertificateExpired)",
        "Refused(CertificateRevoked)",
        "Refused(DeviceSuspended)",
        "Refused(DeviceRevoked)",
        "Refused(DeviceRetired)",
        "Refused(Unavailable)",
        "RotationOrdered",
        "stores Resumed",
        "stores RolledBack",
        "stores Superseded",
        "cuts dev-",
        "is retired by its owner",
        "clock is off",
        "stops trusting the old gateway CA",
    ];
    for seed in 0..2000 {
        if wanted.is_empty() {
            return;
        }
        let (_, lines) = lines_of(seed);
        wanted.retain(|words| !lines.iter().any(|line| line.contains(words)));
    }
    panic!("never happened in 2000 histories: {wanted:?}");
}
