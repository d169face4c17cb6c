//! A gateway's authority without its listeners: a store in a directory of its own, real CAs, a clock that tests move.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use muster_gateway::admin::{Caller, Installation, Operations};
use muster_gateway::clock::Clock;
use muster_gateway::config::Config;
use muster_gateway::issuer::LocalIssuer;
use muster_gateway::registrar::{Context, Registrars, Sessions};
use muster_gateway::store::{SqliteStore, Store};
use muster_issuing::{Issuer, KeyPair};
use muster_protocol::manifest::{self, Entry, Header};
use muster_protocol::message::{self, Down, Hello, Up};
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::chain::{ClientAnchors, VerifiedClient, verify_client};
use muster_protocol::pki::csr::CsrDraft;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::serial::Serial;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::pki::{ECDSA_P256_SHA256, PublicKey};
use muster_protocol::signed::Kind;
use muster_protocol::topic::Channel;
use muster_protocol::{Code, DeviceId, FleetId, Identity, UnixTime};

pub(crate) const NOW: u64 = 1_790_000_000;
pub(crate) const LIFE_SECS: u64 = 7 * 86_400;

pub(crate) fn fleet() -> FleetId {
    FleetId::new("acme").unwrap()
}

pub(crate) fn id(name: &str) -> DeviceId {
    DeviceId::new(name).unwrap()
}

pub(crate) fn peer() -> SocketAddr {
    "192.0.2.7:40000".parse().unwrap()
}

/// A factory: its root and its issuing CA.
pub(crate) struct Factory {
    pub(crate) root: Issuer,
    pub(crate) issuing: Issuer,
}

impl Factory {
    pub(crate) fn new() -> Self {
        let made_at = UnixTime(NOW - 1_000_000);
        let root = Issuer::create(Profile::FactoryRoot, "Factory root", KeyPair::generate().unwrap(), made_at).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = root.issue_ca(Profile::FactoryIssuing, "Factory line 1", &key.public_key(), made_at).unwrap();
        let issuing = Issuer::open(Profile::FactoryIssuing, certificate, key).unwrap();
        Self { root, issuing }
    }

    pub(crate) fn device(&self, name: &str) -> Device {
        let key = KeyPair::generate().unwrap();
        let identity = Identity::device(fleet(), id(name));
        let idevid =
            self.issuing.issue(Profile::Idevid, &identity, &key.public_key(), UnixTime(NOW - 500_000)).unwrap();
        Device { identity, key, idevid }
    }

    pub(crate) fn manifest(&self, devices: &[&Device]) -> Vec<u8> {
        self.manifest_of(devices, &fleet())
    }

    pub(crate) fn manifest_of(&self, devices: &[&Device], fleet: &FleetId) -> Vec<u8> {
        let entries = devices.iter().map(|device| {
            let serial = Certificate::parse(&device.idevid).unwrap().serial().clone();
            (device.id(), Entry { device: device.id(), key: device.key.public_key().fingerprint(), serial })
        });
        let sorted: BTreeMap<DeviceId, Entry> = entries.collect();
        self.sealed(fleet, &sorted.into_values().collect::<Vec<_>>())
    }

    pub(crate) fn sealed(&self, fleet: &FleetId, entries: &[Entry]) -> Vec<u8> {
        let header = Header {
            fleet: fleet.clone(),
            product: "Pump".try_into().unwrap(),
            lot: "L1".try_into().unwrap(),
            made_at: UnixTime(NOW - 1000),
            devices: u32::try_from(entries.len()).unwrap(),
            issuing_ca: self.issuing.certificate(),
        };
        let mut buffer = [0; 4096];
        let mut body = manifest::frame(&header, &mut buffer).unwrap().to_vec();
        for entry in entries {
            body.extend_from_slice(manifest::frame(entry, &mut buffer).unwrap());
        }
        muster_issuing::seal(Kind::Manifest, manifest::VERSION, &body, &[self.issuing.key()]).unwrap()
    }
}

