//! Who connects: a device, a service or an operator, by the group of anchors that verified and the SAN's shape.

use rustls_pki_types::SignatureVerificationAlgorithm;

use super::{Presented, Usage};
use crate::code::Code;
use crate::device_id::{DeviceId, FleetId, Identity};
use crate::pki::key::{KeyFingerprint, PublicKey};
use crate::pki::serial::Serial;
use crate::pki::trust_anchor::TrustAnchor;
use crate::time::UnixTime;

/// The CAs whose certificates may connect, by what they are for. No CA may be in two groups.
#[derive(Clone, Copy, Debug, Default)]
pub struct ClientAnchors<'a> {
    /// Factory CAs: IDevIDs.
    pub factory: &'a [TrustAnchor<'a>],
    /// Device CAs of the gateway: LDevIDs.
    pub device: &'a [TrustAnchor<'a>],
    /// Operator CAs: services and operators.
    pub operator: &'a [TrustAnchor<'a>],
}

/// As what a client connects.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Role {
    /// A device with its identity from the factory: it may enrol and nothing else.
    Idevid,
    /// A device with an operational certificate.
    Ldevid,
    /// A back-end service.
    Service,
    /// A person who operates the fleet.
    Operator,
}

/// Evidence that a client's chain was checked. Only [`verify_client`] makes it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedClient {
    role: Role,
    identity: Identity,
    serial: Serial,
    public_key: PublicKey,
    issuer_key: PublicKey,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl VerifiedClient {
    /// As what it connects.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// Who it is.
    #[must_use]
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Which device, if it is one.
    #[must_use]
    pub const fn device(&self) -> Option<&DeviceId> {
        match &self.identity {
            Identity::Device { device, .. } => Some(device),
            _ => None,
        }
    }

    /// Serial number of its certificate.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Its key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of its SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.public_key.fingerprint()
    }

    /// Key of the CA that signed its certificate.
    #[must_use]
    pub const fn issuer_key(&self) -> &PublicKey {
        &self.issuer_key
    }

    /// First second of its certificate's validity.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Last second of its certificate's validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Checks a client's chain, leaf first, at `now`. Names of another fleet than `fleet` are refused.
///
/// An IDevID has no key purpose or clientAuth alone; every other role has clientAuth and nothing else.
pub fn verify_client(
    chain: &[&[u8]],
    anchors: &ClientAnchors<'_>,
    fleet: &FleetId,
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<VerifiedClient, Code> {
    let presented = Presented::read(chain)?;
    let (group, path) = find_path(&presented, anchors, now, algorithms)?;
    let public_key = presented.check_end_entity()?;
    if group != Group::Factory || presented.leaf.extended_key_usage().is_some() {
        presented.check_purpose(Usage::Client)?;
    }
    let identity = presented.leaf.identity()?;
    if identity.fleet() != fleet {
        return Err(Code::CertificateWrongFleet);
    }
    let role = match (group, &identity) {
        (Group::Factory, Identity::Device { .. }) => Role::Idevid,
        (Group::Device, Identity::Device { .. }) => Role::Ldevid,
        (Group::Operator, Identity::Service { .. }) => Role::Service,
        (Group::Operator, Identity::Operator { .. }) => Role::Operator,
        _ => return Err(Code::CertificateProfile),
    };
    let leaf = &presented.leaf;
    Ok(VerifiedClient {
        role,
        identity,
        serial: leaf.serial().clone(),
        public_key,
        issuer_key: path.issuer_key,
        not_before: leaf.not_before(),
        not_after: leaf.not_after(),
    })
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Group {
    Factory,
    Device,
    Operator,
}

fn find_path(
    presented: &Presented<'_>,
    anchors: &ClientAnchors<'_>,
    now: UnixTime,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<(Group, super::Path), Code> {
    // The commonest first. Which group is tried when makes no difference to the verdict: no CA is in two groups.
    let groups =
        [(Group::Device, anchors.device), (Group::Factory, anchors.factory), (Group::Operator, anchors.operator)];
    let mut verdict = Code::CertificateUntrusted;
    for (group, anchors) in groups {
        match presented.verify(anchors.iter(), Usage::Client, now, algorithms) {
            Ok(path) => return Ok((group, path)),
            Err(code) if super::rank(code) > super::rank(verdict) => verdict = code,
            Err(_) => {}
        }
    }
    Err(presented.or_self_signed(verdict, algorithms))
}
