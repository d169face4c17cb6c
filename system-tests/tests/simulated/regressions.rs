//! Every seed that once broke an invariant, for good.

use muster_system_tests::seeds::{regressions, run_seed};

#[test]
fn seeds_that_failed_once_hold() {
    let seeds = regressions(include_str!("../../regressions/seeds.txt"));
    assert!(!seeds.is_empty());
    for seed in seeds {
        if let Err(failed) = run_seed(seed) {
            panic!("{failed:?}");
        }
    }
}
