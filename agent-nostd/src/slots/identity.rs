//! The factory's unit: what makes a blank board a device, written once.
//!
//! The factory makes the key here, on the chip, takes the public half away in a CSR, and brings certificate, fleet file
//! and, if it likes, a gateway address. The seal comes last: before it nothing of this is believed, after it nothing
//! can be written here by this code, and the board locks the unit by hardware.

use embedded_storage::nor_flash::NorFlash;

use super::entry::Kind;
use super::log::{Payload, Unit};
use super::slot::Content;
use super::{Secret, SlotError, Slots};

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
    /// The IDevID's private key, once there is one.
    pub(crate) fn idevid_secret(&mut self) -> Result<Option<Secret>, SlotError> {
        let Some(entry) = self.units.newest(Unit::Idevid, Kind::IdevidKey)? else { return Ok(None) };
        self.read_secret(&Payload::Stored { entry, patch: None })
    }

    /// Stores the IDevID's private key, in place of all that an unfinished factory left.
    pub(crate) fn put_idevid_secret(&mut self, secret: &Secret) -> Result<(), SlotError> {
        self.unsealed()?;
        self.units.erase(Unit::Idevid)?;
        self.units.append(Unit::Idevid, Kind::IdevidKey, 1, &Payload::Bytes(&**secret))
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

    pub(crate) fn unsealed(&mut self) -> Result<(), SlotError> {
        if self.is_sealed()? { Err(SlotError::Sealed) } else { Ok(()) }
    }
}
