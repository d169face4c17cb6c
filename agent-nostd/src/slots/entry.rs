//! The form of one entry in the log of an erase unit.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 2 | `ME` |
//! | 2 | 1 | version, 0x01 |
//! | 3 | 1 | [`Kind`] |
//! | 4 | 4 | sequence, little endian: rises with every entry of a unit, and across the two units of a pair |
//! | 8 | 2 | length n of the payload, little endian |
//! | 10 | 6 | first 6 bytes of the SHA-256 of bytes 0 to 9 |
//! | 16 | n | payload |
//! | 16+n | 16 | first 16 bytes of the SHA-256 of all before |
//! | | | 0xff up to the next grain |
//! | | 4 | the commit word, see [`COMMIT`]; 0xff up to the next grain |
//!
//! The grain is the flash's word, so no word is ever programmed twice. An entry counts with its commit word, which is
//! written after everything else was read back, and with its check sum, which finds what a torn erase left over.

use sha2::{Digest as _, Sha256};

/// What an entry holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub(super) enum Kind {
    /// A slot's private key.
    Key = 1,
    /// A slot's record.
    Record = 2,
    /// The bytes of a slot's record that a change of phase alone changes.
    Patch = 3,
    /// Trust bundle and pins.
    Trust = 4,
    /// Clock floor and retirement.
    Life = 5,
    /// A unit is being rewritten: `which, has key, has record`; what it shall hold lies beside this.
    Rescue = 6,
    /// The IDevID's private key.
    IdevidKey = 7,
    /// The IDevID's certificate.
    IdevidCertificate = 8,
    /// The factory's fleet file.
    Fleet = 9,
    /// The factory's gateway address.
    Gateway = 10,
    /// The factory is done.
    Sealed = 11,
}

impl Kind {
    const ALL: [Self; 11] = [
        Self::Key,
        Self::Record,
        Self::Patch,
        Self::Trust,
        Self::Life,
        Self::Rescue,
        Self::IdevidKey,
        Self::IdevidCertificate,
        Self::Fleet,
        Self::Gateway,
        Self::Sealed,
    ];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// The first 16 bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) sequence: u32,
    pub(super) payload_bytes: u16,
}

impl Header {
    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let (head, check) = bytes.split_at_mut(HEAD_BYTES);
        head[..2].copy_from_slice(&MAGIC);
        head[2] = VERSION;
        head[3] = self.kind as u8;
        head[4..8].copy_from_slice(&self.sequence.to_le_bytes());
        head[8..].copy_from_slice(&self.payload_bytes.to_le_bytes());
        check.copy_from_slice(&Sha256::digest(&*head)[..HEADER_BYTES - HEAD_BYTES]);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (head, check) = bytes.split_at(HEAD_BYTES);
        let &[m0, m1, version, kind, s0, s1, s2, s3, l0, l1] = head else { return None };
        if [m0, m1] != MAGIC || version != VERSION || Sha256::digest(head)[..HEADER_BYTES - HEAD_BYTES] != *check {
            return None;
        }
        Some(Self {
            kind: Kind::from_byte(kind)?,
            sequence: u32::from_le_bytes([s0, s1, s2, s3]),
            payload_bytes: u16::from_le_bytes([l0, l1]),
        })
    }
}

/// Bytes of header, payload and check sum, padded to `grain`.
pub(super) const fn body_bytes(payload_bytes: usize, grain: u32) -> u32 {
    padded((HEADER_BYTES + payload_bytes + CHECK_BYTES) as u32, grain)
}

/// Bytes of a whole entry.
pub(super) const fn entry_bytes(payload_bytes: usize, grain: u32) -> u32 {
    body_bytes(payload_bytes, grain) + padded(COMMIT.len() as u32, grain)
}

pub(super) const fn padded(bytes: u32, grain: u32) -> u32 {
    bytes.div_ceil(grain) * grain
}

pub(super) const HEADER_BYTES: usize = 16;
pub(super) const CHECK_BYTES: usize = 16;
/// Neither erased nor blank, and unlike any half of itself.
pub(super) const COMMIT: [u8; 4] = [0x2e, 0x91, 0x5c, 0x67];
const HEAD_BYTES: usize = 10;
const MAGIC: [u8; 2] = *b"ME";
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_no_changed_one_does() {
        let header = Header { kind: Kind::Patch, sequence: 0x0102_0304, payload_bytes: 18 };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&changed), None, "{bit}");
        }
        assert_eq!(Header::decode(&[0xff; HEADER_BYTES]), None);
        for kind in Kind::ALL {
            assert_eq!(Kind::from_byte(kind as u8), Some(kind));
        }
    }

    #[test]
    fn entries_fill_whole_grains() {
        for grain in [1, 4, 8, 16, 32] {
            for payload in [0, 1, 18, 22, 32, 1216, 3064] {
                assert_eq!(entry_bytes(payload, grain) % grain, 0);
                assert!(entry_bytes(payload, grain) >= (HEADER_BYTES + payload + CHECK_BYTES + COMMIT.len()) as u32);
            }
        }
    }
}
