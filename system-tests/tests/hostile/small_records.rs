//! The guard and the gateway's own handshake, and what the gateway puts on the wire: small records and a flight in one
//! record for firmware, 16 KiB for everybody else.

use std::cell::Cell;
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use embedded_io_async::{Read as _, Write as _};
use muster_agent_nostd::tls::{Buffers, GuardError, READ_RECORD_BYTES, open_unjudged};
use muster_gateway::tls::record::Listener;
use muster_gateway::tls::{
    Anchors, ClientVerifier, Credential, Demand, Handshake, LiveAnchors, LiveCredential, Verdict, server_config,
};
use muster_issuing::issuer::Validity;
use muster_issuing::{Issuer, KeyPair};
use muster_protocol::alpn::{SMALL_RECORD_BYTES, SMALL_RECORDS};
use muster_protocol::limits::{GATEWAYS_MAX, HOST_BYTES_MAX};
use muster_protocol::pki::{Profile, PublicKey};
use muster_protocol::{Code, DeviceId, FleetId, Identity, UnixTime};
use muster_system_tests::test_pki::TestKey;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::{self, kx_group};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::device::{Device, Socket};

// What the gateway sends fits what the device can read.
const _: () = assert!(SMALL_RECORD_BYTES + 17 <= READ_RECORD_BYTES);
/// The whole encrypted flight has to fit in one record with room to spare.
const FLIGHT_BYTES_MAX: usize = 1_800;
const NAME: &str = "gateway.test";

/// The gateway's TLS without a gateway.
struct Bench {
    gateway_ca: Issuer,
    device_ca: Issuer,
    handshake: Handshake,
}

impl Bench {
    fn new(names: &[String], demand: Demand) -> Self {
        let authority = |profile: Profile| {
            Issuer::create(profile, profile.name(), KeyPair::generate().unwrap(), UnixTime(now().0 - 1000)).unwrap()
        };
        let (gateway_ca, device_ca) = (authority(Profile::GatewayCa), authority(Profile::DeviceCa));
        let operator_ca = authority(Profile::OperatorCa);
        let anchors = Anchors::new([], [device_ca.certificate()], [operator_ca.certificate()]).unwrap();
        let verifier = ClientVerifier::new(Arc::new(LiveAnchors::new(anchors)), fleet(), demand);
        let key = KeyPair::generate().unwrap();
        let der = gateway_ca.issue_server(names, &key.public_key(), now()).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.to_der().unwrap().to_vec().into());
        let names = names.iter().map(String::as_str);
        let credential = Arc::new(LiveCredential::none_yet());
        credential.publish(Credential::verify(&[&der], &key, &[gateway_ca.certificate()], names, now()).unwrap());
        let config = server_config(Arc::new(verifier), credential, &[b"http/1.1"]).unwrap();
        Self { gateway_ca, device_ca, handshake: Handshake::new(config, Listener::Mqtt) }
    }

    fn ldevid(&self, key: &PublicKey, validity: Validity) -> Vec<u8> {
        let identity = Identity::device(fleet(), DeviceId::new("dev-1").unwrap());
        self.device_ca.issue_with(Profile::Ldevid, &identity, key, validity).unwrap()
    }

    /// Serves one connection: says `word`, and echoes until the client is gone. Gives the verdict of the record.
    async fn serve(&self, word: Vec<u8>) -> (SocketAddr, JoinHandle<(Verdict, bool)>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshake = self.handshake.clone();
        let server = tokio::spawn(async move {
            let (socket, peer) = listener.accept().await.unwrap();
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            let (outcome, record) = handshake.run(socket, peer, deadline).await;
            let has_client = record.client.is_some();
            match outcome {
                Ok(mut established) => {
                    established.stream.write_all(&word).await.unwrap();
                    established.stream.flush().await.unwrap();
                    let mut bytes = [0; 4096];
                    while let Ok(count @ 1..) = established.stream.read(&mut bytes).await {
                        if established.stream.write_all(&bytes[..count]).await.is_err() {
                            break;
                        }
                    }
                    let _ = established.stream.shutdown().await;
                }
                Err(refused) => refused.close().await,
            }
            (record.verdict, has_client)
        });
        (address, server)
    }
}

