//! Handshakes over loopback: every fault of a client's certificate has its code in the record and its alert at the client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use muster_gateway::tls::record::Listener;
use muster_gateway::tls::{
    Anchors, ClientVerifier, Credential, CredentialError, Demand, Handshake, HandshakeRecord, LiveAnchors,
    LiveCredential, Verdict, server_config,
};
use muster_issuing::issuer::Validity;
use muster_issuing::{Issuer, KeyPair};
use muster_protocol::pki::profile::Profile;
use muster_protocol::{Code, Identity, UnixTime};
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, SanType};
use rustls::pki_types::PrivateKeyDer;
use rustls::{AlertDescription, HandshakeKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::edge::{Crooked, Shown, client_config, hour, localhost, now, stranger, tls13};
use crate::world::{Factory, fleet, id};

/// A gateway's TLS and the CAs behind it, without a gateway.
struct Bench {
    factory: Factory,
    device_ca: Issuer,
    operator_ca: Issuer,
    gateway_ca: Issuer,
    anchors: Arc<LiveAnchors>,
    credential: Arc<LiveCredential>,
    handshake: Handshake,
}

/// One connection, seen from both ends.
struct Meeting {
    record: HandshakeRecord,
    /// The alert that the client got, if any.
    alert: Option<AlertDescription>,
    /// What the client read from the gateway: one word, where it was let in.
    is_let_in: bool,
}

impl Bench {
    fn new(demand: Demand) -> Self {
        let authority = |profile: Profile| {
            Issuer::create(profile, profile.name(), KeyPair::generate().unwrap(), UnixTime(now().0 - 1000)).unwrap()
        };
        let (device_ca, operator_ca) = (authority(Profile::DeviceCa), authority(Profile::OperatorCa));
        let (gateway_ca, factory) = (authority(Profile::GatewayCa), Factory::new());
        let anchors =
            Anchors::new([factory.root.certificate()], [device_ca.certificate()], [operator_ca.certificate()]);
        let anchors = Arc::new(LiveAnchors::new(anchors.unwrap()));
        let credential = Arc::new(LiveCredential::none_yet());
        let verifier = ClientVerifier::new(Arc::clone(&anchors), fleet(), demand);
        let config = server_config(Arc::new(verifier), Arc::clone(&credential), &[]).unwrap();
        let bench = Self {
            factory,
            device_ca,
            operator_ca,
            gateway_ca,
            anchors,
            credential,
            handshake: Handshake::new(config, Listener::Mqtt),
        };
        bench.credential.publish(bench.server_credential(&["127.0.0.1"]).unwrap());
        bench
    }

    fn server_credential(&self, names: &[&str]) -> Result<Credential, CredentialError> {
        let key = KeyPair::generate().unwrap();
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let der = self.gateway_ca.issue_server(&names, &key.public_key(), now()).unwrap();
        let key = PrivateKeyDer::Pkcs8(key.to_der().unwrap().to_vec().into());
        let names = names.iter().map(String::as_str);
        Credential::verify(&[&der], &key, &[self.gateway_ca.certificate()], names, now())
    }

    fn ldevid(&self, name: &str) -> Shown {
        let key = KeyPair::generate().unwrap();
        let identity = Identity::device(fleet(), id(name));
        Shown::new(&[&self.device_ca.issue(Profile::Ldevid, &identity, &key.public_key(), now()).unwrap()], &key)
    }

    fn timed(&self, not_before: u64, not_after: u64) -> Shown {
        let key = KeyPair::generate().unwrap();
        let validity = Validity { not_before: UnixTime(not_before), not_after: UnixTime(not_after) };
        let identity = Identity::device(fleet(), id("d1"));
        let der = self.device_ca.issue_with(Profile::Ldevid, &identity, &key.public_key(), validity).unwrap();
        Shown::new(&[&der], &key)
    }

    async fn meet(&self, shown: &Shown) -> Meeting {
        self.meet_by(tls13(self.gateway_ca.certificate(), shown)).await
    }

    async fn meet_by(&self, connector: TlsConnector) -> Meeting {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = tokio::spawn(client(connector, address));
        let (socket, peer) = listener.accept().await.unwrap();
        let (outcome, record) = self.handshake.run(socket, peer, Instant::now() + Duration::from_secs(20)).await;
        match outcome {
            Ok(mut established) => {
                assert_eq!(established.client.as_deref(), record.client.as_ref());
                established.stream.write_all(b"welcome").await.unwrap();
                established.stream.shutdown().await.unwrap();
            }
            Err(refused) => refused.close().await,
        }
        let (alert, is_let_in) = client.await.unwrap();
        Meeting { record, alert, is_let_in }
    }

    /// The one check of refusals: the code in the record, the alert at the client, and nothing let in.
    async fn check(&self, what: &str, shown: &Shown, code: Code, alert: AlertDescription) {
        let meeting = self.meet(shown).await;
        assert_eq!(meeting.record.verdict, Verdict::Refused(code), "{what}: {:?}", meeting.record.why);
        assert_eq!(meeting.alert, Some(alert), "{what}");
        assert!(!meeting.is_let_in && meeting.record.client.is_none(), "{what}");
    }
}

/// Connects, sends at once like an MQTT client that does not wait, and reads to the end.
async fn client(connector: TlsConnector, address: SocketAddr) -> (Option<AlertDescription>, bool) {
    let socket = TcpStream::connect(address).await.unwrap();
    let alert = |error: &std::io::Error| match error.get_ref()?.downcast_ref()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    };
    let mut stream = match connector.connect(localhost(), socket).await {
        Ok(stream) => stream,
        Err(error) => return (alert(&error), false),
    };
    assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    let _ = stream.write_all(&[0x10; 600]).await;
    let _ = stream.flush().await;
    let mut heard = Vec::new();
    match stream.read_to_end(&mut heard).await {
        Ok(_) => (None, heard == b"welcome"),
        Err(error) => (alert(&error), heard == b"welcome"),
    }
}

