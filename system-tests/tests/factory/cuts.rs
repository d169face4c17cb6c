//! Power cuts, kills, unplugged boards and bad lines: each step, each word, many seeds.

use muster_agent_nostd::factory::Stage;
use muster_protocol::DeviceId;
use muster_provisioning::ledger::{LEDGER, Ledger};
use muster_provisioning::station::{Done, How};
use muster_system_tests::random::Random;
use muster_terminal::Failure;

use crate::board::Board;
use crate::desk::Kill;
use crate::line::Noise;
use crate::nor::Torn;
use crate::place::Place;
use crate::world::{Plan, check, make, office};

#[test]
fn a_blank_board_becomes_a_device_and_stays_one() {
    let place = Place::new();
    let mut board = Board::<4>::blank(1);
    let made = make(&place, &mut board, &Plan::QUIET).unwrap();
    assert_eq!((made.done.how, made.done.device.as_str()), (How::Made, "lamp-000001"));
    check(&place, &mut board, &made.done);
    let manifest = std::fs::read(place.out().join("manifest.muster")).unwrap();

    let again = make(&place, &mut board, &Plan::QUIET).unwrap();
    assert_eq!((again.done.how, &again.done.device), (How::Already, &made.done.device));
    assert_eq!(std::fs::read(place.out().join("manifest.muster")).unwrap(), manifest);

    let next = make(&place, &mut Board::<4>::blank(2), &Plan::QUIET).unwrap();
    assert_eq!(next.done.device.as_str(), "lamp-000002");
    check(&place, &mut board, &made.done);
}

/// Words programmed and units erased in one board's way to a device.
fn steps_of_a_life<const W: usize>() -> u64 {
    let mut board = Board::<W>::blank(3);
    make(&Place::new(), &mut board, &Plan::QUIET).unwrap();
    board.flash.chip().steps
}

/// The power goes at every `stride`-th step of the flash, torn in every way, and once more soon after.
fn cut_everywhere<const W: usize>(stride: usize) -> u64 {
    let steps = steps_of_a_life::<W>();
    let mut runs = 0;
    for step in (0..steps).step_by(stride) {
        for torn in Torn::of_a_word(W).iter().copied().chain([Torn::Untouched]) {
            let place = Place::new();
            let mut board = Board::<W>::blank(step);
            let mut random = Random::new(step);
            board.cut(&[(step, torn), (random.below(40), *random.pick(&Torn::ALL))]);
            let made = make(&place, &mut board, &Plan { seed: step, ..Plan::QUIET })
                .unwrap_or_else(|failure| panic!("word {W}, step {step}, {torn:?}: {failure}"));
            check(&place, &mut board, &made.done);
            assert_eq!(made.done.device.as_str(), "lamp-000001", "word {W}, step {step}, {torn:?}");
            runs += 1;
        }
    }
    runs
}

#[test]
fn the_power_goes_at_every_word_of_32() {
    assert!(cut_everywhere::<32>(1) >= 200);
}

#[test]
fn the_power_goes_at_every_word_of_16() {
    assert!(cut_everywhere::<16>(1) >= 400);
}

#[test]
fn the_power_goes_at_every_word_of_8() {
    assert!(cut_everywhere::<8>(1) >= 800);
}

#[test]
fn the_power_goes_at_many_words_of_4() {
    assert!(cut_everywhere::<4>(3) > 300);
}

#[test]
fn the_power_goes_at_many_bytes() {
    assert!(cut_everywhere::<1>(7) > 500);
}

#[test]
fn the_station_is_killed_at_every_step() {
    let steps = make(&Place::new(), &mut Board::<8>::blank(4), &Plan::QUIET).unwrap().steps;
    assert!(steps >= 7, "known, reserve, bind, issue, written, locked, close: {steps}");
    for step in 0..steps {
        for kill in Kill::ALL {
            let place = Place::new();
            let mut board = Board::<8>::blank(u64::from(step));
            let made = make(&place, &mut board, &Plan { kill: Some((step, kill)), ..Plan::QUIET }).unwrap();
            assert_eq!(made.kills, 1, "step {step}, {kill:?}");
            check(&place, &mut board, &made.done);
            // Killed while it set a number aside, the station may leave a gap, and never more.
            assert!(["lamp-000001", "lamp-000002"].contains(&made.done.device.as_str()), "step {step}, {kill:?}");
        }
    }
}

