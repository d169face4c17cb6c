//! The trust in force: what the core has to know of it, and what a connection is made by.

use muster_protocol::limits::{GATEWAY_CAS_MAX, HOST_BYTES_MAX};
use muster_protocol::trust::{Pins, Policy, TrustBundle, read_fleet_file, reread_fleet_file};
use muster_protocol::{Code, Identity};

/// Where the fleet file in force lies. The factory's was verified at the boot, and the core verified the stored one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Source {
    Factory,
    Stored,
}

/// What a core is booted with.
#[derive(Clone, Copy)]
pub(super) struct Known {
    pub(super) pins: Pins,
    pub(super) number: u32,
    pub(super) policy: Policy,
}

impl Known {
    /// Verifies a fleet file.
    pub(super) fn read(fleet_file: &[u8], identity: &Identity) -> Result<Self, Code> {
        let verified = read_fleet_file(fleet_file)?;
        let TrustBundle { fleet, number, policy, .. } = verified.bundle();
        if fleet != identity.fleet() {
            return Err(Code::BundleWrongFleet);
        }
        Ok(Self { pins: *verified.pins(), number: *number, policy: *policy })
    }
}

/// One gateway to dial.
pub(super) struct Target<'a> {
    pub(super) host: heapless::String<HOST_BYTES_MAX>,
    pub(super) mqtt_port: u16,
    pub(super) https_port: u16,
    /// Certificates of the gateway CAs, DER.
    pub(super) gateway_cas: heapless::Vec<&'a [u8], GATEWAY_CAS_MAX>,
    /// How many gateways there are.
    pub(super) count: usize,
}

impl<'a> Target<'a> {
    /// The gateway at `index` of a bundle; `instead`, a factory's `HOST:PORT`, stands in place of the first one.
    pub(super) fn read(fleet_file: &'a [u8], index: usize, instead: Option<&[u8]>) -> Option<Self> {
        let bundle = reread_fleet_file(fleet_file).ok()?;
        let count = bundle.gateways.len();
        let address = bundle.gateways.get(index)?;
        let (host, mqtt_port) = match instead.filter(|_| index == 0).and_then(endpoint) {
            Some((host, port)) => (heapless::String::try_from(host).ok()?, port),
            None => (address.host.clone(), address.mqtt_port),
        };
        Some(Self { host, mqtt_port, https_port: address.https_port, gateway_cas: bundle.gateway_cas, count })
    }
}

/// Reads `HOST:PORT`; an IPv6 address stands in brackets.
fn endpoint(text: &[u8]) -> Option<(&str, u16)> {
    let (host, port) = core::str::from_utf8(text).ok()?.trim().rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let is_plain = !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_graphic());
    is_plain.then_some((host, port))
}

/// Longest `HOST:PORT`.
pub(super) const ENDPOINT_BYTES_MAX: usize = HOST_BYTES_MAX + 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_names_or_addresses_with_a_port() {
        for (text, found) in [
            ("gateway.example:8883", Some(("gateway.example", 8883))),
            (" 10.0.2.2:1 \n", Some(("10.0.2.2", 1))),
            ("[::1]:8883", Some(("::1", 8883))),
            ("", None),
            ("gateway", None),
            (":8883", None),
            ("::1:8883", None),
            ("a:0", None),
            ("a:65536", None),
            ("a b:1", None),
        ] {
            assert_eq!(endpoint(text.as_bytes()), found, "{text}");
        }
        assert_eq!(endpoint(b"\xff:1"), None);
    }
}
