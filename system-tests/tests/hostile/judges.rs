//! One corpus of chains before every judge of the system: the same verdict, by the same code.
//!
//! | chain of | judged by |
//! |---|---|
//! | a gateway | the firmware agent, in a whole handshake; the Linux agent's verifier as rustls asks it; the gateway, which checks its own chain before it shows it |
//! | a client | the gateway's anchors, with its TLS library's P-256; the core, with the one of firmware |

use std::cell::Cell;
use std::collections::BTreeMap;
use std::net::TcpStream;

use muster_agent_nostd::tls::{Buffers, GuardError};
use muster_agent_std::tls::{Expected, GatewayCheck};
use muster_gateway::tls::verifier::ALGORITHMS;
use muster_gateway::tls::{Anchors, Credential, CredentialError};
use muster_protocol::Code;
use muster_protocol::pki::{ClientAnchors, ECDSA_P256_SHA256, GatewayClock, Role, TrustAnchor, verify_client};
use muster_system_tests::corpus::{
    ClientCase, CorpusKey, NAME, NOW, ServerCase, Verdict, World, client_cases, fleet, server_cases,
};
use muster_system_tests::rogue::{Material, shake_hands};
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::device::Device;
use crate::servers::serve;

/// The firmware agent, in a handshake with a server that has the leaf's key.
async fn firmware(world: &World, case: &ServerCase, buffers: &mut Buffers) -> Result<(), Code> {
    let material = Material { chain: case.chain.clone(), key: case.key.clone() };
    let (address, server) = serve(move |tls: &mut muster_system_tests::rogue::Tls<TcpStream>| {
        let established = shake_hands(tls, &material)?;
        tls.read_flight(&established).map(|_| ())
    });
    let key = CorpusKey::new(101);
    let device = Device {
        name: NAME,
        gateway_cas: &world.gateway_cas(),
        now: NOW,
        certificate: b"a certificate",
        key: key.pair(),
        patience_millis: 10_000,
        signed: Cell::new(0),
    };
    let verdict = device.connect(address, buffers).await.map(|_| ());
    let received = server.join().unwrap();
    if let Err(error) = verdict {
        assert!(matches!(error, GuardError::GatewayUntrusted(_)), "{}: {error:?}", case.what);
        assert_eq!((device.signed.get(), received.len()), (0, 0), "{}: something was sent", case.what);
    }
    verdict.map_err(GuardError::code)
}

/// The Linux agent's verifier, as rustls calls it.
fn linux(world: &World, case: &ServerCase) -> Result<(), Code> {
    let check = GatewayCheck::new(Expected {
        host: NAME.to_owned(),
        gateway_cas: world.gateway_cas().map(<[u8]>::to_vec).to_vec().into(),
        clock: GatewayClock { floor: NOW, civil: Some(NOW) },
    });
    let chain: Vec<CertificateDer<'_>> = case.chain.iter().map(|der| der.as_slice().into()).collect();
    let name = ServerName::try_from(NAME).unwrap();
    let time = rustls::pki_types::UnixTime::since_unix_epoch(std::time::Duration::from_secs(NOW.0));
    let asked = check.verify_server_cert(&chain[0], &chain[1..], &name, &[], time);
    let verdict = check.verdict().unwrap().map(|_| ());
    assert_eq!(asked.is_ok(), verdict.is_ok(), "{}", case.what);
    verdict
}

/// The gateway, of a chain that it was given to show.
fn gateway(world: &World, case: &ServerCase) -> Result<(), Code> {
    let chain: Vec<&[u8]> = case.chain.iter().map(Vec::as_slice).collect();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    match Credential::verify(&chain, &key, &world.gateway_cas(), [NAME], NOW) {
        Err(CredentialError::Refused { code, .. }) => Err(code),
        // The chain is asked first, and the key is not the one of the corpus.
        Err(CredentialError::WrongKey) => Ok(()),
        other => panic!("{}: {other:?}", case.what),
    }
}

#[tokio::test]
async fn three_judges_say_the_same_of_every_chain_of_a_gateway() {
    let world = World::new();
    let mut buffers = Box::new(Buffers::new());
    let (mut good, mut bad) = (0, BTreeMap::<Code, u32>::new());
    let mut wrong = Vec::new();
    for case in server_cases(&world) {
        let linux = linux(&world, &case);
        let is_right = match case.verdict {
            Verdict::Accepted => linux == Ok(()),
            Verdict::Refused(code) => linux == Err(code),
            Verdict::RefusedSomehow => linux.is_err(),
        };
        let gateway = gateway(&world, &case);
        let firmware = firmware(&world, &case, &mut buffers).await;
        if !is_right || gateway != linux || firmware != linux {
            let ServerCase { what, verdict, .. } = &case;
            wrong.push(format!(
                "{what}: {verdict:?}, but {linux:?} (Linux) {gateway:?} (gateway) {firmware:?} (firmware)"
            ));
        }
        match linux {
            Ok(()) => good += 1,
            Err(code) => *bad.entry(code).or_default() += 1,
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let total: u32 = bad.values().sum();
    eprintln!("chains of a gateway: {good} good, {total} bad");
    assert!(good >= 15 && total >= 250, "{good} good, {total} bad");
    // Every reason that a chain can be refused for is in the corpus.
    for code in [
        Code::CertificateMalformed,
        Code::CertificateUntrusted,
        Code::CertificateSelfSigned,
        Code::CertificateExpired,
        Code::CertificateNotYetValid,
        Code::CertificateWrongUsage,
        Code::CertificateBadSignature,
        Code::CertificateProfile,
        Code::CertificateWrongName,
    ] {
        assert!(bad.contains_key(&code), "{code}");
    }
}

#[test]
fn the_gateway_and_the_core_say_the_same_of_every_chain_of_a_client() {
    let world = World::new();
    let factory = [world.factory_root.der(), world.factory.der()];
    let anchors = Anchors::new(factory, [world.device_ca.der()], [world.operator_ca.der()]).unwrap();
    let read = |der: &'_ [u8]| TrustAnchor::from_der(der.to_vec().leak()).unwrap();
    let (factory, device, operator) =
        (factory.map(read), [read(world.device_ca.der())], [read(world.operator_ca.der())]);
    let core = ClientAnchors { factory: &factory, device: &device, operator: &operator };
    let (mut good, mut bad, mut wrong) = (0, 0, Vec::new());
    for ClientCase { what, chain, verdict } in client_cases(&world) {
        let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
        let judged: Result<Role, Code> = anchors.verify(&chain, &fleet(), NOW, ALGORITHMS).map(|client| client.role());
        let is_right = match verdict {
            Ok(role) => judged == Ok(role),
            Err(Some(code)) => judged == Err(code),
            Err(None) => judged.is_err(),
        };
        let by_core = verify_client(&chain, &core, &fleet(), NOW, &[ECDSA_P256_SHA256]).map(|client| client.role());
        if !is_right || by_core != judged {
            wrong.push(format!("{what}: {verdict:?}, but {judged:?} (gateway) {by_core:?} (core)"));
        }
        if judged.is_ok() {
            good += 1;
        } else {
            bad += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    eprintln!("chains of a client: {good} good, {bad} bad");
    assert!(good >= 7 && bad >= 200, "{good} good, {bad} bad");
}
