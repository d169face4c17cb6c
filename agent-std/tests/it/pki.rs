//! A PKI for tests: CAs, server certificates good and bad, device identities, trust bundles.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use muster_protocol::message;
use muster_protocol::pki::{KeyFingerprint, PublicKey};
use muster_protocol::signed::{self, DOMAIN, Kind};
use muster_protocol::trust::{self, GatewayAddress, Policy, TrustBundle};
use muster_protocol::{DeviceId, FleetId, Identity};
use p256::ecdsa::SigningKey;
use p256::ecdsa::signature::Signer as _;
use rand_core::OsRng;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SignatureAlgorithm,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

pub(crate) const FLEET: &str = "acme";

/// A CA with its key.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
}

/// A leaf with its key.
pub(crate) struct Leaf {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Leaf {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()))
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    pub(crate) fn signing_key(&self) -> SigningKey {
        use p256::pkcs8::DecodePrivateKey as _;
        SigningKey::from_pkcs8_der(&self.key.serialize_der()).unwrap()
    }
}

/// When a certificate is valid, around now.
#[derive(Clone, Copy)]
pub(crate) enum Life {
    Good,
    Expired,
}

impl Ca {
    pub(crate) fn new(name: &str, path_len: Option<u8>) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, path_len);
        let der = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    pub(crate) fn below(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, Some(0));
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), der }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.der.to_vec()
    }

    /// A gateway's server certificate for these names.
    pub(crate) fn server(&self, names: &[&str], life: Life) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.leaf(params, life)
    }

    /// A device's operational certificate, as a leaf with a key of its own.
    pub(crate) fn device(&self, device: &str, life: Life) -> Leaf {
        let mut params = device_params(device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.leaf(params, life)
    }

    /// A device's operational certificate for a key that it made itself.
    pub(crate) fn issue(&self, device: &str, key: &PublicKey, life: Life) -> Vec<u8> {
        let mut params = device_params(device);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        finish(&mut params, life);
        params.signed_by(&Point(*key.as_sec1()), &self.issuer).unwrap().der().to_vec()
    }

    fn leaf(&self, mut params: CertificateParams, life: Life) -> Leaf {
        finish(&mut params, life);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { chain: vec![leaf.der().clone()], key }
    }
}

/// Everything of one fleet.
pub(crate) struct Fleet {
    pub(crate) gateway_ca: Ca,
    pub(crate) device_ca: Ca,
    factory: Ca,
    root: SigningKey,
    backup: SigningKey,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        Self {
            gateway_ca: Ca::new("gateway CA", Some(0)),
            device_ca: Ca::new("device CA", Some(0)),
            factory: Ca::new("factory root", None).below("factory line"),
            root: SigningKey::random(&mut OsRng),
            backup: SigningKey::random(&mut OsRng),
        }
    }

    /// A signed bundle that trusts these CAs.
    pub(crate) fn bundle(&self, number: u32, cas: &[&[u8]], mqtt_port: u16, https_port: u16) -> Vec<u8> {
        let host = heapless::String::try_from("127.0.0.1").unwrap();
        let bundle = TrustBundle {
            fleet: FleetId::new(FLEET).unwrap(),
            number,
            gateway_cas: cas.iter().copied().collect(),
            gateways: [GatewayAddress { host, mqtt_port, https_port }].into_iter().collect(),
            policy: Policy::default(),
            next_pins: None,
        };
        // The envelope of a message is one byte before the same postcard.
        let body = message::encode(&bundle).unwrap()[1..].to_vec();
        let header = signed::header(Kind::TrustBundle, trust::VERSION, u32::try_from(body.len()).unwrap());
        let signature: p256::ecdsa::Signature = self.root.sign(&[DOMAIN, &header[..], &body].concat());
        let signer = self.root.verifying_key().to_encoded_point(false);
        [&header[..], &body, &[1], signer.as_bytes(), &signature.to_bytes()].concat()
    }

    /// A fleet file with this bundle.
    pub(crate) fn fleet_file(&self, bundle: &[u8]) -> Vec<u8> {
        let pin = |key: &SigningKey| -> KeyFingerprint {
            PublicKey::from_sec1(key.verifying_key().to_encoded_point(false).as_bytes()).unwrap().fingerprint()
        };
        [&pin(&self.root).0[..], &pin(&self.backup).0, bundle].concat()
    }

    /// Writes an identity folder as the factory does.
    pub(crate) fn make_identity(&self, folder: &Path, device: &str, fleet_file: &[u8]) {
        fs::create_dir_all(folder).unwrap();
        let leaf = self.factory.leaf(device_params(device), Life::Good);
        let pem = |der: &[u8]| {
            let base64 = base64(der);
            format!("-----BEGIN CERTIFICATE-----\n{base64}\n-----END CERTIFICATE-----\n")
        };
        fs::write(folder.join("idevid.crt"), pem(&leaf.chain[0]) + &pem(&self.factory.der)).unwrap();
        fs::write(folder.join("idevid.key"), leaf.key_pem()).unwrap();
        fs::set_permissions(folder.join("idevid.key"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(folder.join("fleet.muster"), fleet_file).unwrap();
    }
}

pub(crate) fn identity(device: &str) -> Identity {
    Identity::device(FleetId::new(FLEET).unwrap(), DeviceId::new(device).unwrap())
}

pub(crate) fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn ca_params(name: &str, path_len: Option<u8>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(path_len.map_or(BasicConstraints::Unconstrained, BasicConstraints::Constrained));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.use_authority_key_identifier_extension = true;
    params
}

fn device_params(device: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), device);
    params.subject_alt_names = vec![SanType::URI(identity(device).to_san().as_str().try_into().unwrap())];
    params
}

fn finish(params: &mut CertificateParams, life: Life) {
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let at = |secs: u64| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(secs);
    let (from, to) = match life {
        Life::Good => (now_secs() - 3600, now_secs() + 7 * 86_400),
        Life::Expired => (now_secs() - 7200, now_secs() - 3600),
    };
    (params.not_before, params.not_after) = (at(from), at(to));
}

struct Point([u8; 65]);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - group.len()));
        for index in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * index) & 0x3f) as usize]);
            text.push(if index <= group.len() { letter } else { '=' });
        }
    }
    text
}
