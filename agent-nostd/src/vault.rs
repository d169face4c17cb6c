//! Soft keys in the slots' flash: where [`crate::key`] and [`crate::slots`] meet.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::device::Credential;
use muster_protocol::pki::PublicKey;
use muster_protocol::slot::SlotId;
use rand_core::CryptoRngCore;

use crate::key::{DeviceKey as _, KeyError, KeyStore, SoftKey};
use crate::slots::{Secret, SlotError, Slots};

impl<F: NorFlash> KeyStore for Slots<F> {
    type Key<'a>
        = SoftKey
    where
        Self: 'a;

    fn public_key(&mut self, slot: SlotId) -> Result<Option<PublicKey>, KeyError> {
        let secret = self.secret(slot)?;
        Ok(secret.and_then(|secret| SoftKey::from_secret(&secret)).map(|key| key.public_key()))
    }

    fn generate(&mut self, slot: SlotId, rng: &mut impl CryptoRngCore) -> Result<PublicKey, KeyError> {
        let (key, secret) = SoftKey::generate(rng);
        self.put_secret(slot, &secret)?;
        Ok(key.public_key())
    }

    fn key(&mut self, credential: Credential) -> Result<SoftKey, KeyError> {
        let secret = match credential {
            Credential::Idevid => self.idevid_secret()?,
            Credential::Slot(slot) => self.secret(slot)?,
        };
        secret.and_then(|secret| SoftKey::from_secret(&secret)).ok_or(KeyError::Missing)
    }

    fn wipe(&mut self, slot: SlotId) -> Result<(), KeyError> {
        Ok(self.wipe_secret(slot)?)
    }
}

/// The IDevID's key: the factory's part.
impl<F: NorFlash> Slots<F> {
    /// Makes the IDevID's key, or returns the one that an unfinished factory made: it is for life, and a factory that
    /// was cut off goes on with the same device.
    pub fn make_idevid_key(&mut self, rng: &mut impl CryptoRngCore) -> Result<PublicKey, SlotError> {
        self.unsealed()?;
        if let Some(key) = self.idevid_public_key()? {
            return Ok(key);
        }
        let (key, secret) = SoftKey::generate(rng);
        self.put_idevid_secret(&secret)?;
        Ok(key.public_key())
    }

    /// Takes a key that was made elsewhere, in place of all that an unfinished factory left. For hosts and emulators; a
    /// chip makes its own.
    pub fn import_idevid_key(&mut self, secret: &[u8; 32]) -> Result<PublicKey, SlotError> {
        let key = SoftKey::from_secret(secret).ok_or(SlotError::Missing)?;
        self.put_idevid_secret(&Secret::new(*secret))?;
        Ok(key.public_key())
    }

    /// The public half of the IDevID's key, once there is one.
    pub fn idevid_public_key(&mut self) -> Result<Option<PublicKey>, SlotError> {
        let secret = self.idevid_secret()?;
        Ok(secret.and_then(|secret| SoftKey::from_secret(&secret)).map(|key| key.public_key()))
    }
}

impl From<SlotError> for KeyError {
    fn from(_: SlotError) -> Self {
        Self::Storage
    }
}
