//! Certificates on a host with rcgen: good ones of every kind, and any fault that a case asks for.

use std::time::Duration;

use muster_protocol::pki::PublicKey;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SanType, SerialNumber,
};

use super::{DAY, NOW};
use crate::test_pki::TestKey;

/// A P-256 key that follows from a number.
#[derive(Clone)]
pub struct CorpusKey(TestKey);

impl CorpusKey {
    /// The key of a number.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(TestKey::new("corpus", number))
    }

    /// The key pair.
    #[must_use]
    pub const fn pair(&self) -> &TestKey {
        &self.0
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        self.0.public()
    }
}

impl From<TestKey> for CorpusKey {
    fn from(key: TestKey) -> Self {
        Self(key)
    }
}

impl PublicKeyData for CorpusKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.public().as_sec1()
    }

    fn algorithm(&self) -> &'static rcgen::SignatureAlgorithm {
        &PKCS_ECDSA_P256_SHA256
    }
}

impl rcgen::SigningKey for CorpusKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        Ok(self.0.sign(message).to_der().to_vec())
    }
}

/// A certificate in the making.
#[derive(Clone)]
pub(super) struct Recipe(CertificateParams);

impl Recipe {
    fn blank() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.serial_number = Some(SerialNumber::from_slice(&[0x5a; 16]));
        params
    }

    /// A CA valid from 2020 to 2039.
    pub(super) fn ca(name: &str, path_len: Option<u8>) -> Self {
        let mut params = Self::blank();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
        params.key_usages =
            vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
        Self(params).valid(NOW.0 - 2190 * DAY, NOW.0 + 5000 * DAY)
    }

    fn leaf(sans: Vec<SanType>) -> Self {
        let mut params = Self::blank();
        params.subject_alt_names = sans;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        Self(params).valid(NOW.0 - DAY, NOW.0 + 6 * DAY)
    }

    /// An end entity with one SAN and no key purpose: an IDevID.
    pub(super) fn device(uri: &str) -> Self {
        let name = uri.rsplit(':').next().unwrap_or_default();
        Self::leaf(vec![self::uri(uri)]).with(|params| {
            let text = DnValue::PrintableString(name.try_into().expect("a printable name"));
            params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), text);
        })
    }

    /// The same for clientAuth.
    pub(super) fn client(uri: &str) -> Self {
        Self::device(uri).purposes(&[ExtendedKeyUsagePurpose::ClientAuth])
    }

    /// A server with these names.
    pub(super) fn server(names: &[&str]) -> Self {
        let sans = names.iter().map(|name| name.parse().map_or_else(|_| dns(name), SanType::IpAddress)).collect();
        Self::leaf(sans).purposes(&[ExtendedKeyUsagePurpose::ServerAuth]).common_name("gateway")
    }

    pub(super) fn common_name(self, name: &str) -> Self {
        self.with(|params| {
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
        })
    }

    pub(super) fn valid(self, not_before: u64, not_after: u64) -> Self {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        self.with(|params| {
            params.not_before = epoch + Duration::from_secs(not_before);
            params.not_after = epoch + Duration::from_secs(not_after);
        })
    }

    pub(super) fn purposes(self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        self.with(|params| params.extended_key_usages = purposes.to_vec())
    }

    pub(super) fn usages(self, usages: &[KeyUsagePurpose]) -> Self {
        self.with(|params| params.key_usages = usages.to_vec())
    }

    pub(super) fn sans(self, names: &[SanType]) -> Self {
        self.with(|params| params.subject_alt_names = names.to_vec())
    }

    pub(super) fn serial(self, content: &[u8]) -> Self {
        self.with(|params| params.serial_number = Some(SerialNumber::from_slice(content)))
    }

    pub(super) fn constraints(self, constraints: IsCa) -> Self {
        self.with(|params| params.is_ca = constraints)
    }

    /// An extension that nobody knows, marked critical.
    pub(super) fn unknown_critical(self) -> Self {
        self.unknown(|extension| extension.set_criticality(true))
    }

    /// An extension that nobody has to know.
    pub(super) fn unknown_ordinary(self) -> Self {
        self.unknown(|_| ())
    }

    fn unknown(self, mark: impl FnOnce(&mut CustomExtension)) -> Self {
        self.with(|params| {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![0x05, 0x00]);
            mark(&mut extension);
            params.custom_extensions.push(extension);
        })
    }

    pub(super) fn with(mut self, change: impl FnOnce(&mut CertificateParams)) -> Self {
        change(&mut self.0);
        self
    }

    pub(super) fn self_signed(&self, key: &CorpusKey) -> Vec<u8> {
        self.0.self_signed(key).expect("a certificate").der().to_vec()
    }

    pub(super) fn signed_by(&self, key: &impl PublicKeyData, issuer: &Authority) -> Vec<u8> {
        let issuer = Issuer::from_params(&issuer.recipe.0, issuer.key.clone());
        self.0.signed_by(key, &issuer).expect("a certificate").der().to_vec()
    }
}

