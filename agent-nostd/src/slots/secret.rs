//! The slots' private keys, as bytes: what they are good for is not known here.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::slot::SlotId;
use zeroize::Zeroizing;

use super::log::{Payload, Unit};
use super::slot::Content;
use super::{Kind, SlotError, Slots};

/// A private key in RAM, zeroed when it goes.
pub(crate) type Secret = Zeroizing<[u8; 32]>;

impl<F: NorFlash> Slots<F> {
    /// The slot's private key.
    pub(crate) fn secret(&mut self, slot: SlotId) -> Result<Option<Secret>, SlotError> {
        self.settle()?;
        let Some(payload) = self.key_entry(slot)? else { return Ok(None) };
        self.read_secret(&payload)
    }

    /// Stores a private key in the slot's place, and destroys the one before.
    pub(crate) fn put_secret(&mut self, slot: SlotId, secret: &Secret) -> Result<(), SlotError> {
        self.settle()?;
        let record = self.record(slot)?;
        self.rewrite(Unit::Slot(slot), Content { key: Some(Payload::Bytes(&**secret)), record })
    }

    /// Destroys the slot's private key.
    pub(crate) fn wipe_secret(&mut self, slot: SlotId) -> Result<(), SlotError> {
        self.settle()?;
        // An entry that was never finished may hold half a key.
        if self.units.has_any(Unit::Slot(slot), Kind::Key)? {
            let record = self.record(slot)?;
            self.rewrite(Unit::Slot(slot), Content { key: None, record })?;
        }
        Ok(())
    }

    /// Reads a private key; `None` when the bytes are none.
    pub(super) fn read_secret(&mut self, payload: &Payload<'_>) -> Result<Option<Secret>, SlotError> {
        let mut secret = Secret::default();
        if payload.len() != secret.len() {
            return Ok(None);
        }
        self.units.read_payload(payload, 0, &mut *secret)?;
        Ok(Some(secret))
    }
}
