//! Names: fleets, devices, services, operators, and the one SAN that binds a name to a certificate.
//!
//! `urn:muster:<fleet>:<device-id>` for a device, `urn:muster:<fleet>:service:<name>` and
//! `urn:muster:<fleet>:operator:<name>` for the other roles. A colon can stand in none of the names, so no device can
//! be called like a service.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::{DEVICE_ID_BYTES_MAX, FLEET_ID_BYTES_MAX, SAN_BYTES_MAX};

const SAN_PREFIX: &str = "urn:muster:";

/// Why a text is not a name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum NameError {
    /// No characters at all.
    Empty,
    /// More bytes than the kind of name may have.
    TooLong,
    /// Something other than `[A-Za-z0-9_-]`, or a leading `-`.
    Character,
    /// A SAN that has not the shape `urn:muster:<fleet>:…`.
    Shape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the name is empty",
            Self::TooLong => "the name is too long",
            Self::Character => "a name has only A-Z a-z 0-9 _ - and does not start with -",
            Self::Shape => "not of the shape urn:muster:<fleet>:<device-id>",
        })
    }
}

impl core::error::Error for NameError {}

/// A checked name of at most `N` bytes: `[A-Za-z0-9_-]`, not empty, no leading `-`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Name<const N: usize>(heapless::String<N>);

/// Names a fleet; at most 32 bytes.
pub type FleetId = Name<FLEET_ID_BYTES_MAX>;
/// Names a device for life, across any number of certificates; at most 64 bytes. Also its MQTT client id.
pub type DeviceId = Name<DEVICE_ID_BYTES_MAX>;

impl<const N: usize> Name<N> {
    /// Checks `text` and keeps a copy.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let first = *text.as_bytes().first().ok_or(NameError::Empty)?;
        if first == b'-' || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-') {
            return Err(NameError::Character);
        }
        heapless::String::try_from(text).map(Self).map_err(|_| NameError::TooLong)
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<const N: usize> FromStr for Name<N> {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::new(text)
    }
}

impl<const N: usize> fmt::Display for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const N: usize> fmt::Debug for Name<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<const N: usize> Serialize for Name<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de, const N: usize> Deserialize<'de> for Name<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = heapless::String::<N>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// Who a certificate says its holder is: the content of its one SAN.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Identity {
    /// A device of the fleet.
    Device {
        /// The fleet it belongs to.
        fleet: FleetId,
        /// Which device.
        device: DeviceId,
    },
    /// A back-end service.
    Service {
        /// The fleet it serves.
        fleet: FleetId,
        /// Which service.
        name: DeviceId,
    },
    /// A person who operates the fleet.
    Operator {
        /// The fleet operated.
        fleet: FleetId,
        /// Who.
        name: DeviceId,
    },
}

impl Identity {
    /// A device's identity.
    #[must_use]
    pub const fn device(fleet: FleetId, device: DeviceId) -> Self {
        Self::Device { fleet, device }
    }

    /// Reads the URI of a SAN.
    pub fn from_san(uri: &str) -> Result<Self, NameError> {
        let rest = uri.strip_prefix(SAN_PREFIX).ok_or(NameError::Shape)?;
        let mut parts = rest.split(':');
        let fleet = FleetId::new(parts.next().ok_or(NameError::Shape)?)?;
        match (parts.next(), parts.next(), parts.next()) {
            (Some(device), None, None) => Ok(Self::Device { fleet, device: DeviceId::new(device)? }),
            (Some("service"), Some(name), None) => Ok(Self::Service { fleet, name: DeviceId::new(name)? }),
            (Some("operator"), Some(name), None) => Ok(Self::Operator { fleet, name: DeviceId::new(name)? }),
            _ => Err(NameError::Shape),
        }
    }

    /// The fleet that this identity belongs to.
    #[must_use]
    pub const fn fleet(&self) -> &FleetId {
        match self {
            Self::Device { fleet, .. } | Self::Service { fleet, .. } | Self::Operator { fleet, .. } => fleet,
        }
    }

    /// The last part: the device id, or the service's or operator's name.
    #[must_use]
    pub const fn name(&self) -> &DeviceId {
        match self {
            Self::Device { device, .. } => device,
            Self::Service { name, .. } | Self::Operator { name, .. } => name,
        }
    }

    /// The URI as it stands in the certificate.
    #[must_use]
    pub fn to_san(&self) -> heapless::String<SAN_BYTES_MAX> {
        let mut uri = heapless::String::new();
        let (role, name) = match self {
            Self::Device { device, .. } => ("", device),
            Self::Service { name, .. } => ("service:", name),
            Self::Operator { name, .. } => ("operator:", name),
        };
        for part in [SAN_PREFIX, self.fleet().as_str(), ":", role, name.as_str()] {
            // The bounds of the parts add up to SAN_BYTES_MAX, so nothing is ever cut.
            let _ = uri.push_str(part);
        }
        uri
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_san())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_every_role_survive_the_san() {
        for uri in ["urn:muster:acme:dev-1", "urn:muster:acme:service:ingest", "urn:muster:acme:operator:ada"] {
            assert_eq!(Identity::from_san(uri).map(|identity| identity.to_san()).as_deref(), Ok(uri));
        }
    }

    #[test]
    fn the_longest_names_fit_the_san() {
        let fleet = FleetId::new(&filled::<32>('f')).unwrap();
        let name = DeviceId::new(&filled::<64>('n')).unwrap();
        let identity = Identity::Operator { fleet, name };
        assert_eq!(identity.to_san().len(), SAN_BYTES_MAX);
        assert_eq!(Identity::from_san(&identity.to_san()), Ok(identity));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for (text, why) in [
            ("", NameError::Empty),
            ("-a", NameError::Character),
            ("a/b", NameError::Character),
            ("a+b", NameError::Character),
            ("a:b", NameError::Character),
            ("ä", NameError::Character),
            ("a\0", NameError::Character),
        ] {
            assert_eq!(DeviceId::new(text), Err(why), "{text:?}");
        }
        assert_eq!(DeviceId::new(&filled::<65>('x')), Err(NameError::TooLong));
        for uri in
            ["urn:muster:acme", "urn:muster::x", "urn:dev:acme:x", "urn:muster:a:b:c", "urn:muster:a:service:b:c", ""]
        {
            assert!(Identity::from_san(uri).is_err(), "{uri}");
        }
    }

    fn filled<const N: usize>(letter: char) -> heapless::String<N> {
        core::iter::repeat_n(letter, N).collect()
    }
}
