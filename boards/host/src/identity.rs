//! A device's identity, from a batch folder of the factory's into the flash: `idevid.key`, `idevid.crt`, `fleet.muster`,
//! `gateway`. A real chip makes its own key, and the factory comes over its serial line.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use embedded_storage::nor_flash::NorFlash;
use muster_agent_nostd::slots::{FactoryItem, SlotError, Slots};
use p256::SecretKey;
use p256::pkcs8::DecodePrivateKey as _;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

pub(crate) fn write<F: NorFlash>(slots: &mut Slots<F>, folder: &Path) -> Result<()> {
    let key = fs::read_to_string(folder.join("idevid.key")).context("idevid.key")?;
    let key = SecretKey::from_pkcs8_pem(&key).map_err(|_| anyhow!("idevid.key is not a P-256 key in PKCS#8 PEM"))?;
    slots.import_idevid_key(&key.to_bytes().into()).map_err(failed)?;
    let certificate = fs::read(folder.join("idevid.crt")).context("idevid.crt")?;
    let certificate = CertificateDer::from_pem_slice(&certificate).context("idevid.crt")?;
    slots.put_factory_item(FactoryItem::Certificate, &certificate).map_err(failed)?;
    let fleet = fs::read(folder.join("fleet.muster")).context("fleet.muster")?;
    slots.put_factory_item(FactoryItem::Fleet, &fleet).map_err(failed)?;
    if let Ok(gateway) = fs::read(folder.join("gateway")) {
        slots.put_factory_item(FactoryItem::Gateway, gateway.trim_ascii()).map_err(failed)?;
    }
    slots.seal().map_err(failed)
}

fn failed(error: SlotError) -> anyhow::Error {
    anyhow!("the flash refused it: {error:?}")
}
