//! Rogue gateways: each is refused with its own code, before a byte of MQTT is said to it.

use std::sync::Arc;

use muster_agent_std::tls::{self, ClientCredential, Expected, TlsError};
use muster_protocol::Code;
use muster_protocol::pki::{GatewayClock, Signature};
use muster_protocol::time::UnixTime;
use p256::ecdsa::signature::Signer as _;
use tokio::net::TcpStream;

use crate::gateway::Gateway;
use crate::pki::{Ca, Fleet, Leaf, Life, now_secs};

async fn shake(gateway: &Gateway, fleet: &Fleet, host: &str, clock: GatewayClock) -> Result<(), TlsError> {
    let leaf = fleet.device_ca.device("dev-1", Life::Good);
    let key = leaf.signing_key();
    let credential = ClientCredential {
        chain: leaf.chain,
        sign: Arc::new(move |message: &[u8]| {
            let signature: p256::ecdsa::Signature = key.sign(message);
            Some(Signature::new(signature.to_bytes().into()))
        }),
    };
    let expected = Expected { host: host.to_owned(), gateway_cas: vec![fleet.gateway_ca.der()].into(), clock };
    let tcp = TcpStream::connect(gateway.address).await.unwrap();
    tls::connect(tcp, &expected, &credential).await.map(drop)
}

fn clock() -> GatewayClock {
    GatewayClock { floor: UnixTime(0), civil: Some(UnixTime(now_secs())) }
}

async fn verdict(server: impl FnOnce(&Fleet) -> Leaf, host: &str, clock: GatewayClock) -> Result<(), Code> {
    let fleet = Arc::new(Fleet::new());
    let gateway = Gateway::start_as(&fleet, server(&fleet)).await;
    let outcome = shake(&gateway, &fleet, host, clock).await;
    assert!(gateway.seen().connects.is_empty());
    match outcome {
        Ok(()) => Ok(()),
        Err(TlsError::GatewayUntrusted(code)) => Err(code),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn the_fleets_gateway_is_taken_by_name_and_by_address() {
    let good = |fleet: &Fleet| fleet.gateway_ca.server(&["127.0.0.1", "localhost"], Life::Good);
    assert_eq!(verdict(good, "127.0.0.1", clock()).await, Ok(()));
    assert_eq!(verdict(good, "localhost", clock()).await, Ok(()));
}

#[tokio::test]
async fn a_ca_that_is_not_in_the_bundle_is_refused() {
    let rogue = |_: &Fleet| Ca::new("another CA", Some(0)).server(&["127.0.0.1"], Life::Good);
    assert_eq!(verdict(rogue, "127.0.0.1", clock()).await, Err(Code::CertificateUntrusted));
    // Also one that calls itself like ours.
    let rogue = |_: &Fleet| Ca::new("gateway CA", Some(0)).server(&["127.0.0.1"], Life::Good);
    assert_eq!(verdict(rogue, "127.0.0.1", clock()).await, Err(Code::CertificateBadSignature));
}

#[tokio::test]
async fn a_device_or_the_device_ca_cannot_play_the_gateway() {
    let device = |fleet: &Fleet| fleet.device_ca.device("dev-2", Life::Good);
    assert_eq!(verdict(device, "127.0.0.1", clock()).await, Err(Code::CertificateUntrusted));
    let server_of_the_device_ca = |fleet: &Fleet| fleet.device_ca.server(&["127.0.0.1"], Life::Good);
    assert_eq!(verdict(server_of_the_device_ca, "127.0.0.1", clock()).await, Err(Code::CertificateUntrusted));
    // A device's certificate, were it ever signed by the gateway CA.
    let wrong_side = |fleet: &Fleet| fleet.gateway_ca.device("dev-2", Life::Good);
    assert_eq!(verdict(wrong_side, "127.0.0.1", clock()).await, Err(Code::CertificateWrongUsage));
}

#[tokio::test]
async fn another_name_is_refused() {
    let other = |fleet: &Fleet| fleet.gateway_ca.server(&["gateway.example", "127.0.0.2"], Life::Good);
    for host in ["127.0.0.1", "localhost"] {
        assert_eq!(verdict(other, host, clock()).await, Err(Code::CertificateWrongName), "{host}");
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_with_a_clock_or_by_the_floor() {
    let expired = |fleet: &Fleet| fleet.gateway_ca.server(&["127.0.0.1"], Life::Expired);
    assert_eq!(verdict(expired, "127.0.0.1", clock()).await, Err(Code::CertificateExpired));
    let floor_only = GatewayClock { floor: UnixTime(now_secs()), civil: None };
    assert_eq!(verdict(expired, "127.0.0.1", floor_only).await, Err(Code::CertificateExpired));
}

#[tokio::test]
async fn a_clock_that_is_behind_does_not_lock_the_device_out() {
    let good = |fleet: &Fleet| fleet.gateway_ca.server(&["127.0.0.1"], Life::Good);
    for civil in [Some(UnixTime(86_400)), None] {
        let clock = GatewayClock { floor: UnixTime(0), civil };
        assert_eq!(verdict(good, "127.0.0.1", clock).await, Ok(()), "{civil:?}");
    }
}

#[tokio::test]
async fn a_peer_without_the_key_is_refused() {
    let fleet = Arc::new(Fleet::new());
    let good = fleet.gateway_ca.server(&["127.0.0.1"], Life::Good);
    let thief = fleet.gateway_ca.server(&["127.0.0.1"], Life::Good);
    // The gateway's certificate, and another key: rustls would notice on loading, so the test signs by hand.
    let certified = rustls::sign::CertifiedKey::new(
        good.chain,
        rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&thief.key()).unwrap(),
    );
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(certified)));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (tcp, _) = listener.accept().await.unwrap();
        let _ = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(tcp).await;
    });
    let expected =
        Expected { host: "127.0.0.1".to_owned(), gateway_cas: vec![fleet.gateway_ca.der()].into(), clock: clock() };
    let credential = ClientCredential { chain: Vec::new(), sign: Arc::new(|_: &[u8]| None) };
    let tcp = TcpStream::connect(address).await.unwrap();
    let error = tls::connect(tcp, &expected, &credential).await.map(drop).unwrap_err();
    assert!(matches!(error, TlsError::GatewayUntrusted(Code::CertificateBadSignature)), "{error}");
}
