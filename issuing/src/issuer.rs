//! A certification authority: a certificate, its key, and what it issues.
//!
//! Every certificate is linted against its profile, and judged with the code that the peers will use, before it leaves:
//! a mistake here stops the line instead of reaching a device.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr as _;

use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::extension::SubjectAltName;
use muster_protocol::pki::key::PublicKey;
use muster_protocol::pki::lint::{lint, lint_issued_by};
use muster_protocol::pki::profile::{BACKDATE_SECS, Profile};
use muster_protocol::pki::serial::Serial;
use muster_protocol::pki::{
    ClientAnchors, ECDSA_P256_SHA256, GatewayClock, Role, TrustAnchor, verify_client, verify_gateway, verify_issuing_ca,
};
use muster_protocol::{Code, Identity, UnixTime};
use rand_core::{OsRng, RngCore as _};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;

use crate::key::KeyPair;

/// X.520 serialNumber (RFC 5280, appendix A.1).
const OID_SERIAL_NUMBER: [u64; 4] = [2, 5, 4, 5];

/// Why there is no certificate.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// This CA does not make certificates of this kind, or not for this identity.
    #[error("a {0} CA does not issue this certificate")]
    WrongProfile(&'static str),
    /// A server name is neither a DNS name nor an IP address.
    #[error("{0} is neither a DNS name nor an IP address")]
    Name(String),
    /// The CA's own life is over, or the certificate's would outlast it.
    #[error("the CA is not valid long enough for this certificate")]
    Validity,
    /// The CA's certificate does not fit its key or its profile.
    #[error("the CA's certificate does not fit: {0}")]
    Authority(Code),
    /// What was made breaks its profile; it was thrown away.
    #[error("the certificate breaks rule {rule} ({section}); it was thrown away")]
    Lint {
        /// Stable id of the rule.
        rule: &'static str,
        /// Where the rule stands.
        section: &'static str,
    },
    /// What was made does not verify; it was thrown away.
    #[error("the certificate does not verify ({0}); it was thrown away")]
    Verify(Code),
    /// The system has no randomness to give.
    #[error("the system's random source failed")]
    Random,
    /// Encoding failed.
    #[error("the certificate could not be encoded: {0}")]
    Encoding(String),
}

/// A CA with its key.
pub struct Issuer {
    profile: Profile,
    certificate: Vec<u8>,
    key: KeyPair,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Issuer({}, {:?})", self.profile.name(), self.key)
    }
}

impl Issuer {
    /// Makes a self-signed CA of `profile`, called `name`.
    pub fn create(profile: Profile, name: &str, key: KeyPair, now: UnixTime) -> Result<Self, IssueError> {
        if !profile.is_self_signed() {
            return Err(IssueError::WrongProfile(profile.name()));
        }
        let validity = Validity::of(profile, now, UnixTime(0));
        let mut params = params(profile, validity)?;
        params.distinguished_name = common_name(name);
        let certificate = params.self_signed(&Signer(&key)).map_err(encoding)?.der().to_vec();
        let issuer = Self { profile, certificate, key };
        issuer.check(profile, &issuer.certificate)?;
        Ok(issuer)
    }

    /// Opens a CA of `profile` from its certificate and key; both have to belong together and follow the profile.
    pub fn open(profile: Profile, certificate: Vec<u8>, key: KeyPair) -> Result<Self, IssueError> {
        let view = Certificate::parse(&certificate).map_err(IssueError::Authority)?;
        if view.public_key().map_err(IssueError::Authority)? != key.public_key() {
            return Err(IssueError::Authority(Code::CertificateProfile));
        }
        if let Some(finding) = lint(&view, profile).first() {
            return Err(IssueError::Lint { rule: finding.rule, section: finding.section });
        }
        Ok(Self { profile, certificate, key })
    }

    /// Its certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// Its key, for signing documents.
    #[must_use]
    pub const fn key(&self) -> &KeyPair {
        &self.key
    }

