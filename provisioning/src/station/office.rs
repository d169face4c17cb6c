//! The desk of a real station: the line's ledger, its issuing CA, and an output folder with the manifest.
//!
//! The manifest is what the ledger says, written anew after each device: a device is in it once, because it is in the
//! ledger once. Certificates lie beside it, one file for each device, leaf and issuing CA.

use std::path::{Path, PathBuf};

use muster_issuing::{file, pem};
use muster_protocol::manifest::{Entry as ManifestEntry, Header};
use muster_protocol::message::factory::Digest;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::{Certificate, PublicKey, Serial};
use muster_protocol::{Code, DeviceId, UnixTime};
use muster_terminal::{Failure, OrFail as _};

use super::plan::{Kind, Plan};
use super::session::refusal;
use super::{Desk, Willing};
use crate::batch::MANIFEST;
use crate::ceremony::{self, Line as FactoryLine};
use crate::ledger::{Entry, Ledger, Line, Stage, Step, VERSION};
use crate::{manifest, serial};

/// Ledger, CA and output folder.
#[derive(Debug)]
pub struct Office {
    pki: PathBuf,
    line: FactoryLine,
    ledger: Ledger,
    plan: Plan,
    /// The name for the next board, where somebody chose it.
    device: Option<DeviceId>,
}

impl Office {
    /// Opens PKI, ledger and output folder, and finishes what an earlier station left: devices that are locked and not in
    /// the manifest yet.
    pub fn open(pki: &Path, out: &Path, fleet: &Path, kind: Kind) -> Result<Self, Failure> {
        let line = ceremony::open(pki)?;
        let mut ledger = Ledger::open(pki)?;
        let plan = Plan::open(&mut ledger, out, fleet, kind)?;
        let mut office = Self { pki: pki.to_owned(), line, ledger, plan, device: None };
        office.close_books()?;
        Ok(office)
    }

    /// Has the next board get this name.
    pub fn choose(&mut self, device: DeviceId) {
        self.device = Some(device);
    }

    /// What every board gets.
    #[must_use]
    pub fn order(&self, patience: std::time::Duration) -> super::Order {
        super::Order {
            product: self.plan.kind.product.clone(),
            fleet: self.plan.fleet.clone(),
            trust: self.plan.fleet_file.clone(),
            device: self.device.clone(),
            patience,
        }
    }

    /// How many devices of this folder are done.
    #[must_use]
    pub fn made(&self) -> u32 {
        u32::try_from(self.entries().filter(|entry| entry.stage == Stage::Done).count()).unwrap_or(u32::MAX)
    }

    /// Where the manifest is.
    #[must_use]
    pub fn manifest(&self) -> PathBuf {
        self.plan.out.join(MANIFEST)
    }

    /// Where a device's certificate is.
    #[must_use]
    pub fn certificate(&self, device: &DeviceId) -> PathBuf {
        self.plan.out.join(format!("{device}.crt"))
    }

    /// The serial number of a device's IDevID.
    pub fn serial(&self, device: &DeviceId) -> Result<Serial, Failure> {
        let entry = self.ledger.book().device(device.as_str()).and_then(|entry| entry.certificate.as_deref());
        let der = entry.ok_or_else(|| Failure::not_found("device.unknown", format!("{device} has no certificate")))?;
        let certificate = Certificate::parse(der).map_err(|code| Failure::failed(code.name(), code.text()))?;
        Ok(certificate.serial().clone())
    }

    /// Writes certificates and the manifest of every device that is locked, then says in the ledger that they are done.
    pub fn close_books(&mut self) -> Result<(), Failure> {
        let locked: Vec<Entry> = self.entries().filter(|entry| entry.stage >= Stage::Locked).cloned().collect();
        let open: Vec<&Entry> = locked.iter().filter(|entry| entry.stage == Stage::Locked).collect();
        if open.is_empty() && (locked.is_empty() || self.manifest().exists()) {
            return Ok(());
        }
        let cannot = format!("cannot write into {}", self.plan.out.display());
        for entry in &open {
            let chain =
                pem::write_certificates(&[entry.certificate.as_deref().unwrap_or_default(), &self.line.issuing_ca]);
            file::replace_public(&self.certificate(&entry.device), chain.as_bytes())
                .or_fail("station.unwritable", &cannot)?;
        }
        let bytes = self.write_manifest(&locked)?;
        file::replace_public(&self.manifest(), &bytes).or_fail("station.unwritable", &cannot)?;
        let steps = open.iter().map(|entry| Step::Done { device: entry.device.to_string() }).collect();
        self.record(steps)
    }

