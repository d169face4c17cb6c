//! Makes certificates on a host with rcgen: good ones of every kind, and any fault that a test asks for.

use std::time::Duration;

use muster_protocol::pki::{PublicKey, Signature};
use muster_protocol::{DeviceId, FleetId, Identity, UnixTime};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};

/// 2026-01-01T00:00:00Z, the moment at which tests judge.
pub(crate) const NOW: UnixTime = UnixTime(1_767_225_600);
pub(crate) const DAY: u64 = 86_400;

pub(crate) fn fleet() -> FleetId {
    FleetId::new("acme").unwrap()
}

pub(crate) fn device() -> Identity {
    Identity::device(fleet(), DeviceId::new("dev-1").unwrap())
}

pub(crate) fn identity(uri: &str) -> Identity {
    Identity::from_san(uri).unwrap()
}

/// A P-256 key that follows from a number.
#[derive(Clone)]
pub(crate) struct Key {
    secret: SigningKey,
    point: Vec<u8>,
}

impl Key {
    pub(crate) fn new(number: u8) -> Self {
        let mut scalar = [number; 32];
        scalar[0] = 1;
        let secret = SigningKey::from_slice(&scalar).unwrap();
        let point = secret.verifying_key().to_encoded_point(false).as_bytes().to_vec();
        Self { secret, point }
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey::from_sec1(&self.point).unwrap()
    }

    pub(crate) fn sign_bytes(&self, message: &[u8]) -> Signature {
        let signature: p256::ecdsa::Signature = self.secret.sign(message);
        Signature::from_slice(&signature.to_bytes()).unwrap()
    }
}

impl PublicKeyData for Key {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.sign_bytes(message).to_der().to_vec())
    }
}

/// A certificate in the making.
#[derive(Clone)]
pub(crate) struct Recipe(pub(super) CertificateParams);

fn blank() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.serial_number = Some(SerialNumber::from_slice(&[0x5a; 16]));
    params
}

impl Recipe {
    /// A CA valid from 2020 to 2040.
    pub(crate) fn ca(name: &str, path_len: Option<u8>) -> Self {
        let mut params = blank();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Self(params).valid(NOW.0 - 2190 * DAY, NOW.0 + 5000 * DAY)
    }

    /// An end entity with one SAN, valid for a week around [`NOW`], without key purposes.
    pub(crate) fn leaf(uri: &str) -> Self {
        let mut params = blank();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        params.distinguished_name.push(
            DnType::CustomDnType(vec![2, 5, 4, 5]),
            rcgen::DnValue::PrintableString(uri.rsplit(':').next().unwrap().try_into().unwrap()),
        );
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Self(params).valid(NOW.0 - DAY, NOW.0 + 6 * DAY)
    }

    pub(crate) fn client(uri: &str) -> Self {
        Self::leaf(uri).purposes(&[ExtendedKeyUsagePurpose::ClientAuth])
    }

