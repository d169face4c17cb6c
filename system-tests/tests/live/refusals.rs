//! Who is refused, with which code, and that nothing changed: through the front door, with certificates made here.

use std::process::Command;

use muster_issuing::issuer::Validity;
use muster_issuing::{Issuer, KeyPair, file, pem};
use muster_protocol::device_id::FleetId;
use muster_protocol::pki::profile::Profile;
use muster_protocol::{DeviceId, Identity, UnixTime};
use muster_system_tests::live::{Options, Said, World, until};
use serde_json::Value;

fn now() -> UnixTime {
    UnixTime(muster_terminal::time::now_unix_secs())
}

fn device(fleet: &str, name: &str) -> Identity {
    Identity::device(FleetId::new(fleet).unwrap(), DeviceId::new(name).unwrap())
}

/// Connects with this chain and key; the client's own words come back.
fn connect(world: &World, name: &str, chain: &[&[u8]], key: &KeyPair, client_id: &str) -> Said {
    let (crt, secret) = (world.path(&format!("{name}.crt")), world.path(&format!("{name}.key")));
    file::replace_public(&crt, pem::write_certificates(chain).as_bytes()).unwrap();
    file::replace_secret(&secret, key.to_pem().unwrap().as_bytes()).unwrap();
    let port = world.ports().unwrap().mqtt.to_string();
    let mut command = Command::new("mosquitto_pub");
    command.args([
        "-V",
        "5",
        "-h",
        "localhost",
        "-p",
        &port,
        "-i",
        client_id,
        "-q",
        "1",
        "-t",
        "devices/x/y",
        "-m",
        "x",
        "--cafile",
    ]);
    command.arg(world.path("gateway/ca/gateway-ca.crt")).arg("--cert").arg(crt).arg("--key").arg(secret);
    Said::by(&mut command).unwrap()
}

fn audited(world: &World, code: &str, after: u64) -> Value {
    until(&format!("an audit record with {code}"), || {
        let tail = world.gateway(&["audit", "tail"])?;
        let items = tail["items"].as_array().cloned().unwrap_or_default();
        Ok(items.into_iter().find(|item| item["code"] == code && item["seq"].as_u64().unwrap_or(0) > after))
    })
    .unwrap()
}

fn last_seq(world: &World) -> u64 {
    let tail = world.gateway(&["audit", "tail"]).unwrap();
    tail["items"].as_array().unwrap().iter().filter_map(|item| item["seq"].as_u64()).max().unwrap_or(0)
}