    fn write_manifest(&self, locked: &[Entry]) -> Result<Vec<u8>, Failure> {
        let malformed = |code: Code| Failure::failed(code.name(), code.text());
        let mut entries = Vec::new();
        for entry in locked {
            let der = entry.certificate.as_deref().unwrap_or_default();
            let client = self.verify(der)?;
            let device = client.device().cloned().ok_or_else(|| malformed(Code::CertificateNoIdentity))?;
            let (key, serial) = (client.fingerprint(), client.serial().clone());
            if device != entry.device || Some(client.public_key()) != entry.key.as_ref() {
                return Err(malformed(Code::CertificateWrongName));
            }
            entries.push(ManifestEntry { device, key, serial });
        }
        entries.sort_by(|a, b| a.device.cmp(&b.device));
        let bounded = |text: &str| heapless::String::try_from(text).or_fail("product.name", "a name is too long");
        let header = Header {
            fleet: self.plan.fleet.clone(),
            product: bounded(&self.plan.kind.product)?,
            lot: bounded(&self.plan.kind.lot)?,
            // The same devices make the same manifest, whenever it is written.
            made_at: UnixTime(locked.iter().filter_map(|entry| entry.locked_at).max().unwrap_or(0)),
            devices: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            issuing_ca: &self.line.issuing_ca,
        };
        manifest::write(&header, &entries, self.line.issuer.key())
    }

    /// Checks a certificate as a gateway will that has this line's issuing CA as its anchor.
    fn verify(&self, der: &[u8]) -> Result<muster_protocol::pki::VerifiedClient, Failure> {
        let now = UnixTime(muster_terminal::time::now_unix_secs());
        self.line
            .verify_idevid(der, &self.plan.fleet, now)
            .map_err(|code| Failure::failed(code.name(), format!("an IDevID does not verify: {}", code.text())))
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.ledger.book().of_run(&self.plan.run)
    }

    fn record(&mut self, steps: Vec<Step>) -> Result<(), Failure> {
        let lines = self.lines(steps);
        self.ledger.transact(|_| Ok((lines, ())))
    }

    fn lines(&self, steps: Vec<Step>) -> Vec<Line> {
        let (at, run) = (muster_terminal::time::now_unix_secs(), &self.plan.run);
        steps.into_iter().map(|step| Line { v: VERSION, at, run: run.clone(), step }).collect()
    }

    /// The next number that the ledger does not have; it has one already where a name was chosen or a count was lost.
    fn next_name(&self) -> Result<DeviceId, Failure> {
        loop {
            let name = serial::id(&self.plan.prefix, serial::reserve(&self.pki, &self.plan.prefix, 1)?)?;
            if self.ledger.book().device(name.as_str()).is_none() {
                return Ok(name);
            }
        }
    }

    /// A name that this run set aside and that no key has: what a station that was killed left.
    fn spare(&self) -> Option<DeviceId> {
        let mut spare = self.entries().filter(|entry| entry.stage == Stage::Reserved);
        // Names that somebody chose are kept for whoever chooses them again.
        spare.find(|entry| serial::is_of(&self.plan.prefix, entry.device.as_str())).map(|entry| entry.device.clone())
    }
}

impl Desk for Office {
    fn known(&mut self, key: &PublicKey) -> Result<Option<Entry>, Failure> {
        let found = self.ledger.transact(|book| Ok((Vec::new(), book.by_key(key).cloned())))?;
        match found {
            Some(entry) if entry.run != self.plan.run => {
                let begun_in = self.ledger.book().run(&entry.run).map_or("another folder", |run| &run.out);
                Err(refusal(Code::FactoryKeyBound, &format!("the board is {}, begun in {begun_in}", entry.device))
                    .hint(format!("go on with it there: --out {begun_in}")))
            }
            found => Ok(found),
        }
    }

    fn reserve(&mut self) -> Result<DeviceId, Failure> {
        let device = match &self.device {
            Some(device) => match self.ledger.book().device(device.as_str()) {
                Some(entry) if entry.run == self.plan.run && entry.stage == Stage::Reserved => {
                    return Ok(device.clone());
                }
                Some(_) => return Err(serial::taken(device.as_str())),
                None => {
                    serial::claim(&self.pki, device.as_str())?;
                    device.clone()
                }
            },
            None => match self.spare() {
                Some(spare) => return Ok(spare),
                None => self.next_name()?,
            },
        };
        self.record(vec![Step::Reserved { device: device.to_string() }])?;
        Ok(device)
    }

    fn bind(&mut self, device: &DeviceId, willing: &Willing) -> Result<(), Failure> {
        self.record(vec![Step::bound(device, willing.public_key())])
    }

    fn issue(&mut self, device: &DeviceId, willing: &Willing) -> Result<Vec<u8>, Failure> {
        let now = UnixTime(muster_terminal::time::now_unix_secs());
        let certificate = self
            .line
            .issuer
            .issue(Profile::Idevid, willing.identity(), willing.public_key(), now)
            .or_fail("station.certificate", "cannot issue the IDevID")?;
        self.verify(&certificate)?;
        self.record(vec![Step::issued(device, &certificate)])?;
        Ok(certificate)
    }

    fn written(&mut self, device: &DeviceId, certificate: &Digest, trust: &Digest) -> Result<(), Failure> {
        self.record(vec![Step::written(device, certificate, trust)])
    }

    fn locked(&mut self, device: &DeviceId) -> Result<(), Failure> {
        self.record(vec![Step::Locked { device: device.to_string() }])
    }
}