pub(super) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("an URI"))
}

pub(super) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("a DNS name"))
}

/// Who signs, with its certificate.
#[derive(Clone)]
pub struct Authority {
    recipe: Recipe,
    key: CorpusKey,
    der: Vec<u8>,
}

impl Authority {
    pub(super) fn root(recipe: Recipe, key: CorpusKey) -> Self {
        let der = recipe.self_signed(&key);
        Self { recipe, key, der }
    }

    pub(super) fn under(issuer: &Self, recipe: Recipe, key: CorpusKey) -> Self {
        let recipe = recipe.with(|params| params.use_authority_key_identifier_extension = true);
        let der = recipe.signed_by(&key, issuer);
        Self { recipe, key, der }
    }

    /// Somebody whose key was stolen: what it signs names `name` as issuer.
    pub(super) fn stolen(name: &str, key: TestKey, der: Vec<u8>) -> Self {
        Self { recipe: Recipe::ca(name, None), key: key.into(), der }
    }

    /// Its certificate, DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn pair(&self) -> &TestKey {
        self.key.pair()
    }

    /// The common name of its subject.
    pub(super) fn name(&self) -> &str {
        match self.recipe.0.distinguished_name.get(&DnType::CommonName) {
            Some(DnValue::Utf8String(name)) => name,
            _ => "",
        }
    }
}

/// The CAs of the corpus.
pub struct World {
    /// Offline root of a factory.
    pub factory_root: Authority,
    /// Its issuing CA.
    pub factory: Authority,
    /// Issues LDevIDs.
    pub device_ca: Authority,
    /// Issues services and operators.
    pub operator_ca: Authority,
    /// Issues the gateway's certificate; pathLen 0.
    pub gateway_ca: Authority,
    /// A second gateway CA of the bundle, which may have CAs below it.
    pub gateway_root: Authority,
    /// The gateway CA that is being replaced: expired as a certificate, in force as an anchor.
    pub gateway_old: Authority,
}

impl World {
    /// Always the same one.
    #[must_use]
    pub fn new() -> Self {
        let factory_root = Authority::root(Recipe::ca("factory root", None), CorpusKey::new(1));
        let factory = Authority::under(&factory_root, Recipe::ca("factory line 1", Some(0)), CorpusKey::new(2));
        let old = Recipe::ca("gateway CA 0", Some(0)).valid(NOW.0 - 2190 * DAY, NOW.0 - 365 * DAY);
        Self {
            factory_root,
            factory,
            device_ca: Authority::root(Recipe::ca("device CA", Some(0)), CorpusKey::new(3)),
            operator_ca: Authority::root(Recipe::ca("operator CA", Some(0)), CorpusKey::new(4)),
            gateway_ca: Authority::root(Recipe::ca("gateway CA", Some(0)), CorpusKey::new(5)),
            gateway_root: Authority::root(Recipe::ca("gateway root", None), CorpusKey::new(6)),
            gateway_old: Authority::root(old, CorpusKey::new(7)),
        }
    }

    /// The gateway CAs of the trust bundle, DER.
    #[must_use]
    pub fn gateway_cas(&self) -> [&[u8]; 3] {
        [self.gateway_ca.der(), self.gateway_root.der(), self.gateway_old.der()]
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
