//! A desk whose station is killed at a chosen step: before it, after it, or with the ledger's last line torn.

use std::fs::OpenOptions;
use std::path::PathBuf;

use muster_protocol::DeviceId;
use muster_protocol::message::factory::Digest;
use muster_protocol::pki::PublicKey;
use muster_provisioning::ledger::{Entry, LEDGER};
use muster_provisioning::station::{Desk, Office, Willing};
use muster_terminal::Failure;

/// How a step is cut off.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kill {
    Before,
    After,
    /// So many percent of what the step wrote to the ledger are there.
    Torn(u64),
}

impl Kill {
    pub(crate) const ALL: [Self; 5] = [Self::Before, Self::Torn(0), Self::Torn(50), Self::Torn(99), Self::After];
}

pub(crate) struct Mortal {
    pub(crate) office: Office,
    pki: PathBuf,
    /// Steps until the kill.
    pub(crate) kill: Option<(u32, Kill)>,
    pub(crate) steps: u32,
}

pub(crate) const KILLED: &str = "test.killed";

impl Mortal {
    pub(crate) fn new(office: Office, pki: PathBuf, kill: Option<(u32, Kill)>) -> Self {
        Self { office, pki, kill, steps: 0 }
    }

    fn step<T>(&mut self, act: impl FnOnce(&mut Office) -> Result<T, Failure>) -> Result<T, Failure> {
        let killed = Err(Failure::failed(KILLED, "killed"));
        let step = self.steps;
        self.steps += 1;
        let kill = self.kill.filter(|(at, _)| *at == step).map(|(_, kill)| kill);
        if kill == Some(Kill::Before) {
            return killed;
        }
        let ledger = self.pki.join(LEDGER);
        let length = || std::fs::metadata(&ledger).unwrap().len();
        let before = length();
        let outcome = act(&mut self.office);
        match kill {
            None | Some(Kill::Before) => outcome,
            Some(Kill::After) => killed,
            Some(Kill::Torn(percent)) => {
                let kept = (length() - before) * percent / 100;
                OpenOptions::new().write(true).open(&ledger).unwrap().set_len(before + kept).unwrap();
                killed
            }
        }
    }

    pub(crate) fn close_books(&mut self) -> Result<(), Failure> {
        self.step(Office::close_books)
    }
}

impl Desk for Mortal {
    fn known(&mut self, key: &PublicKey) -> Result<Option<Entry>, Failure> {
        self.step(|office| office.known(key))
    }

    fn reserve(&mut self) -> Result<DeviceId, Failure> {
        self.step(Desk::reserve)
    }

    fn bind(&mut self, device: &DeviceId, willing: &Willing) -> Result<(), Failure> {
        self.step(|office| office.bind(device, willing))
    }

    fn issue(&mut self, device: &DeviceId, willing: &Willing) -> Result<Vec<u8>, Failure> {
        self.step(|office| office.issue(device, willing))
    }

    fn written(&mut self, device: &DeviceId, certificate: &Digest, trust: &Digest) -> Result<(), Failure> {
        self.step(|office| office.written(device, certificate, trust))
    }

    fn locked(&mut self, device: &DeviceId) -> Result<(), Failure> {
        self.step(|office| office.locked(device))
    }
}
