//! The IDevID in flash: [`FactoryStore`] on the first unit of the identity partition.
//!
//! The key is an entry of its own. The fleet file is written before the certificate, so the certificate's commit word is
//! that of the identity; the seal is the lock's record, and the board's own lock comes after it.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::device::Credential;
use muster_protocol::pki::{PublicKey, Signature};
use rand_core::CryptoRngCore;

use super::store::{FactoryStore, Stage, StoreError};
use crate::key::{DeviceKey as _, KeyStore as _};
use crate::platform::IdentityLock;
use crate::slots::{FactoryItem, FactoryRecords as _, SlotError, Slots};

/// The identity partition and the board's lock, as factory mode sees them.
#[derive(Debug)]
pub struct FlashStore<'a, F, L> {
    slots: &'a mut Slots<F>,
    lock: &'a mut L,
}

impl<'a, F: NorFlash, L: IdentityLock> FlashStore<'a, F, L> {
    /// Borrows both for as long as factory mode lasts.
    #[must_use]
    pub const fn new(slots: &'a mut Slots<F>, lock: &'a mut L) -> Self {
        Self { slots, lock }
    }

    fn has(&mut self, item: FactoryItem) -> Result<bool, StoreError> {
        // Whole or not there: an entry counts when its check and its commit word do, whatever its length.
        match self.slots.factory_item(item, &mut []) {
            Ok(found) => Ok(found.is_some()),
            Err(SlotError::TooLong) => Ok(true),
            Err(_) => Err(StoreError),
        }
    }

    fn read(&mut self, item: FactoryItem, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.slots.factory_item(item, buffer)?.ok_or(StoreError)
    }
}

impl<F: NorFlash, L: IdentityLock> FactoryStore for FlashStore<'_, F, L> {
    fn stage(&mut self) -> Result<Stage, StoreError> {
        if self.slots.is_sealed()? {
            return Ok(Stage::Locked);
        }
        if self.slots.idevid_public_key()?.is_none() {
            return Ok(Stage::Empty);
        }
        let is_written = self.has(FactoryItem::Certificate)? && self.has(FactoryItem::Fleet)?;
        Ok(if is_written { Stage::Written } else { Stage::Keyed })
    }

    fn public_key(&mut self) -> Result<Option<PublicKey>, StoreError> {
        Ok(self.slots.idevid_public_key()?)
    }

    fn make_key(&mut self, rng: &mut impl CryptoRngCore) -> Result<PublicKey, StoreError> {
        Ok(self.slots.make_idevid_key(rng)?)
    }

    fn sign(&mut self, message: &[u8]) -> Result<Signature, StoreError> {
        let mut key = self.slots.key(Credential::Idevid).map_err(|_| StoreError)?;
        key.sign(message).map_err(|_| StoreError)
    }

    fn write(&mut self, certificate: &[u8], trust: &[u8]) -> Result<(), StoreError> {
        let attempt = |slots: &mut Slots<F>| {
            slots.put_factory_item(FactoryItem::Fleet, trust)?;
            slots.put_factory_item(FactoryItem::Certificate, certificate)
        };
        if attempt(self.slots).is_ok() {
            return Ok(());
        }
        // What torn attempts left behind takes the room, or is in the way: all goes but the key.
        self.slots.forget_factory_items()?;
        Ok(attempt(self.slots)?)
    }

    fn read_certificate(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.read(FactoryItem::Certificate, buffer)
    }

    fn read_trust(&mut self, buffer: &mut [u8]) -> Result<usize, StoreError> {
        self.read(FactoryItem::Fleet, buffer)
    }

    fn lock(&mut self) -> Result<(), StoreError> {
        self.slots.seal()?;
        self.lock.lock().map_err(|_| StoreError)
    }
}

impl From<SlotError> for StoreError {
    fn from(_: SlotError) -> Self {
        Self
    }
}
