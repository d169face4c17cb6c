//! A file system in memory whose power can be cut at every byte of a file and every change of a folder.
//!
//! It keeps no more than POSIX promises: bytes are durable when the file was fsynced, names when the folder was. What
//! was not synced is lost at a cut ([`Loss::Everything`]), or is there in the order in which it was done
//! ([`Loss::Nothing`]): a program that is right has to be right with both.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use muster_agent_std::durable::FileSystem;
use muster_agent_std::slots::FileSlotStore;

use super::slot_store::Medium;

/// What becomes of changes that were not synced when the power went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Loss {
    /// They are gone.
    Everything,
    /// They were written all the same.
    Nothing,
}

/// The file system; clones share it.
#[derive(Clone, Debug)]
pub struct Unplugged(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    loss: Loss,
    /// As programs see it.
    live: BTreeMap<PathBuf, Vec<u8>>,
    /// As it is after a cut that loses everything.
    durable: BTreeMap<PathBuf, Vec<u8>>,
    steps_left: Option<u64>,
    dark: bool,
}

impl Unplugged {
    /// An empty one.
    #[must_use]
    pub fn new(loss: Loss) -> Self {
        let (live, durable) = (BTreeMap::new(), BTreeMap::new());
        Self(Arc::new(Mutex::new(State { loss, live, durable, steps_left: None, dark: false })))
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Medium for Unplugged {
    type Store = FileSlotStore<Self>;

    #[allow(clippy::expect_used)]
    fn open(&mut self) -> Self::Store {
        FileSlotStore::open(self.clone(), Path::new("/records")).expect("a file system with power")
    }

    fn cut_after(&mut self, steps: u64) -> bool {
        self.with(|state| state.steps_left = Some(steps));
        true
    }

    fn power_back(&mut self) {
        self.with(|state| (state.steps_left, state.dark) = (None, false));
    }
}

impl State {
    /// One step of writing; an error once the power is gone.
    fn step(&mut self) -> io::Result<()> {
        if self.steps_left == Some(0) && !self.dark {
            self.dark = true;
            match self.loss {
                Loss::Everything => self.live = self.durable.clone(),
                Loss::Nothing => self.durable = self.live.clone(),
            }
        }
        if self.dark {
            return Err(io::Error::other("no power"));
        }
        self.steps_left = self.steps_left.map(|left| left - 1);
        Ok(())
    }
}

impl FileSystem for Unplugged {
    fn create_folder(&self, _folder: &Path) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Option<Vec<u8>>> {
        let found = self.with(|state| state.live.get(path).cloned());
        if found.as_ref().is_some_and(|bytes| bytes.len() > bytes_max) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(found)
    }

    fn write(&self, path: &Path, bytes: &[u8], _mode: u32) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            state.live.insert(path.to_owned(), Vec::new());
            for byte in bytes {
                state.step()?;
                state.live.entry(path.to_owned()).or_default().push(*byte);
            }
            // The fsync: the bytes are safe. The name is not, if it is new.
            state.step()?;
            if let Some(file) = state.durable.get_mut(path) {
                *file = bytes.to_vec();
            }
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            let bytes = state.live.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.live.insert(to.to_owned(), bytes);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            state.live.remove(path).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
        })
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.with(|state| {
            state.step()?;
            let inside = |path: &PathBuf| path.parent() == Some(folder);
            state.durable.retain(|path, _| !inside(path));
            let synced = state.live.iter().filter(|(path, _)| inside(path));
            state.durable.extend(synced.map(|(path, bytes)| (path.clone(), bytes.clone())));
            Ok(())
        })
    }

    fn files(&self, folder: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(self.with(|state| state.live.keys().filter(|path| path.parent() == Some(folder)).cloned().collect()))
    }
}
