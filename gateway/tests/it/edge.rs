//! Support for the edge's tests: certificates good and bad, TLS clients, a gateway that runs, MQTT by hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_gateway::admin::Caller;
use muster_gateway::audit::Kinds;
use muster_gateway::directory::{self, Authority, Directory};
use muster_gateway::init::{Plan, init};
use muster_gateway::server::{Gateway, Options};
use muster_gateway::store::{AuditFrom, AuditQuery, Store};
use muster_issuing::issuer::Validity;
use muster_issuing::{Issuer, KeyPair, pem};
use muster_protocol::pki::profile::Profile;
use muster_protocol::{Code, Identity, UnixTime};
use muster_terminal::Password;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{Device, Factory, fleet, id};

pub fn now() -> UnixTime {
    muster_gateway::clock::Clock::system().now()
}

/// What a client shows and signs with; they need not belong together.
#[derive(Clone, Debug)]
pub struct Shown(Option<Arc<CertifiedKey>>);

impl Shown {
    pub fn nothing() -> Self {
        Self(None)
    }

    pub fn new(chain: &[&[u8]], key: &KeyPair) -> Self {
        Self::with_der(chain, key.to_der().unwrap().to_vec())
    }

    pub fn with_der(chain: &[&[u8]], key: Vec<u8>) -> Self {
        let key = PrivateKeyDer::Pkcs8(key.into());
        let signer = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
        let chain = chain.iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        Self(Some(Arc::new(CertifiedKey::new(chain, signer))))
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

pub fn client_config(gateway_ca: &[u8], shown: &Shown, version: &'static SupportedProtocolVersion) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(gateway_ca.to_vec())).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_client_cert_resolver(Arc::new(shown.clone()))
}

pub fn tls13(gateway_ca: &[u8], shown: &Shown) -> TlsConnector {
    TlsConnector::from(Arc::new(client_config(gateway_ca, shown, &rustls::version::TLS13)))
}

pub fn localhost() -> ServerName<'static> {
    ServerName::try_from("127.0.0.1").unwrap()
}

/// A leaf that breaks one rule, by whoever should not have signed it.
pub struct Crooked<'a> {
    pub issuer: &'a Issuer,
    pub san: SanType,
    pub not_before: i64,
    pub not_after: i64,
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    pub is_ca: IsCa,
}

impl<'a> Crooked<'a> {
    pub fn under(issuer: &'a Issuer, san: &str) -> Self {
        let now = i64::try_from(now().0).unwrap();
        Self {
            issuer,
            san: SanType::URI(san.try_into().unwrap()),
            not_before: now - 300,
            not_after: now + 3600,
            purposes: vec![ExtendedKeyUsagePurpose::ClientAuth],
            is_ca: IsCa::NoCa,
        }
    }

    /// The leaf and its key.
    pub fn make(self) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let subject = rcgen_key(&key);
        let der = CertificateDer::from(self.issuer.certificate().to_vec());
        let issuer_key = rcgen_key(self.issuer.key());
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, issuer_key).unwrap();
        let certificate = self.params().signed_by(&subject, &issuer).unwrap();
        (certificate.der().to_vec(), key)
    }

    /// The same, signed by its own key.
    pub fn make_self_signed(self) -> (Vec<u8>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let certificate = self.params().self_signed(&rcgen_key(&key)).unwrap();
        (certificate.der().to_vec(), key)
    }

    /// The same for a key on P-384; its key as PKCS#8.
    pub fn make_p384(self) -> (Vec<u8>, Vec<u8>) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let der = CertificateDer::from(self.issuer.certificate().to_vec());
        let issuer = rcgen::Issuer::from_ca_cert_der(&der, rcgen_key(self.issuer.key())).unwrap();
        let certificate = self.params().signed_by(&key, &issuer).unwrap();
        (certificate.der().to_vec(), key.serialize_der())
    }

    fn params(&self) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "d1");
        params.subject_alt_names = vec![self.san.clone()];
        params.not_before = date(self.not_before);
        params.not_after = date(self.not_after);
        params.extended_key_usages = self.purposes.clone();
        params.key_usages = match self.is_ca {
            IsCa::Ca(_) => vec![KeyUsagePurpose::KeyCertSign],
            _ => vec![KeyUsagePurpose::DigitalSignature],
        };
        params.is_ca = self.is_ca;
        params.use_authority_key_identifier_extension = true;
        params
    }
}

fn date(seconds: i64) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(seconds).unwrap()
}

