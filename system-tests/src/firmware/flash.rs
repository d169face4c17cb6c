//! The flash of an emulated board while the board is off: its file, read and written with the agent's own store.

use std::convert::Infallible;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};
use muster_agent_nostd::slots::{FactoryItem, Slots};
use muster_issuing::pem;
use p256::pkcs8::DecodePrivateKey as _;

/// What the board's flash programs at once, unless it is built otherwise.
pub const WORD_BYTES: usize = 4;
/// What it erases at once.
pub const UNIT_BYTES: usize = 4096;
/// Units of its identity partition, which is all of its flash.
pub const UNITS: usize = 7;

/// The bytes of a flash, by the rules that the agent keeps to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemoryFlash<const WORD: usize = WORD_BYTES> {
    bytes: Vec<u8>,
}

impl<const WORD: usize> MemoryFlash<WORD> {
    /// Erased.
    #[must_use]
    pub fn blank() -> Self {
        Self { bytes: vec![0xff; UNITS * UNIT_BYTES] }
    }

    /// As the board left it.
    pub fn load(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(Self { bytes })
    }

    /// For the board to find.
    pub fn save(&self, path: &Path) -> Result<()> {
        fs::write(path, &self.bytes).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The raw bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A device as a factory leaves it.
#[derive(Clone, Copy, Debug)]
pub struct FactoryMade<'a> {
    /// The folder that `muster-provision batch make` wrote for the device.
    pub identity: &'a Path,
    /// `HOST:PORT` that it dials in place of the bundle's own; the bundle's when absent.
    pub gateway: Option<&'a str>,
}

impl FactoryMade<'_> {
    /// The flash with this identity in it, sealed.
    pub fn flash<const WORD: usize>(&self) -> Result<MemoryFlash<WORD>> {
        let read = |name: &str| {
            let path = self.identity.join(name);
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let secret = p256::SecretKey::from_pkcs8_pem(&String::from_utf8(read("idevid.key")?)?)?;
        let certificates = pem::read_certificates(&String::from_utf8(read("idevid.crt")?)?)?;
        let certificate = certificates.first().context("no certificate")?;
        let fleet = read("fleet.muster")?;
        let mut flash = MemoryFlash::<WORD>::blank();
        let mut slots = Slots::open(&mut flash, 0).map_err(|error| anyhow!("{error:?}"))?;
        let secret: [u8; 32] = secret.to_bytes().into();
        let mut write = || {
            slots.import_idevid_key(&secret)?;
            slots.put_factory_item(FactoryItem::Certificate, certificate)?;
            slots.put_factory_item(FactoryItem::Fleet, &fleet)?;
            if let Some(gateway) = self.gateway {
                slots.put_factory_item(FactoryItem::Gateway, gateway.as_bytes())?;
            }
            slots.seal()
        };
        write().map_err(|error| anyhow!("{error:?}"))?;
        Ok(flash)
    }
}

impl<const WORD: usize> ErrorType for MemoryFlash<WORD> {
    type Error = Infallible;
}

impl<const WORD: usize> ReadNorFlash for MemoryFlash<WORD> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Infallible> {
        let at = offset as usize;
        bytes.copy_from_slice(&self.bytes[at..at + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize> NorFlash for MemoryFlash<WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = UNIT_BYTES;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Infallible> {
        self.bytes[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Infallible> {
        for (old, new) in self.bytes[offset as usize..].iter_mut().zip(bytes) {
            *old &= new;
        }
        Ok(())
    }
}