#[test]
fn every_bad_certificate_has_its_code() {
    let world = World::new(Options::default()).unwrap();
    let before = world.gateway(&["device", "list"]).unwrap();
    let load = |name: &str, profile| {
        let certificate = pem::read_certificates(&std::fs::read_to_string(world.path(&format!("{name}.crt"))).unwrap())
            .unwrap()
            .remove(0);
        let key = KeyPair::from_pem(&file::read_secret(&world.path(&format!("{name}.key"))).unwrap()).unwrap();
        Issuer::open(profile, certificate, key).unwrap()
    };
    let device_ca = load("gateway/ca/device-ca", Profile::DeviceCa);
    let line = load("pki/issuing-ca", Profile::FactoryIssuing);
    let stranger_root = Issuer::create(Profile::FactoryRoot, "stranger", KeyPair::generate().unwrap(), now()).unwrap();
    let stranger_key = KeyPair::generate().unwrap();
    let stranger_ca =
        stranger_root.issue_ca(Profile::FactoryIssuing, "stranger line", &stranger_key.public_key(), now()).unwrap();
    let stranger = Issuer::open(Profile::FactoryIssuing, stranger_ca, stranger_key).unwrap();
    let own_ca = Issuer::create(Profile::DeviceCa, "self", KeyPair::generate().unwrap(), now()).unwrap();
    let gateway_ca = load("gateway/ca/gateway-ca", Profile::GatewayCa);

    let key = KeyPair::generate().unwrap();
    let public = key.public_key();
    let id = "lamp-000001";
    // Inside the CA's own life, which began five minutes before it was made.
    let past = Validity { not_before: UnixTime(now().0 - 200), not_after: UnixTime(now().0 - 100) };
    let future = Validity { not_before: UnixTime(now().0 + 3_600), not_after: UnixTime(now().0 + 7_200) };
    let good = device_ca.issue(Profile::Ldevid, &device("acme", id), &public, now()).unwrap();
    let server_names = ["localhost".to_owned()];
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("certificate.untrusted", stranger.issue(Profile::Idevid, &device("acme", id), &public, now()).unwrap(), id),
        ("certificate.untrusted", gateway_ca.issue_server(&server_names, &public, now()).unwrap(), id),
        ("certificate.expired", device_ca.issue_with(Profile::Ldevid, &device("acme", id), &public, past).unwrap(), id),
        (
            "certificate.not_yet_valid",
            device_ca.issue_with(Profile::Ldevid, &device("acme", id), &public, future).unwrap(),
            id,
        ),
        (
            "certificate.wrong_fleet",
            device_ca.issue(Profile::Ldevid, &device("other", id), &public, now()).unwrap(),
            id,
        ),
        // Signed by the right CA, but the registry never heard of it.
        ("certificate.unknown", good.clone(), id),
        (
            "device.unknown",
            line.issue(Profile::Idevid, &device("acme", "lamp-999999"), &public, now()).unwrap(),
            "lamp-999999",
        ),
        // The right name, but not the key that the manifest names.
        ("device.wrong_idevid", line.issue(Profile::Idevid, &device("acme", id), &public, now()).unwrap(), id),
        ("session.client_id", line.issue(Profile::Idevid, &device("acme", id), &public, now()).unwrap(), "lamp-999999"),
    ];
    for (index, (code, certificate, client_id)) in cases.iter().enumerate() {
        let seq = last_seq(&world);
        let said = connect(&world, &format!("case-{index}"), &[certificate], &key, client_id);
        assert_ne!(said.code, 0, "{code}: let in: {said:?}");
        audited(&world, code, seq);
    }
    let seq = last_seq(&world);
    let said = connect(&world, "self-signed", &[own_ca.certificate()], own_ca.key(), id);
    assert_ne!(said.code, 0);
    audited(&world, "certificate.self_signed", seq);

    let seq = last_seq(&world);
    let port = world.ports().unwrap().mqtt.to_string();
    let mut bare = Command::new("mosquitto_pub");
    bare.args(["-h", "localhost", "-p", &port, "-t", "x", "-m", "x", "--cafile"])
        .arg(world.path("gateway/ca/gateway-ca.crt"));
    assert_ne!(Said::by(&mut bare).unwrap().code, 0);
    audited(&world, "certificate.missing", seq);

    let items = |listing: &Value| listing["items"][0]["standing"].clone();
    assert_eq!(items(&world.gateway(&["device", "list"]).unwrap()), items(&before), "nothing changed");
}

#[test]
fn manifests_are_taken_whole_and_once() {
    let world = World::new(Options { devices: 3, ..Options::default() }).unwrap();
    let path = world.path("batch/manifest.muster");
    let bytes = std::fs::read(&path).unwrap();
    let again = world.gateway(&["manifest", "import", path.to_str().unwrap()]).unwrap();
    assert_eq!(again["imported"], "before", "{again}");
    let changed = world.path("changed.muster");
    for index in (0..bytes.len()).step_by(bytes.len() / 23) {
        let mut flipped = bytes.clone();
        flipped[index] ^= 0x40;
        std::fs::write(&changed, flipped).unwrap();
        let said = world.gateway_says(&["manifest", "import", changed.to_str().unwrap()]).unwrap();
        assert_eq!(said.code, 3, "byte {index}: {said:?}");
        assert!(said.err.contains("manifest.") || said.err.contains("message."), "{said:?}");
    }
    assert_eq!(world.gateway(&["device", "list"]).unwrap()["items"].as_array().unwrap().len(), 3);
}
