//! A gateway that runs: who gets a session, what it may do, what ends it, and what happens when it is reloaded or stopped.

use std::time::Duration;

use muster_gateway::admin::Caller;
use muster_gateway::directory;
use muster_gateway::registrar::Sessions;
use muster_gateway::server::Gateway;
use muster_gateway::store::DocumentId;
use muster_issuing::KeyPair;
use muster_protocol::message::{self, Up};
use muster_protocol::pki::profile::Profile;
use muster_protocol::registrar::Reason;
use muster_protocol::{Code, Identity};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::edge::{Mqtt, Running, Shown, localhost, now, options, stranger, tls13};
use crate::world::{Answer, Device, csr, fleet, hello, id, serial};

const NOT_AUTHORIZED: u8 = 0x87;
const ADMINISTRATIVE: u8 = 0x98;
const SHUTTING_DOWN: u8 = 0x8B;

async fn ask(mqtt: &mut Mqtt, topic: &str, up: &Up<'_>) -> Answer {
    let body = message::encode(up).unwrap();
    let mut packet = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    packet.extend_from_slice(topic.as_bytes());
    packet.extend_from_slice(&[0, 9, 0]);
    packet.extend_from_slice(&body);
    mqtt.write_packet(0x32, &packet).await;
    loop {
        let (first, body) = mqtt.read().await.expect("the gateway hung up");
        if first & 0xF0 == 0x30 {
            let topic_bytes = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let payload = 2 + topic_bytes + 2 + 1 + usize::from(body[2 + topic_bytes + 2]);
            return Answer::read(&body[payload..]);
        }
    }
}

/// Enrols over the wire and gives the LDevID.
pub async fn enrol(running: &Running, device: &Device) -> Shown {
    let name = device.id();
    let mut mqtt = running.mqtt(&running.by_idevid(device), name.as_str()).await;
    assert_eq!(mqtt.connack().await.0, 0);
    assert!(mqtt.subscribe(&format!("$muster/{name}/enrol/down")).await <= 1);
    let up = format!("$muster/{name}/enrol/up");
    assert!(matches!(ask(&mut mqtt, &up, &hello(None)).await, Answer::Welcome { .. }));
    let key = KeyPair::generate().unwrap();
    let request = csr(&device.identity, &key);
    let Answer::Issued(certificate) = ask(&mut mqtt, &up, &Up::Request { csr: &request }).await else {
        panic!("nothing was issued")
    };
    let shown = Shown::new(&[&certificate], &key);
    let mut mqtt = running.mqtt(&shown, name.as_str()).await;
    assert_eq!(mqtt.connack().await.0, 0);
    assert!(mqtt.subscribe(&format!("$muster/{name}/control/down")).await <= 1);
    let up = format!("$muster/{name}/control/up");
    let confirmed = ask(&mut mqtt, &up, &Up::Confirm { serial: serial(&certificate) }).await;
    assert_eq!(confirmed, Answer::Confirmed(serial(&certificate)));
    shown
}

#[tokio::test]
async fn a_device_that_the_registry_does_not_know_is_told_so() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    let mut mqtt = running.mqtt(&running.by_idevid(&device), "d1").await;
    let (code, text) = mqtt.connack().await;
    assert_eq!(code, NOT_AUTHORIZED);
    assert!(text.contains(Code::DeviceUnknown.name()), "{text}");
    running.refused("handshake.refused", Code::DeviceUnknown).await;
    let refusals = running.refusals().await;
    assert_eq!(refusals.iter().filter(|(kind, _)| kind == "handshake.refused").count(), 1, "{refusals:?}");
}

#[tokio::test]
async fn refused_certificates_are_in_the_audit() {
    let running = Running::start().await;
    let stranger = stranger("Stranger root");
    let device = stranger.device("d1");
    let shown = Shown::new(&[&device.idevid, stranger.issuing.certificate()], &device.key);
    for (shown, code) in [(shown, Code::CertificateUntrusted), (Shown::nothing(), Code::CertificateMissing)] {
        // The client of TLS 1.3 hears of it when it reads.
        if let Ok(mut stream) = running.dial(&shown).await {
            assert!(stream.read_u8().await.is_err());
        }
        running.refused("handshake.refused", code).await;
    }
}

