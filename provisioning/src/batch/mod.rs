//! A batch: N identities in folders of their own, then the manifest that names them.
//!
//! The plan (`plan`) is written first and says which ids the batch has. Identities appear in groups: each group's
//! folders are written beside their place, forced to disk together, and renamed. Whatever is killed at whatever point,
//! the same command goes on: folders that are there stay, those that are not are made with new keys.

use std::fs;
use std::path::{Path, PathBuf};

use muster_issuing::file;
use muster_protocol::manifest::{Entry, Header};
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::trust::read_fleet_file;
use muster_protocol::{DeviceId, UnixTime};
use muster_terminal::{Failure, OrFail as _};

mod identity;
mod plan;

pub use plan::Order;
pub(crate) use plan::PLAN;

use identity::Maker;
use plan::Plan;

use crate::ceremony::{self, Line};
use crate::manifest;

/// The manifest's name in the batch's folder.
pub const MANIFEST: &str = "manifest.muster";

/// Folders that are forced to disk together.
const GROUP: u32 = 64;

/// A batch under way.
#[derive(Debug)]
pub struct Batch {
    out: PathBuf,
    plan: Plan,
    line: Line,
    fleet_file: Vec<u8>,
    made: u32,
}

impl Batch {
    /// Opens the batch in `out`: a new one with new ids, or the one that was begun there with the same order.
    pub fn open(pki: &Path, out: &Path, fleet: &Path, order: Order) -> Result<Self, Failure> {
        let line = ceremony::open(pki)?;
        let cannot = format!("cannot read {}", fleet.display());
        let fleet_file = fs::read(fleet)
            .or_fail("fleet.unreadable", &cannot)
            .map_err(|failure| failure.hint("the gateway's operator has it: fleet.muster in the gateway's folder"))?;
        let fleet_id = read_fleet_file(&fleet_file)
            .map(|bundle| bundle.bundle().fleet.clone())
            .map_err(|code| Failure::refused(code.name(), format!("{}: {}", fleet.display(), code.text())))?;
        let plan = Plan::open(pki, out, &fleet_id, order)?;
        let mut batch = Self { out: out.to_owned(), plan, line, fleet_file, made: 0 };
        batch.clear_partial()?;
        while batch.made < batch.plan.count() && batch.folder(batch.made)?.exists() {
            batch.made += 1;
        }
        Ok(batch)
    }

    /// How many devices are made.
    #[must_use]
    pub const fn made(&self) -> u32 {
        self.made
    }

    /// The id of a device of the batch.
    pub fn device_id(&self, index: u32) -> Result<DeviceId, Failure> {
        self.plan.device_id(index)
    }

    /// Makes what is missing; `progress` hears how many are made.
    pub fn make_all(&mut self, mut progress: impl FnMut(u32)) -> Result<(), Failure> {
        let cannot = format!("cannot write into {}", self.out.display());
        while self.made < self.plan.count() {
            let end = self.plan.count().min(self.made + GROUP);
            for index in self.made..end {
                self.make_one(index)?;
                progress(index + 1);
            }
            file::sync_file_system(&self.out).or_fail("batch.unwritable", &cannot)?;
            for index in self.made..end {
                fs::rename(self.partial(index)?, self.folder(index)?).or_fail("batch.unwritable", &cannot)?;
            }
            file::sync_dir(&self.out).or_fail("batch.unwritable", &cannot)?;
            self.made = end;
        }
        Ok(())
    }

    /// Reads every identity back, checks it, and writes the signed manifest.
    pub fn seal(&self) -> Result<PathBuf, Failure> {
        let path = self.out.join(MANIFEST);
        let maker = self.maker();
        let mut entries = Vec::new();
        for index in 0..self.plan.count() {
            let device = self.device_id(index)?;
            let der = maker.read_back(&self.folder(index)?, &device)?;
            let certificate = Certificate::parse(&der).map_err(|code| Failure::failed(code.name(), code.text()))?;
            let key = certificate.public_key().map_err(|code| Failure::failed(code.name(), code.text()))?;
            entries.push(Entry { device, key: key.fingerprint(), serial: certificate.serial().clone() });
        }
        entries.sort_by(|a, b| a.device.cmp(&b.device));
        let header = Header {
            fleet: self.plan.fleet()?,
            product: self.plan.product()?,
            lot: self.plan.lot()?,
            made_at: UnixTime(self.plan.made_at_unix_secs()),
            devices: self.plan.count(),
            issuing_ca: &self.line.issuing_ca,
        };
        let bytes = manifest::write(&header, &entries, self.line.issuer.key())?;
        file::replace_public(&path, &bytes).or_fail("batch.unwritable", &format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    fn maker(&self) -> Maker<'_> {
        Maker { line: &self.line, fleet_file: &self.fleet_file, plan: &self.plan }
    }

    fn make_one(&self, index: u32) -> Result<(), Failure> {
        self.maker().make(&self.partial(index)?, &self.device_id(index)?)
    }

    fn folder(&self, index: u32) -> Result<PathBuf, Failure> {
        Ok(self.out.join(self.device_id(index)?.as_str()))
    }

    fn partial(&self, index: u32) -> Result<PathBuf, Failure> {
        Ok(self.out.join(format!(".{}.partial", self.device_id(index)?)))
    }

    /// Removes folders that were being written when an earlier run died: their keys were never shipped.
    fn clear_partial(&self) -> Result<(), Failure> {
        let cannot = format!("cannot clear {}", self.out.display());
        for entry in fs::read_dir(&self.out).or_fail("batch.unwritable", &cannot)? {
            let entry = entry.or_fail("batch.unwritable", &cannot)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') && name.ends_with(".partial") {
                fs::remove_dir_all(entry.path()).or_fail("batch.unwritable", &cannot)?;
            }
        }
        Ok(())
    }
}
