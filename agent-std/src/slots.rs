//! The device's records in files: one file per item, replaced whole.
//!
//! `records/{slot-a,slot-b,trust,life}` below the state folder. Private keys are not here, and nothing that the factory
//! wrote is ever written here. The contract is that of [`SlotStore`]; the files keep the strong half of it: after a
//! power cut each item has its old bytes or its new ones.

use std::io;
use std::path::{Path, PathBuf};

use muster_protocol::slot::SlotId;
use muster_protocol::slot::store::{Item, SlotStore};

use crate::durable::{self, FileSystem};

/// Records of one device in a folder.
#[derive(Clone, Debug)]
pub struct FileSlotStore<F> {
    system: F,
    folder: PathBuf,
}

impl<F: FileSystem> FileSlotStore<F> {
    /// Opens the folder, creating it if need be, and removes what a power cut left half written.
    pub fn open(system: F, folder: &Path) -> io::Result<Self> {
        system.create_folder(folder)?;
        durable::clean(&system, folder)?;
        Ok(Self { system, folder: folder.to_owned() })
    }

    /// Opens the folder for reading only, beside whoever writes it.
    #[must_use]
    pub fn beside(system: F, folder: &Path) -> Self {
        Self { system, folder: folder.to_owned() }
    }

    /// The item's bytes; `None` when it was never stored.
    pub fn read(&self, item: Item) -> io::Result<Option<Vec<u8>>> {
        self.system.read(&self.path(item), RECORD_BYTES_MAX)
    }

    /// Stores the item before it returns. Blocks on the disk.
    pub fn write(&self, item: Item, bytes: &[u8]) -> io::Result<()> {
        durable::replace(&self.system, &self.path(item), bytes, 0o600)
    }

    fn path(&self, item: Item) -> PathBuf {
        self.folder.join(match item {
            Item::Slot(SlotId::A) => "slot-a",
            Item::Slot(SlotId::B) => "slot-b",
            Item::Trust => "trust",
            Item::Life => "life",
        })
    }
}

impl<F: FileSystem> SlotStore for FileSlotStore<F> {
    type Error = io::Error;

    async fn load(&mut self, item: Item, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(bytes) = self.read(item)? else { return Ok(None) };
        buffer.get_mut(..bytes.len()).ok_or(io::ErrorKind::FileTooLarge)?.copy_from_slice(&bytes);
        Ok(Some(bytes.len()))
    }

    async fn put(&mut self, item: Item, bytes: &[u8]) -> io::Result<()> {
        let (store, bytes) = (self.clone(), bytes.to_vec());
        // An fsync takes milliseconds; other devices of this process go on meanwhile.
        tokio::task::spawn_blocking(move || store.write(item, &bytes)).await.map_err(io::Error::other)?
    }
}

/// Longer than any record that the core stores.
const RECORD_BYTES_MAX: usize = 8192;

const _: () = assert!(muster_protocol::device::OUTPUT_BYTES_MAX <= RECORD_BYTES_MAX);
