//! Flash of every word size: an image for each, which enrols, rotates, and comes back from a power cut in the middle of its
//! flash's own steps.

use muster_system_tests::firmware::Stage;

fn lives<const WORD: usize>() {
    let stage = Stage::new(1).unwrap();
    let (device, board) = stage.board_of_words::<WORD>(0).unwrap();
    // The larger the word, the fewer of them a life takes.
    let steps = STEPS_OF_BYTES / WORD as u64;
    let mut powered = board.clone().with(format!("cut={steps}")).with("seed=7").start().unwrap();
    let mut rotations = 0;
    while stage.settled_or_ended(&device, &mut powered).unwrap() {
        rotations += 1;
        assert!(rotations < 20, "{WORD}: {steps} steps never come");
        stage.world.gateway(&["device", "rotate", &device.id]).unwrap();
    }
    powered.says("flash.power_cut").unwrap();
    let powered = board.start().unwrap();
    let serial = stage.settled(&device, &powered).unwrap()["serial"].clone();
    let rotated = stage.rotate(&device, &powered).unwrap()["serial"].clone();
    assert_ne!(serial, rotated, "{WORD}");
    stage.settled(&device, &powered).unwrap();
    powered.cut_power().unwrap();
    let powered = board.start().unwrap();
    assert_eq!(stage.settled(&device, &powered).unwrap()["serial"], rotated, "{WORD}: after a power cut");
    stage.world.gateway(&["audit", "verify"]).unwrap();
}

#[test]
fn words_of_1() {
    lives::<1>();
}

#[test]
fn words_of_4() {
    lives::<4>();
}

#[test]
fn words_of_8() {
    lives::<8>();
}

#[test]
fn words_of_16() {
    lives::<16>();
}

#[test]
fn words_of_32() {
    lives::<32>();
}

/// Inside an enrolment or the rotation behind it, in bytes that the flash programs.
const STEPS_OF_BYTES: u64 = 2_900;