#[tokio::test]
async fn an_idevid_session_reaches_enrolment_and_nothing_else() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let mut mqtt = running.mqtt(&running.by_idevid(&device), "d1").await;
    assert_eq!(mqtt.connack().await.0, 0);
    for refused in ["devices/d1/#", "$muster/d1/control/down", "$muster/d2/enrol/down", "#", "$muster/d1/enrol/up"] {
        assert_eq!(mqtt.subscribe(refused).await, NOT_AUTHORIZED, "{refused}");
    }
    assert!(mqtt.subscribe("$muster/d1/enrol/down").await <= 1);
    for refused in ["devices/d1/telemetry", "$muster/d1/control/up", "$muster/d2/enrol/up"] {
        assert_eq!(mqtt.publish(refused, b"x").await, Some(NOT_AUTHORIZED), "{refused}");
    }
    running.refused("topic.refused", Code::SessionTopicDenied).await;
}

#[tokio::test]
async fn another_devices_client_id_is_refused_and_its_session_is_not_touched() {
    let running = Running::start().await;
    let (d1, d2) = (running.factory.device("d1"), running.factory.device("d2"));
    running.import(&[&d1, &d2]).await;
    let mut mine = running.mqtt(&running.by_idevid(&d1), "d1").await;
    assert_eq!(mine.connack().await.0, 0);
    for client_id in ["d1", "", "d2/", "D2"] {
        let mut other = running.mqtt(&running.by_idevid(&d2), client_id).await;
        let (code, text) = other.connack().await;
        assert_eq!(code, NOT_AUTHORIZED, "{client_id:?}");
        assert!(text.contains(Code::SessionClientId.name()), "{text}");
    }
    running.refused("handshake.refused", Code::SessionClientId).await;
    assert!(mine.subscribe("$muster/d1/enrol/down").await <= 1, "the session of d1 lives");
}

#[tokio::test]
async fn a_device_enrols_sends_telemetry_and_is_cut_when_it_is_suspended() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let ldevid = enrol(&running, &device).await;
    let mut mqtt = running.mqtt(&ldevid, "d1").await;
    assert_eq!(mqtt.connack().await.0, 0);
    assert_eq!(mqtt.publish("devices/d1/telemetry", b"{\"v\":1}<script>").await, Some(0x10));
    let live = running.gateway.live();
    assert_eq!(live.telemetry().of(&id("d1")).unwrap().payload, b"{\"v\":1}<script>");
    let sessions = live.of(&id("d1"));
    assert_eq!(sessions.len(), 1);
    assert_eq!((sessions[0].credential, sessions[0].mqtt_version), ("ldevid", "5"));
    assert_eq!(live.counts().unwrap().devices, 1);

    let caller = Caller::local();
    running.gateway.operations().suspend(&caller, &id("d1"), None).await.unwrap();
    let (code, text) = timeout(Duration::from_secs(1), mqtt.disconnect()).await.expect("not cut within a second");
    assert_eq!(code, ADMINISTRATIVE);
    assert!(text.contains(Code::DeviceSuspended.name()), "{text}");
    running.refused("session.cut", Code::DeviceSuspended).await;
    for shown in [&ldevid, &running.by_idevid(&device)] {
        let (code, text) = running.mqtt(shown, "d1").await.connack().await;
        assert_eq!(code, NOT_AUTHORIZED);
        assert!(text.contains(Code::DeviceSuspended.name()), "{text}");
    }
    running.eventually(async || running.gateway.live().of(&id("d1")).is_empty()).await;

    running.gateway.operations().resume(&caller, &id("d1")).await.unwrap();
    assert_eq!(running.mqtt(&ldevid, "d1").await.connack().await.0, 0);
    running.gateway.operations().revoke(&caller, &id("d1"), Reason::KeyCompromise).await.unwrap();
    let (_, text) = running.mqtt(&ldevid, "d1").await.connack().await;
    assert!(text.contains(Code::DeviceRevoked.name()), "{text}");
}