fn fleet() -> FleetId {
    FleetId::new("acme").unwrap()
}

fn now() -> UnixTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    UnixTime(since.as_secs())
}

fn week() -> Validity {
    Validity { not_before: UnixTime(now().0 - 60), not_after: UnixTime(now().0 + 7 * 86_400) }
}

/// The longest names that a trust bundle can give a gateway.
fn longest_names() -> Vec<String> {
    let label = "x".repeat(58);
    (0..GATEWAYS_MAX).map(|number| format!("gw-{number}.{label}.{label}.test")).collect()
}

#[tokio::test]
async fn the_guard_and_the_gateway_know_each_other() {
    know_each_other(NAME).await;
}

/// An address stands in the certificate as an address, and is no server name on the wire.
#[tokio::test]
async fn they_know_each_other_by_address() {
    know_each_other("127.0.0.1").await;
    know_each_other("2001:db8::7").await;
}

async fn know_each_other(name: &str) {
    let bench = Bench::new(&[name.to_owned()], Demand::Mandatory);
    let key = TestKey::new("device", 1);
    let certificate = bench.ldevid(key.public(), week());
    let word: Vec<u8> = (0..20_000_u32).map(|number| number as u8).collect();
    let (address, server) = bench.serve(word.clone()).await;
    let device = Device {
        name,
        gateway_cas: &[bench.gateway_ca.certificate()],
        now: now(),
        certificate: &certificate,
        key: &key,
        patience_millis: 20_000,
        signed: Cell::new(0),
    };
    let mut buffers = Box::new(Buffers::new());
    let (mut stream, _) = device.connect(address, &mut buffers).await.unwrap();
    let (mut read, mut piece) = (Vec::<u8>::new(), [0; 900]);
    while read.len() < word.len() {
        let count = stream.read(&mut piece).await.unwrap();
        read.extend(&piece[..count]);
    }
    assert!(read == word);
    stream.write_all(&word[..3000]).await.unwrap();
    stream.flush().await.unwrap();
    let mut echo = Vec::<u8>::new();
    while echo.len() < 3000 {
        let count = stream.read(&mut piece).await.unwrap();
        echo.extend(&piece[..count]);
    }
    assert!(echo == word[..3000]);
    stream.close().await;
    assert_eq!(server.await.unwrap(), (Verdict::Accepted, true));
}

/// In TLS 1.3 the gateway judges the client last: the device hears why on its first read.
#[tokio::test]
async fn a_device_hears_why_its_certificate_is_refused() {
    let bench = Bench::new(&[NAME.to_owned()], Demand::Mandatory);
    let stranger = Bench::new(&[NAME.to_owned()], Demand::Mandatory);
    let key = TestKey::new("device", 1);
    let expired = Validity { not_before: UnixTime(now().0 - 900), not_after: UnixTime(now().0 - 60) };
    let by_stranger = stranger.ldevid(key.public(), week());
    for (what, certificate, key, code, at_gateway) in [
        (
            "expired",
            bench.ldevid(key.public(), expired),
            key.clone(),
            Code::CertificateExpired,
            Code::CertificateExpired,
        ),
        (
            "of another key",
            bench.ldevid(key.public(), week()),
            TestKey::new("device", 2),
            Code::CertificateBadSignature,
            Code::CertificateBadSignature,
        ),
        (
            "of another CA of the same name",
            by_stranger,
            key.clone(),
            Code::CertificateBadSignature,
            Code::CertificateBadSignature,
        ),
        ("junk", b"junk".to_vec(), key.clone(), Code::CertificateMalformed, Code::CertificateMalformed),
    ] {
        let (address, server) = bench.serve(vec![]).await;
        let device = Device {
            name: NAME,
            gateway_cas: &[bench.gateway_ca.certificate()],
            now: now(),
            certificate: &certificate,
            key: &key,
            patience_millis: 20_000,
            signed: Cell::new(0),
        };
        let mut buffers = Box::new(Buffers::new());
        let (mut stream, _) = device.connect(address, &mut buffers).await.unwrap();
        assert_eq!(stream.read(&mut [0; 16]).await.unwrap_err(), GuardError::Refused(code), "{what}");
        assert_eq!(server.await.unwrap(), (Verdict::Refused(at_gateway), false), "{what}");
    }
}

