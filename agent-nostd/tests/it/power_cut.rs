//! The identity partition with the power cut at every word and every erase unit of every operation, torn in every way,
//! and cut again while it recovers and while the operation is done again: each item is the old one or the new one.

#![allow(clippy::unwrap_used, clippy::panic)]

use embedded_storage::nor_flash::NorFlash as _;
use muster_agent_nostd::key::{KeyError, KeyStore as _};
use muster_agent_nostd::slots::{SlotError, Slots, partition_bytes};
use muster_protocol::pki::PublicKey;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{Phase, SlotId, SlotRecord};
use rand_core::{CryptoRng, RngCore, impls};

use crate::nor::{Chip, Nor, Torn};

/// The same keys in every run.
pub(crate) struct Sequence(pub(crate) u64);

impl RngCore for Sequence {
    fn next_u32(&mut self) -> u32 {
        self.next_u64() as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        self.0 ^ (self.0 >> 29)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        impls::fill_bytes_via_next(self, out);
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Sequence {}

#[derive(Clone, Debug)]
enum Act {
    Put(Item, Vec<u8>),
    Generate(SlotId, u64),
    Wipe(SlotId),
}

/// Everything that can be read of a partition.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    items: [Option<Vec<u8>>; 4],
    keys: [Option<PublicKey>; 2],
}

type Flash<const WRITE: usize, const READ: usize, const ERASE: usize> = Nor<WRITE, READ, ERASE>;

fn look<const W: usize, const R: usize, const E: usize>(slots: &mut Slots<Flash<W, R, E>>) -> Result<Seen, SlotError> {
    let mut items = [const { None }; 4];
    for (index, item) in Item::ALL.into_iter().enumerate() {
        let mut buffer = vec![0; 4096];
        items[index] = slots.read(item, &mut buffer)?.map(|length| buffer[..length].to_vec());
    }
    let key = |slots: &mut Slots<_>, slot| slots.public_key(slot).map_err(|_| SlotError::Flash);
    let keys = [key(slots, SlotId::A)?, key(slots, SlotId::B)?];
    Ok(Seen { items, keys })
}

fn act<const W: usize, const R: usize, const E: usize>(
    slots: &mut Slots<Flash<W, R, E>>,
    act: &Act,
) -> Result<(), SlotError> {
    let of_key = |error| match error {
        KeyError::Missing => SlotError::Missing,
        _ => SlotError::Flash,
    };
    match act {
        Act::Put(item, bytes) => slots.write(*item, bytes),
        Act::Generate(slot, seed) => slots.generate(*slot, &mut Sequence(*seed)).map(drop).map_err(of_key),
        Act::Wipe(slot) => slots.wipe(*slot).map_err(of_key),
    }
}

/// Whether `seen` is `old`, but for the one thing that `act` changes, which may be as in `new`.
fn is_old_or_new(seen: &Seen, old: &Seen, new: &Seen) -> bool {
    seen == old || seen == new
}

fn open<const W: usize, const R: usize, const E: usize>(
    flash: &Flash<W, R, E>,
) -> Result<Slots<Flash<W, R, E>>, SlotError> {
    Slots::open(flash.clone(), START)
}

/// How thorough: of so many steps, one is cut.
struct Strides {
    first: u64,
    /// Of a recovery.
    second: u64,
    /// Of the same act when it is done again, after each so many first cuts.
    again: u64,
}

/// Every cut. Behind it, of so many cuts of the recovery one; and after so many first cuts the act is done again, with as
/// many cuts of that. With `MUSTER_CUTS=all` in the environment every one of both, which takes many minutes.
fn thorough(second: u64, again: u64) -> Strides {
    let is_all = std::env::var("MUSTER_CUTS").is_ok_and(|cuts| cuts == "all");
    if is_all { Strides { first: 1, second: 1, again: 1 } } else { Strides { first: 1, second, again } }
}

#[derive(Debug)]
struct Count {
    cuts: u64,
    second_cuts: u64,
}

fn hold<const W: usize, const R: usize, const E: usize>(acts: &[Act], strides: &Strides) -> Count {
    let flash = Flash::<W, R, E>::new((START + partition_bytes::<Flash<W, R, E>>()) as usize);
    let mut count = Count { cuts: 0, second_cuts: 0 };
    let mut slots = open(&flash).unwrap();
    let mut old = look(&mut slots).unwrap();
    for (index, next) in acts.iter().enumerate() {
        let before = flash.chip();
        act(&mut slots, next).unwrap_or_else(|error| panic!("{W}: {index} {next:?} fails: {error:?}"));
        let new = look(&mut slots).unwrap();
        let steps = flash.0.borrow().steps - before.steps;
        for step in (0..steps).step_by(strides.first as usize) {
            let erases = flash.0.borrow().erasing_steps.contains(&(before.steps + step));
            for &torn in if erases { &Torn::ALL[..] } else { Torn::of_a_word(W) } {
                let context = || format!("word {W}, act {index} {next:?}, cut at {step} of {steps}, {torn:?}");
                let cut = Flash::<W, R, E>::of(before.clone());
                let mut slots = open(&cut).unwrap();
                cut.cut_after(step, torn);
                let done = act(&mut slots, next);
                assert!(done.is_err() && cut.power_back(), "{}: no cut", context());
                drop(slots);
                count.cuts += 1;
                let after = cut.chip();
                // Whether the recovery that follows is cut, or the same act again: nothing is lost either way.
                cut_recovery::<W, R, E>(&after, &old, &new, strides, &mut count, &context);
                let mut slots = open(&cut).unwrap_or_else(|error| panic!("{}: {error:?}", context()));
                let seen = look(&mut slots).unwrap();
                assert!(is_old_or_new(&seen, &old, &new), "{}: a third state", context());
                if step % strides.again == 0 {
                    cut_again::<W, R, E>(&cut.chip(), next, &old, &new, strides, &mut count, &context);
                }
                act(&mut slots, next).unwrap_or_else(|error| panic!("{}: again: {error:?}", context()));
                assert_eq!(look(&mut slots).unwrap(), new, "{}: done again", context());
                assert_eq!(look(&mut open(&cut).unwrap()).unwrap(), new, "{}: and read again", context());
            }
        }
        old = new;
    }
    count
}

/// Cuts the start that comes after a cut, wherever it writes or erases.
fn cut_recovery<const W: usize, const R: usize, const E: usize>(
    after: &Chip,
    old: &Seen,
    new: &Seen,
    strides: &Strides,
    count: &mut Count,
    context: &dyn Fn() -> String,
) {
    let whole = Flash::<W, R, E>::of(after.clone());
    let before = whole.0.borrow().steps;
    open(&whole).unwrap_or_else(|error| panic!("{}: {error:?}", context()));
    let steps = whole.0.borrow().steps - before;
    for step in (0..steps).step_by(strides.second as usize) {
        let torn = Torn::ALL[(step as usize + count.second_cuts as usize) % Torn::ALL.len()];
        let cut = Flash::<W, R, E>::of(after.clone());
        cut.cut_after(step, torn);
        assert!(open(&cut).is_err() && cut.power_back(), "{}: no second cut", context());
        count.second_cuts += 1;
        let mut slots = open(&cut).unwrap_or_else(|error| panic!("{}, {step} {torn:?}: {error:?}", context()));
        let seen = look(&mut slots).unwrap();
        assert!(is_old_or_new(&seen, old, new), "{}, then at {step} {torn:?}: a third state", context());
    }
}

/// Cuts the act when it is done again.
fn cut_again<const W: usize, const R: usize, const E: usize>(
    after: &Chip,
    next: &Act,
    old: &Seen,
    new: &Seen,
    strides: &Strides,
    count: &mut Count,
    context: &dyn Fn() -> String,
) {
    for step in (0..).step_by(strides.second as usize) {
        let torn = Torn::ALL[(step as usize + count.second_cuts as usize) % Torn::ALL.len()];
        let cut = Flash::<W, R, E>::of(after.clone());
        let mut slots = open(&cut).unwrap();
        cut.cut_after(step, torn);
        let done = act(&mut slots, next);
        drop(slots);
        let was_cut = cut.power_back();
        count.second_cuts += 1;
        let mut slots = open(&cut).unwrap_or_else(|error| panic!("{}, again {step} {torn:?}: {error:?}", context()));
        let seen = look(&mut slots).unwrap();
        assert!(is_old_or_new(&seen, old, new), "{}, again at {step} {torn:?}: a third state", context());
        assert!(done.is_err() || seen == *new, "{}, again at {step}: done and forgotten", context());
        if !was_cut {
            return;
        }
    }
}

/// A life: enrolment, trials, a rotation, a roll back, bundles and floors, and a log that runs full.
fn life(certificate_bytes: usize, trust_bytes: usize, trials: usize) -> Vec<Act> {
    let put = |slot, phase, generation: u32, certificate: usize| {
        let key = p256::ecdsa::SigningKey::from_slice(&[generation as u8 + 1; 32]).unwrap();
        let point = key.verifying_key().to_encoded_point(false);
        let mut record = SlotRecord::keyed(generation, PublicKey::from_sec1(point.as_bytes()).unwrap());
        record.phase = phase;
        record.certificate = (0..certificate).map(|byte| (byte as u8).wrapping_mul(generation as u8)).collect();
        Act::Put(Item::Slot(slot), record.encode().to_vec())
    };
    let floor = |floor: u8| Act::Put(Item::Life, vec![floor; 22]);
    let trust = |number: u8| Act::Put(Item::Trust, vec![number; trust_bytes]);
    let n = certificate_bytes;
    let mut acts = vec![
        trust(1),
        floor(1),
        Act::Generate(SlotId::A, 1),
        put(SlotId::A, Phase::Keyed, 1, 0),
        put(SlotId::A, Phase::Issued, 1, n),
        put(SlotId::A, Phase::Trial(1), 1, n),
        put(SlotId::A, Phase::Confirmed, 1, n),
        floor(2),
        Act::Generate(SlotId::B, 2),
        put(SlotId::B, Phase::Keyed, 2, 0),
        trust(2),
        put(SlotId::B, Phase::Issued, 2, n),
    ];
    for _ in 0..trials {
        acts.extend([put(SlotId::B, Phase::Trial(1), 2, n), put(SlotId::B, Phase::Issued, 2, n)]);
    }
    acts.extend([
        put(SlotId::B, Phase::Confirmed, 2, n),
        put(SlotId::A, Phase::Superseded, 1, n),
        Act::Wipe(SlotId::A),
        Act::Generate(SlotId::A, 3),
        put(SlotId::A, Phase::Keyed, 3, 0),
        put(SlotId::A, Phase::Wiped, 3, 0),
        Act::Wipe(SlotId::A),
    ]);
    acts
}

fn check<const W: usize, const R: usize, const E: usize>(acts: &[Act], strides: &Strides, at_least: &Count) {
    let began = std::time::Instant::now();
    let count = hold::<W, R, E>(acts, strides);
    eprintln!("word {W}: {count:?} in {:?}", began.elapsed());
    assert!(
        count.cuts >= at_least.cuts && count.second_cuts >= at_least.second_cuts,
        "word {W}: only {count:?}, not {at_least:?}"
    );
}

#[test]
fn bytes() {
    check::<1, 1, 4096>(&life(10, 50, 1), &thorough(29, 203), &Count { cuts: 700, second_cuts: 800 });
}

#[test]
fn words_of_4_in_small_erase_units() {
    check::<4, 1, 2048>(&life(60, 200, 1), &thorough(5, 91), &Count { cuts: 3500, second_cuts: 800 });
}

#[test]
fn words_of_8() {
    check::<8, 4, 4096>(&life(60, 200, 1), &thorough(3, 29), &Count { cuts: 2300, second_cuts: 800 });
}

#[test]
fn words_of_16_in_large_erase_units() {
    check::<16, 1, 8192>(&life(60, 200, 1), &thorough(2, 13), &Count { cuts: 1300, second_cuts: 800 });
}

#[test]
fn words_of_32() {
    check::<32, 1, 4096>(&life(60, 200, 1), &thorough(1, 5), &Count { cuts: 790, second_cuts: 800 });
}

#[test]
fn records_of_real_size_and_a_slot_that_runs_full() {
    let strides = Strides { first: 5, second: 61, again: 427 };
    check::<16, 1, 4096>(&life(700, 3064, 20), &strides, &Count { cuts: 700, second_cuts: 800 });
}

#[test]
fn a_life_record_goes_round_both_units_many_times() {
    let flash = Flash::<8, 1, 4096>::new((START + partition_bytes::<Flash<8, 1, 4096>>()) as usize);
    let mut slots = open(&flash).unwrap();
    for number in 0..2_000_u32 {
        slots.write(Item::Life, &number.to_le_bytes()).unwrap();
        let mut buffer = [0; 4];
        assert_eq!(slots.read(Item::Life, &mut buffer), Ok(Some(4)));
        assert_eq!(buffer, number.to_le_bytes());
    }
    let erases: u32 = flash.0.borrow().erases.iter().sum();
    assert!((20..60).contains(&erases), "{erases} erases for 2000 records");
}

#[test]
fn a_wiped_key_is_nowhere_in_the_flash() {
    let flash = Flash::<4, 1, 4096>::new((START + partition_bytes::<Flash<4, 1, 4096>>()) as usize);
    let mut slots = open(&flash).unwrap();
    slots.generate(SlotId::A, &mut Sequence(7)).unwrap();
    let mut secret = [0; 32];
    Sequence(7).fill_bytes(&mut secret);
    assert!(flash.holds(&secret), "the test knows the key");
    slots.wipe(SlotId::A).unwrap();
    assert!(!flash.holds(&secret));
    assert_eq!(slots.public_key(SlotId::A), Ok(None));
    slots.generate(SlotId::A, &mut Sequence(7)).unwrap();
    slots.generate(SlotId::A, &mut Sequence(8)).unwrap();
    assert!(!flash.holds(&secret), "a key that was replaced");
}

#[test]
fn any_content_of_the_flash_opens_or_fails_by_name() {
    let mut random = Sequence(99);
    for round in 0..300_u32 {
        let bytes = START + partition_bytes::<Flash<4, 1, 4096>>();
        let mut flash = Flash::<4, 1, 4096>::new(bytes as usize);
        // Noise that looks like entries: every header begins as ours do.
        let mut noise = vec![0; 64];
        for at in (START..bytes).step_by(64) {
            random.fill_bytes(&mut noise);
            if round % 2 == 0 {
                noise[..4].copy_from_slice(&[b'M', b'E', 1, (at / 64 % 12) as u8]);
            }
            flash.write(at, &noise).unwrap();
        }
        let mut slots = open(&flash).unwrap();
        assert_eq!(look(&mut slots).unwrap(), Seen { items: [const { None }; 4], keys: [None; 2] });
        act(&mut slots, &Act::Put(Item::Life, vec![1; 22])).unwrap();
        act(&mut slots, &Act::Generate(SlotId::B, 5)).unwrap();
        act(&mut slots, &Act::Put(Item::Slot(SlotId::A), vec![2; 90])).unwrap();
        assert_eq!(look(&mut open(&flash).unwrap()).unwrap(), look(&mut slots).unwrap());
    }
}

/// The partition does not start at the flash's own start.
const START: u32 = 8192;