#[tokio::test]
async fn every_role_is_let_in_with_its_evidence() {
    let bench = Bench::new(Demand::Mandatory);
    let device = bench.factory.device("d1");
    let key = KeyPair::generate().unwrap();
    let service = Identity::Service { fleet: fleet(), name: id("ingest") };
    let service = bench.operator_ca.issue(Profile::Service, &service, &key.public_key(), now()).unwrap();
    let idevid = Shown::new(&[&device.idevid, bench.factory.issuing.certificate()], &device.key);
    for (shown, san, role) in [
        (idevid, "urn:muster:acme:d1", "idevid"),
        (bench.ldevid("d1"), "urn:muster:acme:d1", "ldevid"),
        (Shown::new(&[&service], &key), "urn:muster:acme:service:ingest", "service"),
    ] {
        let meeting = bench.meet(&shown).await;
        assert_eq!(meeting.record.verdict, Verdict::Accepted, "{role}: {:?}", meeting.record.why);
        assert!(meeting.is_let_in, "{role}");
        let client = meeting.record.client.as_ref().unwrap();
        assert_eq!(client.identity().to_san(), san);
        assert_eq!(muster_gateway::tls::record::role_name(client.role()), role);
        let negotiated = meeting.record.negotiated;
        assert_eq!(negotiated.version, Some("TLS 1.3"));
        assert!(negotiated.suite.is_some() && negotiated.group.is_some());
    }
}