fn rcgen_key(key: &KeyPair) -> rcgen::KeyPair {
    let der = key.to_der().unwrap().to_vec();
    rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&der.into(), &rcgen::PKCS_ECDSA_P256_SHA256).unwrap()
}

/// A factory that nobody here knows, by its name or under the name of ours.
pub fn stranger(root_name: &str) -> Factory {
    let made_at = UnixTime(now().0 - 1000);
    let root = Issuer::create(Profile::FactoryRoot, root_name, KeyPair::generate().unwrap(), made_at).unwrap();
    let key = KeyPair::generate().unwrap();
    let der = root.issue_ca(Profile::FactoryIssuing, "Stranger line", &key.public_key(), made_at).unwrap();
    Factory { root, issuing: Issuer::open(Profile::FactoryIssuing, der, key).unwrap() }
}

/// A gateway that listens on loopback, with a factory that it knows.
pub struct Running {
    pub gateway: Gateway,
    pub directory: Directory,
    pub factory: Factory,
    pub device_ca: Issuer,
    pub operator_ca: Issuer,
    pub gateway_ca: Vec<u8>,
    _folder: tempfile::TempDir,
}

impl Running {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// With these settings.
    pub async fn with(settings: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = set_up(&folder.path().join("gateway")).await;
        directory::replace(&directory.config(), settings.as_bytes(), directory::Access::Private).unwrap();
        let gateway = Gateway::start(&options(&directory)).await.unwrap();
        let factory = Factory::new();
        let root = pem::write_certificates(&[factory.root.certificate()]);
        gateway.operations().add_factory_cas(&Caller::local(), &root).await.unwrap();
        let running = Self {
            device_ca: authority(&directory, Authority::Device, Profile::DeviceCa),
            operator_ca: authority(&directory, Authority::Operator, Profile::OperatorCa),
            gateway_ca: certificate(&directory, Authority::Gateway),
            gateway,
            directory,
            factory,
            _folder: folder,
        };
        // The follower hears of the factory's CA a moment later.
        running.eventually(async || running.anchors() > 0).await;
        running
    }

    fn anchors(&self) -> usize {
        self.gateway.anchors().now().factory_count()
    }

    /// Waits for something that is on its way, without a fixed time.
    pub async fn eventually(&self, mut holds: impl AsyncFnMut() -> bool) {
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        while !holds().await {
            assert!(tokio::time::Instant::now() < until, "it did not happen");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn import(&self, devices: &[&Device]) {
        let manifest = self.factory.manifest(devices);
        self.gateway.operations().import_manifest(&Caller::local(), manifest).await.unwrap();
    }

    /// A device with its identity from the factory.
    pub fn by_idevid(&self, device: &Device) -> Shown {
        Shown::new(&[&device.idevid, self.factory.issuing.certificate()], &device.key)
    }

    /// A service or operator, in the registry and with a certificate.
    pub async fn service(&self, name: &str, publish: &[&str], subscribe: &[&str], any_client_id: bool) -> Shown {
        let key = KeyPair::generate().unwrap();
        let identity = Identity::Service { fleet: fleet(), name: id(name) };
        let new = muster_gateway::admin::NewService {
            name: id(name),
            publish: publish.iter().map(ToString::to_string).collect(),
            subscribe: subscribe.iter().map(ToString::to_string).collect(),
            any_client_id,
            request: crate::world::request_pem(&identity, &key),
        };
        let issued = self.gateway.operations().issue_service(&Caller::local(), new).await.unwrap();
        let chain = pem::read_certificates(&issued.certificate).unwrap();
        Shown::new(&[&chain[0]], &key)
    }

    pub async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.gateway.mqtt()).await.unwrap()
    }

    /// A TLS connection to the MQTT listener.
    pub async fn dial(&self, shown: &Shown) -> std::io::Result<TlsStream<TcpStream>> {
        tls13(&self.gateway_ca, shown).connect(localhost(), self.tcp().await).await
    }

    pub async fn mqtt(&self, shown: &Shown, client_id: &str) -> Mqtt {
        let mut mqtt = Mqtt { stream: self.dial(shown).await.unwrap() };
        mqtt.write(&connect(client_id)).await;
        mqtt
    }

    /// The codes of the audit's refusals, oldest first.
    pub async fn refusals(&self) -> Vec<(String, String)> {
        let query = AuditQuery { from: AuditFrom::After(0), device: None, kinds: Kinds::default(), limit: 1000 };
        let records = self.gateway.store().audit_page(query).await.unwrap();
        let of = |record: &muster_gateway::audit::AuditRecord| {
            let event = record.event().unwrap();
            event.code.map(|code| (event.kind.name().to_owned(), code.name().to_owned()))
        };
        records.iter().filter_map(of).collect()
    }

