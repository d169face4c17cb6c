//! A disk that loses power: at every byte of every write and at every operation, with every outcome that a file system
//! may leave. Afterwards each record is the old one or the new one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use muster_agent_std::durable::FileSystem;
use muster_agent_std::slots::FileSlotStore;
use muster_protocol::pki::PublicKey;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{Phase, SlotId, SlotRecord};
use p256::ecdsa::SigningKey;
use rand_core::OsRng;

/// What a disk holds for sure, and what it may hold.
#[derive(Clone, Debug, Default)]
struct Platter {
    /// Names and contents that survive.
    durable: BTreeMap<PathBuf, Vec<u8>>,
    /// Names and contents as programs see them.
    visible: BTreeMap<PathBuf, Vec<u8>>,
}

/// When the power goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Cut {
    Never,
    /// After so many steps; each byte and each operation is one.
    After(usize),
}

/// What became of the changes to the folder that were not synced.
#[derive(Clone, Copy, Debug)]
enum Unsynced {
    Lost,
    Kept,
}

#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    platter: Platter,
    steps: usize,
    cut: Cut,
}

impl Disk {
    fn new(platter: Platter, cut: Cut) -> Self {
        Self(Arc::new(Mutex::new(State { platter, steps: 0, cut })))
    }

    fn steps(&self) -> usize {
        self.0.lock().unwrap().steps
    }

    /// What the next boot finds.
    fn after_the_cut(&self, unsynced: Unsynced) -> Platter {
        let state = self.0.lock().unwrap();
        let found = match unsynced {
            Unsynced::Lost => state.platter.durable.clone(),
            Unsynced::Kept => state.platter.visible.clone(),
        };
        Platter { durable: found.clone(), visible: found }
    }
}

impl State {
    fn step(&mut self) -> io::Result<()> {
        if self.cut == Cut::After(self.steps) {
            return Err(io::Error::other("the power is gone"));
        }
        self.steps += 1;
        Ok(())
    }
}

impl FileSystem for Disk {
    fn create_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path, _: usize) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.lock().unwrap().platter.visible.get(path).cloned())
    }

    fn write(&self, path: &Path, bytes: &[u8], _: u32) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.platter.visible.insert(path.to_owned(), Vec::new());
        for end in 1..=bytes.len() {
            state.step()?;
            state.platter.visible.insert(path.to_owned(), bytes[..end].to_vec());
        }
        // The fsync of the content; the name is durable only with the folder's.
        state.step()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        let content = state.platter.visible.remove(from).ok_or(io::ErrorKind::NotFound)?;
        state.platter.visible.insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.platter.visible.remove(path);
        Ok(())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        state.step()?;
        state.platter.durable = state.platter.visible.clone();
        Ok(())
    }

    fn files(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.0.lock().unwrap().platter.visible.keys().cloned().collect())
    }
}

fn record(generation: u32, phase: Phase) -> SlotRecord {
    let key = SigningKey::random(&mut OsRng);
    let public = PublicKey::from_sec1(key.verifying_key().to_encoded_point(false).as_bytes()).unwrap();
    let mut record = SlotRecord::keyed(generation, public);
    if phase != Phase::Keyed {
        record.phase = phase;
        record.certificate.extend_from_slice(&[0x30; 400]).unwrap();
    }
    record
}

fn open(disk: &Disk) -> io::Result<FileSlotStore<Disk>> {
    FileSlotStore::open(disk.clone(), Path::new("/records"))
}

