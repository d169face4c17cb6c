//! Certificate serial numbers (RFC 5280, section 4.1.2.2): positive, at most 20 octets, unique per CA.

use core::fmt;
use core::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::bytes::{self, Hex};
use crate::limits::SERIAL_BYTES_MAX;

/// The bytes are not a positive INTEGER in minimal form of at most 20 octets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadSerial;

impl fmt::Display for BadSerial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a serial number is a positive integer of at most 20 octets, in hex")
    }
}

impl core::error::Error for BadSerial {}

/// A serial number as the content octets of its INTEGER; lower-case hex in text.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Serial(heapless::Vec<u8, SERIAL_BYTES_MAX>);

impl Serial {
    /// Takes the content octets of a DER INTEGER: minimal, positive, not zero, at most 20 octets.
    pub fn new(content: &[u8]) -> Result<Self, BadSerial> {
        let minimal = match content {
            [0, second, ..] => *second >= 0x80,
            [first, ..] => (1..0x80).contains(first),
            [] => false,
        };
        if !minimal {
            return Err(BadSerial);
        }
        heapless::Vec::from_slice(content).map(Self).map_err(|_| BadSerial)
    }

    /// A new serial number from 16 random octets: the top bit is cleared and the first octet made non-zero.
    #[must_use]
    pub fn from_random(mut octets: [u8; 16]) -> Self {
        octets[0] &= 0x7f;
        if octets[0] == 0 {
            octets[0] = 1;
        }
        let mut content = heapless::Vec::new();
        // 16 octets fit the 20 of SERIAL_BYTES_MAX.
        let _ = content.extend_from_slice(&octets);
        Self(content)
    }

    /// The content octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Hex(&self.0))
    }
}

impl FromStr for Serial {
    type Err = BadSerial;

    fn from_str(text: &str) -> Result<Self, BadSerial> {
        Self::new(&bytes::from_hex::<SERIAL_BYTES_MAX>(text).ok_or(BadSerial)?)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        bytes::serialize(&self.0, serializer)
    }
}

impl<'de> Deserialize<'de> for Serial {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let content = bytes::deserialize::<D, SERIAL_BYTES_MAX>(deserializer)?;
        Self::new(&content).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_minimal_positive_numbers_of_20_octets_are_serials() {
        for good in [&[1][..], &[0x7f], &[0, 0x80], &[0x7f; 20]] {
            assert!(Serial::new(good).is_ok(), "{good:02x?}");
        }
        for bad in [&[][..], &[0], &[0, 0x7f], &[0x80], &[0xff; 4], &[0x7f; 21], &[0, 0]] {
            assert_eq!(Serial::new(bad), Err(BadSerial), "{bad:02x?}");
        }
    }

    #[test]
    fn random_octets_of_any_value_make_a_serial() {
        for octets in [[0; 16], [0xff; 16], [0x80; 16]] {
            let serial = Serial::from_random(octets);
            assert_eq!(Serial::new(serial.as_bytes()), Ok(serial));
        }
    }
}
