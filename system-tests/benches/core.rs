//! What the core costs without a network: a whole enrolment and a whole rotation through both state machines with real
//! keys, chains and signatures (TLS itself is not in it), and the pieces that they are made of.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use muster_gateway::tls::verifier::ALGORITHMS as AWS_LC;
use muster_issuing::{Issuer, KeyPair};
use muster_protocol::device::{Boot, Credential, Device, Input, LifeRecord, Output, Settings, StateName};
use muster_protocol::message::{self, Down, Hello, Issued, Up};
use muster_protocol::pki::chain::{ClientAnchors, GatewayClock, VerifiedClient, verify_client, verify_gateway};
use muster_protocol::pki::{CsrDraft, ECDSA_P256_SHA256, Profile, TrustAnchor, verify_csr};
use muster_protocol::registrar::{
    CertificateStatus, Context, DeviceRecord, Input as Ask, KeyUse, Output as Do, Registrar, Standing,
};
use muster_protocol::slot::SlotId;
use muster_protocol::time::{Millis, Now};
use muster_protocol::topic::Channel;
use muster_protocol::trust::{Pins, Policy};
use muster_protocol::{DeviceId, FleetId, Identity, UnixTime};
use rustls_pki_types::SignatureVerificationAlgorithm;

const NOW: UnixTime = UnixTime(1_790_000_000);
/// The core's own: what firmware verifies with.
const P256: &[&dyn SignatureVerificationAlgorithm] = &[ECDSA_P256_SHA256];
const HOST: &str = "gateway.example";

/// A factory, a gateway, one device.
struct Parts {
    fleet: FleetId,
    identity: Identity,
    factory: Issuer,
    device_ca: Issuer,
    gateway_ca: Issuer,
    server: Vec<u8>,
    idevid: Vec<u8>,
    idevid_key: KeyPair,
}

impl Parts {
    fn make() -> Self {
        let made_at = UnixTime(NOW.0 - 1000);
        let ca =
            |profile: Profile| Issuer::create(profile, profile.name(), KeyPair::generate().unwrap(), made_at).unwrap();
        let (root, device_ca, gateway_ca) = (ca(Profile::FactoryRoot), ca(Profile::DeviceCa), ca(Profile::GatewayCa));
        let key = KeyPair::generate().unwrap();
        let certificate = root.issue_ca(Profile::FactoryIssuing, "line 1", &key.public_key(), made_at).unwrap();
        let factory = Issuer::open(Profile::FactoryIssuing, certificate, key).unwrap();
        let fleet = FleetId::new("acme").unwrap();
        let identity = Identity::device(fleet.clone(), DeviceId::new("lamp-000001").unwrap());
        let idevid_key = KeyPair::generate().unwrap();
        let idevid = factory.issue(Profile::Idevid, &identity, &idevid_key.public_key(), made_at).unwrap();
        let server_key = KeyPair::generate().unwrap().public_key();
        let server = gateway_ca.issue_server(&[HOST.to_owned()], &server_key, made_at).unwrap();
        Self { fleet, identity, factory, device_ca, gateway_ca, server, idevid, idevid_key }
    }

    fn verified(&self, leaf: &[u8], algorithms: &[&dyn SignatureVerificationAlgorithm]) -> VerifiedClient {
        let factory = [TrustAnchor::from_der(self.factory.certificate()).unwrap()];
        let device = [TrustAnchor::from_der(self.device_ca.certificate()).unwrap()];
        let anchors = ClientAnchors { factory: &factory, device: &device, operator: &[] };
        verify_client(&[leaf], &anchors, &self.fleet, NOW, algorithms).unwrap()
    }
}

/// A device and the gateway's row of it, joined without a network.
struct Pair<'a> {
    parts: &'a Parts,
    device: Device,
    keys: [Option<KeyPair>; 2],
    record: DeviceRecord,
    client: Option<VerifiedClient>,
    issued: Vec<u8>,
    uptime: u64,
}

