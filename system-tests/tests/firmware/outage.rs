//! The network, the names, the gateway go away, for long, and come back: the board waits longer and longer, never the same
//! time as another board, never longer than the fleet says, hammers nobody, and is operational again.
//!
//! Where a board waits for hours the host does not wait with it: the image is the same, its timers and its executor run, and
//! the emulator takes its time forward in steps.

use std::io::{self, Read as _};
use std::net::TcpStream;
use std::time::Duration;

use muster_system_tests::firmware::{Behind, Door, EmulatedBoard, HOST_ADDRESS, Monitor, Plug, STEP, Stage, Time};
use muster_system_tests::live::{Device, until};
use muster_system_tests::rogue::{Material, Tls, shake_hands};

/// How a board waits between attempts: from the end of one to the start of the next, in milliseconds of its own time.
#[derive(Debug)]
struct Waits(Vec<u64>);

impl Waits {
    /// Listens for the next `count` attempts to fail.
    fn of(board: &mut EmulatedBoard, count: usize, code: &str) -> Self {
        Self((0..count).map(|_| next_wait(board, code, |_| ())).collect())
    }

    /// Each lies between half and the whole of what doubles from `min` to `max`, after so many waits before; `late` is what
    /// the host may have kept the board from running.
    fn follow(&self, min: u64, max: u64, before: usize, late: u64) {
        for (index, wait) in self.0.iter().enumerate() {
            let whole = min.saturating_mul(1 << (before + index).min(32)).min(max);
            assert!((whole / 2..=whole + late).contains(wait), "wait {index} of {:?} is not of {whole} ms", self.0);
        }
    }
}

/// The wait after the attempt, or session, that ends next; `then` is told when it begins and when it is over.
fn next_wait(board: &mut EmulatedBoard, code: &str, mut then: impl FnMut(Duration)) -> u64 {
    assert_eq!(board.says("session.closed").unwrap(), code);
    let closed_at = board.uptime_millis();
    then(WAITING_STEP);
    board.says("session.dialling").unwrap();
    then(STEP);
    board.uptime_millis() - closed_at
}

fn is_online(stage: &Stage, device: &Device) -> bool {
    stage.world.show(device).unwrap()["online"] == true
}

/// A board as fleets have it, with patience of minutes, whose time goes in steps.
fn patient_board(stage: &Stage, index: u32, gateway: Option<&str>) -> (Device, EmulatedBoard) {
    let (device, mut board) = stage.board_dialling(index, gateway).unwrap();
    board.arguments.clear();
    board.time = Time::Steps;
    (device, board.start().unwrap())
}

/// Longer than a DHCP lease, so that the board's address goes, too.
#[test]
fn a_network_that_is_gone_for_a_day_and_more() {
    let stage = Stage::new(1).unwrap();
    let (device, mut board) = patient_board(&stage, 0, None);
    let serial = stage.settled(&device, &board).unwrap()["serial"].clone();
    let mut monitor = board.monitor().unwrap();
    monitor.plug_network(Plug::Out).unwrap();
    monitor.step_time(LATE_STEP).unwrap();

    let mut waits = Waits::of(&mut board, 10, "unreachable");
    waits.follow(1_000, 300_000, 0, 100 + LATE_STEP.as_millis() as u64);
    monitor.step_time(DAY_STEP).unwrap();
    while board.uptime_millis() < 26 * HOUR_MILLIS {
        waits.0.extend(Waits::of(&mut board, 10, "unreachable").0);
    }
    waits.follow(1_000, 300_000, 0, 100 + DAY_STEP.as_millis() as u64);
    let at_most = &waits.0[10..];
    let (shortest, longest) = (at_most.iter().min().unwrap(), at_most.iter().max().unwrap());
    assert!(*shortest < 170_000 && *longest > 280_000, "no jitter: from {shortest} to {longest} ms");
    let mut different = at_most.to_vec();
    different.sort_unstable();
    different.dedup();
    assert!(different.len() * 10 > at_most.len() * 9, "the same waits again and again");
    // An attempt takes a minute at most, a wait half of five at least.
    assert!((200..700).contains(&waits.0.len()), "{} attempts in a day", waits.0.len());

    comes_back(&stage, &device, &mut board, &mut monitor, |monitor| monitor.plug_network(Plug::In).unwrap());
    assert_eq!(stage.world.show(&device).unwrap()["serial"], serial, "nothing but time has passed");
    // For the gateway it was gone for seconds, so that it answers to its name says little: it has to act.
    stage.rotate(&device, &board).unwrap();
}

