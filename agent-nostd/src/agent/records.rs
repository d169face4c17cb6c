//! What a core boots from: stored records, the keys that are really there, the trust in force.

use core::pin::pin;

use embassy_futures::yield_now;
use muster_protocol::device::{Boot, Device, LifeRecord};
use muster_protocol::limits::{CERTIFICATE_BYTES_MAX, LABEL_BYTES_MAX, SLOT_RECORD_BYTES_MAX};
use muster_protocol::pki::Certificate;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{SlotId, SlotRecord};
use muster_protocol::time::Now;
use muster_protocol::{Code, Identity};
use sha2::{Digest as _, Sha256};

use super::{Memory, Options, Running, Vault};
use crate::apart::apart;
use crate::clock;
use crate::fmt::Told;
use crate::key::{DeviceKey as _, KeyError};
use crate::platform::Clock;
use crate::slots::{FactoryItem, SlotError};
use crate::tls;

use super::trust::Known;
use super::{App, Source};

/// Why no core can be booted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// The factory is not done with this board: it belongs into factory mode.
    Unprovisioned,
    /// The IDevID is not usable.
    Identity(Code),
    /// No trust bundle is usable, not even the factory's.
    Trust(Code),
    /// The flash cannot be read.
    Store,
    /// The keys cannot be read.
    Key,
}

impl From<SlotError> for Fault {
    fn from(_: SlotError) -> Self {
        Self::Store
    }
}

impl From<KeyError> for Fault {
    fn from(_: KeyError) -> Self {
        Self::Key
    }
}

impl<V: Vault, R, C: Clock, A: App> Running<'_, V, R, C, A> {
    /// Reads records and keys. What cannot be read must not be taken for empty, so a failure here ends the run.
    pub(super) async fn boot(&mut self, memory: &mut Memory) -> Result<(), Fault> {
        make(&mut memory.tls);
        let (scratch, spare) = memory.mqtt.scratch();
        if !self.vault.is_sealed()? {
            return Err(Fault::Unprovisioned);
        }
        let identity = self.read_identity(spare)?;
        // Here and below: what comes next computes with public keys again, and others come first.
        yield_now().await;
        let known = apart(pin!(self.choose_trust(&identity, scratch))).await;
        let Known { pins, number, policy } = known?;
        let mut life = LifeRecord::default();
        if let Some(length) = self.load(Item::Life, scratch).await? {
            life = scratch.get(..length).and_then(LifeRecord::decode).unwrap_or_default();
        }
        yield_now().await;
        let mut keys = [None; 2];
        for (key, slot) in keys.iter_mut().zip([SlotId::A, SlotId::B]) {
            *key = self.vault.public_key(slot)?;
            yield_now().await;
        }
        // One record in each of the two buffers, until the core has them.
        let a = self.load(Item::Slot(SlotId::A), scratch).await?.and_then(|length| scratch.get(..length));
        let b = self.load(Item::Slot(SlotId::B), spare).await?.and_then(|length| spare.get(..length));
        let Options { built_at, settings, agent, .. } = self.options;
        let now = clock::now(&mut self.clock, life.floor.max(built_at));
        start(&mut memory.device, now, || Boot {
            slots: [a.and_then(SlotRecord::decode), b.and_then(SlotRecord::decode)],
            keys,
            life,
            built_at,
            pins,
            bundle: number,
            policy,
            settings,
            seed: seed(&identity),
            agent: label(agent),
            identity,
        });
        Ok(())
    }

    /// The stored bundle, or the factory's when that is newer or nothing usable is stored.
    async fn choose_trust(&mut self, identity: &Identity, scratch: &mut [u8]) -> Result<Known, Fault> {
        let factory = self.load_fleet(Source::Factory, scratch).await?.ok_or(Fault::Trust(Code::BundleMalformed))?;
        let factory = Known::read(scratch.get(..factory).unwrap_or_default(), identity).map_err(Fault::Trust)?;
        yield_now().await;
        let stored = match self.load_fleet(Source::Stored, scratch).await? {
            Some(length) => match Known::read(scratch.get(..length).unwrap_or_default(), identity) {
                Ok(stored) => Some(stored).filter(|stored| stored.number >= factory.number),
                Err(code) => {
                    self.app.told(Told::TrustUnusable(code));
                    None
                }
            },
            None => None,
        };
        self.trust = if stored.is_some() { Source::Stored } else { Source::Factory };
        Ok(stored.unwrap_or(factory))
    }

    /// Reads the fleet file of a source; its length.
    pub(super) async fn load_fleet(&mut self, source: Source, scratch: &mut [u8]) -> Result<Option<usize>, Fault> {
        match source {
            Source::Factory => Ok(self.vault.factory_item(FactoryItem::Fleet, scratch)?),
            Source::Stored => self.load(Item::Trust, scratch).await,
        }
    }

    async fn load(&mut self, item: Item, scratch: &mut [u8]) -> Result<Option<usize>, Fault> {
        self.vault.load(item, scratch).await.map_err(|_| Fault::Store)
    }

    /// Who the device is, by an IDevID whose key is really there.
    fn read_identity(&mut self, scratch: &mut [u8]) -> Result<Identity, Fault> {
        let length = self.vault.factory_item(FactoryItem::Certificate, scratch)?;
        let der = length.and_then(|length| scratch.get(..length)).ok_or(Fault::Unprovisioned)?;
        let certificate = Certificate::parse(der).map_err(Fault::Identity)?;
        let public_key = certificate.public_key().map_err(Fault::Identity)?;
        if self.vault.key(muster_protocol::device::Credential::Idevid)?.public_key() != public_key {
            return Err(Fault::Identity(Code::CertificateMissing));
        }
        match certificate.identity().map_err(Fault::Identity)? {
            identity @ Identity::Device { .. } => Ok(identity),
            _ => Err(Fault::Identity(Code::CertificateNoIdentity)),
        }
    }
}

/// Boots the core in its place; a core is large, so apart from every other frame.
#[inline(never)]
fn start(place: &mut heapless::Vec<Device, 1>, now: Now, boot: impl FnOnce() -> Boot) {
    let _ = Device::boot_in(place, boot(), now);
}

/// The same for the memory of TLS.
#[inline(never)]
fn make(place: &mut heapless::Vec<tls::Buffers, 1>) {
    if place.is_empty() {
        let _ = place.push(tls::Buffers::new());
    }
}

/// Spreads the fleet's jitter; the same on every boot, so that a restart does not move the time of a renewal.
fn seed(identity: &Identity) -> u64 {
    let digest = Sha256::digest(identity.to_san().as_bytes());
    digest.first_chunk::<8>().map_or(1, |bytes| u64::from_le_bytes(*bytes))
}

fn label(text: &str) -> heapless::String<LABEL_BYTES_MAX> {
    let mut label = heapless::String::new();
    // Cut off rather than missing, should it ever be longer.
    for letter in text.chars() {
        if label.push(letter).is_err() {
            break;
        }
    }
    label
}

const _: () = {
    assert!(muster_protocol::device::OUTPUT_BYTES_MAX >= tls::CHAIN_BYTES);
    assert!(crate::mqtt::SPARE_BYTES >= CERTIFICATE_BYTES_MAX);
    assert!(crate::mqtt::SPARE_BYTES >= SLOT_RECORD_BYTES_MAX);
    assert!(crate::mqtt::RECEIVE_BYTES >= muster_protocol::device::OUTPUT_BYTES_MAX);
};
