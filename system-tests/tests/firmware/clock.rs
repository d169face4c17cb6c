//! A clock that is wrong, missing, or jumps: the board enrols, keeps its identity, locks nobody out, least of all itself,
//! and never takes a gateway's certificate that ended before what it has been told of time.

use std::fs;
use std::path::PathBuf;

use muster_system_tests::corpus::ServerCase;
use muster_system_tests::firmware::{Behind, Board, Door, EmulatedBoard, Stage};
use muster_system_tests::live::Device;
use muster_system_tests::rogue::{Material, Tls, shake_hands};

/// Seconds since 1970: the very beginning, and where clocks of 31 and of 32 bits end.
const DATES: [(&str, &str); 5] = [
    ("no clock", "none"),
    ("1970", "0"),
    ("2038", "2147483648"),
    ("2106", "4294967296"),
    ("ten years ago", "1480000000"),
];

#[test]
fn whatever_the_date_it_enrols_and_comes_back() {
    let stage = Stage::new(DATES.len().try_into().unwrap()).unwrap();
    for (number, (name, date)) in (0..).zip(DATES) {
        let (device, board) = stage.board(number).unwrap();
        let board = board.with(format!("clock={date}"));
        let powered = board.start().unwrap();
        let enrolled = stage.settled(&device, &powered).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        powered.cut_power().unwrap();
        let powered = board.start().unwrap();
        let again = stage.settled(&device, &powered).unwrap_or_else(|error| panic!("{name}, again: {error:#}"));
        assert_eq!(again["serial"], enrolled["serial"], "{name}");
    }
}

/// A clock that shows what the test says, from one look to the next.
struct Dial {
    file: PathBuf,
}

impl Dial {
    fn new(stage: &Stage, device: &Device, date: u64) -> Self {
        let dial = Self { file: stage.world.path(&format!("{}.date", device.id)) };
        dial.show(date);
        dial
    }

    fn show(&self, date: u64) {
        // In place and of one length: the board never finds it half written.
        fs::write(&self.file, format!("{date:010}")).unwrap();
    }

    fn on(&self, board: Board) -> Board {
        board.with(format!("clock=@{}", self.file.display()))
    }
}

/// What becomes of a board whose clock shows `start` when it is switched on, and then jumps.
fn lives_through_jumps(stage: &Stage, number: u32, start: u64) {
    let door = Door::new(Behind::Gateway(stage.world.ports().unwrap().mqtt)).unwrap();
    let (device, board) = stage.board_dialling(number, Some(&door.address())).unwrap();
    let dial = Dial::new(stage, &device, start);
    let board = dial.on(board);
    let settled = |powered: &EmulatedBoard, what: &str| {
        let shown = stage.settled(&device, powered);
        shown.unwrap_or_else(|error| panic!("started in {start}, {what}: {error:#}"))["serial"].clone()
    };
    let mut powered = board.start().unwrap();
    let enrolled = settled(&powered, "enrolled");
    for (what, date) in [
        ("ten years ahead", start + TEN_YEARS_SECS),
        ("back again", start),
        ("ten years back", start.saturating_sub(TEN_YEARS_SECS)),
    ] {
        dial.show(date);
        // Whatever it now believes, it has to believe its gateway anew.
        door.cut();
        powered.says("session.closed").unwrap();
        assert_eq!(settled(&powered, what), enrolled, "started in {start}, {what}");
    }
    let rotated = stage.rotate(&device, &powered).unwrap()["serial"].clone();
    settled(&powered, "rotated");
    for (what, date) in [
        ("off and ten years ahead", start + TEN_YEARS_SECS),
        ("off and ten years back", start.saturating_sub(TEN_YEARS_SECS)),
    ] {
        powered.cut_power().unwrap();
        dial.show(date);
        powered = board.start().unwrap();
        assert_eq!(settled(&powered, what), rotated, "started in {start}, {what}");
    }
}

#[test]
fn jumps_of_ten_years_from_1970_and_2106_lock_nobody_out() {
    let stage = Stage::new(2).unwrap();
    lives_through_jumps(&stage, 0, 0);
    lives_through_jumps(&stage, 1, 4_294_967_296);
}

#[test]
fn jumps_of_ten_years_from_today_and_2038_lock_nobody_out() {
    let stage = Stage::new(2).unwrap();
    lives_through_jumps(&stage, 0, today());
    lives_through_jumps(&stage, 1, 2_147_483_648);
}

/// Somebody has the gateway's key, and certificates of it that are over. The gateway has told the board the time.
#[test]
fn no_clock_makes_a_certificate_good_that_ended_before_the_floor() {
    let stage = Stage::new(1).unwrap();
    let mqtt = stage.world.ports().unwrap().mqtt;
    let door = Door::new(Behind::Gateway(mqtt)).unwrap();
    let (device, board) = stage.board_dialling(0, Some(&door.address())).unwrap();
    let thief = stage.thief(&device).unwrap();
    let dial = Dial::new(&stage, &device, today());
    let board = dial.on(board);
    let mut powered = board.start().unwrap();
    let floor: u64 = powered.says("clock.floor_raised").unwrap().parse().unwrap();
    assert!(floor.abs_diff(today()) < 600, "told by the gateway: {floor}");
    stage.settled(&device, &powered).unwrap();

    for restart in [false, true] {
        let dates = [
            ("when the certificate was good", floor - 2 * DAY_SECS),
            ("ten years ahead", floor + TEN_YEARS_SECS),
            ("1970", 0),
            ("ten years back", floor - TEN_YEARS_SECS),
            ("today", today()),
            ("2106", 4_294_967_296),
        ];
        for (what, date) in dates.into_iter().take(if restart { 3 } else { dates.len() }) {
            dial.show(date);
            door.lead_to(Behind::Test);
            if restart {
                powered.cut_power().unwrap();
                powered = board.start().unwrap();
            } else {
                door.cut();
            }
            // Twice: with its clock, and without it, which is how it doubts itself.
            for look in 0..2 {
                let over = thief.valid(floor - 3 * DAY_SECS, floor - 3_600);
                let ServerCase { chain, key, .. } = over;
                let mut tls = Tls::accept(door.visitor().unwrap()).unwrap();
                let _ = shake_hands(&mut tls, &Material { chain, key });
                let mut received = Vec::new();
                let _ = std::io::Read::read_to_end(tls.raw(), &mut received);
                assert_eq!(received, b"", "{what}: sent to a gateway that is over");
                let refused = powered.says("gateway.refused").unwrap();
                assert_eq!(refused, "certificate.expired", "{what}, restarted: {restart}, look {look}");
            }
        }
        // The honest gateway is taken with the same clocks.
        door.lead_to(Behind::Gateway(mqtt));
        stage.settled(&device, &powered).unwrap();
    }
}

fn today() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_secs()
}

const DAY_SECS: u64 = 86_400;
const TEN_YEARS_SECS: u64 = 3_652 * DAY_SECS;