/// What was gone is there again while the board waits: it is operational after its next attempts.
fn comes_back(
    stage: &Stage,
    device: &Device,
    board: &mut EmulatedBoard,
    monitor: &mut Monitor,
    back: impl FnOnce(&mut Monitor),
) {
    monitor.step_time(WAITING_STEP).unwrap();
    board.says("session.closed").unwrap();
    let closed_at = board.uptime_millis();
    back(monitor);
    // An attempt that the host is too slow for is followed by another one.
    loop {
        board.says("session.dialling").unwrap();
        monitor.step_time(STEP).unwrap();
        let (word, code) = board.says_one_of(&["session.opened", "session.closed"]).unwrap();
        if word == "session.opened" {
            break;
        }
        assert_eq!(code, "unreachable");
        monitor.step_time(WAITING_STEP).unwrap();
    }
    let took_millis = board.uptime_millis() - closed_at;
    assert!(took_millis < 3 * 360_000, "{took_millis} ms until it was back");
    stage.settled(device, board).unwrap();
}

/// A gateway, or something before it, that closes every connection at once; then a gateway that is busy; each for some
/// minutes of the board's time.
#[test]
fn a_gateway_that_closes_or_is_busy_is_left_in_peace() {
    let stage = Stage::new(1).unwrap();
    let mqtt = stage.world.ports().unwrap().mqtt;
    let door = Door::new(Behind::Gateway(mqtt)).unwrap();
    let (device, mut board) = patient_board(&stage, 0, Some(&door.address()));
    stage.settled(&device, &board).unwrap();
    let mut monitor = board.monitor().unwrap();
    let mut pace = |step| monitor.step_time(step).unwrap();

    door.lead_to(Behind::Nobody);
    let before = door.knocks().len();
    door.cut();
    let mut waits: Vec<u64> = (0..5).map(|_| next_wait(&mut board, "unreachable", &mut pace)).collect();
    assert!(door.knocks().len() - before <= 5, "it came without dialling");

    // The fifth attempt is under way, or over: it ends as those before, or meets a busy gateway.
    let good = stage.thief(&device).unwrap().good();
    let material = Material { chain: good.chain, key: good.key };
    waits.push(next_wait(&mut board, "unreachable", |step| {
        if step == WAITING_STEP {
            door.lead_to(Behind::Test);
        }
        pace(step);
    }));
    for _ in 0..3 {
        is_busy(&door, &material).unwrap();
        waits.push(next_wait(&mut board, "session.busy", &mut pace));
    }
    Waits(waits).follow(1_000, 300_000, 0, 100 + WAITING_STEP.as_millis() as u64);
    // Whom nobody lets in waits for its next attempt, and finds the gateway.
    let visitor = door.visitor().unwrap();
    assert_eq!(door.knocks().len() - before, 9, "each attempt is one connection");
    door.lead_to(Behind::Gateway(mqtt));
    drop(visitor);
    comes_back(&stage, &device, &mut board, &mut monitor, |_| ());
}

/// A gateway that shakes hands and then says "Server busy" to a CONNECT.
fn is_busy(door: &Door, material: &Material) -> io::Result<()> {
    let visitor = door.visitor().map_err(io::Error::other)?;
    let mut tls: Tls<TcpStream> = Tls::accept(visitor)?;
    let established = shake_hands(&mut tls, material)?;
    tls.read_flight(&established)?;
    let (_, connect) = tls.read_sealed()?;
    if connect.first() != Some(&0x10) {
        return Err(io::Error::other("no CONNECT"));
    }
    tls.sealed(23, &[0x20, 3, 0, 0x89, 0])?;
    let mut rest = Vec::new();
    let _ = tls.raw().read_to_end(&mut rest);
    Ok(())
}

