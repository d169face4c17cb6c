//! The simulated gateway's store: rows, certificates, audit. A change is stored whole or not at all.

use std::collections::{BTreeMap, BTreeSet};

use muster_protocol::UnixTime;
use muster_protocol::pki::{KeyFingerprint, Serial};
use muster_protocol::registrar::{CertificateStatus, Change, DeviceRecord, Event, KeyUse, Reason};

use crate::test_pki::TestPki;

/// A certificate as the gateway keeps it.
#[derive(Clone, Debug)]
pub struct StoredCertificate {
    /// Whose.
    pub device: usize,
    /// The certificate.
    pub der: Vec<u8>,
    /// When it ends.
    pub not_after: UnixTime,
    /// Why it was withdrawn, if it was.
    pub withdrawn: Option<Reason>,
}

/// Everything that the gateway keeps. A crash takes nothing from it.
#[derive(Clone, Debug)]
pub struct Registry {
    rows: Vec<DeviceRecord>,
    certificates: BTreeMap<Serial, StoredCertificate>,
    keys: BTreeSet<KeyFingerprint>,
    audit: Vec<(usize, Event)>,
}

impl Registry {
    /// A registry into which the factory's manifest was imported.
    #[must_use]
    pub fn new(pki: &TestPki, devices: usize) -> Self {
        let expected =
            pki.devices.iter().take(devices).map(|device| {
                DeviceRecord::expected(device.identity.name().clone(), device.key.public().fingerprint())
            });
        Self { rows: expected.collect(), certificates: BTreeMap::new(), keys: BTreeSet::new(), audit: Vec::new() }
    }

    /// The row of a device.
    #[must_use]
    pub fn row(&self, device: usize) -> &DeviceRecord {
        &self.rows[device]
    }

    /// A certificate that was issued here.
    #[must_use]
    pub fn certificate(&self, serial: &Serial) -> Option<&StoredCertificate> {
        self.certificates.get(serial)
    }

    /// What the registrar is told of a certificate.
    #[must_use]
    pub fn status(&self, serial: &Serial) -> CertificateStatus {
        match self.certificates.get(serial).map(|certificate| certificate.withdrawn) {
            None => CertificateStatus::Unknown,
            Some(None) => CertificateStatus::Good,
            Some(Some(reason)) => CertificateStatus::Withdrawn(reason),
        }
    }

    /// Whether a key was certified before.
    #[must_use]
    pub fn key_use(&self, key: &KeyFingerprint) -> KeyUse {
        if self.keys.contains(key) { KeyUse::Spent } else { KeyUse::Fresh }
    }

    /// How many certificates were issued.
    #[must_use]
    pub fn issued(&self) -> usize {
        self.certificates.len()
    }

    /// What happened to whom.
    #[must_use]
    pub fn audit(&self) -> &[(usize, Event)] {
        &self.audit
    }

    /// Stores a change. The error names what no store of a gateway would take.
    pub fn commit(&mut self, device: usize, change: &Change<'_>) -> Result<(), String> {
        if let Some(issued) = &change.issued {
            if !self.keys.insert(issued.key) {
                return Err(format!("key {} is certified twice", issued.key));
            }
            let stored =
                StoredCertificate { device, der: issued.der.to_vec(), not_after: issued.not_after, withdrawn: None };
            if self.certificates.insert(issued.serial.clone(), stored).is_some() {
                return Err(format!("serial {} is issued twice", issued.serial));
            }
        }
        for (serial, reason) in change.withdrawn {
            let Some(certificate) = self.certificates.get_mut(serial) else {
                return Err(format!("{serial} is withdrawn and was never issued"));
            };
            if let Some(before) = certificate.withdrawn.replace(*reason) {
                return Err(format!("{serial} is withdrawn twice: {before:?}, {reason:?}"));
            }
        }
        self.rows[device].clone_from(change.record);
        self.audit.push((device, change.event.clone()));
        Ok(())
    }
}
