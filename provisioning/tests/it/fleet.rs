//! A trust bundle from the one in force, over a draft, to the next one: what is signed, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

use muster_issuing::{Issuer, KeyPair, file, seal};
use muster_protocol::device_id::FleetId;
use muster_protocol::pki::profile::Profile;
use muster_protocol::signed::Kind;
use muster_protocol::time::UnixTime;
use muster_protocol::trust::{GatewayAddress, Policy, TrustBundle, VERSION, read_fleet_file};
use muster_provisioning::bundle;
use tempfile::TempDir;

const PASSWORD: &[u8] = b"correct horse";

/// A fleet whose first bundle, number 7, is in force.
struct Fleet {
    dir: TempDir,
}

impl Fleet {
    fn make() -> Self {
        let dir = TempDir::new().unwrap();
        let fleet = Self { dir };
        let (root, backup) = (fleet.key("root"), fleet.key("backup"));
        let ca =
            Issuer::create(Profile::GatewayCa, "gateway CA", KeyPair::generate().unwrap(), UnixTime(1_700_000_000));
        let ca = ca.unwrap().certificate().to_vec();
        let mut first = TrustBundle {
            fleet: FleetId::new("acme").unwrap(),
            number: 7,
            gateway_cas: heapless::Vec::new(),
            gateways: heapless::Vec::new(),
            policy: Policy::default(),
            next_pins: None,
        };
        first.gateway_cas.push(&ca).unwrap();
        let host = "gateway.example".try_into().unwrap();
        first.gateways.push(GatewayAddress { host, mqtt_port: 8883, https_port: 8443 }).unwrap();
        let body = postcard::to_stdvec(&first).unwrap();
        let signed = seal(Kind::TrustBundle, VERSION, &body, &[&root]).unwrap();
        let pins = [root.public_key().fingerprint().0, backup.public_key().fingerprint().0].concat();
        fs::write(fleet.path("fleet.muster"), [pins, signed].concat()).unwrap();
        fleet
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Makes a fleet key and leaves it encrypted beside the fleet file.
    fn key(&self, name: &str) -> KeyPair {
        let key = KeyPair::generate().unwrap();
        let text = key.to_encrypted_pem(PASSWORD).unwrap();
        file::create_secret(&self.path(name), text.as_bytes()).unwrap();
        key
    }

    /// A draft, changed by `edit`; its path.
    fn draft(&self, edit: impl FnOnce(String) -> String) -> PathBuf {
        let dir = TempDir::new_in(self.dir.path()).unwrap().keep();
        let draft = bundle::draft(&self.path("fleet.muster"), &dir).unwrap();
        let text = fs::read_to_string(&draft).unwrap();
        fs::write(&draft, edit(text)).unwrap();
        draft
    }

    /// Signs a draft; the code of the refusal, if it is refused.
    fn sign(&self, draft: &Path, keys: &[&str]) -> Result<Vec<u8>, String> {
        let keys: Vec<PathBuf> = keys.iter().map(|name| self.path(name)).collect();
        let out = self.path("next.muster");
        bundle::sign(draft, &self.path("fleet.muster"), &keys, PASSWORD, &out)
            .map_err(|failure| failure.to_json()["code"].as_str().unwrap().to_owned())?;
        Ok(fs::read(&out).unwrap())
    }
}

#[test]
fn a_draft_signed_as_it_is_says_the_same_under_the_next_number() {
    let fleet = Fleet::make();
    for key in ["root", "backup"] {
        let next = fleet.sign(&fleet.draft(|text| text), &[key]).unwrap();
        let before = fs::read(fleet.path("fleet.muster")).unwrap();
        let (before, next) = (read_fleet_file(&before).unwrap(), read_fleet_file(&next).unwrap());
        let expected = TrustBundle { number: 8, ..before.bundle().clone() };
        assert_eq!((next.bundle(), next.pins()), (&expected, before.pins()));
    }
}

#[test]
fn new_pins_need_both_keys() {
    let fleet = Fleet::make();
    let pins = ["new root", "new backup"].map(|name| fleet.key(name).public_key().fingerprint());
    let next_pins = format!("next_pins = {{ root = \"{}\", backup = \"{}\" }}\n\n[policy]", pins[0], pins[1]);
    let draft = fleet.draft(|text| text.replace("[policy]", &next_pins));
    for one in ["root", "backup"] {
        assert_eq!(fleet.sign(&draft, &[one]), Err("bundle.bad_signature".to_owned()));
    }
    let next = fleet.sign(&draft, &["root", "backup"]).unwrap();
    let next = read_fleet_file(&next).unwrap();
    assert_eq!([next.pins().root, next.pins().backup], pins);
}

#[test]
fn what_devices_would_refuse_is_not_signed() {
    let fleet = Fleet::make();
    fleet.key("stranger");
    let as_it_is = fleet.draft(|text| text);
    for (draft, key, code) in [
        (fleet.draft(|text| text.replace("number = 8", "number = 7")), "root", "bundle.stale"),
        (fleet.draft(|text| text.replace("fleet = \"acme\"", "fleet = \"other\"")), "root", "bundle.wrong_fleet"),
        (
            fleet.draft(|text| text.replace("renew_at_percent = 66", "renew_at_percent = 96")),
            "root",
            "bundle.malformed",
        ),
        (fleet.draft(|text| text.replace("[policy]", "[polity]")), "root", "draft.malformed"),
        (fleet.draft(|text| text.replace("gateway-ca-1.crt", "none.crt")), "root", "draft.gateway_ca"),
        (as_it_is, "stranger", "bundle.bad_signature"),
    ] {
        assert_eq!(fleet.sign(&draft, &[key]), Err(code.to_owned()), "{}", draft.display());
        assert!(!fleet.path("next.muster").exists(), "{code}");
    }
}

#[test]
fn a_bundle_that_firmware_has_no_room_for_is_not_signed() {
    let fleet = Fleet::make();
    // As many CAs and gateways as a bundle may have, with the longest names: the format has room, a device has not.
    let longest = |text: String| {
        let (head, gateway) = text.split_at(text.find("[[gateways]]").unwrap());
        let names = ["a", "b", "c", "d"].map(|letter| format!("{0}.{0}", letter.repeat(60)));
        let gateways = names.map(|name| gateway.replace("gateway.example", &name)).concat();
        head.replace("\"gateway-ca-1.crt\"", &["\"gateway-ca-1.crt\""; 3].join(", ")) + &gateways
    };
    let draft = fleet.draft(longest);
    assert!(fleet.sign(&draft, &["root", "backup"]).is_ok(), "three small CAs and four long names");
    fs::remove_file(fleet.path("next.muster")).unwrap();
    let key = KeyPair::generate().unwrap();
    let large = Issuer::create(Profile::GatewayCa, &"n".repeat(64), key, UnixTime(1_700_000_000)).unwrap();
    let large = muster_issuing::pem::write_certificates(&[large.certificate()]);
    fs::write(draft.with_file_name("gateway-ca-1.crt"), large).unwrap();
    assert_eq!(fleet.sign(&draft, &["root", "backup"]), Err("message.oversized".to_owned()));
    assert!(!fleet.path("next.muster").exists());
}

#[test]
fn a_draft_never_replaces_one() {
    let fleet = Fleet::make();
    let dir = fleet.path("work");
    let draft = bundle::draft(&fleet.path("fleet.muster"), &dir).unwrap();
    fs::write(&draft, "mine").unwrap();
    assert!(bundle::draft(&fleet.path("fleet.muster"), &dir).is_err());
    assert_eq!(fs::read_to_string(&draft).unwrap(), "mine");
}