impl<'a> Pair<'a> {
    fn new(parts: &'a Parts) -> Self {
        let root = parts.idevid_key.public_key().fingerprint();
        let boot = Boot {
            identity: parts.identity.clone(),
            slots: [None, None],
            keys: [None, None],
            life: LifeRecord::default(),
            built_at: UnixTime(NOW.0 - 500),
            pins: Pins { root, backup: root },
            bundle: 1,
            policy: Policy::default(),
            settings: Settings::default(),
            seed: 1,
            agent: "bench".try_into().unwrap(),
        };
        let record = DeviceRecord::expected(parts.identity.name().clone(), root);
        let device = Device::boot(boot, Now { uptime: Millis(0), civil: Some(NOW) });
        Self { parts, device, keys: [None, None], record, client: None, issued: Vec::new(), uptime: 0 }
    }

    fn enrolled(parts: &'a Parts) -> Self {
        let mut pair = Self::new(parts);
        pair.settle();
        pair
    }

    fn rotate(mut self) -> Self {
        self.input(Input::Rotate);
        self.settle();
        self
    }

    fn input(&mut self, input: Input<'_>) {
        self.device.handle_input(Now { uptime: Millis(self.uptime), civil: Some(NOW) }, input);
    }

    /// Goes on until the device is operational and the gateway knows it.
    fn settle(&mut self) {
        for _ in 0..100 {
            while self.step() {}
            if self.device.state() == StateName::Operational && self.record.standing == Standing::Active {
                return;
            }
            self.uptime += 1;
            self.input(Input::Timeout);
        }
        assert_eq!(self.device.state(), StateName::Operational);
    }

    fn step(&mut self) -> bool {
        let Some(output) = self.device.poll_output() else { return false };
        match output {
            Output::Persist { bytes, .. } => {
                black_box(bytes);
                self.input(Input::Persisted);
            }
            Output::GenerateKey(slot) => {
                let key = KeyPair::generate().unwrap();
                let public_key = key.public_key();
                self.keys[slot.index()] = Some(key);
                self.input(Input::KeyGenerated { slot, public_key });
            }
            Output::Sign { slot, message } => {
                let signature = self.keys[slot.index()].as_ref().unwrap().sign(message);
                self.input(Input::Signed(signature));
            }
            Output::Connect(credential) => self.connect(credential),
            Output::Disconnect => self.client = None,
            Output::Send(bytes) => {
                let bytes = bytes.to_vec();
                let client = self.client.clone().unwrap();
                let channel = match client.role() {
                    muster_protocol::pki::chain::Role::Idevid => Channel::Enrol,
                    _ => Channel::Control,
                };
                for answer in self.ask(Ask::Message { client: &client, channel, bytes: &bytes }) {
                    self.input(Input::Message(&answer));
                }
            }
            _ => {}
        }
        true
    }

    /// Both ends check each other's chain, as in a handshake; each with its own library.
    fn connect(&mut self, credential: Credential) {
        let leaf = match credential {
            Credential::Idevid => self.parts.idevid.clone(),
            Credential::Slot(slot) => self.device.certificate(slot).unwrap().to_vec(),
        };
        let clock = GatewayClock { floor: self.device.clock_floor(), civil: Some(NOW) };
        let cas = [self.parts.gateway_ca.certificate()];
        let gateway = verify_gateway(&[&self.parts.server], &cas, HOST, clock, P256).unwrap();
        let client = self.parts.verified(&leaf, AWS_LC);
        self.ask(Ask::Arrived { client: &client, status: CertificateStatus::Good });
        self.client = Some(client);
        self.input(Input::Connected(gateway));
    }

