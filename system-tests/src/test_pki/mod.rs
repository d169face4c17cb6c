//! The public key infrastructure of simulated worlds: one factory, one gateway with its CAs and their successors, the
//! fleet's root keys, devices, bundles.
//!
//! Everything is real: P-256 keys, X.509 certificates that keep the profiles, signed bundles. What does not depend on a
//! history (CAs, IDevIDs, server certificates, a pool of key pairs) is made once per process, and a signature that
//! was found good once is remembered ([`memory`]): that is what makes ten thousand histories affordable.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use muster_protocol::UnixTime;
use muster_protocol::device_id::{DeviceId, FleetId, Identity};
use muster_protocol::pki::{Profile, PublicKey, Serial};
use muster_protocol::signed::{self, Kind};
use muster_protocol::trust::{self, GatewayAddress, Pins, Policy, TrustBundle};

mod certificate;
mod key;
pub mod memory;

pub use certificate::{Request, TestCa, serial_of};
pub use key::TestKey;

/// When every simulated history starts: 2026-01-01T00:00:00Z.
pub const START: UnixTime = UnixTime(1_767_225_600);
/// The name of the simulated gateway.
pub const HOST: &str = "gateway.test";
/// How long a server certificate is valid, and how often it is replaced, in seconds.
pub const SERVER_LIFE_SECS: u64 = 90 * 86_400;
const SERVER_PERIOD_SECS: u64 = 30 * 86_400;
const MADE_AT: UnixTime = UnixTime(START.0 - 400 * 86_400);
/// Gateway CAs: the first, and those that replace it.
pub const GATEWAY_CAS: usize = 4;
/// Devices of one world.
pub const DEVICES_MAX: usize = 4;
/// Key pairs in the pool; more than a device makes in one history.
pub const POOL_KEYS: usize = 512;

/// A device as the factory made it.
pub struct Manufactured {
    /// Its name.
    pub identity: Identity,
    /// The key of its IDevID.
    pub key: TestKey,
    /// Its IDevID, DER.
    pub idevid: Vec<u8>,
}

/// What a fleet file says, read once.
#[derive(Debug)]
pub struct Trust {
    /// The pins in force.
    pub pins: Pins,
    /// Number of the bundle.
    pub number: u32,
    /// The fleet's bounds.
    pub policy: Policy,
    /// CAs that a gateway may have its certificate from, DER.
    pub gateway_cas: Vec<Vec<u8>>,
}

/// DER by what it was made for: made once.
type Cache<K> = Mutex<BTreeMap<K, Arc<Vec<u8>>>>;

/// All keys and CAs of simulated worlds.
pub struct TestPki {
    /// The fleet of every world.
    pub fleet: FleetId,
    /// The factory's issuing CA: the anchor of IDevIDs.
    pub factory: TestCa,
    /// The gateway's CA for devices.
    pub device_ca: TestCa,
    /// The gateway's CA for itself, and its successors.
    pub gateway_cas: Vec<TestCa>,
    /// The devices.
    pub devices: Vec<Manufactured>,
    fleet_root: TestKey,
    fleet_backup: TestKey,
    server_key: TestKey,
    pool: Vec<OnceLock<TestKey>>,
    servers: Cache<(usize, u64)>,
    bundles: Cache<(u32, u8, u8)>,
    trusts: Mutex<BTreeMap<Vec<u8>, Option<Arc<Trust>>>>,
}