/// A device as the factory made it.
pub(crate) struct Device {
    pub(crate) identity: Identity,
    pub(crate) key: KeyPair,
    pub(crate) idevid: Vec<u8>,
}

impl Device {
    pub(crate) fn id(&self) -> DeviceId {
        self.identity.name().clone()
    }
}

/// What was done to the live sessions.
#[derive(Default)]
pub(crate) struct Recorded {
    pub(crate) cuts: Mutex<Vec<(DeviceId, Code)>>,
    pub(crate) notices: Mutex<Vec<(DeviceId, Vec<u8>)>>,
}

impl Sessions for Recorded {
    fn cut(&self, device: &DeviceId, code: Code) {
        self.cuts.lock().unwrap().push((device.clone(), code));
    }

    fn notify(&self, device: &DeviceId, message: &[u8]) {
        self.notices.lock().unwrap().push((device.clone(), message.to_vec()));
    }
}

/// Everything but the listeners.
pub(crate) struct World<S = SqliteStore> {
    pub(crate) factory: Factory,
    pub(crate) device_ca: LocalIssuer,
    pub(crate) operator_ca: LocalIssuer,
    pub(crate) sessions: Arc<Recorded>,
    pub(crate) registrars: Arc<Registrars<S>>,
    pub(crate) operations: Arc<Operations<S>>,
    now: Arc<AtomicU64>,
    _folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|store| store)
    }
}

impl<S: Store> World<S> {
    pub(crate) fn with(wrap: impl FnOnce(SqliteStore) -> S) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(wrap(SqliteStore::open(folder.path()).unwrap()));
        let authority = |profile| {
            let key = KeyPair::generate().unwrap();
            LocalIssuer::new(Issuer::create(profile, profile.name(), key, UnixTime(NOW - 1_000_000)).unwrap())
        };
        let (device_ca, operator_ca) = (authority(Profile::DeviceCa), authority(Profile::OperatorCa));
        let gateway_ca = authority(Profile::GatewayCa);
        let sessions = Arc::new(Recorded::default());
        let now = Arc::new(AtomicU64::new(NOW));
        let told = Arc::clone(&now);
        let context =
            Context { fleet: fleet(), bundle_number: 3, bundle: b"the bundle".to_vec(), ldevid_secs: LIFE_SECS };
        let registrars = Registrars::new(store, Some(Arc::new(device_ca.clone())), sessions.clone(), context)
            .with_clock(Clock::from_fn(move || UnixTime(told.load(Ordering::Relaxed))));
        let registrars = Arc::new(registrars);
        let installation = Installation {
            device_ca: device_ca.certificate().to_vec(),
            gateway_ca: gateway_ca.certificate().to_vec(),
            operator_ca: operator_ca.certificate().to_vec(),
            ..Installation::default()
        };
        let operations = Operations::new(
            Arc::clone(&registrars),
            Arc::new(operator_ca.clone()),
            Config::default().certificates,
            installation,
        );
        Self {
            factory: Factory::new(),
            device_ca,
            operator_ca,
            sessions,
            registrars,
            operations: Arc::new(operations),
            now,
            _folder: folder,
        }
    }

    pub(crate) fn store(&self) -> &S {
        self.registrars.store()
    }

    pub(crate) fn now(&self) -> UnixTime {
        UnixTime(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn pass(&self, secs: u64) {
        self.now.fetch_add(secs, Ordering::Relaxed);
    }

    /// Registers the factory and these devices, as an administrator would.
    pub(crate) async fn admit(&self, devices: &[&Device]) {
        let root = muster_issuing::pem::write_certificates(&[self.factory.root.certificate()]);
        self.operations.add_factory_cas(&Caller::local(), &root).await.unwrap();
        let imported = self.operations.import_manifest(&Caller::local(), self.factory.manifest(devices)).await.unwrap();
        assert_eq!(imported.devices as usize, devices.len());
    }

    /// The evidence of a handshake.
    pub(crate) fn verified(&self, chain: &[&[u8]]) -> Result<VerifiedClient, Code> {
        let factory = [TrustAnchor::from_der(self.factory.root.certificate()).unwrap()];
        let device = [TrustAnchor::from_der(self.device_ca.certificate()).unwrap()];
        let operator = [TrustAnchor::from_der(self.operator_ca.certificate()).unwrap()];
        let anchors = ClientAnchors { factory: &factory, device: &device, operator: &operator };
        verify_client(chain, &anchors, &fleet(), self.now(), &[ECDSA_P256_SHA256])
    }

    pub(crate) fn by_idevid(&self, device: &Device) -> VerifiedClient {
        self.verified(&[&device.idevid, self.factory.issuing.certificate()]).unwrap()
    }

    pub(crate) fn by_ldevid(&self, certificate: &[u8]) -> VerifiedClient {
        self.verified(&[certificate]).unwrap()
    }

    /// A control message and its answers, decoded.
    pub(crate) async fn say(&self, client: &VerifiedClient, channel: Channel, up: &Up<'_>) -> Vec<Answer> {
        self.send(client, channel, &message::encode(up).unwrap()).await
    }

    pub(crate) async fn send(&self, client: &VerifiedClient, channel: Channel, bytes: &[u8]) -> Vec<Answer> {
        let mut replies = Vec::new();
        self.registrars.message(client, peer(), channel, bytes, &mut |reply| replies.push(reply)).await;
        replies.iter().map(|reply| Answer::read(reply)).collect()
    }

    /// Kinds of the audit's records about a device, oldest first.
    pub(crate) async fn history(&self, device: &DeviceId) -> Vec<String> {
        let filter = muster_gateway::admin::AuditFilter {
            device: Some(device.clone()),
            after: Some(0),
            limit: Some(1000),
            ..Default::default()
        };
        let rows = self.operations.audit(&Caller::local(), filter).await.unwrap();
        rows.items.into_iter().map(|row| row.kind).collect()
    }
}

/// What the gateway said, owned.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Answer {
    Welcome { order: Option<u32>, bundle: u32 },
    Issued(Vec<u8>),
    Refused(Code),
    Confirmed(Serial),
    Bundle(Vec<u8>),
    Rotate(u32),
    Retired,
}