    /// A certificate of `profile` for an identity and its key, with the profile's life.
    pub fn issue(
        &self,
        profile: Profile,
        identity: &Identity,
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<Vec<u8>, IssueError> {
        let validity = self.validity(profile, now)?;
        self.issue_with(profile, identity, key, validity)
    }

    /// The same, from and to the given times.
    pub fn issue_with(
        &self,
        profile: Profile,
        identity: &Identity,
        key: &PublicKey,
        validity: Validity,
    ) -> Result<Vec<u8>, IssueError> {
        if !profile.is_for(identity) {
            return Err(IssueError::WrongProfile(self.profile.name()));
        }
        let mut params = params(profile, validity)?;
        params.distinguished_name = subject(identity);
        let uri = identity.to_san().as_str().try_into().map_err(encoding)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        self.sign(profile, &params, key)
    }

    /// The server certificate of a gateway, for all of `names`, DNS names or IP addresses.
    pub fn issue_server(&self, names: &[String], key: &PublicKey, now: UnixTime) -> Result<Vec<u8>, IssueError> {
        let validity = self.validity(Profile::GatewayServer, now)?;
        self.issue_server_with(names, key, validity)
    }

    /// The same, from and to the given times.
    pub fn issue_server_with(
        &self,
        names: &[String],
        key: &PublicKey,
        validity: Validity,
    ) -> Result<Vec<u8>, IssueError> {
        if names.is_empty() {
            return Err(IssueError::Name(String::new()));
        }
        let mut params = params(Profile::GatewayServer, validity)?;
        // Never a domain name: peers look at the SAN alone (RFC 9525, section 2).
        params.distinguished_name = common_name("muster gateway");
        for name in names {
            params.subject_alt_names.push(match IpAddr::from_str(name) {
                Ok(address) => SanType::IpAddress(address),
                Err(_) if is_dns_name(name) => {
                    SanType::DnsName(name.as_str().try_into().map_err(|_| IssueError::Name(name.clone()))?)
                }
                Err(_) => return Err(IssueError::Name(name.clone())),
            });
        }
        self.sign(Profile::GatewayServer, &params, key)
    }

    /// A CA under this one, called `name`.
    pub fn issue_ca(
        &self,
        profile: Profile,
        name: &str,
        key: &PublicKey,
        now: UnixTime,
    ) -> Result<Vec<u8>, IssueError> {
        if !profile.is_ca() || profile.is_self_signed() {
            return Err(IssueError::WrongProfile(self.profile.name()));
        }
        let mut params = params(profile, self.validity(profile, now)?)?;
        params.distinguished_name = common_name(name);
        self.sign(profile, &params, key)
    }

    fn sign(&self, profile: Profile, params: &CertificateParams, key: &PublicKey) -> Result<Vec<u8>, IssueError> {
        if profile.issuer() != self.profile {
            return Err(IssueError::WrongProfile(self.profile.name()));
        }
        let own = CertificateDer::from(self.certificate.as_slice());
        let issuer = rcgen::Issuer::from_ca_cert_der(&own, Signer(&self.key)).map_err(encoding)?;
        let certificate = params.signed_by(&Subject(key), &issuer).map_err(encoding)?.der().to_vec();
        self.check(profile, &certificate)?;
        if Certificate::parse(&certificate).and_then(|made| made.public_key()) != Ok(*key) {
            return Err(IssueError::Verify(Code::CertificateProfile));
        }
        Ok(certificate)
    }

    /// Lints and verifies what was made.
    fn check(&self, profile: Profile, der: &[u8]) -> Result<(), IssueError> {
        let made = Certificate::parse(der).map_err(IssueError::Verify)?;
        let own = Certificate::parse(&self.certificate).map_err(IssueError::Verify)?;
        let findings = lint(&made, profile);
        let relation = lint_issued_by(&made, &own);
        if let Some(finding) = findings.first().or(relation.first()) {
            return Err(IssueError::Lint { rule: finding.rule, section: finding.section });
        }
        self.check_as_a_peer(profile, &made).map_err(IssueError::Verify)
    }

    /// Judges what was made with the code of those who will see it, this CA being all that they trust.
    fn check_as_a_peer(&self, profile: Profile, made: &Certificate<'_>) -> Result<(), Code> {
        let der = made.der();
        let now = made.not_before();
        let anchors = [TrustAnchor::from_der(&self.certificate)?];
        let (group, expected) = match profile {
            Profile::Idevid => (ClientAnchors { factory: &anchors, ..ClientAnchors::default() }, Role::Idevid),
            Profile::Ldevid => (ClientAnchors { device: &anchors, ..ClientAnchors::default() }, Role::Ldevid),
            Profile::Service => (ClientAnchors { operator: &anchors, ..ClientAnchors::default() }, Role::Service),
            Profile::Operator => (ClientAnchors { operator: &anchors, ..ClientAnchors::default() }, Role::Operator),
            Profile::GatewayServer => {
                let clock = GatewayClock { floor: now, civil: None };
                let verify = |name: &str| {
                    verify_gateway(&[der], &[&self.certificate], name, clock, &[ECDSA_P256_SHA256]).map(|_| ())
                };
                return made.subject_alt_names().try_for_each(|name| match name {
                    SubjectAltName::Dns(name) => verify(name),
                    SubjectAltName::Ip(octets) => verify(&address(octets)?.to_string()),
                    _ => Err(Code::CertificateProfile),
                });
            }
            Profile::FactoryIssuing => return verify_issuing_ca(der, &anchors, now).map(|_| ()),
            _ => return TrustAnchor::from_der(der).map(|_| ()),
        };
        let identity = made.identity()?;
        let client = verify_client(&[der], &group, identity.fleet(), now, &[ECDSA_P256_SHA256])?;
        if client.role() == expected { Ok(()) } else { Err(Code::CertificateProfile) }
    }

    /// The profile's life from `now`, inside this CA's own.
    fn validity(&self, profile: Profile, now: UnixTime) -> Result<Validity, IssueError> {
        let own = Certificate::parse(&self.certificate).map_err(IssueError::Authority)?;
        let validity = Validity::of(profile, now, own.not_before());
        if now > own.not_after() {
            return Err(IssueError::Validity);
        }
        Ok(Validity { not_after: validity.not_after.min(own.not_after()), ..validity })
    }
}

/// From when to when, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
}