#[tokio::test]
async fn every_fault_of_a_certificate_has_its_code_and_its_alert() {
    let bench = Bench::new(Demand::Mandatory);
    let now = now().0;

    let from = |stranger: &Factory| {
        let foreign = stranger.device("d1");
        Shown::new(&[&foreign.idevid, stranger.issuing.certificate()], &foreign.key)
    };
    let shown = from(&stranger("Stranger root"));
    bench.check("wrong factory root", &shown, Code::CertificateUntrusted, AlertDescription::UnknownCA).await;
    let shown = from(&stranger("Factory root"));
    let forged = AlertDescription::DecryptError;
    bench.check("a root under our root's name", &shown, Code::CertificateBadSignature, forged).await;

    let other = bench.factory.device("d2");
    let mine = KeyPair::generate().unwrap();
    let shown = Shown::new(&[&other.idevid, bench.factory.issuing.certificate()], &mine);
    let decrypt_error = AlertDescription::DecryptError;
    bench.check("another's certificate", &shown, Code::CertificateBadSignature, decrypt_error).await;

    let expired = AlertDescription::CertificateExpired;
    bench.check("expired", &bench.timed(now - 900, now - 1), Code::CertificateExpired, expired).await;
    bench.check("not yet", &bench.timed(now + 600, now + 900), Code::CertificateNotYetValid, expired).await;

    let san = "urn:muster:acme:d1";
    let leaf = |change: fn(&mut Crooked<'_>)| {
        let mut crooked = Crooked::under(&bench.device_ca, san);
        change(&mut crooked);
        let (der, key) = crooked.make();
        Shown::new(&[&der], &key)
    };
    let unsupported = AlertDescription::UnsupportedCertificate;
    let shown = leaf(|leaf| leaf.purposes = vec![ExtendedKeyUsagePurpose::ServerAuth]);
    bench.check("wrong EKU", &shown, Code::CertificateWrongUsage, unsupported).await;
    let shown = leaf(|leaf| leaf.purposes = Vec::new());
    bench.check("no EKU", &shown, Code::CertificateWrongUsage, unsupported).await;
    let shown = leaf(|leaf| leaf.purposes.push(ExtendedKeyUsagePurpose::ServerAuth));
    bench.check("one EKU too many", &shown, Code::CertificateWrongUsage, unsupported).await;
    let shown = leaf(|leaf| leaf.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    bench.check("a CA", &shown, Code::CertificateWrongUsage, unsupported).await;

    let (der, key) = Crooked::under(&bench.device_ca, san).make_self_signed();
    let shown = Shown::new(&[&der], &key);
    bench.check("self-signed", &shown, Code::CertificateSelfSigned, AlertDescription::UnknownCA).await;

    let shown = Shown::nothing();
    bench.check("nothing", &shown, Code::CertificateMissing, AlertDescription::CertificateRequired).await;

    let (mut der, key) = Crooked::under(&bench.device_ca, san).make();
    if let Some(last) = der.last_mut() {
        *last ^= 1;
    }
    let shown = Shown::new(&[&der], &key);
    bench.check("a flipped bit", &shown, Code::CertificateBadSignature, decrypt_error).await;
    let shown = Shown::new(&[b"no certificate"], &key);
    bench.check("no DER", &shown, Code::CertificateMalformed, AlertDescription::BadCertificate).await;

    let denied = AlertDescription::AccessDenied;
    let (der, key) = Crooked::under(&bench.device_ca, "urn:muster:other:d1").make();
    bench.check("other fleet", &Shown::new(&[&der], &key), Code::CertificateWrongFleet, denied).await;
    let shown = leaf(|leaf| leaf.san = SanType::DnsName("d1".try_into().unwrap()));
    bench.check("no identity", &shown, Code::CertificateNoIdentity, denied).await;

    let unknown = AlertDescription::CertificateUnknown;
    let (der, key) = Crooked::under(&bench.device_ca, "urn:muster:acme:service:d1").make();
    bench.check("role of another CA", &Shown::new(&[&der], &key), Code::CertificateProfile, unknown).await;
    let (der, key) = Crooked::under(&bench.device_ca, san).make();
    let many: Vec<&[u8]> = vec![&der; 9];
    bench.check("a long chain", &Shown::new(&many, &key), Code::CertificateProfile, unknown).await;
}

/// The gateway offers P-256 alone, so such a client has nothing to show; one that shows it all the same is refused.
#[tokio::test]
async fn a_key_on_another_curve_is_refused() {
    let bench = Bench::new(Demand::Mandatory);
    let (der, key) = Crooked::under(&bench.device_ca, "urn:muster:acme:d1").make_p384();
    let meeting = bench.meet(&Shown::with_der(&[&der], key)).await;
    let refused = [Code::CertificateMissing, Code::CertificateProfile].map(Verdict::Refused);
    assert!(refused.contains(&meeting.record.verdict), "{:?}", meeting.record);
    assert!(!meeting.is_let_in);
}

#[tokio::test]
async fn a_refused_certificate_is_recorded_as_a_claim_and_not_as_an_identity() {
    let bench = Bench::new(Demand::Mandatory);
    let meeting = bench.meet(&bench.timed(now().0 - 900, now().0 - 1)).await;
    let claim = meeting.record.claim.as_ref().unwrap();
    assert_eq!(claim.identity, Some(Identity::device(fleet(), id("d1"))));
    let event = meeting.record.refusal(Code::CertificateExpired);
    assert_eq!(event.actor, muster_gateway::audit::Actor::Peer);
    assert_eq!(event.device, Some(id("d1")));
}

/// A ClientHello without supported_versions (RFC 5246, section 7.4.1.2): ECDHE with ECDSA, AES-128-GCM.
#[tokio::test]
async fn tls_12_is_answered_with_protocol_version() {
    let bench = Bench::new(Demand::Mandatory);
    let mut hello = vec![0x03, 0x03];
    hello.extend_from_slice(&[7; 32]);
    hello.extend_from_slice(&[0, 0, 2, 0xC0, 0x2B, 1, 0]);
    hello.extend_from_slice(&[0, 16, 0, 10, 0, 4, 0, 2, 0, 23, 0, 13, 0, 4, 0, 2, 4, 3]);
    let mut record = vec![0x16, 0x03, 0x01, 0, u8::try_from(hello.len() + 4).unwrap(), 0x01, 0, 0];
    record.push(u8::try_from(hello.len()).unwrap());
    record.extend_from_slice(&hello);
    let (mut client, server) = tokio::io::duplex(1024);
    client.write_all(&record).await.unwrap();
    let peer = "127.0.0.1:1".parse().unwrap();
    let (outcome, record) = bench.handshake.run(server, peer, Instant::now() + Duration::from_secs(20)).await;
    assert_eq!(record.verdict, Verdict::Refused(Code::SessionHandshake));
    drop(outcome);
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard.get(5..), Some(&[2, u8::from(AlertDescription::ProtocolVersion)][..]), "{:?}", record.why);
}