    /// Waits for a refusal in the audit.
    pub async fn refused(&self, kind: &str, code: Code) {
        let wanted = (kind.to_owned(), code.name().to_owned());
        let until = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let refusals = self.refusals().await;
            if refusals.contains(&wanted) {
                return;
            }
            assert!(tokio::time::Instant::now() < until, "{wanted:?} is not among {refusals:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

pub fn options(directory: &Directory) -> Options {
    let any = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    Options { directory: directory.root().to_owned(), mqtt_listen: any, https_listen: any }
}

pub fn plan(path: &std::path::Path) -> Plan {
    Plan {
        directory: path.to_owned(),
        fleet: fleet(),
        names: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
        mqtt_port: 8883,
        https_port: 8443,
    }
}

pub fn password() -> Password {
    Password::new(b"correct horse".to_vec().into())
}

pub async fn set_up(path: &std::path::Path) -> Directory {
    init(&plan(path), &password(), now()).await.unwrap().directory
}

pub fn certificate(directory: &Directory, authority: Authority) -> Vec<u8> {
    let text = String::from_utf8(directory::read_public(&directory.ca_certificate(authority)).unwrap()).unwrap();
    pem::read_certificates(&text).unwrap().remove(0)
}

pub fn authority(directory: &Directory, authority: Authority, profile: Profile) -> Issuer {
    let key = KeyPair::from_pem(&directory::read_private(&directory.ca_key(authority)).unwrap()).unwrap();
    Issuer::open(profile, certificate(directory, authority), key).unwrap()
}

pub fn hour() -> Validity {
    Validity { not_before: UnixTime(now().0 - 300), not_after: now().plus_secs(3600) }
}

/// MQTT 5 by hand, as far as these tests need it.
pub struct Mqtt {
    pub stream: TlsStream<TcpStream>,
}

impl Mqtt {
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    pub async fn write_packet(&mut self, first: u8, body: &[u8]) {
        self.write(&packet(first, body)).await;
    }

    /// The next packet: its first byte and its body. `None` at the end of the stream.
    pub async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.stream.read_u8().await.ok()?;
            let mut length = 0_usize;
            for shift in 0..4 {
                let byte = self.stream.read_u8().await.ok()?;
                length |= usize::from(byte & 0x7F) << (7 * shift);
                if byte & 0x80 == 0 {
                    break;
                }
            }
            let mut body = vec![0; length];
            self.stream.read_exact(&mut body).await.ok()?;
            Some((first, body))
        };
        tokio::time::timeout(Duration::from_secs(20), read).await.expect("the gateway said nothing")
    }

    /// Reads CONNACK; the reason code, and the reason string as far as it can be found.
    pub async fn connack(&mut self) -> (u8, String) {
        let (first, body) = self.read().await.expect("no CONNACK");
        assert_eq!(first, 0x20);
        (body[1], String::from_utf8_lossy(&body[2..]).into_owned())
    }

    /// Reads up to DISCONNECT and gives its reason code and text.
    pub async fn disconnect(&mut self) -> (u8, String) {
        loop {
            let (first, body) = self.read().await.expect("no DISCONNECT");
            if first == 0xE0 {
                return (body[0], String::from_utf8_lossy(&body[1..]).into_owned());
            }
        }
    }

    pub async fn subscribe(&mut self, filter: &str) -> u8 {
        let mut body = vec![0, 1, 0];
        body.extend_from_slice(&text(filter));
        body.push(1);
        self.write(&packet(0x82, &body)).await;
        let (first, body) = self.read().await.expect("no SUBACK");
        assert_eq!(first, 0x90);
        body[3]
    }

    /// QoS 1; the reason code of PUBACK, 0 when there is none in it.
    pub async fn publish(&mut self, topic: &str, payload: &[u8]) -> Option<u8> {
        let mut body = text(topic);
        body.extend_from_slice(&[0, 7, 0]);
        body.extend_from_slice(payload);
        self.write(&packet(0x32, &body)).await;
        loop {
            match self.read().await? {
                (0x40, body) => return Some(body.get(2).copied().unwrap_or(0)),
                (0xE0, _) => return None,
                _ => {}
            }
        }
    }
}

pub fn connect(client_id: &str) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend_from_slice(&[5, 0x02, 0, 60, 0]);
    body.extend_from_slice(&text(client_id));
    packet(0x10, &body)
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = u16::try_from(text.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend_from_slice(text.as_bytes());
    bytes
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        bytes.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    bytes.extend_from_slice(body);
    bytes
}