impl TestPki {
    /// The one of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<TestPki> = OnceLock::new();
        SHARED.get_or_init(Self::new)
    }

    #[allow(clippy::expect_used)]
    fn new() -> Self {
        let fleet = FleetId::new("acme").expect("a fleet id");
        let factory = TestCa::new(Profile::FactoryIssuing, "Factory issuing CA", 0, MADE_AT);
        let devices = (0..DEVICES_MAX).map(|index| manufacture(&fleet, &factory, index)).collect();
        Self {
            device_ca: TestCa::new(Profile::DeviceCa, "Device CA", 0, MADE_AT),
            gateway_cas: (0..GATEWAY_CAS as u64)
                .map(|number| TestCa::new(Profile::GatewayCa, "Gateway CA", number, MADE_AT))
                .collect(),
            fleet_root: TestKey::new("fleet root", 0),
            fleet_backup: TestKey::new("fleet backup", 0),
            server_key: TestKey::new("gateway server", 0),
            pool: (0..POOL_KEYS).map(|_| OnceLock::new()).collect(),
            servers: Mutex::default(),
            bundles: Mutex::default(),
            trusts: Mutex::default(),
            fleet,
            factory,
            devices,
        }
    }

    /// A key pair for one history that starts in the pool at `offset`, the same for the same numbers. A history that
    /// makes more keys than there are in the pool gets further ones.
    pub fn pool_key(&self, offset: usize, number: usize) -> TestKey {
        if number >= POOL_KEYS {
            return TestKey::new("beyond the pool", number as u64);
        }
        let place = (offset + number) % POOL_KEYS;
        self.pool[place].get_or_init(|| TestKey::new("pool", place as u64)).clone()
    }

    /// The pins that the factory writes.
    #[must_use]
    pub fn pins(&self) -> Pins {
        Pins { root: self.fleet_root.public().fingerprint(), backup: self.fleet_backup.public().fingerprint() }
    }

    /// An operational certificate.
    #[must_use]
    pub fn issue(
        &self,
        identity: &Identity,
        key: &PublicKey,
        serial: Serial,
        from: UnixTime,
        life_secs: u64,
    ) -> Vec<u8> {
        let request = Request {
            profile: Profile::Ldevid,
            serial,
            name: "",
            identity: Some(identity.clone()),
            host: None,
            not_before: from,
            not_after: from.plus_secs(life_secs),
        };
        self.device_ca.issue(&request, key)
    }

    /// The server certificate that a gateway has at `time`, from one of its CAs.
    pub fn server(&self, gateway_ca: usize, time: UnixTime) -> Arc<Vec<u8>> {
        let period = time.0 / SERVER_PERIOD_SECS;
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let not_before = UnixTime(period * SERVER_PERIOD_SECS - 300);
            let request = Request {
                profile: Profile::GatewayServer,
                serial: serial_of(&[b"server", &gateway_ca.to_be_bytes(), &period.to_be_bytes()]),
                name: "gateway",
                identity: None,
                host: Some(HOST),
                not_before,
                not_after: not_before.plus_secs(SERVER_LIFE_SECS),
            };
            Arc::new(self.gateway_cas[gateway_ca].issue(&request, self.server_key.public()))
        };
        servers.entry((gateway_ca, period)).or_insert_with(make).clone()
    }

    /// A bundle that trusts the gateway CAs from `oldest_ca` to `newest_ca`, signed by the fleet root.
    pub fn bundle(&self, number: u32, oldest_ca: usize, newest_ca: usize) -> Arc<Vec<u8>> {
        let mut bundles = self.bundles.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || Arc::new(self.sign_bundle(number, oldest_ca, newest_ca));
        bundles.entry((number, oldest_ca as u8, newest_ca as u8)).or_insert_with(make).clone()
    }

    #[allow(clippy::expect_used)]
    fn sign_bundle(&self, number: u32, oldest_ca: usize, newest_ca: usize) -> Vec<u8> {
        let address =
            GatewayAddress { host: HOST.try_into().expect("a short name"), mqtt_port: 8883, https_port: 8443 };
        let bundle = TrustBundle {
            fleet: self.fleet.clone(),
            number,
            gateway_cas: (oldest_ca..=newest_ca).map(|ca| self.gateway_cas[ca].certificate()).collect(),
            gateways: core::iter::once(address).collect(),
            policy: Policy { renew_at_percent: 60 + (number % 10) as u8, ..Policy::default() },
            next_pins: None,
        };
        let mut buffer = [0; 4096];
        let body = postcard::to_slice(&bundle, &mut buffer).expect("room for a bundle");
        self.sign_document(Kind::TrustBundle, trust::VERSION, body, &[&self.fleet_root])
    }

    /// A signed document of any kind.
    #[must_use]
    pub fn sign_document(&self, kind: Kind, version: u8, body: &[u8], signers: &[&TestKey]) -> Vec<u8> {
        let header = signed::header(kind, version, body.len() as u32);
        let covered = [&signed::DOMAIN[..], &header, body].concat();
        let mut document = [&header[..], body, &[signers.len() as u8]].concat();
        for signer in signers {
            document.extend_from_slice(signer.public().as_sec1());
            document.extend_from_slice(signer.sign(&covered).as_bytes());
        }
        document
    }

    /// What the factory writes beside an IDevID: pins and bundle.
    #[must_use]
    pub fn fleet_file(&self, bundle: &[u8]) -> Vec<u8> {
        let pins = self.pins();
        [&pins.root.0[..], &pins.backup.0, bundle].concat()
    }

    /// Reads a fleet file with the core's own code, once for the same bytes.
    pub fn read_fleet_file(&self, bytes: &[u8]) -> Option<Arc<Trust>> {
        let mut trusts = self.trusts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = trusts.get(bytes) {
            return known.clone();
        }
        let read = trust::read_fleet_file(bytes).ok().map(|verified| {
            let bundle = verified.bundle();
            Arc::new(Trust {
                pins: *verified.pins(),
                number: bundle.number,
                policy: bundle.policy,
                gateway_cas: bundle.gateway_cas.iter().map(|der| der.to_vec()).collect(),
            })
        });
        trusts.insert(bytes.to_vec(), read.clone());
        read
    }
}

