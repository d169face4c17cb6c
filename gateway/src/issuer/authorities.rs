//! The gateway's CAs and its fleet, read from the directory: what a running gateway and a command over a stopped one
//! both begin with.

use muster_issuing::KeyPair;
use muster_protocol::FleetId;
use muster_protocol::pki::profile::Profile;
use muster_protocol::trust::{PINS_BYTES, read_fleet_file};

use super::LocalIssuer;
use crate::directory::{self, Authority, Directory, DirectoryError};

/// The CAs that issue to clients, and the certificates of the other one.
#[derive(Clone)]
pub struct Authorities {
    /// Issues LDevIDs.
    pub device: LocalIssuer,
    /// Issues to services and operators.
    pub operator: LocalIssuer,
    /// Certificate of the gateway CA, DER. Its key is not read here: nothing that serves clients needs it.
    pub gateway_certificate: Vec<u8>,
    /// The gateway's own certificate, DER; empty when there is none.
    pub server_certificate: Vec<u8>,
}

/// The fleet, as its file says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fleet {
    /// Its name.
    pub id: FleetId,
    /// Number of the bundle.
    pub bundle_number: u32,
    /// The signed bundle.
    pub bundle: Vec<u8>,
}

/// Why the gateway's own files are not usable.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthorityError {
    /// A file cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A certificate is not one, or does not fit its key or its profile.
    #[error("ca/{stem}.crt and .key are not a CA of this gateway: {why}")]
    Authority {
        /// Which.
        stem: &'static str,
        /// Why.
        why: String,
    },
    /// The fleet file is not what its pins signed.
    #[error("fleet.muster: {0}")]
    Fleet(muster_protocol::Code),
}

impl From<AuthorityError> for muster_terminal::Failure {
    fn from(error: AuthorityError) -> Self {
        match error {
            AuthorityError::Directory(error) => error.into(),
            AuthorityError::Authority { .. } => {
                Self::from_error("directory.authority", "", &error).hint("put the files of the CA back from a copy")
            }
            AuthorityError::Fleet(_) => {
                Self::from_error("directory.fleet", "", &error).hint("put fleet.muster back from a copy")
            }
        }
    }
}

impl Authorities {
    /// Reads the CAs of a directory.
    ///
    /// # Errors
    /// When a file is missing, open to others, or not what it should be.
    pub fn load(directory: &Directory) -> Result<Self, AuthorityError> {
        let server = directory.server_certificate();
        let server_certificate = match directory::read_public(&server) {
            Ok(pem) => certificate(&pem).unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let path = directory.ca_certificate(Authority::Gateway);
        let gateway_certificate = certificate(&directory::read_public(&path)?)
            .ok_or_else(|| unusable(Authority::Gateway, "no certificate in PEM"))?;
        Ok(Self {
            device: open(directory, Authority::Device, Profile::DeviceCa)?,
            operator: open(directory, Authority::Operator, Profile::OperatorCa)?,
            gateway_certificate,
            server_certificate,
        })
    }
}

impl Fleet {
    /// Reads the fleet file of a directory.
    ///
    /// # Errors
    /// When it is missing or its signature does not hold.
    pub fn load(directory: &Directory) -> Result<Self, AuthorityError> {
        let bytes = directory::read_public(&directory.fleet())?;
        let verified = read_fleet_file(&bytes).map_err(AuthorityError::Fleet)?;
        let bundle = bytes.get(PINS_BYTES..).unwrap_or_default().to_vec();
        Ok(Self { id: verified.bundle().fleet.clone(), bundle_number: verified.bundle().number, bundle })
    }
}

fn open(directory: &Directory, authority: Authority, profile: Profile) -> Result<LocalIssuer, AuthorityError> {
    let pem = directory::read_public(&directory.ca_certificate(authority))?;
    let der = certificate(&pem).ok_or_else(|| unusable(authority, "no certificate in PEM"))?;
    let key = directory::read_private(&directory.ca_key(authority))?;
    let key = std::str::from_utf8(key.as_ref()).map_err(|_| unusable(authority, "the key is no PEM"))?;
    let key = KeyPair::from_pem(key).map_err(|error| unusable(authority, &error.to_string()))?;
    let issuer =
        muster_issuing::Issuer::open(profile, der, key).map_err(|error| unusable(authority, &error.to_string()))?;
    Ok(LocalIssuer::new(issuer))
}

fn certificate(pem: &[u8]) -> Option<Vec<u8>> {
    muster_issuing::pem::read_certificates(std::str::from_utf8(pem).ok()?).ok()?.into_iter().next()
}

fn unusable(authority: Authority, why: &str) -> AuthorityError {
    AuthorityError::Authority { stem: authority.stem(), why: why.to_owned() }
}
