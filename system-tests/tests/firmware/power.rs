//! The power fails at any moment of enrolment and rotation: the board always comes back operational.

use std::time::Duration;

use muster_system_tests::firmware::{Board, EmulatedBoard, Stage};
use muster_system_tests::live::Device;

/// Boards of one world; each lives through a cut while it enrols and another while it rotates. With four worlds, 56 cuts.
const BOARDS: u32 = 7;

/// Marsaglia's xorshift: the same moments in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// Starts the board without a cut, and waits until it is operational.
fn comes_back(stage: &Stage, device: &Device, board: &Board, when: &str) -> EmulatedBoard {
    let powered = board.start().unwrap();
    stage.settled(device, &powered).unwrap_or_else(|error| panic!("{when}: {error:#}"));
    powered
}

fn lives_through_kills(seed: u64) {
    let stage = Stage::new(BOARDS).unwrap();
    let mut random = Random(seed);
    for number in 0..BOARDS {
        let (device, board) = stage.board(number).unwrap();
        // The moment of the cut is the test's input, not a wait for anything.
        let moment = Duration::from_millis(random.below(ENROLMENT_MILLIS));
        let powered = board.start().unwrap();
        std::thread::sleep(moment);
        powered.cut_power().unwrap();
        let powered = comes_back(&stage, &device, &board, &format!("{} cut {moment:?} into enrolment", device.id));

        let moment = Duration::from_millis(random.below(ROTATION_MILLIS));
        stage.world.gateway(&["device", "rotate", &device.id]).unwrap();
        std::thread::sleep(moment);
        powered.cut_power().unwrap();
        comes_back(&stage, &device, &board, &format!("{} cut {moment:?} into rotation", device.id));
    }
    stage.world.gateway(&["audit", "verify"]).unwrap();
}

/// Worlds beside one another: most of the time their boards wait.
#[test]
fn killed_at_any_moment_it_comes_back() {
    let seeds = [0x6d75_7374_6572, 0x7265_7473_756d, 0x6b69_6c6c_6564, 0x6461_726b];
    std::thread::scope(|scope| {
        for seed in seeds {
            scope.spawn(move || lives_through_kills(seed));
        }
    });
}

/// The same inside the flash's own steps: of the word that is being programmed some bits are, of the unit that is being
/// erased some bytes.
#[test]
fn cut_in_any_step_of_its_flash_it_comes_back() {
    let stage = Stage::new(FLASH_CUTS).unwrap();
    let mut random = Random(0x666c_6173_6821);
    let mut cut_short = 0;
    for number in 0..FLASH_CUTS {
        let (device, board) = stage.board(number).unwrap();
        let steps = random.below(ENROLMENT_STEPS);
        let mut powered =
            board.clone().with(format!("cut={steps}")).with(format!("seed={}", number + 1)).start().unwrap();
        // It ends by the cut; if it enrols in fewer steps, a rotation brings it there.
        if stage.settled_or_ended(&device, &mut powered).unwrap() {
            stage.world.gateway(&["device", "rotate", &device.id]).unwrap();
            stage.settled_or_ended(&device, &mut powered).unwrap();
        }
        cut_short += u32::from(!powered.is_running().unwrap());
        drop(powered);
        comes_back(&stage, &device, &board, &format!("{} cut in step {steps}", device.id));
    }
    assert!(cut_short >= FLASH_CUTS / 2, "{cut_short} of {FLASH_CUTS} were cut");
}

/// What an enrolment takes on a machine of today, and a little more.
const ENROLMENT_MILLIS: u64 = 2_500;
/// What an ordered rotation takes.
const ROTATION_MILLIS: u64 = 2_500;
const FLASH_CUTS: u32 = 12;
/// Words programmed and units erased in an enrolment and a rotation.
const ENROLMENT_STEPS: u64 = 700;