    /// One input of the registrar, done to its end as the gateway does it, on a row that is always there.
    fn ask(&mut self, input: Ask<'_>) -> Vec<Vec<u8>> {
        let context = Context { fleet: self.parts.fleet.clone(), bundle: 1 };
        let mut registrar = Registrar::boot(self.record.clone(), context).unwrap();
        registrar.handle_input(NOW, input);
        let mut answers = Vec::new();
        while let Some(output) = registrar.poll_output() {
            match output {
                Do::LookUpKey(_) => registrar.handle_input(NOW, Ask::KeyUse(KeyUse::Fresh)),
                Do::Issue(key) => {
                    let issuer = &self.parts.device_ca;
                    self.issued = issuer.issue(Profile::Ldevid, &self.parts.identity, key, NOW).unwrap();
                    registrar.handle_input(NOW, Ask::Issued(&self.issued));
                }
                Do::Persist(change) => {
                    self.record = change.record.clone();
                    registrar.handle_input(NOW, Ask::Persisted);
                }
                Do::Send(bytes) => answers.push(bytes.to_vec()),
                Do::SendCertificate(_) => {
                    let issued = Down::Issued(Issued { certificate: &self.issued, time: NOW });
                    answers.push(message::encode(&issued).unwrap().to_vec());
                }
                _ => {}
            }
        }
        answers
    }
}

fn lives(criterion: &mut Criterion) {
    let parts = Parts::make();
    let mut group = criterion.benchmark_group("core");
    group.sample_size(20);
    group.bench_function("enrolment, both ends, no TLS", |bench| {
        bench.iter_batched(
            || Pair::new(&parts),
            |mut pair| {
                pair.settle();
                pair
            },
            BatchSize::SmallInput,
        );
    });
    group.bench_function("rotation, both ends, no TLS", |bench| {
        bench.iter_batched(|| Pair::enrolled(&parts), Pair::rotate, BatchSize::SmallInput);
    });
    group.finish();
}

fn pieces(criterion: &mut Criterion) {
    let parts = Parts::make();
    let key = KeyPair::generate().unwrap();
    let ldevid = parts.device_ca.issue(Profile::Ldevid, &parts.identity, &key.public_key(), NOW).unwrap();
    let csr = || {
        let draft = CsrDraft::new(&parts.identity, &key.public_key());
        let signature = key.sign(draft.to_be_signed());
        draft.finish(&signature)
    };
    let request = csr();
    let device = Pair::enrolled(&parts);
    assert!(SlotId::BOTH.iter().any(|slot| device.device.certificate(*slot).is_some()));

    let mut group = criterion.benchmark_group("core");
    group.bench_function("verify_client of an LDevID, p256", |bench| bench.iter(|| parts.verified(&ldevid, P256)));
    group.bench_function("verify_client of an LDevID, aws-lc-rs", |bench| {
        bench.iter(|| parts.verified(&ldevid, AWS_LC));
    });
    group.bench_function("CSR write, p256", |bench| bench.iter(csr));
    group.bench_function("CSR verify, p256", |bench| bench.iter(|| verify_csr(black_box(&request), &parts.identity)));
    group.bench_function("issue an LDevID, lint and verify", |bench| {
        bench.iter(|| parts.device_ca.issue(Profile::Ldevid, &parts.identity, &key.public_key(), NOW));
    });
    let hello =
        Up::Hello(Hello { active: None, candidate: None, bundle: 1, agent: "muster-agent 0.1.0".try_into().unwrap() });
    let issued = Down::Issued(Issued { certificate: &ldevid, time: NOW });
    let (hello_bytes, issued_bytes) = (message::encode(&hello).unwrap(), message::encode(&issued).unwrap());
    group.bench_function("message encode, Hello", |bench| bench.iter(|| message::encode(black_box(&hello))));
    group.bench_function("message decode, Hello", |bench| {
        bench.iter(|| message::decode_up(black_box(&hello_bytes)).is_ok());
    });
    group.bench_function("message encode, Issued", |bench| bench.iter(|| message::encode(black_box(&issued))));
    group.bench_function("message decode, Issued", |bench| {
        bench.iter(|| message::decode_down(black_box(&issued_bytes)).is_ok());
    });
    group.finish();
}

criterion_group!(benches, lives, pieces);
criterion_main!(benches);
