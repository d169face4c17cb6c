//! The soft key store: private keys beside the records, in the slots' own units.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::device::Credential;
use muster_protocol::pki::PublicKey;
use muster_protocol::slot::SlotId;
use rand_core::CryptoRngCore;

use super::log::{Payload, Unit};
use super::slot::Content;
use super::{Kind, SlotError, Slots};
use crate::key::{DeviceKey as _, KeyError, KeyStore, SoftKey};

impl<F: NorFlash> KeyStore for Slots<F> {
    type Key<'a>
        = SoftKey
    where
        Self: 'a;

    fn public_key(&mut self, slot: SlotId) -> Result<Option<PublicKey>, KeyError> {
        Ok(self.slot_key(slot)?.map(|key| key.public_key()))
    }

    fn generate(&mut self, slot: SlotId, rng: &mut impl CryptoRngCore) -> Result<PublicKey, KeyError> {
        self.settle()?;
        let (key, secret) = SoftKey::generate(rng);
        let record = self.record(slot)?;
        self.rewrite(Unit::Slot(slot), Content { key: Some(Payload::Bytes(&*secret)), record })?;
        Ok(key.public_key())
    }

    fn key(&mut self, credential: Credential) -> Result<SoftKey, KeyError> {
        let key = match credential {
            Credential::Idevid => self.idevid_key()?,
            Credential::Slot(slot) => self.slot_key(slot)?,
        };
        key.ok_or(KeyError::Missing)
    }

    fn wipe(&mut self, slot: SlotId) -> Result<(), KeyError> {
        self.settle()?;
        // An entry that was never finished may hold half a key.
        if self.units.has_any(Unit::Slot(slot), Kind::Key)? {
            let record = self.record(slot)?;
            self.rewrite(Unit::Slot(slot), Content { key: None, record })?;
        }
        Ok(())
    }
}

impl<F: NorFlash> Slots<F> {
    fn slot_key(&mut self, slot: SlotId) -> Result<Option<SoftKey>, SlotError> {
        self.settle()?;
        let Some(payload) = self.key_entry(slot)? else { return Ok(None) };
        self.read_key(&payload)
    }
}

impl From<SlotError> for KeyError {
    fn from(_: SlotError) -> Self {
        Self::Storage
    }
}