impl Validity {
    /// The profile's life from `now`, backdated a little since clocks are not all the same, but not before `earliest`.
    #[must_use]
    pub fn of(profile: Profile, now: UnixTime, earliest: UnixTime) -> Self {
        let not_before = UnixTime(now.0.saturating_sub(BACKDATE_SECS)).max(earliest);
        Self { not_before, not_after: profile.life().end(now) }
    }
}

fn params(profile: Profile, validity: Validity) -> Result<CertificateParams, IssueError> {
    use muster_protocol::pki::extension::KeyUsage;
    let mut random = [0; 16];
    OsRng.try_fill_bytes(&mut random).map_err(|_| IssueError::Random)?;
    let date = |time: UnixTime| {
        let seconds = i64::try_from(time.0).map_err(|_| IssueError::Validity)?;
        OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| IssueError::Validity)
    };
    if validity.not_before > validity.not_after {
        return Err(IssueError::Validity);
    }
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from_slice(Serial::from_random(random).as_bytes()));
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.is_ca = match (profile.is_ca(), profile.path_len()) {
        (false, _) => IsCa::NoCa,
        (true, None) => IsCa::Ca(BasicConstraints::Unconstrained),
        (true, Some(length)) => IsCa::Ca(BasicConstraints::Constrained(length)),
    };
    let usage = profile.key_usage();
    params.key_usages = [
        (KeyUsage::DIGITAL_SIGNATURE, KeyUsagePurpose::DigitalSignature),
        (KeyUsage::KEY_CERT_SIGN, KeyUsagePurpose::KeyCertSign),
        (KeyUsage::CRL_SIGN, KeyUsagePurpose::CrlSign),
    ]
    .into_iter()
    .filter_map(|(bit, purpose)| usage.contains(bit).then_some(purpose))
    .collect();
    params.extended_key_usages = match profile {
        Profile::Ldevid | Profile::Service | Profile::Operator => vec![ExtendedKeyUsagePurpose::ClientAuth],
        Profile::GatewayServer => vec![ExtendedKeyUsagePurpose::ServerAuth],
        _ => Vec::new(),
    };
    params.use_authority_key_identifier_extension = !profile.is_self_signed();
    Ok(params)
}

fn common_name(name: &str) -> DistinguishedName {
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, name);
    subject
}

/// A device has its id as X.520 serialNumber (IEEE 802.1AR), everybody else a common name.
fn subject(identity: &Identity) -> DistinguishedName {
    let name = identity.name().as_str();
    let Identity::Device { .. } = identity else {
        return common_name(name);
    };
    // A PrintableString has no underscore; an id with one is written as UTF-8.
    let value = match name.try_into() {
        Ok(printable) => rcgen::DnValue::PrintableString(printable),
        Err(_) => rcgen::DnValue::Utf8String(name.to_owned()),
    };
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CustomDnType(OID_SERIAL_NUMBER.to_vec()), value);
    subject
}

/// The address of an iPAddress SAN.
fn address(octets: &[u8]) -> Result<IpAddr, Code> {
    let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from)).map_err(|_| Code::CertificateProfile)
}

/// Letters, digits and inner dashes between dots (RFC 1123, section 2.1).
fn is_dns_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn encoding(error: rcgen::Error) -> IssueError {
    IssueError::Encoding(error.to_string())
}

struct Signer<'a>(&'a KeyPair);

impl PublicKeyData for Signer<'_> {
    fn der_bytes(&self) -> &[u8] {
        // rcgen wants the point; it lives as long as the key pair.
        self.0.public_key_ref().as_sec1()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for Signer<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_der().to_vec())
    }
}

struct Subject<'a>(&'a PublicKey);

impl PublicKeyData for Subject<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.as_sec1()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}