#[test]
fn killed_at_every_step_and_another_board_comes_first() {
    let steps = make(&Place::new(), &mut Board::<8>::blank(4), &Plan::QUIET).unwrap().steps;
    for step in 0..steps {
        for kill in Kill::ALL {
            let place = Place::new();
            let mut first = Board::<8>::blank(100 + u64::from(step));
            let killed = once(&place, &mut first, &Plan { kill: Some((step, kill)), ..Plan::QUIET });
            assert!(killed.is_err(), "step {step}, {kill:?}");
            let mut other = Board::<8>::blank(200 + u64::from(step));
            let made_other = make(&place, &mut other, &Plan::QUIET).unwrap();
            let made_first = make(&place, &mut first, &Plan::QUIET).unwrap();
            assert_ne!(made_first.done.device, made_other.done.device, "step {step}, {kill:?}");
            check(&place, &mut first, &made_first.done);
            check(&place, &mut other, &made_other.done);
        }
    }
}

/// As far as the first kill.
fn once<const W: usize>(place: &Place, board: &mut Board<W>, plan: &Plan) -> Result<Done, Failure> {
    crate::world::once(place, board, plan)
}

#[test]
fn a_board_is_unplugged_at_every_request() {
    let bursts = make(&Place::new(), &mut Board::<8>::blank(5), &Plan::QUIET).unwrap().bursts;
    for burst in 1..=bursts {
        let place = Place::new();
        let mut board = Board::<8>::blank(u64::from(burst));
        let made = make(&place, &mut board, &Plan { unplug_at: Some(burst), ..Plan::QUIET }).unwrap();
        check(&place, &mut board, &made.done);
    }
}

#[test]
fn boards_are_swapped_in_the_middle() {
    let bursts = make(&Place::new(), &mut Board::<8>::blank(5), &Plan::QUIET).unwrap().bursts;
    for burst in 1..bursts {
        let place = Place::new();
        let mut boards = [Board::<8>::blank(1000 + u64::from(burst)), Board::<8>::blank(2000 + u64::from(burst))];
        let made = crate::world::swap(&place, &mut boards, burst);
        let [first, second] = &mut boards;
        let ends: Vec<_> = [first, second]
            .into_iter()
            .map(|board| {
                let end = make(&place, board, &Plan::QUIET).unwrap_or_else(|failure| panic!("{burst}: {failure}"));
                check(&place, board, &end.done);
                end.done.device
            })
            .collect();
        assert_ne!(ends[0], ends[1], "{burst}");
        assert!(made.is_none_or(|made| ends.contains(&made.device)), "{burst}");
    }
}

#[test]
fn bad_lines_and_everything_else_at_once() {
    for seed in 0..400 {
        let place = Place::new();
        let mut random = Random::new(seed);
        let mut devices: Vec<DeviceId> = Vec::new();
        for _ in 0..2 {
            let mut board = Board::<16>::blank(random.next());
            let cuts: Vec<_> = (0..random.below(3)).map(|_| (random.below(160), *random.pick(&Torn::ALL))).collect();
            board.cut(&cuts);
            let kill = random.happens(500).then(|| (random.below(8) as u32, *random.pick(&Kill::ALL)));
            let unplug_at = random.happens(300).then(|| random.between(1, 20) as u32);
            let plan = Plan { seed: random.next(), noise: Noise::SOME, kill, unplug_at };
            let made = make(&place, &mut board, &plan).unwrap_or_else(|failure| panic!("seed {seed}: {failure}"));
            check(&place, &mut board, &made.done);
            devices.push(made.done.device);
        }
        assert_ne!(devices[0], devices[1], "seed {seed}");
    }
}

#[test]
fn a_board_of_another_product_or_line_is_refused_and_keeps_what_it_has() {
    let place = Place::new();
    let mut other = Board::<8>::blank(1).with_product("valve");
    let refused = make(&place, &mut other, &Plan::QUIET).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.exit), ("factory.wrong_product", muster_terminal::Exit::Refused));
    assert_eq!(other.look().0, Stage::Empty);

    // A device of one line on the bench of another, which has the same CA and another ledger.
    let mut board = Board::<8>::blank(2);
    let made = make(&place, &mut board, &Plan::QUIET).unwrap();
    let elsewhere = Place::new();
    let refused = make(&elsewhere, &mut board, &Plan::QUIET).unwrap_err();
    assert_eq!((refused.code.as_str(), refused.exit), ("factory.foreign", muster_terminal::Exit::Refused));
    check(&place, &mut board, &made.done);
    assert!(Ledger::open(&elsewhere.pki()).unwrap().book().by_key(&made.done.public_key).is_none());
}

