//! What the ledger's lines add up to, and the rules that no line may break.
//!
//! ```text
//! Reserved -> Bound(key) -> Issued(certificate) -> Written -> Locked -> Done
//! ```
//!
//! One name, one key; one key, one name; one certificate for both; no step twice and none left out. Lines that a station
//! wants to add go through the same rules as lines that are read, so a station that is wrong is stopped before it acts.

use std::collections::BTreeMap;

use muster_protocol::message::factory::Digest;
use muster_protocol::pki::{Certificate, PublicKey};
use muster_protocol::{Code, DeviceId};

use super::line::{Line, Step, from_hex};

/// How far a device is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// A name without a board.
    Reserved,
    /// The name belongs to a key.
    Bound,
    /// The certificate exists.
    Issued,
    /// The board has it.
    Written,
    /// The board keeps it for good.
    Locked,
    /// The manifest has it.
    Done,
}

/// One name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// The name.
    pub device: DeviceId,
    /// Whose.
    pub run: String,
    /// How far.
    pub stage: Stage,
    /// From [`Stage::Bound`] on.
    pub key: Option<PublicKey>,
    /// DER, from [`Stage::Issued`] on.
    pub certificate: Option<Vec<u8>>,
    /// Of the fleet file on the board, hex, from [`Stage::Written`] on.
    pub trust: Option<String>,
    /// When it was locked, in seconds since 1970.
    pub locked_at: Option<u64>,
}

/// One output folder of a station.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Run {
    /// For which fleet.
    pub fleet: String,
    /// Which product.
    pub product: String,
    /// Which lot, or empty.
    pub lot: String,
    /// The folder, for people.
    pub out: String,
}

/// A line that breaks the rules.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Broken {
    /// It can never be right where it stands.
    Rule(&'static str),
    /// The name or the key is somebody else's; for a line that is to be added, a refusal.
    Taken(Code),
}

/// Everything that the ledger says.
#[derive(Clone, Debug, Default)]
pub struct Book {
    runs: BTreeMap<String, Run>,
    entries: BTreeMap<String, Entry>,
    names: BTreeMap<PublicKey, String>,
}

impl Book {
    /// A run by its id.
    #[must_use]
    pub fn run(&self, id: &str) -> Option<&Run> {
        self.runs.get(id)
    }

    /// A device by its name.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&Entry> {
        self.entries.get(name)
    }

    /// A device by its key.
    #[must_use]
    pub fn by_key(&self, key: &PublicKey) -> Option<&Entry> {
        self.entries.get(self.names.get(key)?)
    }

    /// The devices of a run, in the order of their names.
    pub fn of_run<'a>(&'a self, run: &'a str) -> impl Iterator<Item = &'a Entry> {
        self.entries.values().filter(move |entry| entry.run == run)
    }

    /// Adds a line, if it breaks no rule.
    pub fn apply(&mut self, line: &Line) -> Result<(), Broken> {
        let Line { at, run, step, .. } = line;
        match step {
            Step::Opened { fleet, product, lot, out } => {
                if self.runs.contains_key(run) {
                    return Err(Broken::Rule("a run is opened twice"));
                }
                let opened = Run { fleet: fleet.clone(), product: product.clone(), lot: lot.clone(), out: out.clone() };
                self.runs.insert(run.clone(), opened);
                return Ok(());
            }
            _ if !self.runs.contains_key(run) => return Err(Broken::Rule("a run was never opened")),
            Step::Reserved { device } => return self.reserve(device, run),
            Step::Bound { device, key } => return self.bind(device, run, key),
            Step::Issued { device, certificate } => {
                let der = from_hex(certificate).ok_or(Broken::Rule("a certificate is not hex"))?;
                let entry = self.entry(device, run, Stage::Bound)?;
                let key = Certificate::parse(&der).and_then(|view| view.public_key()).ok();
                if key.is_none() || key != entry.key {
                    return Err(Broken::Rule("a certificate is for another key"));
                }
                entry.certificate = Some(der);
            }
            Step::Written { device, certificate, trust } => {
                let entry = self.entry(device, run, Stage::Issued)?;
                let issued = entry.certificate.as_deref().map(|der| Digest::of(der).to_string());
                if issued.as_ref() != Some(certificate) {
                    return Err(Broken::Rule("another certificate was written than was issued"));
                }
                entry.trust = Some(trust.clone());
            }
            Step::Locked { device } => self.entry(device, run, Stage::Written)?.locked_at = Some(*at),
            Step::Done { device } => {
                self.entry(device, run, Stage::Locked)?;
            }
        }
        let Some(entry) = step.device().and_then(|device| self.entries.get_mut(device)) else { return Ok(()) };
        entry.stage = stage_after(step);
        Ok(())
    }

    fn reserve(&mut self, device: &str, run: &str) -> Result<(), Broken> {
        if self.entries.contains_key(device) {
            return Err(Broken::Taken(Code::FactoryNumberTaken));
        }
        let name = DeviceId::new(device).map_err(|_| Broken::Rule("a name is not a device id"))?;
        let entry = Entry {
            device: name,
            run: run.to_owned(),
            stage: Stage::Reserved,
            key: None,
            certificate: None,
            trust: None,
            locked_at: None,
        };
        self.entries.insert(device.to_owned(), entry);
        Ok(())
    }

    fn bind(&mut self, device: &str, run: &str, key: &str) -> Result<(), Broken> {
        let key = from_hex(key).and_then(|sec1| PublicKey::from_sec1(&sec1).ok());
        let key = key.ok_or(Broken::Rule("a key is no point on P-256"))?;
        if self.names.contains_key(&key) {
            return Err(Broken::Taken(Code::FactoryKeyBound));
        }
        if self.entries.get(device).is_some_and(|entry| entry.key.is_some()) {
            return Err(Broken::Taken(Code::FactoryNumberTaken));
        }
        let entry = self.entry(device, run, Stage::Reserved)?;
        (entry.stage, entry.key) = (Stage::Bound, Some(key));
        self.names.insert(key, device.to_owned());
        Ok(())
    }

    /// The entry of `device`, if it is this run's and exactly so far.
    fn entry(&mut self, device: &str, run: &str, stage: Stage) -> Result<&mut Entry, Broken> {
        let entry = self.entries.get_mut(device).ok_or(Broken::Rule("a name was never reserved"))?;
        if entry.run != run {
            return Err(Broken::Rule("a name is another run's"));
        }
        if entry.stage != stage { Err(Broken::Rule("a step is out of order")) } else { Ok(entry) }
    }
}

const fn stage_after(step: &Step) -> Stage {
    match step {
        Step::Opened { .. } | Step::Reserved { .. } => Stage::Reserved,
        Step::Bound { .. } => Stage::Bound,
        Step::Issued { .. } => Stage::Issued,
        Step::Written { .. } => Stage::Written,
        Step::Locked { .. } => Stage::Locked,
        Step::Done { .. } => Stage::Done,
    }
}