    pub(crate) fn server(names: &[&str]) -> Self {
        let mut recipe = Self::leaf("urn:x:gateway").purposes(&[ExtendedKeyUsagePurpose::ServerAuth]);
        recipe.0.subject_alt_names = names
            .iter()
            .map(|name| match name.parse() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*name).try_into().unwrap()),
            })
            .collect();
        recipe.0.distinguished_name = DistinguishedName::new();
        recipe.0.distinguished_name.push(DnType::CommonName, "gateway");
        recipe
    }

    pub(crate) fn valid(mut self, not_before: u64, not_after: u64) -> Self {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        self.0.not_before = epoch + Duration::from_secs(not_before);
        self.0.not_after = epoch + Duration::from_secs(not_after);
        self
    }

    pub(crate) fn purposes(mut self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        self.0.extended_key_usages = purposes.to_vec();
        self
    }

    pub(crate) fn usages(mut self, usages: &[KeyUsagePurpose]) -> Self {
        self.0.key_usages = usages.to_vec();
        self
    }

    pub(crate) fn sans(mut self, names: &[SanType]) -> Self {
        self.0.subject_alt_names = names.to_vec();
        self
    }

    pub(crate) fn serial(mut self, content: &[u8]) -> Self {
        self.0.serial_number = Some(SerialNumber::from_slice(content));
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.0);
        self
    }

    /// An extension that nobody knows.
    pub(crate) fn unknown_extension(self, criticality: Criticality) -> Self {
        self.with(|params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0x05, 0x00]);
            extension.set_criticality(criticality == Criticality::Critical);
            params.custom_extensions.push(extension);
        })
    }

    pub(crate) fn self_signed(&self, key: &Key) -> Vec<u8> {
        self.0.self_signed(key).unwrap().der().to_vec()
    }

    pub(crate) fn signed_by(&self, key: &impl PublicKeyData, issuer: &Ca) -> Vec<u8> {
        let issuer = Issuer::from_params(&issuer.recipe.0, issuer.key.clone());
        self.0.signed_by(key, &issuer).unwrap().der().to_vec()
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Criticality {
    Critical,
    Ordinary,
}

/// A CA with its certificate.
#[derive(Clone)]
pub(crate) struct Ca {
    pub(crate) recipe: Recipe,
    pub(crate) key: Key,
    pub(crate) der: Vec<u8>,
}

impl Ca {
    pub(crate) fn root(recipe: Recipe, key: Key) -> Self {
        let der = recipe.self_signed(&key);
        Self { recipe, key, der }
    }

    pub(crate) fn under(issuer: &Self, recipe: Recipe, key: Key) -> Self {
        let recipe = recipe.with(|params| params.use_authority_key_identifier_extension = true);
        let der = recipe.signed_by(&key, issuer);
        Self { recipe, key, der }
    }
}

/// The CAs of one fleet.
pub(crate) struct World {
    pub(crate) factory_root: Ca,
    pub(crate) factory: Ca,
    pub(crate) device_ca: Ca,
    pub(crate) operator_ca: Ca,
    pub(crate) gateway_ca: Ca,
}

impl World {
    pub(crate) fn new() -> Self {
        let factory_root = Ca::root(Recipe::ca("factory root", None), Key::new(1));
        let factory = Ca::under(&factory_root, Recipe::ca("factory line 1", Some(0)), Key::new(2));
        Self {
            factory_root,
            factory,
            device_ca: Ca::root(Recipe::ca("device CA", Some(0)), Key::new(3)),
            operator_ca: Ca::root(Recipe::ca("operator CA", Some(0)), Key::new(4)),
            gateway_ca: Ca::root(Recipe::ca("gateway CA", Some(0)), Key::new(5)),
        }
    }
}

/// Replaces the one place where `from` stands by `to`, of the same length.
pub(crate) fn patch(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let places: Vec<_> = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).collect();
    assert_eq!(places.len(), 1, "{from:02x?} stands there {} times", places.len());
    let start = places[0].0;
    let mut patched = bytes.to_vec();
    patched[start..start + from.len()].copy_from_slice(to);
    patched
}

/// Takes the signature off a certificate or request of ours, changes the signed part, and signs it anew.
pub(crate) fn forge(der: &[u8], key: &Key, change: impl FnOnce(&[u8]) -> Vec<u8>) -> Vec<u8> {
    let header = if der[1] == 0x82 { 4 } else { 3 };
    let body = &der[header..];
    let (inner_header, length) = match body[1] {
        0x82 => (4, usize::from(body[2]) << 8 | usize::from(body[3])),
        0x81 => (3, usize::from(body[2])),
        short => (2, usize::from(short)),
    };
    let changed = change(&body[..inner_header + length]);
    signed(&changed, key)
}

/// `SEQUENCE { part, ecdsa-with-SHA256, signature }`.
pub(crate) fn signed(part: &[u8], key: &Key) -> Vec<u8> {
    let mut content = part.to_vec();
    content.extend([0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]);
    let mut signature = vec![0];
    signature.extend_from_slice(&key.sign_bytes(part).to_der());
    content.extend(tlv(0x03, &signature));
    tlv(0x30, &content)
}

pub(crate) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match u16::try_from(content.len()).unwrap().to_be_bytes() {
        [0, low @ 0..=0x7f] => bytes.push(low),
        [0, low] => bytes.extend([0x81, low]),
        [high, low] => bytes.extend([0x82, high, low]),
    }
    bytes.extend_from_slice(content);
    bytes
}