#[tokio::test]
async fn each_group_is_spoken_also_secp256r1_alone() {
    let bench = Bench::new(Demand::Mandatory);
    let shown = bench.ldevid("d1");
    for (group, name) in [
        (rustls::crypto::aws_lc_rs::kx_group::SECP256R1, "secp256r1"),
        (rustls::crypto::aws_lc_rs::kx_group::X25519, "X25519"),
        (rustls::crypto::aws_lc_rs::kx_group::X25519MLKEM768, "X25519MLKEM768"),
    ] {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.kx_groups = vec![group];
        let mut roots = rustls::RootCertStore::empty();
        roots.add(bench.gateway_ca.certificate().to_vec().into()).unwrap();
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(shown.clone()));
        let meeting = bench.meet_by(TlsConnector::from(Arc::new(config))).await;
        assert_eq!(meeting.record.verdict, Verdict::Accepted);
        assert_eq!(meeting.record.negotiated.group, Some(name));
    }
}

/// rustls keeps what it is given and offers it; the gateway must have given nothing.
#[tokio::test]
async fn nothing_is_resumed() {
    let bench = Bench::new(Demand::Mandatory);
    let config = client_config(bench.gateway_ca.certificate(), &bench.ldevid("d1"), &rustls::version::TLS13);
    let config = Arc::new(config);
    for _ in 0..3 {
        // `client` asserts a full handshake each time.
        let meeting = bench.meet_by(TlsConnector::from(Arc::clone(&config))).await;
        assert!(meeting.is_let_in);
    }
}

#[tokio::test]
async fn anchors_that_are_removed_are_refused_at_once() {
    let bench = Bench::new(Demand::Mandatory);
    let device = bench.factory.device("d1");
    let shown = Shown::new(&[&device.idevid, bench.factory.issuing.certificate()], &device.key);
    assert!(bench.meet(&shown).await.is_let_in);
    bench.anchors.replace_factory(&[]).unwrap();
    bench.check("removed", &shown, Code::CertificateUntrusted, AlertDescription::UnknownCA).await;
    assert!(bench.meet(&bench.ldevid("d1")).await.is_let_in, "the other CAs stay");
    bench.anchors.replace_factory(&[bench.factory.issuing.certificate()]).unwrap();
    assert!(
        bench.meet(&shown).await.is_let_in,
        "an issuing CA may be an anchor, for clients that send one certificate"
    );
}