/// What the follower is for: a change that nobody of this process announced to the sessions.
#[tokio::test]
async fn a_change_that_only_stands_in_the_store_cuts_too() {
    use muster_gateway::store::{Change, Store, Transaction};
    use muster_protocol::registrar::Standing;
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let mut mqtt = running.mqtt(&running.by_idevid(&device), "d1").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let row = running.gateway.store().device(&id("d1")).await.unwrap().unwrap();
    let mut record = row.record.clone();
    record.suspended_from = Some(record.standing);
    record.standing = Standing::Suspended;
    let change = Change::PutDevice { record, expect: row.version, at: now() };
    running.gateway.store().apply(Transaction::new(vec![change])).await.unwrap();
    let (code, text) = timeout(Duration::from_secs(1), mqtt.disconnect()).await.expect("not cut within a second");
    assert_eq!(code, ADMINISTRATIVE);
    assert!(text.contains(Code::DeviceSuspended.name()), "{text}");
}

#[tokio::test]
async fn a_service_has_its_rights_under_its_own_name_until_they_change() {
    let running = Running::start().await;
    let ingest = running.service("ingest", &["devices/+/cmd"], &["devices/#"], false).await;
    let any = running.service("bridge", &[], &["devices/+/telemetry"], true).await;
    let (code, _) = running.mqtt(&ingest, "other").await.connack().await;
    assert_eq!(code, NOT_AUTHORIZED);
    let mut first = running.mqtt(&ingest, "ingest").await;
    assert_eq!(first.connack().await.0, 0);
    assert!(first.subscribe("devices/#").await <= 1);
    assert_eq!(first.subscribe("#").await, NOT_AUTHORIZED);
    assert_eq!(first.publish("devices/d1/other", b"x").await, Some(NOT_AUTHORIZED));

    // A client id of its own choice takes nobody's session over, not even when it is a device's.
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let mut real = running.mqtt(&running.by_idevid(&device), "d1").await;
    assert_eq!(real.connack().await.0, 0);
    let mut second = running.mqtt(&any, "d1").await;
    assert_eq!(second.connack().await.0, 0);
    assert!(real.subscribe("$muster/d1/enrol/down").await <= 1);
    assert_eq!(running.mqtt(&any, "").await.connack().await.0, 0);

    // The same rights once more, under a new certificate, and then other ones.
    running.service("ingest", &["devices/+/cmd"], &["devices/#"], false).await;
    assert!(first.subscribe("devices/+/y").await <= 1);
    let narrow = running.service("ingest", &[], &["devices/#"], false).await;
    let (_, text) = timeout(Duration::from_secs(1), first.disconnect()).await.expect("not cut within a second");
    assert!(text.contains(Code::SessionRightsChanged.name()), "{text}");
    let mut first = running.mqtt(&narrow, "ingest").await;
    assert_eq!(first.connack().await.0, 0);

    running.gateway.operations().remove_service(&Caller::local(), &id("bridge")).await.unwrap();
    let (code, _) = timeout(Duration::from_secs(1), second.disconnect()).await.expect("not cut within a second");
    assert_eq!(code, ADMINISTRATIVE);
    assert_eq!(running.mqtt(&any, "x").await.connack().await.0, NOT_AUTHORIZED);
    assert!(first.subscribe("devices/+/x").await <= 1, "the other service lives");
}

#[tokio::test]
async fn operators_have_no_business_over_mqtt() {
    let running = Running::start().await;
    let key = KeyPair::generate().unwrap();
    let identity = Identity::Operator { fleet: fleet(), name: id("ada") };
    let der = running.operator_ca.issue(Profile::Operator, &identity, &key.public_key(), now()).unwrap();
    let (code, text) = running.mqtt(&Shown::new(&[&der], &key), "ada").await.connack().await;
    assert_eq!(code, NOT_AUTHORIZED);
    assert!(text.contains(Code::CertificateWrongUsage.name()), "{text}");
}

#[tokio::test]
async fn a_certificate_that_the_gateway_never_issued_is_unknown() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let key = KeyPair::generate().unwrap();
    let der = running.device_ca.issue(Profile::Ldevid, &device.identity, &key.public_key(), now()).unwrap();
    let (_, text) = running.mqtt(&Shown::new(&[&der], &key), "d1").await.connack().await;
    assert!(text.contains(Code::CertificateUnknown.name()), "{text}");
    running.refused("handshake.refused", Code::CertificateUnknown).await;
}