/// Every session is cut at the same moment, and nobody gets in for a while.
#[test]
fn boards_that_are_cut_off_together_do_not_come_back_together() {
    let stage = Stage::new(STORM).unwrap();
    let mqtt = stage.world.ports().unwrap().mqtt;
    let door = Door::new(Behind::Gateway(mqtt)).unwrap();
    let address = door.address();
    let mut boards: Vec<(Device, EmulatedBoard)> = (0..STORM)
        .map(|index| {
            let (device, board) = stage.board_dialling(index, Some(&address)).unwrap();
            (device, board.start().unwrap())
        })
        .collect();
    for (device, board) in &boards {
        stage.settled(device, board).unwrap();
    }
    door.lead_to(Behind::Nobody);
    let before = door.knocks().len();
    door.cut();
    let waits: Vec<Waits> = boards.iter_mut().map(|(_, board)| Waits::of(board, 6, "unreachable")).collect();
    // As `pace=quick` has it.
    waits.iter().for_each(|waits| waits.follow(100, 1_000, 0, HOST_LATE_MILLIS));
    for (index, one) in waits.iter().enumerate() {
        for other in &waits[index + 1..] {
            let apart: u64 = one.0.iter().zip(&other.0).map(|(one, other)| one.abs_diff(*other)).sum();
            assert!(apart > 100, "two boards wait alike: {one:?} and {other:?}");
        }
    }
    let knocks = door.knocks().len() - before;
    assert!(knocks < 40 * STORM as usize, "{knocks} connections of {STORM} boards");

    door.lead_to(Behind::Gateway(mqtt));
    for (device, board) in &boards {
        stage.settled(device, board).unwrap();
    }
}

#[test]
fn a_gateway_that_restarts_again_and_again() {
    let mut stage = Stage::new(1).unwrap();
    let (device, board) = stage.board(0).unwrap();
    let mut powered = board.start().unwrap();
    let serial = stage.settled(&device, &powered).unwrap()["serial"].clone();
    for round in 0..RESTARTS {
        // Killed, and in peace.
        if round % 2 == 0 { stage.world.kill_gateway() } else { stage.world.stop_gateway() }.unwrap();
        powered.says("session.closed").unwrap();
        powered.says("session.dialling").unwrap();
        assert_eq!(powered.says("session.closed").unwrap(), "unreachable", "round {round}");
        stage.world.start_gateway().unwrap();
        assert_eq!(stage.settled(&device, &powered).unwrap()["serial"], serial, "round {round}");
    }
    stage.rotate(&device, &powered).unwrap();
    stage.settled(&device, &powered).unwrap();
    stage.world.gateway(&["audit", "verify"]).unwrap();
}

/// The first name of the gateway never resolves (RFC 6761, section 6.4); the second one is an address.
#[test]
fn a_name_that_does_not_resolve_is_passed_over() {
    let stage = Stage::named(1, vec!["gateway.invalid", HOST_ADDRESS]).unwrap();
    let (device, mut board) = patient_board(&stage, 0, None);
    let (word, _) = board.says_one_of(&["session.opened", "session.closed"]).unwrap();
    assert_eq!(word, "session.opened", "the attempt goes on with the next address");
    stage.settled(&device, &board).unwrap();
}

/// No name resolves, for hours.
#[test]
fn without_any_name_it_waits_as_without_a_network() {
    let stage = Stage::named(1, vec!["gateway.invalid", "other.invalid"]).unwrap();
    let (device, mut board) = patient_board(&stage, 0, None);
    board.monitor().unwrap().step_time(LATE_STEP).unwrap();
    let waits = Waits::of(&mut board, 40, "unreachable");
    waits.follow(1_000, 300_000, 0, 100 + LATE_STEP.as_millis() as u64);
    assert!(!is_online(&stage, &device));
    until("the board runs on", || Ok(board.is_running()?.then_some(()))).unwrap();
}

const HOUR_MILLIS: u64 = 3_600_000;
/// While nobody but the board's own timers has to act: five minutes take a third of a second.
const WAITING_STEP: Duration = Duration::from_millis(10);
/// While nobody answers: how late the board's timers may be.
const LATE_STEP: Duration = Duration::from_millis(100);
const DAY_STEP: Duration = Duration::from_secs(1);
/// How long a busy host may keep a board from running when its timer is due.
const HOST_LATE_MILLIS: u64 = 2_000;
const STORM: u32 = 4;
const RESTARTS: u32 = 4;
