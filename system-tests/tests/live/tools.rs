//! Other people's tools: mosquitto's clients, openssl, curl.

use std::path::{Path, PathBuf};
use std::process::Command;

use muster_system_tests::live::{Options, Process, Said, World};

/// A device's own credential as files, and a world that knows it.
fn enrolled() -> (World, String, PathBuf) {
    let world = World::new(Options { devices: 2, ..Options::default() }).unwrap();
    let saved = world.path("saved");
    let gateway = format!("localhost:{}", world.ports().unwrap().mqtt);
    let mut swarm = world.program("muster-agent");
    swarm.args(["swarm", "--once", "--count", "2", "--gateway", &gateway, "--identities"]);
    swarm.arg(world.path("batch")).arg("--save").arg(&saved);
    Said::by(&mut swarm).unwrap().done().unwrap();
    (world, "lamp-000001".to_owned(), saved)
}

fn mosquitto(world: &World, program: &str, credential: &Path) -> Command {
    // Into a pipe it would keep its lines to itself until it ends.
    let mut command = Command::new("stdbuf");
    command.args(["-oL", program]);
    let port = world.ports().unwrap().mqtt.to_string();
    command.args(["-h", "localhost", "-p", &port, "--cafile"]).arg(world.path("gateway/ca/gateway-ca.crt"));
    command.arg("--cert").arg(credential.with_extension("crt")).arg("--key").arg(credential.with_extension("key"));
    command
}

#[test]
fn mosquitto_publishes_and_subscribes() {
    let (world, device, saved) = enrolled();
    let services = world.text("services");
    let issue = [
        "service",
        "issue",
        "ingest",
        "--publish",
        "devices/+/commands",
        "--subscribe",
        "devices/#",
        "--out",
        &services,
    ];
    world.gateway(&issue).unwrap();
    for version in ["311", "5"] {
        let mut sub = mosquitto(&world, "mosquitto_sub", &world.path("services/ingest"));
        sub.args(["-V", version, "-i", "ingest", "-q", "1", "-t", "devices/#", "-C", "1", "-d", "-v"]);
        let mut sub = Process::start(&mut sub, "mosquitto_sub", &world.path("sub.log")).unwrap();
        sub.line("subscribed", |line| line.contains("SUBACK").then_some(())).unwrap();
        let mut publish = mosquitto(&world, "mosquitto_pub", &saved.join(&device));
        publish.args([
            "-V",
            version,
            "-i",
            &device,
            "-q",
            "1",
            "-t",
            &format!("devices/{device}/hello"),
            "-m",
            "there",
        ]);
        Said::by(&mut publish).unwrap().done().unwrap();
        let wanted = format!("devices/{device}/hello there");
        sub.line("the message", |line| (line == wanted).then_some(())).unwrap();
    }
}

#[test]
fn topics_and_client_ids_of_others_are_refused() {
    let (world, device, saved) = enrolled();
    let publish = |client_id: &str, topic: &str| {
        let mut command = mosquitto(&world, "mosquitto_pub", &saved.join(&device));
        command.args(["-V", "5", "-i", client_id, "-q", "1", "-t", topic, "-m", "x", "-d"]);
        Said::by(&mut command).unwrap()
    };
    let said = publish("lamp-000002", "devices/lamp-000002/x");
    assert_ne!(said.code, 0, "another's client id: {said:?}");
    let said = publish(&device, "devices/lamp-000002/x");
    assert!(said.out.contains("RC:135"), "another's topic: {said:?}");
    let said = publish(&device, "$muster/lamp-000002/control/up");
    assert!(said.out.contains("RC:135"), "another's control topic: {said:?}");
    let said = publish(&device, &format!("$muster/{device}/control/down"));
    assert!(said.out.contains("RC:135"), "the gateway's own topic: {said:?}");

    let identity = world.path(&format!("batch/{device}/idevid"));
    let mut command = mosquitto(&world, "mosquitto_pub", &identity);
    command.args(["-V", "5", "-i", &device, "-q", "1", "-t", &format!("devices/{device}/x"), "-m", "x", "-d"]);
    let said = Said::by(&mut command).unwrap();
    assert!(said.out.contains("RC:135"), "an IDevID session and an application topic: {said:?}");

    let audit = world.gateway(&["audit", "tail"]).unwrap().to_string();
    for code in ["session.client_id", "session.topic_denied"] {
        assert!(audit.contains(code), "no audit record says {code}: {audit}");
    }
}

#[test]
fn openssl_connects_with_a_device_certificate() {
    let (world, device, saved) = enrolled();
    let port = world.ports().unwrap().mqtt;
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("localhost:{port}"), "-tls1_3", "-verify_return_error", "-CAfile"]);
    command.arg(world.path("gateway/ca/gateway-ca.crt"));
    command.arg("-cert").arg(saved.join(format!("{device}.crt"))).arg("-key").arg(saved.join(format!("{device}.key")));
    let said = Said::by(&mut command).unwrap();
    assert!(said.out.contains("Verify return code: 0 (ok)"), "{said:?}");
    assert!(!said.out.contains("NewSessionTicket"), "no session to resume: {said:?}");

    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &format!("localhost:{port}"), "-tls1_2"]);
    assert_ne!(Said::by(&mut command).unwrap().code, 0, "TLS 1.2 is off");
}

#[test]
fn curl_gets_the_bundle_openly_and_the_api_by_certificate() {
    let (world, device, saved) = enrolled();
    let https = format!("https://localhost:{}", world.ports().unwrap().https);
    let curl = |arguments: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--cacert"]).arg(world.path("gateway/ca/gateway-ca.crt")).args(arguments);
        Said::by(&mut command).unwrap()
    };
    let bundle = world.text("bundle");
    let said = curl(&["-f", "-o", &bundle, &format!("{https}/.well-known/muster/bundle")]);
    assert_eq!(said.code, 0, "{said:?}");
    let fleet = std::fs::read(world.path("gateway/fleet.muster")).unwrap();
    assert_eq!(std::fs::read(&bundle).unwrap(), fleet[64..], "the signed bundle, without the pins");

    let operators = world.text("operators");
    world.gateway(&["operator", "issue", "ada", "--role", "viewer", "--out", &operators]).unwrap();
    let (cert, key) = (world.text("operators/ada.crt"), world.text("operators/ada.key"));
    let said = curl(&["-f", "--cert", &cert, "--key", &key, &format!("{https}/api/v1/devices")]);
    assert!(said.code == 0 && said.out.contains(&device), "{said:?}");

    let rotate = format!("{https}/api/v1/devices/{device}/rotate");
    let json = ["-H", "Content-Type: application/json", "-d", "{}"];
    let said = curl(&[&["--cert", &cert, "--key", &key, "-X", "POST", &rotate][..], &json[..]].concat());
    assert!(said.out.contains("operator.forbidden"), "a viewer acts: {said:?}");
    let said = curl(&["-o", "/dev/null", "-w", "%{http_code}", &format!("{https}/api/v1/devices")]);
    assert!(said.out.starts_with('4'), "nobody in particular: {said:?}");
    let (cert, key) = (saved.join(format!("{device}.crt")), saved.join(format!("{device}.key")));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let said = curl(&["--cert", cert, "--key", key, "-w", "%{http_code}", &format!("{https}/api/v1/devices")]);
    assert!(said.out.ends_with("403"), "a device: {said:?}");
}