#[tokio::test]
async fn a_factory_ca_that_is_removed_ends_and_refuses_its_devices() {
    let running = Running::start().await;
    let device = running.factory.device("d1");
    running.import(&[&device]).await;
    let mut mqtt = running.mqtt(&running.by_idevid(&device), "d1").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let ca = DocumentId::of(running.factory.root.certificate());
    running.gateway.operations().remove_factory_cas(&Caller::local(), &[ca]).await.unwrap();
    let (code, text) = timeout(Duration::from_secs(1), mqtt.disconnect()).await.expect("not cut within a second");
    assert_eq!(code, ADMINISTRATIVE);
    assert!(text.contains(Code::SessionRightsChanged.name()), "{text}");
    if let Ok(mut stream) = running.dial(&running.by_idevid(&device)).await {
        assert!(stream.read_u8().await.is_err());
    }
    running.refused("handshake.refused", Code::CertificateUntrusted).await;
}

#[tokio::test]
async fn silent_clients_hold_nobody_up() {
    let settings = "[connections]\nhandshakes_max = 1\nhandshake_deadline_secs = 3600\n";
    let running = Running::with(settings).await;
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(running.tcp().await);
    }
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let connack = async { running.mqtt(&ingest, "ingest").await.connack().await.0 };
    assert_eq!(timeout(Duration::from_secs(20), connack).await.expect("held up"), 0);
    drop(silent);
}

#[tokio::test]
async fn a_handshake_that_stops_half_way_ends_at_its_deadline_and_lets_the_next_one_in() {
    let running = Running::with("[connections]\nhandshakes_max = 1\nhandshake_deadline_secs = 1\n").await;
    let mut half = running.tcp().await;
    half.write_all(&[0x16, 0x03]).await.unwrap();
    let ended = timeout(Duration::from_secs(20), half.read_u8()).await.expect("it was left open");
    assert!(ended.is_err());
    running.refused("handshake.refused", Code::SessionTimeout).await;
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    assert_eq!(running.mqtt(&ingest, "ingest").await.connack().await.0, 0);
}

#[tokio::test]
async fn connections_beyond_the_cap_are_closed_at_once_and_operators_still_come_in() {
    let running = Running::with("[mqtt]\nconnections_max = 2\n").await;
    let (one, _two) = (running.tcp().await, running.tcp().await);
    let closed = async |mut socket: TcpStream| socket.read_u8().await.is_err();
    let third = timeout(Duration::from_secs(20), closed(running.tcp().await)).await;
    assert_eq!(third, Ok(true));
    assert!(get(&running, "/healthz", &Shown::nothing()).await.starts_with("HTTP/1.1 200"));
    drop(one);
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let comes_in = async || running.dial(&ingest).await.is_ok();
    running.eventually(comes_in).await;
}

#[tokio::test]
async fn a_session_ends_with_its_certificate_and_at_its_age() {
    let running = Running::with("[certificates]\nservice_secs = 5\n").await;
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let mut mqtt = running.mqtt(&ingest, "ingest").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let (_, text) = mqtt.disconnect().await;
    assert!(text.contains(Code::CertificateExpired.name()), "{text}");
    running.refused("session.cut", Code::CertificateExpired).await;

    let running = Running::with("[connections]\nsession_secs_max = 1\n").await;
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let mut mqtt = running.mqtt(&ingest, "ingest").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let (_, text) = mqtt.disconnect().await;
    assert!(text.contains(Code::SessionAge.name()), "{text}");
    assert_eq!(running.mqtt(&ingest, "ingest").await.connack().await.0, 0);
}