#[allow(clippy::expect_used)]
fn manufacture(fleet: &FleetId, factory: &TestCa, index: usize) -> Manufactured {
    let device = DeviceId::new(&format!("dev-{index}")).expect("a device id");
    let identity = Identity::device(fleet.clone(), device);
    let key = TestKey::new("idevid", index as u64);
    let request = Request {
        profile: Profile::Idevid,
        serial: serial_of(&[b"idevid", &index.to_be_bytes()]),
        name: "",
        identity: Some(identity.clone()),
        host: None,
        not_before: MADE_AT,
        not_after: UnixTime::FOREVER,
    };
    let idevid = factory.issue(&request, key.public());
    Manufactured { identity, key, idevid }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use muster_protocol::pki::{Certificate, lint};

    use super::*;

    fn keeps_profile(der: &[u8], profile: Profile) {
        let certificate = Certificate::parse(der).unwrap();
        let findings = lint(&certificate, profile);
        assert!(findings.is_empty(), "{profile:?}: {findings:?}");
    }

    #[test]
    fn every_certificate_of_a_world_keeps_its_profile() {
        let pki = TestPki::shared();
        keeps_profile(&pki.devices[0].idevid, Profile::Idevid);
        keeps_profile(pki.device_ca.certificate(), Profile::DeviceCa);
        keeps_profile(pki.gateway_cas[1].certificate(), Profile::GatewayCa);
        keeps_profile(&pki.server(1, START), Profile::GatewayServer);
        let key = pki.pool_key(0, 0);
        let ldevid = pki.issue(&pki.devices[0].identity, key.public(), serial_of(&[b"x"]), START, 86_400);
        keeps_profile(&ldevid, Profile::Ldevid);
    }

    #[test]
    fn a_fleet_file_is_read_by_the_core() {
        let pki = TestPki::shared();
        let file = pki.fleet_file(&pki.bundle(3, 0, 1));
        let trust = pki.read_fleet_file(&file).unwrap();
        assert_eq!((trust.number, trust.gateway_cas.len()), (3, 2));
        let mut torn = file;
        torn[100] ^= 1;
        assert!(pki.read_fleet_file(&torn).is_none());
    }

    #[test]
    fn the_same_request_gives_the_same_bytes() {
        let pki = TestPki::shared();
        let make = || pki.issue(&pki.devices[1].identity, pki.pool_key(0, 3).public(), serial_of(&[b"y"]), START, 60);
        assert_eq!(make(), make());
    }
}