#[test]
fn a_board_that_was_begun_by_another_station_is_sent_back_there() {
    let place = Place::new();
    let mut board = Board::<8>::blank(3);
    assert!(once(&place, &mut board, &Plan { kill: Some((4, Kill::Before)), ..Plan::QUIET }).is_err());
    let kind = muster_provisioning::station::Kind { product: "lamp".into(), lot: "2".into() };
    let office = muster_provisioning::station::Office::open(&place.pki(), &place.path("out2"), &place.fleet(), kind);
    let refused = crate::world::with(office.unwrap(), &place, &mut board).unwrap_err();
    assert_eq!(refused.code, "factory.key_bound");
    assert!(refused.hint.unwrap().contains("/out"));
    let made = make(&place, &mut board, &Plan::QUIET).unwrap();
    assert_eq!(made.done.how, How::Resumed);
    check(&place, &mut board, &made.done);
}

#[test]
fn a_name_that_somebody_chose_is_for_one_board() {
    let place = Place::new();
    let mut board = Board::<8>::blank(4);
    let choose = |name: &str| {
        let mut office = office(&place).unwrap();
        office.choose(DeviceId::new(name).unwrap());
        office
    };
    let made = crate::world::with(choose("SN4711"), &place, &mut board).unwrap();
    assert_eq!((made.device.as_str(), made.how), ("SN4711", How::Made));
    let again = crate::world::with(choose("SN4711"), &place, &mut board).unwrap();
    assert_eq!(again.how, How::Already);
    let refused = crate::world::with(choose("SN4712"), &place, &mut board).unwrap_err();
    assert_eq!(refused.code, "factory.key_bound");
    let refused = crate::world::with(choose("SN4711"), &place, &mut Board::<8>::blank(5)).unwrap_err();
    assert_eq!(refused.code, "factory.number_taken");
    // A name like ours takes its number away from those that are counted.
    let mut third = Board::<8>::blank(6);
    assert_eq!(crate::world::with(choose("lamp-000001"), &place, &mut third).unwrap().device.as_str(), "lamp-000001");
    let next = make(&place, &mut Board::<8>::blank(7), &Plan::QUIET).unwrap();
    assert_eq!(next.done.device.as_str(), "lamp-000002");
}

#[test]
fn a_damaged_or_lost_ledger_stops_the_station() {
    let place = Place::new();
    let mut board = Board::<8>::blank(8);
    make(&place, &mut board, &Plan::QUIET).unwrap();
    let path = place.pki().join(LEDGER);
    let whole = std::fs::read(&path).unwrap();
    let random = &mut Random::new(9);
    for _ in 0..200 {
        let mut damaged = whole.clone();
        let at = random.below(damaged.len() as u64 - 1) as usize;
        damaged[at] ^= 1 << random.below(7);
        std::fs::write(&path, &damaged).unwrap();
        let refused = office(&place).unwrap_err();
        assert_eq!((refused.code.as_str(), refused.exit), ("ledger.damaged", muster_terminal::Exit::Refused), "{at}");
    }
    std::fs::remove_file(&path).unwrap();
    assert_eq!(office(&place).unwrap_err().code, "ledger.lost");
    std::fs::write(&path, &whole).unwrap();
    office(&place).unwrap();
}

#[test]
fn a_copy_of_a_key_gets_nothing() {
    let place = Place::new();
    let mut board = Board::<8>::blank(10);
    assert!(once(&place, &mut board, &Plan { kill: Some((3, Kill::After)), ..Plan::QUIET }).is_err());
    // The same flash in a second board: the key was read out, or the flash was copied.
    let mut copy = Board::<8>::blank(11);
    copy.unplug();
    copy.flash = crate::nor::Nor::of(board.flash.chip());
    let made = make(&place, &mut board, &Plan::QUIET).unwrap();
    let refused = make(&place, &mut copy, &Plan::QUIET).unwrap_err();
    assert_eq!(refused.code, "factory.number_taken");
    check(&place, &mut board, &made.done);
}
