//! Both ends and the line between them in one process, with a clock that moves when nothing else does.

use std::time::Duration;

use muster_agent_nostd::factory::Stage;
use muster_protocol::manifest::Manifest;
use muster_protocol::message::factory::frame::FrameReader;
use muster_protocol::trust::read_fleet_file;
use muster_provisioning::ledger::{Ledger, Stage as InLedger};
use muster_provisioning::station::{Done, Kind, Office, Session};
use muster_system_tests::random::Random;
use muster_terminal::Failure;

use crate::board::{Board, PRODUCT};
use crate::desk::{KILLED, Kill, Mortal};
use crate::line::Noise;
use crate::place::Place;

/// What is done to a history.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) noise: Noise,
    /// The station is killed at this step of its desk, in this way.
    pub(crate) kill: Option<(u32, Kill)>,
    /// Bursts on the line after which the board is unplugged and plugged in again.
    pub(crate) unplug_at: Option<u32>,
}

impl Plan {
    pub(crate) const QUIET: Self = Self { seed: 1, noise: Noise::NONE, kill: None, unplug_at: None };
}

/// What a history came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) done: Done,
    /// Bursts on the line.
    pub(crate) bursts: u32,
    /// Steps of the desk of the last station.
    pub(crate) steps: u32,
    pub(crate) kills: u32,
}

pub(crate) fn office(place: &Place) -> Result<Office, Failure> {
    let kind = Kind { product: PRODUCT.into(), lot: String::new() };
    Office::open(&place.pki(), &place.out(), &place.fleet(), kind)
}

/// Makes one board a device, whatever it takes. Refusals come back.
pub(crate) fn make<const W: usize>(place: &Place, board: &mut Board<W>, plan: &Plan) -> Result<Outcome, Failure> {
    let mut random = Random::new(plan.seed);
    let (mut kills, mut bursts) = (0, 0);
    let mut kill = plan.kill;
    loop {
        let mut desk = Mortal::new(office(place)?, place.pki(), kill.take());
        let outcome = session(&mut desk, board, plan, &mut random, &mut bursts);
        let outcome = outcome.and_then(|done| desk.close_books().map(|()| done));
        match outcome {
            Ok(done) => return Ok(Outcome { done, bursts, steps: desk.steps, kills }),
            Err(failure) if failure.code == KILLED => kills += 1,
            Err(failure) => return Err(failure),
        }
    }
}

/// As far as the first kill.
pub(crate) fn once<const W: usize>(place: &Place, board: &mut Board<W>, plan: &Plan) -> Result<Done, Failure> {
    let mut desk = Mortal::new(office(place)?, place.pki(), plan.kill);
    let done = session(&mut desk, board, plan, &mut Random::new(plan.seed), &mut 0)?;
    desk.close_books()?;
    Ok(done)
}

/// On a quiet line, at this office.
pub(crate) fn with<const W: usize>(office: Office, place: &Place, board: &mut Board<W>) -> Result<Done, Failure> {
    let mut desk = Mortal::new(office, place.pki(), None);
    let done = session(&mut desk, board, &Plan::QUIET, &mut Random::new(1), &mut 0)?;
    desk.close_books()?;
    Ok(done)
}

/// One session in which the first board is taken away after so many requests and the second put in its place.
pub(crate) fn swap<const W: usize>(place: &Place, boards: &mut [Board<W>; 2], burst: u32) -> Option<Done> {
    let mut desk = Mortal::new(office(place).unwrap(), place.pki(), None);
    let mut now = Duration::ZERO;
    let mut session = Session::begin(desk.office.order(Duration::from_secs(60)), 7, now);
    let mut reader = FrameReader::new();
    let mut asked = 0;
    for _ in 0..10_000 {
        if let Some(done) = session.done().cloned() {
            desk.close_books().unwrap();
            return Some(done);
        }
        let mut said = Vec::new();
        if let Some(frame) = session.poll_send(now) {
            asked += 1;
            // The line was shaken: the second board's first words are lost with the change.
            let board = &mut boards[usize::from(asked >= burst)];
            board.plug();
            said = board.hear(frame);
        } else {
            now = session.poll_timeout();
        }
        let mut outcome = Ok(());
        for byte in said {
            if let Some(message) = reader.push(byte) {
                outcome = outcome.and_then(|()| session.handle_message(now, message, &mut desk));
            }
        }
        if outcome.and_then(|()| session.handle_timeout(now)).is_err() {
            return None;
        }
    }
    panic!("the session never ends");
}

fn session<const W: usize>(
    desk: &mut Mortal,
    board: &mut Board<W>,
    plan: &Plan,
    random: &mut Random,
    bursts: &mut u32,
) -> Result<Done, Failure> {
    let mut now = Duration::ZERO;
    let order = desk.office.order(Duration::from_secs(3600));
    let mut session = Session::begin(order, random.next() as u16 >> 1, now);
    let mut reader = FrameReader::new();
    let mut said = board.plug();
    for _ in 0..100_000 {
        if let Some(done) = session.done() {
            return Ok(done.clone());
        }
        if let Some(frame) = session.poll_send(now) {
            *bursts += 1;
            if plan.unplug_at == Some(*bursts) {
                board.unplug();
            }
            said.extend(board.hear(&plan.noise.over(random, frame)));
        }
        let burst = plan.noise.over(random, &std::mem::take(&mut said));
        if burst.is_empty() {
            now = now.max(session.poll_timeout());
            session.handle_timeout(now)?;
            continue;
        }
        now += Duration::from_millis(5);
        for byte in burst {
            if let Some(message) = reader.push(byte) {
                session.handle_message(now, message, desk)?;
            }
        }
        // A burst without a whole frame leaves everybody waiting.
        if session.poll_timeout() > now {
            let waits = session.poll_timeout();
            now = waits.min(now + Duration::from_secs(10));
        }
        session.handle_timeout(now)?;
    }
    panic!("the session never ends: {plan:?}");
}

/// Holds the end of a history to everything that was promised.
pub(crate) fn check<const W: usize>(place: &Place, board: &mut Board<W>, done: &Done) {
    let (stage, key, certificate, trust) = board.look();
    assert_eq!(stage, Stage::Locked);
    assert!(board.lock.0.get(), "the chip's own lock");
    assert_eq!(key, Some(done.public_key));
    assert_eq!(trust, std::fs::read(place.fleet()).unwrap());
    let fleet = read_fleet_file(&trust).unwrap().bundle().fleet.clone();

    let ledger = Ledger::open(&place.pki()).unwrap();
    let entry = ledger.book().by_key(&done.public_key).unwrap();
    assert_eq!((entry.stage, &entry.device), (InLedger::Done, &done.device));
    assert_eq!(entry.certificate.as_deref(), Some(&certificate[..]), "one certificate, the board's");

    let bytes = std::fs::read(place.out().join("manifest.muster")).unwrap();
    let manifest = Manifest::verify(&bytes).unwrap();
    assert_eq!(manifest.header().fleet, fleet);
    let lines: Vec<_> = manifest.entries().filter(|line| line.device == done.device).collect();
    let [line] = lines.as_slice() else { panic!("{} lines of {}", lines.len(), done.device) };
    assert_eq!(line.key, done.public_key.fingerprint());
    let made = ledger.book().of_run(&entry.run).filter(|entry| entry.stage == InLedger::Done).count();
    assert_eq!(manifest.entries().count(), made);
}
