//! A place to make devices: a PKI, a fleet file, and folders, copied fresh for every history.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use muster_issuing::{Issuer, KeyPair, seal};
use muster_protocol::pki::Profile;
use muster_protocol::signed::Kind as Document;
use muster_protocol::trust::{self, GatewayAddress, Pins, Policy, TrustBundle};
use muster_protocol::{FleetId, UnixTime};
use muster_provisioning::ceremony;
use tempfile::TempDir;

/// A folder with `pki` and `fleet.muster`.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    /// A copy of the one place that this process made.
    pub(crate) fn new() -> Self {
        static MADE: OnceLock<TempDir> = OnceLock::new();
        let made = MADE.get_or_init(make);
        let dir = folder();
        fs::create_dir(dir.path().join("pki")).unwrap();
        for entry in fs::read_dir(made.path().join("pki")).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), dir.path().join("pki").join(entry.file_name())).unwrap();
        }
        fs::copy(made.path().join("fleet.muster"), dir.path().join("fleet.muster")).unwrap();
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.path("pki")
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.path("out")
    }

    pub(crate) fn fleet(&self) -> PathBuf {
        self.path("fleet.muster")
    }
}

/// In memory where there is such a place: ten thousand histories force every line to disk.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn make() -> TempDir {
    let dir = folder();
    ceremony::init(&dir.path().join("pki"), "bench", b"correct horse battery staple").unwrap();
    fs::write(dir.path().join("fleet.muster"), fleet_file("acme", 1)).unwrap();
    dir
}

/// A fleet file with a gateway CA of its own.
pub(crate) fn fleet_file(fleet: &str, number: u32) -> Vec<u8> {
    let [root, backup, ca] = [0; 3].map(|_| KeyPair::generate().unwrap());
    let now = UnixTime(muster_terminal::time::now_unix_secs());
    let ca = Issuer::create(Profile::GatewayCa, "gateway CA", ca, now).unwrap();
    let address = GatewayAddress { host: "gw.acme.example".try_into().unwrap(), mqtt_port: 8883, https_port: 8443 };
    let bundle = TrustBundle {
        fleet: FleetId::new(fleet).unwrap(),
        number,
        gateway_cas: heapless::Vec::from_slice(&[ca.certificate()]).unwrap(),
        gateways: heapless::Vec::from_slice(&[address]).unwrap(),
        policy: Policy::default(),
        next_pins: None,
    };
    let body = postcard::to_allocvec(&bundle).unwrap();
    let signed = seal(Document::TrustBundle, trust::VERSION, &body, &[&root]).unwrap();
    let pins = Pins { root: root.public_key().fingerprint(), backup: backup.public_key().fingerprint() };
    [&pins.root.0[..], &pins.backup.0, &signed].concat()
}