impl Answer {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        match message::decode_down(bytes).unwrap() {
            Down::Welcome(welcome) => Self::Welcome { order: welcome.order, bundle: welcome.bundle },
            Down::Issued(issued) => Self::Issued(issued.certificate.to_vec()),
            Down::Refused(refused) => Self::Refused(refused.code),
            Down::Confirmed { serial } => Self::Confirmed(serial),
            Down::Bundle { signed } => Self::Bundle(signed.to_vec()),
            Down::Rotate { order } => Self::Rotate(order),
            Down::Retired => Self::Retired,
        }
    }
}

pub(crate) fn hello(active: Option<&Serial>) -> Up<'static> {
    Up::Hello(Hello { active: active.cloned(), candidate: None, bundle: 3, agent: "test".try_into().unwrap() })
}

pub(crate) fn csr(identity: &Identity, key: &KeyPair) -> Vec<u8> {
    let draft = CsrDraft::new(identity, &key.public_key());
    let signature = key.sign(draft.to_be_signed());
    draft.finish(&signature).to_vec()
}

pub(crate) fn request_pem(identity: &Identity, key: &KeyPair) -> String {
    muster_gateway::admin::pem::write_request(&csr(identity, key))
}

pub(crate) fn serial(certificate: &[u8]) -> Serial {
    Certificate::parse(certificate).unwrap().serial().clone()
}

pub(crate) fn public_key(certificate: &[u8]) -> PublicKey {
    Certificate::parse(certificate).unwrap().public_key().unwrap()
}
