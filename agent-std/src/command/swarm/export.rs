//! A device's credential as PEM files for other MQTT tools: `<device-id>.crt` and `<device-id>.key`.
//!
//! This copies a key out of its store, which no agent does on a device; only a swarm, asked by `--save`, does.

use std::io;
use std::path::Path;

use muster_protocol::slot::store::Item;
use muster_protocol::slot::{SlotId, SlotRecord};
use zeroize::Zeroizing;

use crate::agent::{RECORDS, Status};
use crate::durable::{self, Disk, Durability, FileSystem as _};
use crate::slots::FileSlotStore;

/// Writes both files for the slot in use.
pub(super) fn export(status: &Status, state: &Path, keys: &Path, folder: &Path) -> io::Result<()> {
    let disk = Disk::new(Durability::ProcessEnd);
    let Some(slot) = SlotId::BOTH.into_iter().find(|slot| Some(slot.name()) == status.active) else { return Ok(()) };
    let record = FileSlotStore::beside(disk, &state.join(RECORDS)).read(Item::Slot(slot))?;
    let record = record.and_then(|bytes| SlotRecord::decode(&bytes)).ok_or(io::ErrorKind::InvalidData)?;
    let key = disk.read(&keys.join(format!("{}.key", slot.name())), KEY_BYTES_MAX)?.ok_or(io::ErrorKind::NotFound)?;
    let key = Zeroizing::new(key);
    durable::replace(&disk, &folder.join(format!("{}.key", status.device)), &key, 0o600)?;
    durable::replace(&disk, &folder.join(format!("{}.crt", status.device)), pem(&record.certificate).as_bytes(), 0o644)
}

/// RFC 7468.
fn pem(der: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    // 48 bytes make a line of 64 letters.
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
            for index in 0..4 {
                let letter = LETTERS[(bits >> (18 - 6 * index) & 0x3f) as usize];
                text.push(if index <= group.len() { char::from(letter) } else { '=' });
            }
        }
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

const KEY_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn pem_reads_back_at_every_length() {
        for length in 0..200_u8 {
            let der: Vec<u8> = (0..length).map(|byte| byte.wrapping_mul(37)).collect();
            let read = CertificateDer::from_pem_slice(pem(&der).as_bytes()).unwrap();
            assert_eq!(read.as_ref(), der, "{length} bytes");
        }
    }
}
