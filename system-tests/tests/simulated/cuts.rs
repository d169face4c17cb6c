//! The power cut at every byte of a whole life: afterwards one usable credential, old or new, and operational again.

use muster_system_tests::cuts::live;
use muster_system_tests::flash::FlashKind;

/// A second cut this many bytes after the first.
const SECOND_CUTS: [u64; 9] = [0, 1, 33, 34, 95, 96, 300, 700, 1500];
/// Every so manieth byte is the first of a pair of cuts.
const PAIRS_EVERY: u64 = 23;

fn cut_everywhere(flash: FlashKind, share: u64, shares: u64) {
    let whole = live(flash, &[]).expect("a life without a cut");
    assert!(whole.written > 3000 && whole.issued == 2, "the life is too short to show anything: {whole:?}");
    for byte in (share..whole.written).step_by(shares as usize) {
        let lived = live(flash, &[byte]).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert!(lived.boots > whole.boots, "nothing was cut at {byte}");
        assert!(lived.issued <= whole.issued + 1, "a cut at {byte} cost {} certificates", lived.issued);
    }
}

fn cut_twice(flash: FlashKind) {
    let whole = live(flash, &[]).expect("a life without a cut");
    for first in (0..whole.written).step_by(PAIRS_EVERY as usize) {
        for second in SECOND_CUTS {
            live(flash, &[first, second]).unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }
}

#[test]
fn every_byte_replaced_even() {
    cut_everywhere(FlashKind::Replace, 0, 2);
}

#[test]
fn every_byte_replaced_odd() {
    cut_everywhere(FlashKind::Replace, 1, 2);
}

#[test]
fn every_byte_erased_first_even() {
    cut_everywhere(FlashKind::EraseFirst, 0, 2);
}

#[test]
fn every_byte_erased_first_odd() {
    cut_everywhere(FlashKind::EraseFirst, 1, 2);
}

#[test]
fn twice_in_a_row_replaced() {
    cut_twice(FlashKind::Replace);
}

#[test]
fn twice_in_a_row_erased_first() {
    cut_twice(FlashKind::EraseFirst);
}
