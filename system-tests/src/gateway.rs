//! The simulated gateway: its store, its sessions, its credential, and the operator's intentions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use muster_protocol::Code;
use muster_protocol::pki::{Serial, VerifiedClient};
use muster_protocol::registrar::{Context, Event as RegistrarEvent};
use muster_protocol::time::Millis;

use crate::board::true_time;
use crate::event::Epoch;
use crate::registry::Registry;
use crate::test_pki::{GATEWAY_CAS, TestPki};

/// The gateway of a world.
pub struct Gateway {
    /// What survives a crash.
    pub registry: Registry,
    /// Sessions by device; a crash ends them all.
    pub sessions: BTreeMap<usize, Session>,
    /// What keeps each device out, by the acts that were stored and by nothing that the registrar says of itself.
    pub kept_out: Vec<Option<Code>>,
    /// Certificates that an operator withdrew.
    pub withdrawn_by_operator: BTreeSet<Serial>,
    /// Whether certificates of its own device CA are trusted.
    pub trusts_device_ca: bool,
    up: bool,
    context: Context,
    server_ca: usize,
    oldest_ca: usize,
    newest_ca: usize,
    serials: u64,
}

/// A session that was admitted.
#[derive(Clone, Debug)]
pub struct Session {
    /// On which connection.
    pub epoch: Epoch,
    /// The evidence of its handshake.
    pub client: VerifiedClient,
}

impl Gateway {
    /// A gateway that expects some devices.
    #[must_use]
    pub fn new(pki: &TestPki, devices: usize) -> Self {
        Self {
            registry: Registry::new(pki, devices),
            sessions: BTreeMap::new(),
            kept_out: vec![None; devices],
            withdrawn_by_operator: BTreeSet::new(),
            trusts_device_ca: true,
            up: true,
            context: Context { fleet: pki.fleet.clone(), bundle: 1 },
            server_ca: 0,
            oldest_ca: 0,
            newest_ca: 0,
            serials: 0,
        }
    }

    /// Whether it runs.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.up
    }

    /// What registrars are booted with.
    #[must_use]
    pub fn context(&self) -> Context {
        self.context.clone()
    }

    /// The newest signed bundle.
    #[must_use]
    pub fn bundle(&self, pki: &TestPki) -> Arc<Vec<u8>> {
        pki.bundle(self.context.bundle, self.oldest_ca, self.newest_ca)
    }

    /// The server certificate in use at a time.
    #[must_use]
    pub fn server_certificate(&self, pki: &TestPki, at: Millis) -> Arc<Vec<u8>> {
        pki.server(self.server_ca, true_time(at))
    }

    /// The number of the next certificate.
    pub const fn next_serial(&mut self) -> u64 {
        self.serials += 1;
        self.serials
    }

    /// It stops: sessions are gone, the store stays.
    pub fn stop(&mut self) {
        self.up = false;
        self.sessions.clear();
    }

    /// It runs again.
    pub const fn start(&mut self) {
        self.up = true;
    }

    /// The next step of replacing the gateway CA; says which, and whether there is a new bundle. The order is the one
    /// that locks nobody out: trust the new CA, use it, trust the old one no more.
    pub const fn roll(&mut self) -> (&'static str, bool) {
        if self.server_ca < self.newest_ca {
            self.server_ca = self.newest_ca;
            ("uses the new gateway CA", false)
        } else if self.oldest_ca < self.server_ca {
            self.oldest_ca = self.server_ca;
            self.context.bundle += 1;
            ("stops trusting the old gateway CA", true)
        } else if self.newest_ca + 1 < GATEWAY_CAS {
            self.newest_ca += 1;
            self.context.bundle += 1;
            ("starts trusting a new gateway CA", true)
        } else {
            ("has no more gateway CAs", false)
        }
    }

    /// Takes note of what a stored event means for who is kept out.
    pub fn learn(&mut self, device: usize, event: &RegistrarEvent) {
        match event {
            RegistrarEvent::Suspended => self.kept_out[device] = Some(Code::DeviceSuspended),
            RegistrarEvent::Revoked(_) => self.kept_out[device] = Some(Code::DeviceRevoked),
            RegistrarEvent::Retired => self.kept_out[device] = Some(Code::DeviceRetired),
            RegistrarEvent::Resumed => self.kept_out[device] = None,
            _ => {}
        }
    }
}
