//! Ten thousand histories in ten shares, so that a test runner spreads them over the processors. The seeds are fixed:
//! a change that breaks one breaks it everywhere. `replay --seeds` runs others.

use muster_system_tests::seeds::run_seeds;

const SHARE: u64 = 1000;

fn share(number: u64) {
    let report = run_seeds(number * SHARE..(number + 1) * SHARE, 1, || {});
    let shortest = report.failed.first();
    assert!(shortest.is_none(), "{} of {SHARE} broke; the shortest: {shortest:?}", report.failed.len());
}

macro_rules! shares {
    ($($name:ident = $number:literal),+ $(,)?) => { $(#[test] fn $name() { share($number); })+ };
}

shares! {
    seeds_from_0 = 0,
    seeds_from_1000 = 1,
    seeds_from_2000 = 2,
    seeds_from_3000 = 3,
    seeds_from_4000 = 4,
    seeds_from_5000 = 5,
    seeds_from_6000 = 6,
    seeds_from_7000 = 7,
    seeds_from_8000 = 8,
    seeds_from_9000 = 9,
}
