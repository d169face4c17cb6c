//! What the factory wrote: the IDevID's certificate chain, its key's place, the fleet file, a gateway address.
//!
//! An identity folder has `idevid.crt` (leaf, then issuing CA, PEM), `idevid.key`, `fleet.muster` (pins and signed
//! trust bundle) and, optionally, `gateway` (HOST:PORT, before all addresses of the bundle). Nothing here is written.

use std::io;
use std::path::{Path, PathBuf};

use muster_protocol::limits::{CHAIN_CERTIFICATES_MAX, HOST_BYTES_MAX};
use muster_protocol::pki::{Certificate, PublicKey};
use muster_protocol::trust;
use muster_protocol::{Code, DeviceId, Identity};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// Where the factory's files lie.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IdentityPaths {
    /// The IDevID's chain.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Pins and first trust bundle.
    pub fleet: PathBuf,
    /// A gateway address; the file may be missing.
    pub gateway: PathBuf,
    /// A gateway address that stands instead of that file.
    pub gateway_instead: Option<Endpoint>,
}

impl IdentityPaths {
    /// The files of an identity folder as the factory makes it.
    #[must_use]
    pub fn in_folder(folder: &Path) -> Self {
        Self {
            certificate: folder.join("idevid.crt"),
            key: folder.join("idevid.key"),
            fleet: folder.join("fleet.muster"),
            gateway: folder.join("gateway"),
            gateway_instead: None,
        }
    }
}

/// A host and its MQTT port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// DNS name or IP address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Endpoint {
    /// Reads `HOST:PORT`; an IPv6 address stands in brackets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.trim().rsplit_once(':')?;
        let host = match host.strip_prefix('[') {
            Some(rest) => rest.strip_suffix(']')?,
            None if host.contains(':') => return None,
            None => host,
        };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let plain =
            !host.is_empty() && host.len() <= HOST_BYTES_MAX && host.bytes().all(|byte| byte.is_ascii_graphic());
        plain.then(|| Self { host: host.to_owned(), port })
    }
}

/// The factory's files, read and checked.
#[derive(Clone, Debug)]
pub struct Factory {
    /// Who the device is: fleet and device id of the IDevID's SAN.
    pub identity: Identity,
    /// The IDevID's chain, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key that the leaf certifies.
    pub public_key: PublicKey,
    /// The fleet file: pins and signed bundle.
    pub fleet: Vec<u8>,
    /// Tried before the bundle's other addresses, in place of its first.
    pub gateway: Option<Endpoint>,
}

/// Why the factory's files cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file has not the form it should have.
    #[error("{} is not usable: {code}", path.display())]
    Unusable {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        code: Code,
    },
    /// The gateway file is no address.
    #[error("{} is not HOST:PORT", path.display())]
    Gateway {
        /// The file.
        path: PathBuf,
    },
    /// The key and the certificate do not belong together.
    #[error("the key does not fit the certificate {}", path.display())]
    OtherKey {
        /// The certificate.
        path: PathBuf,
    },
}

impl Factory {
    /// Reads and checks the files, apart from the key, which its store reads.
    pub fn read(paths: &IdentityPaths) -> Result<Self, IdentityError> {
        let unusable = |path: &Path| {
            let path = path.to_owned();
            move |code| IdentityError::Unusable { path, code }
        };
        let pem = read(&paths.certificate)?;
        let chain = CertificateDer::pem_slice_iter(&pem)
            .take(CHAIN_CERTIFICATES_MAX)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|_| unusable(&paths.certificate)(Code::CertificateMalformed))?;
        let leaf = chain.first().ok_or_else(|| unusable(&paths.certificate)(Code::CertificateMissing))?;
        let (identity, public_key) = device_of(leaf).map_err(unusable(&paths.certificate))?;

        let fleet = read(&paths.fleet)?;
        let of_the_bundle = trust::read_fleet_file(&fleet).map(|verified| verified.bundle().fleet.clone());
        if of_the_bundle.map_err(unusable(&paths.fleet))? != *identity.fleet() {
            return Err(unusable(&paths.fleet)(Code::BundleWrongFleet));
        }
        let gateway = match &paths.gateway_instead {
            Some(gateway) => Some(gateway.clone()),
            None => read_gateway(&paths.gateway)?,
        };
        Ok(Self { identity, chain, public_key, fleet, gateway })
    }

    /// The device id.
    #[must_use]
    pub const fn device(&self) -> &DeviceId {
        self.identity.name()
    }
}

fn device_of(leaf: &[u8]) -> Result<(Identity, PublicKey), Code> {
    let leaf = Certificate::parse(leaf)?;
    match leaf.identity()? {
        identity @ Identity::Device { .. } => Ok((identity, leaf.public_key()?)),
        Identity::Service { .. } | Identity::Operator { .. } => Err(Code::CertificateNoIdentity),
    }
}

fn read_gateway(path: &Path) -> Result<Option<Endpoint>, IdentityError> {
    match read(path) {
        Ok(text) => std::str::from_utf8(&text)
            .ok()
            .and_then(Endpoint::parse)
            .map(Some)
            .ok_or_else(|| IdentityError::Gateway { path: path.to_owned() }),
        Err(IdentityError::Unreadable { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, IdentityError> {
    std::fs::read(path).map_err(|source| IdentityError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_names_or_addresses_with_a_port() {
        for (text, host, port) in [
            ("gateway.example:8883", "gateway.example", 8883),
            (" 127.0.0.1:1 \n", "127.0.0.1", 1),
            ("[::1]:8883", "::1", 8883),
        ] {
            assert_eq!(Endpoint::parse(text), Some(Endpoint { host: host.to_owned(), port }), "{text}");
        }
        for text in ["", "gateway", "gateway:", ":8883", "::1:8883", "[::1:8883", "a:0", "a:65536", "a b:1", "a:1:2"] {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
    }
}