#[tokio::test]
async fn without_a_credential_every_handshake_fails_and_a_new_one_is_used_at_once() {
    let bench = Bench::new(Demand::Mandatory);
    let shown = bench.ldevid("d1");
    let none = Arc::new(LiveCredential::none_yet());
    let verifier = ClientVerifier::new(Arc::clone(&bench.anchors), fleet(), Demand::Mandatory);
    let config = server_config(Arc::new(verifier), Arc::clone(&none), &[]).unwrap();
    let closed = Bench { handshake: Handshake::new(config, Listener::Mqtt), ..Bench::new(Demand::Mandatory) };
    let meeting = closed.meet_by(tls13(bench.gateway_ca.certificate(), &shown)).await;
    assert_eq!(meeting.record.verdict, Verdict::Refused(Code::SessionHandshake));
    none.publish(bench.server_credential(&["127.0.0.1"]).unwrap());
    assert!(closed.meet_by(tls13(bench.gateway_ca.certificate(), &shown)).await.is_let_in);
}

#[test]
fn a_credential_that_devices_would_refuse_is_not_published() {
    let bench = Bench::new(Demand::Mandatory);
    let key = KeyPair::generate().unwrap();
    let pkcs8 = |key: &KeyPair| PrivateKeyDer::Pkcs8(key.to_der().unwrap().to_vec().into());
    let ca = [bench.gateway_ca.certificate()];
    let names = ["127.0.0.1".to_owned()];
    let der = bench.gateway_ca.issue_server_with(&names, &key.public_key(), hour()).unwrap();
    let verify = |key, cas: &[&[u8]], name, at| Credential::verify(&[&der], &key, cas, [name], at);
    let refused = |name: &str, code| CredentialError::Refused { name: name.to_owned(), code };

    let credential = verify(pkcs8(&key), &ca, "127.0.0.1", now()).unwrap();
    assert_eq!(credential.renew_at().0, credential.not_after().0 - 1300);
    let error = verify(pkcs8(&key), &ca, "gateway.example", now()).unwrap_err();
    assert_eq!(error, refused("gateway.example", Code::CertificateWrongName));
    let error = verify(pkcs8(&key), &[bench.device_ca.certificate()], "127.0.0.1", now()).unwrap_err();
    assert_eq!(error, refused("127.0.0.1", Code::CertificateUntrusted));
    let error = verify(pkcs8(&key), &ca, "127.0.0.1", now().plus_secs(4000)).unwrap_err();
    assert_eq!(error, refused("127.0.0.1", Code::CertificateExpired));
    let other = KeyPair::generate().unwrap();
    assert_eq!(verify(pkcs8(&other), &ca, "127.0.0.1", now()).unwrap_err(), CredentialError::WrongKey);
    let none: [&str; 0] = [];
    assert_eq!(Credential::verify(&[&der], &pkcs8(&key), &ca, none, now()).unwrap_err(), CredentialError::NoName);
}

#[tokio::test]
async fn where_a_certificate_is_optional_a_bad_one_is_still_refused() {
    let bench = Bench::new(Demand::Optional);
    let meeting = bench.meet(&Shown::nothing()).await;
    assert!(meeting.is_let_in && meeting.record.client.is_none());
    let expired = bench.timed(now().0 - 900, now().0 - 1);
    let alert = AlertDescription::CertificateExpired;
    bench.check("expired", &expired, Code::CertificateExpired, alert).await;
    assert!(bench.meet(&bench.ldevid("d1")).await.record.client.is_some());
}

#[tokio::test]
async fn silence_and_noise_end_within_their_deadline() {
    let bench = Bench::new(Demand::Mandatory);
    let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let (_client, server) = tokio::io::duplex(1024);
    let (outcome, record) = bench.handshake.run(server, peer, Instant::now() + Duration::from_millis(20)).await;
    assert!(outcome.is_err());
    assert_eq!(record.verdict, Verdict::Refused(Code::SessionTimeout));

    let (mut client, server) = tokio::io::duplex(1024);
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (outcome, record) = bench.handshake.run(server, peer, Instant::now() + Duration::from_secs(20)).await;
    assert!(outcome.is_err());
    assert_eq!(record.verdict, Verdict::Refused(Code::SessionHandshake));
    assert!(!record.is_hang_up);

    let (client, server) = tokio::io::duplex(1024);
    drop(client);
    let (_, record) = bench.handshake.run(server, peer, Instant::now() + Duration::from_secs(20)).await;
    assert!(record.is_hang_up);
}