#[tokio::test]
async fn the_open_address_is_read_without_showing_anything() {
    let bench = Bench::new(&["other.test".to_owned()], Demand::Optional);
    let (address, server) = bench.serve(b"a signed bundle".to_vec()).await;
    let socket = Socket(TcpStream::connect(address).await.unwrap());
    let mut buffers = Box::new(Buffers::new());
    let deadline = embassy_time::Instant::now() + embassy_time::Duration::from_secs(20);
    let mut stream = open_unjudged(socket, &mut buffers, NAME, &mut rand_core::OsRng, deadline).await.unwrap();
    let mut word = [0; 64];
    let count = stream.read(&mut word).await.unwrap();
    assert_eq!(&word[..count], b"a signed bundle");
    stream.close().await;
    assert_eq!(server.await.unwrap(), (Verdict::Accepted, false));
}

/// What the gateway sent to one client: its records behind the ServerHello, as lengths on the wire.
async fn records(bench: &Bench, alpn: &[&[u8]], groups: Groups) -> Vec<usize> {
    let (address, server) = bench.serve(vec![7; 50_000]).await;
    let key = KeyPair::generate().unwrap();
    let certificate = bench.ldevid(&key.public_key(), week());
    let mut provider = aws_lc_rs::default_provider();
    if groups == Groups::P256 {
        provider.kx_groups = vec![kx_group::SECP256R1];
    }
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_client_auth_cert(
            vec![CertificateDer::from(certificate)],
            PrivateKeyDer::Pkcs8(key.to_der().unwrap().to_vec().into()),
        )
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = TcpStream::connect(address).await.unwrap();
    let (mut wire, mut read) = (Vec::new(), 0);
    while read < 50_000 {
        let mut out = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut out).unwrap();
        }
        socket.write_all(&out).await.unwrap();
        let mut bytes = [0; 16_384];
        let count = socket.read(&mut bytes).await.unwrap();
        assert_ne!(count, 0);
        wire.extend(&bytes[..count]);
        let mut fresh = &bytes[..count];
        while !fresh.is_empty() {
            client.read_tls(&mut fresh).unwrap();
            client.process_new_packets().unwrap();
            let mut plain = [0; 20_000];
            while let Ok(count @ 1..) = client.reader().read(&mut plain) {
                read += count;
            }
        }
    }
    drop(socket);
    let _ = server.await.unwrap();
    let (mut at, mut lengths) = (0, Vec::new());
    while let Some(&[kind, _, _, high, low]) = wire.get(at..).and_then(<[u8]>::first_chunk::<5>) {
        let length = usize::from(u16::from_be_bytes([high, low]));
        at += 5 + length;
        if kind == 23 {
            lengths.push(5 + length);
        }
    }
    lengths
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Groups {
    Default,
    P256,
}

#[tokio::test]
async fn firmware_gets_small_records_and_the_flight_in_one_and_others_get_large_ones() {
    for (what, names) in [("one name", vec![NAME.to_owned()]), ("as many and as long as can be", longest_names())] {
        assert!(names.iter().all(|name| name.len() <= HOST_BYTES_MAX));
        let bench = Bench::new(&names, Demand::Mandatory);
        let small = records(&bench, &[SMALL_RECORDS, b"mqtt"], Groups::P256).await;
        let flight = small[0];
        // Flight, then data: nothing of the flight stands in a second record.
        let data: usize = small[1..].iter().map(|length| length - 5 - 1 - 16).sum();
        assert_eq!(data, 50_000, "{what}: {small:?}");
        eprintln!("{what}: a flight of {flight} bytes, records of {:?} at most", small.iter().max());
        assert!(flight <= FLIGHT_BYTES_MAX, "{what}: the flight takes {flight} bytes");
        let longest = small.iter().max().copied().unwrap();
        assert!(longest <= SMALL_RECORD_BYTES + 17, "{what}: {longest}");

        let large = records(&bench, &[], Groups::Default).await;
        assert!(large.iter().max() > Some(&16_384), "{what}: {large:?}");
        let other = records(&bench, &[b"http/1.1"], Groups::P256).await;
        assert!(other.iter().max() > Some(&16_384), "{what}: {other:?}");
    }
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: rustls::pki_types::UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is never offered".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
