//! Every store of a device's records against the contract: simulated flash of both kinds, the Linux agent's files, and
//! the firmware agent's slots on NOR flash.

use std::cell::RefCell;
use std::rc::Rc;

use muster_agent_nostd::slots::{Slots, partition_bytes};
use muster_agent_std::durable::{Disk, Durability};
use muster_agent_std::slots::FileSlotStore;
use muster_protocol::slot::store::{Item, SlotStore};
use muster_system_tests::contract::slot_store::{Medium, hold};
use muster_system_tests::contract::unplugged::{Loss, Unplugged};
use muster_system_tests::flash::{Flash, FlashError, FlashKind};

use crate::nor::{Nor, Torn};

/// A flash that outlives the store that was opened on it.
struct Chip(Rc<RefCell<Flash>>);

struct OpenFlash(Rc<RefCell<Flash>>);

impl SlotStore for OpenFlash {
    type Error = FlashError;

    async fn load(&mut self, item: Item, buffer: &mut [u8]) -> Result<Option<usize>, FlashError> {
        let flash = self.0.borrow();
        let Some(bytes) = flash.record(item) else { return Ok(None) };
        buffer[..bytes.len()].copy_from_slice(bytes);
        Ok(Some(bytes.len()))
    }

    async fn put(&mut self, item: Item, bytes: &[u8]) -> Result<(), FlashError> {
        self.0.borrow_mut().write(item, bytes)
    }
}

impl Medium for Chip {
    type Store = OpenFlash;

    fn open(&mut self) -> OpenFlash {
        OpenFlash(self.0.clone())
    }

    fn cut_after(&mut self, steps: u64) -> bool {
        self.0.borrow_mut().power.cut_after_each(&[steps]);
        true
    }

    fn power_back(&mut self) {
        self.0.borrow_mut().power.cut_after_each(&[]);
    }
}

fn chip(kind: FlashKind) -> Chip {
    Chip(Rc::new(RefCell::new(Flash::new(kind))))
}

#[tokio::test]
async fn flash_that_replaces() {
    hold(|| chip(FlashKind::Replace)).await;
}

#[tokio::test]
async fn flash_that_erases_first() {
    hold(|| chip(FlashKind::EraseFirst)).await;
}

#[tokio::test]
async fn files_whose_unsynced_changes_are_lost() {
    hold(|| Unplugged::new(Loss::Everything)).await;
}

#[tokio::test]
async fn files_whose_unsynced_changes_stay() {
    hold(|| Unplugged::new(Loss::Nothing)).await;
}

struct Folder(tempfile::TempDir);

impl Medium for Folder {
    type Store = FileSlotStore<Disk>;

    fn open(&mut self) -> Self::Store {
        FileSlotStore::open(Disk::new(Durability::PowerCut), &self.0.path().join("records")).unwrap()
    }
}

#[tokio::test]
async fn files_on_this_machine() {
    hold(|| Folder(tempfile::tempdir().unwrap())).await;
}

/// The identity partition on a flash with words of `WRITE` bytes.
struct Partition<const WRITE: usize>(Nor<WRITE, 1, 4096>);

fn partition<const WRITE: usize>() -> Partition<WRITE> {
    Partition(Nor::new(partition_bytes::<Nor<WRITE, 1, 4096>>() as usize))
}

impl<const WRITE: usize> Medium for Partition<WRITE> {
    type Store = Slots<Nor<WRITE, 1, 4096>>;

    fn open(&mut self) -> Self::Store {
        Slots::open(self.0.clone(), 0).unwrap()
    }

    /// Every word is cut in every way in which it can be torn.
    fn cut_after(&mut self, steps: u64) -> bool {
        let ways = Torn::ALL.len() as u64;
        self.0.cut_after(steps / ways, Torn::ALL[(steps % ways) as usize]);
        true
    }

    fn power_back(&mut self) {
        self.0.power_back();
    }
}

#[tokio::test]
async fn slots_on_nor_flash() {
    hold(partition::<1>).await;
    hold(partition::<4>).await;
    hold(partition::<8>).await;
    hold(partition::<16>).await;
    hold(partition::<32>).await;
}
