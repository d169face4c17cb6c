//! The factory's unit: what makes a blank board a device, written once.
//!
//! The factory makes the key here, on the chip, takes the public half away in a CSR, and brings certificate, fleet file
//! and, if it likes, a gateway address. The seal comes last: before it nothing of this is believed, after it nothing
//! can be written here by this code, and the board locks the unit by hardware.

use embedded_storage::nor_flash::NorFlash;
use muster_protocol::pki::PublicKey;
use rand_core::CryptoRngCore;
use zeroize::Zeroizing;

use super::entry::Kind;
use super::log::{Payload, Unit};
use super::slot::Content;
use super::{SlotError, Slots};
use crate::key::{DeviceKey as _, SoftKey};

/// What the factory brings to a device.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FactoryItem {
    /// The IDevID's certificate, DER.
    Certificate,
    /// Pins and first trust bundle, `fleet.muster`.
    Fleet,
    /// A gateway address, `HOST:PORT`, in place of the first one of every bundle.
    Gateway,
}

impl FactoryItem {
    const fn kind(self) -> Kind {
        match self {
            Self::Certificate => Kind::IdevidCertificate,
            Self::Fleet => Kind::Fleet,
            Self::Gateway => Kind::Gateway,
        }
    }
}

/// Where the agent reads what the factory wrote.
pub trait FactoryRecords {
    /// Copies the item into `buffer`; its length, or `None` when there is none. The agent asks only a sealed device.
    fn factory_item(&mut self, item: FactoryItem, buffer: &mut [u8]) -> Result<Option<usize>, SlotError>;

    /// Whether the factory is done with this device.
    fn is_sealed(&mut self) -> Result<bool, SlotError>;
}

impl<F: NorFlash> FactoryRecords for Slots<F> {
    fn factory_item(&mut self, item: FactoryItem, buffer: &mut [u8]) -> Result<Option<usize>, SlotError> {
        let entry = self.units.newest(Unit::Idevid, item.kind())?;
        entry.map(|entry| self.copy(&Payload::Stored { entry, patch: None }, buffer)).transpose()
    }

    fn is_sealed(&mut self) -> Result<bool, SlotError> {
        Ok(self.units.newest(Unit::Idevid, Kind::Sealed)?.is_some())
    }
}

impl<F: NorFlash> Slots<F> {
    /// Makes the IDevID's key, or returns the one that an unfinished factory made: it is for life, and a factory that
    /// was cut off goes on with the same device.
    pub fn make_idevid_key(&mut self, rng: &mut impl CryptoRngCore) -> Result<PublicKey, SlotError> {
        self.unsealed()?;
        if let Some(key) = self.idevid_public_key()? {
            return Ok(key);
        }
        let (key, secret) = SoftKey::generate(rng);
        self.put_idevid_key(&secret)?;
        Ok(key.public_key())
    }

    /// Takes a key that was made elsewhere, in place of all that an unfinished factory left. For hosts and emulators; a
    /// chip makes its own.
    pub fn import_idevid_key(&mut self, secret: &[u8; 32]) -> Result<PublicKey, SlotError> {
        self.unsealed()?;
        let key = SoftKey::from_secret(secret).ok_or(SlotError::Missing)?;
        self.put_idevid_key(secret)?;
        Ok(key.public_key())
    }

    /// Writes one thing that the factory brings. The last one of a kind counts.
    pub fn put_factory_item(&mut self, item: FactoryItem, bytes: &[u8]) -> Result<(), SlotError> {
        self.unsealed()?;
        let sequence = self.units.next_sequence(Unit::Idevid)?;
        self.units.append(Unit::Idevid, item.kind(), sequence, &Payload::Bytes(bytes))
    }

    /// Forgets what an unfinished factory brought, and keeps the key.
    pub fn forget_factory_items(&mut self) -> Result<(), SlotError> {
        self.unsealed()?;
        self.settle()?;
        let entry = self.units.newest(Unit::Idevid, Kind::IdevidKey)?.ok_or(SlotError::Missing)?;
        let key = Some(Payload::Stored { entry, patch: None });
        self.rewrite(Unit::Idevid, Content { key, record: None })
    }

    /// Ends the factory's work. Key, certificate and fleet file have to be there.
    pub fn seal(&mut self) -> Result<(), SlotError> {
        if self.is_sealed()? {
            return Ok(());
        }
        for kind in [Kind::IdevidKey, Kind::IdevidCertificate, Kind::Fleet] {
            if self.units.newest(Unit::Idevid, kind)?.is_none() {
                return Err(SlotError::Missing);
            }
        }
        let sequence = self.units.next_sequence(Unit::Idevid)?;
        self.units.append(Unit::Idevid, Kind::Sealed, sequence, &Payload::Bytes(&[]))
    }

    /// The public half of the IDevID's key, once there is one.
    pub fn idevid_public_key(&mut self) -> Result<Option<PublicKey>, SlotError> {
        Ok(self.idevid_key()?.map(|key| key.public_key()))
    }

    pub(super) fn idevid_key(&mut self) -> Result<Option<SoftKey>, SlotError> {
        let Some(entry) = self.units.newest(Unit::Idevid, Kind::IdevidKey)? else { return Ok(None) };
        self.read_key(&Payload::Stored { entry, patch: None })
    }

    fn put_idevid_key(&mut self, secret: &[u8; 32]) -> Result<(), SlotError> {
        self.units.erase(Unit::Idevid)?;
        self.units.append(Unit::Idevid, Kind::IdevidKey, 1, &Payload::Bytes(secret))
    }

    fn unsealed(&mut self) -> Result<(), SlotError> {
        if self.is_sealed()? { Err(SlotError::Sealed) } else { Ok(()) }
    }

    /// Reads a private key; `None` when the bytes are none.
    pub(super) fn read_key(&mut self, payload: &Payload<'_>) -> Result<Option<SoftKey>, SlotError> {
        let mut secret = Zeroizing::new([0; 32]);
        if payload.len() != secret.len() {
            return Ok(None);
        }
        self.units.read_payload(payload, 0, &mut *secret)?;
        Ok(SoftKey::from_secret(&secret))
    }
}