/// Every write that a device makes on its way through an enrolment and a rotation, in order.
fn history() -> Vec<(Item, Vec<u8>)> {
    let (a, b) = (record(1, Phase::Confirmed), record(2, Phase::Confirmed));
    let with = |record: &SlotRecord, phase| SlotRecord { phase, ..record.clone() }.encode().to_vec();
    let keyed = |record: &SlotRecord| SlotRecord::keyed(record.generation, record.public_key).encode().to_vec();
    vec![
        (Item::Slot(SlotId::A), keyed(&a)),
        (Item::Slot(SlotId::A), with(&a, Phase::Issued)),
        (Item::Slot(SlotId::A), with(&a, Phase::Trial(1))),
        (Item::Slot(SlotId::A), with(&a, Phase::Confirmed)),
        (Item::Life, vec![7; 22]),
        (Item::Slot(SlotId::B), keyed(&b)),
        (Item::Slot(SlotId::B), with(&b, Phase::Issued)),
        (Item::Slot(SlotId::B), with(&b, Phase::Trial(1))),
        (Item::Slot(SlotId::B), with(&b, Phase::Confirmed)),
        (Item::Slot(SlotId::A), with(&a, Phase::Superseded)),
        (Item::Trust, vec![9; 700]),
    ]
}

#[test]
fn a_cut_at_every_step_of_every_write_leaves_the_old_or_the_new() {
    let mut platter = Platter::default();
    let mut cuts = 0;
    for (item, new) in history() {
        // How many steps the whole write has.
        let whole = Disk::new(platter.clone(), Cut::Never);
        let before = open(&whole).unwrap();
        let old: Vec<_> = Item::ALL.iter().map(|item| before.read(*item).unwrap()).collect();
        before.write(item, &new).unwrap();
        for step in 0..whole.steps() {
            for unsynced in [Unsynced::Lost, Unsynced::Kept] {
                let disk = Disk::new(platter.clone(), Cut::After(step));
                let write = open(&disk).and_then(|store| store.write(item, &new));
                assert!(write.is_err(), "the write said it was done, {step} steps in");
                let disk = Disk::new(disk.after_the_cut(unsynced), Cut::Never);
                check(&disk, item, &old, &new);
                cuts += 1;
            }
        }
        // Done, and then the power goes: nothing of it may be lost.
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let found = open(&Disk::new(whole.after_the_cut(unsynced), Cut::Never)).unwrap();
            assert_eq!(found.read(item).unwrap().as_deref(), Some(&new[..]), "acknowledged and lost");
        }
        platter = whole.after_the_cut(Unsynced::Lost);
    }
    assert!(cuts > 5_000, "only {cuts} cuts");
}

fn check(disk: &Disk, item: Item, old: &[Option<Vec<u8>>], new: &[u8]) {
    let store = open(disk).unwrap();
    for (other, old) in Item::ALL.iter().zip(old) {
        let found = store.read(*other).unwrap();
        let is_new = *other == item && found.as_deref() == Some(new);
        assert!(is_new || found == *old, "{other:?} is a third thing: {found:?}");
        if let (Item::Slot(_), Some(found)) = (other, found) {
            assert!(SlotRecord::decode(&found).is_some(), "{other:?} is torn");
        }
    }
    let left = disk.files(Path::new("/records")).unwrap();
    assert!(left.iter().all(|path| path.extension().is_none()), "half-written files stay: {left:?}");
    // And the store goes on working.
    store.write(item, new).unwrap();
    assert_eq!(store.read(item).unwrap().as_deref(), Some(new));
}

#[test]
fn a_cut_while_cleaning_up_after_a_cut_does_no_harm() {
    let path = PathBuf::from("/records/slot-a");
    let kept = record(1, Phase::Confirmed).encode().to_vec();
    let files = BTreeMap::from([(path, kept.clone()), (PathBuf::from("/records/slot-a.new"), vec![1, 2, 3])]);
    let platter = Platter { durable: files.clone(), visible: files };
    for step in 0..4 {
        let disk = Disk::new(platter.clone(), Cut::After(step));
        let _ = open(&disk);
        for unsynced in [Unsynced::Lost, Unsynced::Kept] {
            let found = open(&Disk::new(disk.after_the_cut(unsynced), Cut::Never)).unwrap();
            assert_eq!(found.read(Item::Slot(SlotId::A)).unwrap(), Some(kept.clone()));
        }
    }
}
