//! The shipment manifest: which devices a factory made, signed by its issuing CA.
//!
//! The body lies in the container of [`crate::signed`] and is read without allocation, one device after the other:
//!
//! | bytes | what |
//! |---|---|
//! | 2 + n | length (little endian) and postcard of [`Header`] |
//! | 2 + n, `Header::devices` times | length and postcard of [`Entry`] |
//!
//! The manifest's id is the SHA-256 of the body.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::code::Code;
use crate::device_id::{DeviceId, FleetId};
use crate::limits::{MANIFEST_DEVICES_MAX, PRODUCT_BYTES_MAX};
use crate::pki::key::{KeyFingerprint, PublicKey};
use crate::pki::serial::Serial;
use crate::signed::{Kind, SignedDocument, SignedError};
use crate::time::UnixTime;

/// Format version of the body.
pub const VERSION: u8 = 1;

/// What stands once in a manifest.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Header<'a> {
    /// The fleet that the devices belong to.
    pub fleet: FleetId,
    /// Product name.
    pub product: heapless::String<PRODUCT_BYTES_MAX>,
    /// Lot, empty when none was given.
    pub lot: heapless::String<PRODUCT_BYTES_MAX>,
    /// When the manifest was made.
    pub made_at: UnixTime,
    /// How many entries follow.
    pub devices: u32,
    /// The issuing CA that signed the IDevIDs and signs this manifest, DER.
    #[serde(borrow)]
    pub issuing_ca: &'a [u8],
}

/// One device.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Entry {
    /// Its id.
    pub device: DeviceId,
    /// The key of its IDevID.
    pub key: KeyFingerprint,
    /// The serial number of its IDevID.
    pub serial: Serial,
}

/// A manifest whose signature fits the issuing CA named in it. Whether that CA is one of ours is the gateway's question.
#[derive(Clone, Debug)]
pub struct Manifest<'a> {
    header: Header<'a>,
    entries: &'a [u8],
    signer: PublicKey,
    id: [u8; 32],
}

impl<'a> Manifest<'a> {
    /// Checks the container, the signature, and every entry: their number, their shape, the order of their ids.
    pub fn verify(bytes: &'a [u8]) -> Result<Self, Code> {
        let document = SignedDocument::parse(bytes, Kind::Manifest, VERSION).map_err(|error| match error {
            SignedError::Version => Code::MessageVersion,
            SignedError::BadSignature => Code::ManifestBadSignature,
            SignedError::Malformed => Code::ManifestMalformed,
        })?;
        let [signer] = document.signers() else { return Err(Code::ManifestMalformed) };
        let mut rest = document.body();
        let header: Header<'a> = take(&mut rest).ok_or(Code::ManifestMalformed)?;
        let manifest = Self { header, entries: rest, signer: *signer, id: Sha256::digest(document.body()).into() };
        if manifest.header.devices > MANIFEST_DEVICES_MAX {
            return Err(Code::MessageOversized);
        }
        let mut count = 0_u32;
        let mut last: Option<DeviceId> = None;
        let mut entries = manifest.entries();
        for entry in entries.by_ref() {
            // Strictly rising ids: no device stands twice, and the same devices make the same manifest.
            if last.as_ref().is_some_and(|last| *last >= entry.device) {
                return Err(Code::ManifestMalformed);
            }
            last = Some(entry.device);
            count = count.saturating_add(1);
        }
        if !entries.rest.is_empty() || count != manifest.header.devices {
            return Err(Code::ManifestMalformed);
        }
        Ok(manifest)
    }

    /// What stands once in the manifest.
    #[must_use]
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// The key that signed it; it must be the key of `header().issuing_ca`, and that CA one that is registered.
    #[must_use]
    pub const fn signer(&self) -> &PublicKey {
        &self.signer
    }

    /// SHA-256 of the body: the same manifest, imported twice, is recognised by it.
    #[must_use]
    pub const fn id(&self) -> &[u8; 32] {
        &self.id
    }

    /// The devices, in the order of their ids.
    #[must_use]
    pub const fn entries(&self) -> Entries<'a> {
        Entries { rest: self.entries }
    }
}

/// Reads the entries one by one; ends at the first that is not well-formed.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl Iterator for Entries<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let mut rest = self.rest;
        let entry = take(&mut rest)?;
        self.rest = rest;
        Some(entry)
    }
}

/// Writes the length and the postcard form of a header or an entry into `buffer`; the part in use comes back.
pub fn frame<'b, T: Serialize>(value: &T, buffer: &'b mut [u8]) -> Result<&'b [u8], Code> {
    let (length, body) = buffer.split_first_chunk_mut::<2>().ok_or(Code::MessageOversized)?;
    let used = postcard::to_slice(value, body).map_err(|_| Code::MessageOversized)?.len();
    *length = u16::try_from(used).map_err(|_| Code::MessageOversized)?.to_le_bytes();
    buffer.get(..2 + used).ok_or(Code::MessageOversized)
}

fn take<'a, T: Deserialize<'a>>(rest: &mut &'a [u8]) -> Option<T> {
    let (length, tail) = rest.split_first_chunk::<2>()?;
    let (body, tail) = tail.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
    let (value, unread) = postcard::take_from_bytes(body).ok()?;
    *rest = tail;
    unread.is_empty().then_some(value)
}