#[tokio::test]
async fn a_reload_drops_nobody_and_takes_over_certificate_and_settings() {
    let running = Running::start().await;
    let ingest = running.service("ingest", &["a"], &["devices/#"], false).await;
    let mut mqtt = running.mqtt(&ingest, "ingest").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let before = running.gateway.credential().now().unwrap().serial().clone();
    std::fs::remove_file(running.directory.server_certificate()).unwrap();
    running.gateway.reload().unwrap();
    let after = running.gateway.credential().now().unwrap().serial().clone();
    assert_ne!(before, after);
    assert_eq!(mqtt.publish("a", b"x").await, Some(0x10));
    let stream = running.dial(&ingest).await.unwrap();
    let seen = stream.get_ref().1.peer_certificates().unwrap()[0].to_vec();
    assert_eq!(serial(&seen), after);

    // Settings that are wrong leave everything as it is.
    let write = |text: &str| {
        directory::replace(&running.directory.config(), text.as_bytes(), directory::Access::Private).unwrap();
    };
    write("[mqtt]\nno_such_setting = 1\n");
    assert!(running.gateway.reload().is_err());
    write("[connections]\nsession_secs_max = 1\n");
    running.gateway.reload().unwrap();
    let (_, text) = mqtt.disconnect().await;
    assert!(text.contains(Code::SessionAge.name()), "{text}");
}

#[tokio::test]
async fn a_stopping_gateway_says_goodbye_and_lets_its_directory_go() {
    let running = Running::start().await;
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let mut mqtt = running.mqtt(&ingest, "ingest").await;
    assert_eq!(mqtt.connack().await.0, 0);
    let Running { gateway, directory, .. } = running;
    let address = gateway.mqtt();
    let refused = Gateway::start(&options(&directory)).await.err().unwrap();
    assert_eq!(muster_terminal::Failure::from(refused).code, "directory.locked");
    let goodbye = async {
        let (code, text) = mqtt.disconnect().await;
        assert_eq!(code, SHUTTING_DOWN);
        assert!(text.contains(Code::SessionDraining.name()), "{text}");
        drop(mqtt);
    };
    tokio::join!(gateway.drain(), goodbye);
    assert!(TcpStream::connect(address).await.is_err());
    let again = Gateway::start(&options(&directory)).await.unwrap();
    again.drain().await;
}

async fn get(running: &Running, path: &str, shown: &Shown) -> String {
    let socket = TcpStream::connect(running.gateway.https()).await.unwrap();
    let mut stream = tls13(&running.gateway_ca, shown).connect(localhost(), socket).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn operator(running: &Running, name: &str, role: &str) -> Shown {
    let key = KeyPair::generate().unwrap();
    let identity = Identity::Operator { fleet: fleet(), name: id(name) };
    let new = muster_gateway::admin::NewOperator {
        name: id(name),
        role: serde_json::from_value(role.into()).unwrap(),
        request: crate::world::request_pem(&identity, &key),
    };
    let issued = running.gateway.operations().issue_operator(&Caller::local(), new).await.unwrap();
    Shown::new(&[&muster_issuing::pem::read_certificates(&issued.certificate).unwrap()[0]], &key)
}

#[tokio::test]
async fn the_bundle_is_open_and_everything_else_is_for_operators() {
    let running = Running::start().await;
    let nobody = Shown::nothing();
    let bundle = get(&running, muster_gateway::https::BUNDLE_PATH, &nobody).await;
    assert!(bundle.starts_with("HTTP/1.1 200") && bundle.contains("application/octet-stream"), "{bundle}");
    assert!(bundle.contains("MSTR"), "the signed container begins with its magic");
    for path in ["/", "/api/v1/status", "/api/v1/devices", "/no/such/page"] {
        let answer = get(&running, path, &nobody).await;
        assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("certificate.missing"), "{path}: {answer}");
    }
    let ingest = running.service("ingest", &[], &["devices/#"], false).await;
    let answer = get(&running, "/api/v1/status", &ingest).await;
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("operator.forbidden"), "{answer}");
    running.refused("operator.refused", Code::OperatorForbidden).await;
    let ada = operator(&running, "ada", "viewer").await;
    let answer = get(&running, "/api/v1/status", &ada).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn an_operator_who_is_removed_is_cut_off() {
    let running = Running::start().await;
    let ada = operator(&running, "ada", "viewer").await;
    let socket = TcpStream::connect(running.gateway.https()).await.unwrap();
    let mut stream = tls13(&running.gateway_ca, &ada).connect(localhost(), socket).await.unwrap();
    stream.write_all(b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    running.gateway.operations().remove_operator(&Caller::local(), &id("ada")).await.unwrap();
    let mut rest = Vec::new();
    // Ended without a goodbye, or with one: it has ended.
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut rest)).await.expect("still open");
    let answer = get(&running, "/api/v1/status", &ada).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}
