//! The whole agent against a gateway: enrolment, rotation, refusals, cuts, expiry, trust, retirement, sudden ends.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use muster_agent_std::agent::{Agent, AgentError, End, Handle, RECORDS, Setup, Status};
use muster_agent_std::durable::{Disk, Durability};
use muster_agent_std::identity::IdentityPaths;
use muster_agent_std::slots::FileSlotStore;
use muster_protocol::Code;
use muster_protocol::device::Settings;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{SlotId, SlotRecord};
use muster_protocol::topic::Channel;
use rustls::CertificateError;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::gateway::Gateway;
use crate::pki::{Ca, Fleet, Leaf, Life};

/// A fleet, its gateway, and one device's folders.
pub(crate) struct Rig {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) gateway: Gateway,
    pub(crate) folder: TempDir,
}

pub(crate) const DEVICE: &str = "dev-1";

impl Rig {
    pub(crate) async fn new() -> Self {
        let fleet = Arc::new(Fleet::new());
        let gateway = Gateway::start(&fleet).await;
        let rig = Self { fleet, gateway, folder: tempfile::tempdir().unwrap() };
        let bundle = rig.fleet.bundle(1, &[&rig.fleet.gateway_ca.der()], rig.gateway.port(), 1);
        rig.fleet.make_identity(&rig.identity(), DEVICE, &rig.fleet.fleet_file(&bundle));
        rig
    }

    pub(crate) fn identity(&self) -> PathBuf {
        self.folder.path().join("identity")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) fn setup(&self) -> Setup {
        Setup {
            state_dir: self.state(),
            identity: IdentityPaths::in_folder(&self.identity()),
            telemetry: Some(Duration::from_secs(60)),
            keep_alive: Duration::from_secs(60),
            settings: quick(),
            durability: Durability::ProcessEnd,
        }
    }

    pub(crate) fn start(&self) -> Running {
        let agent = Agent::open(self.setup()).unwrap();
        let handle = agent.handle();
        Running { handle, run: tokio::spawn(agent.run()) }
    }
}

/// No test waits for a fleet's patience.
pub(crate) fn quick() -> Settings {
    Settings {
        backoff_millis_min: 10,
        backoff_millis_max: 50,
        operator_backoff_millis_min: 50,
        operator_backoff_millis_max: 100,
        answer_millis_max: 10_000,
        stable_millis: 100,
        trial_pause_millis: 20,
    }
}

pub(crate) struct Running {
    pub(crate) handle: Handle,
    run: JoinHandle<Result<End, AgentError>>,
}

impl Running {
    pub(crate) async fn until(&self, what: &str, reached: impl Fn(&Status) -> bool) -> Arc<Status> {
        let waited = tokio::time::timeout(Duration::from_secs(20), self.handle.until(|status| reached(status))).await;
        match waited {
            Ok(Ok(status)) => status,
            _ => panic!("{what} did not happen: {:#?}", self.handle.status()),
        }
    }

    pub(crate) async fn operational(&self) -> Arc<Status> {
        self.until("operational", |status| status.state == "operational" && status.is_operational()).await
    }

    pub(crate) async fn stop(self) -> End {
        self.handle.stop().await;
        self.run.await.unwrap().unwrap()
    }

    /// As `kill -9` would, as far as a task can be killed: nothing more is said or written.
    async fn kill(self) {
        self.run.abort();
        let _ = self.run.await;
    }
}

fn refused(code: Code) -> impl Fn(&Status) -> bool {
    move |status| status.last_refusal.as_ref().is_some_and(|refusal| refusal.code == code.name())
}

#[tokio::test]
async fn enrols_reports_and_keeps_its_certificate_over_a_restart() {
    let rig = Rig::new().await;
    let agent = rig.start();
    let status = agent.operational().await;
    assert_eq!((status.active, status.session, status.slots.len()), (Some("a"), Some("a"), 1));
    let serial = status.slots[0].serial.clone().unwrap();
    let seen = rig.gateway.until("telemetry", |seen| !seen.publications.is_empty()).await;
    assert_eq!(seen.confirmed, std::slice::from_ref(&serial));
    assert!(seen.stored.contains(&serial), "the gateway hears that the device has stored it");
    let (topic, report) = &seen.publications[0];
    assert_eq!(topic, "devices/dev-1/telemetry");
    let report: serde_json::Value = serde_json::from_slice(report).unwrap();
    assert!(report["v"] == 1 && report["memory_total_bytes"].as_u64() > Some(0), "{report}");
    assert_eq!(agent.stop().await, End::Stopped);

    let agent = rig.start();
    let status = agent.operational().await;
    assert_eq!(status.slots[0].serial.as_ref(), Some(&serial));
    let enrolments = rig.gateway.seen().connects.iter().filter(|(channel, _)| *channel == Channel::Enrol).count();
    assert_eq!(enrolments, 1);
    agent.stop().await;
}

#[tokio::test]
async fn rotates_when_ordered_and_when_asked_and_wipes_the_old_key() {
    let rig = Rig::new().await;
    let agent = rig.start();
    let first = agent.operational().await;
    rig.gateway.order_rotation(DEVICE);
    let second = agent.until("a rotation", |now| now.is_operational() && now.generation() == Some(2)).await;
    assert_eq!((first.active, second.active), (Some("a"), Some("b")));
    agent.until("the first key's end", |now| now.slots[0].phase == "superseded").await;
    rig.gateway.until("the device to have stored it", |seen| seen.stored.len() >= 2).await;
    agent.handle.rotate().await.unwrap();
    let third = agent.until("a rotation", |now| now.is_operational() && now.generation() == Some(3)).await;
    assert_eq!(third.active, Some("a"));
    assert_eq!(rig.gateway.seen().confirmed.len(), 3);
    agent.stop().await;
    let keys: Vec<_> = std::fs::read_dir(rig.state().join("keys")).unwrap().flatten().map(|f| f.file_name()).collect();
    assert_eq!(keys, ["a.key"], "only the key in use is left");
}

#[tokio::test]
async fn a_refused_connect_names_its_reason_and_passes_when_the_reason_does() {
    let rig = Rig::new().await;
    rig.gateway.change(|plan| plan.refuse_connect = Some(Code::DeviceUnknown));
    let agent = rig.start();
    let status = agent.until("a refusal", refused(Code::DeviceUnknown)).await;
    let refusal = status.last_refusal.as_ref().unwrap();
    assert!(refusal.by == "gateway" && refusal.hint.contains("manifest import"), "{refusal:?}");
    rig.gateway.change(|plan| plan.refuse_connect = None);
    agent.operational().await;
    agent.stop().await;
}

#[tokio::test]
async fn a_live_cut_names_its_reason_and_the_device_comes_back_when_it_may() {
    let rig = Rig::new().await;
    let agent = rig.start();
    agent.operational().await;
    rig.gateway.change(|plan| plan.refuse_connect = Some(Code::DeviceSuspended));
    rig.gateway.cut(Code::DeviceSuspended);
    let status = agent.until("the cut", |now| refused(Code::DeviceSuspended)(now) && now.session.is_none()).await;
    assert_eq!(status.state, "operational", "a suspended device keeps its certificate");
    rig.gateway.change(|plan| plan.refuse_connect = None);
    agent.operational().await;
    agent.stop().await;
}

#[tokio::test]
async fn an_alert_after_the_handshake_is_a_named_refusal_and_leads_to_enrolment() {
    for (error, code) in [
        (CertificateError::Expired, Code::CertificateExpired),
        (CertificateError::Revoked, Code::CertificateRevoked),
        (CertificateError::UnknownIssuer, Code::CertificateUntrusted),
    ] {
        let rig = Rig::new().await;
        let agent = rig.start();
        agent.operational().await;
        rig.gateway.change(|plan| plan.refuse_ldevid = Some(error));
        rig.gateway.cut(Code::SessionDraining);
        agent.until("the refusal", refused(code)).await;
        let enrolments = |seen: &crate::gateway::Seen| {
            seen.connects.iter().filter(|(channel, _)| *channel == Channel::Enrol).count()
        };
        rig.gateway.until("enrolment", |seen| enrolments(seen) >= 2).await;
        rig.gateway.change(|plan| plan.refuse_ldevid = None);
        agent.operational().await;
        agent.stop().await;
    }
}

#[tokio::test]
async fn a_device_whose_certificate_expired_in_a_drawer_comes_back_by_itself() {
    let rig = Rig::new().await;
    let agent = rig.start();
    agent.operational().await;
    agent.stop().await;
    let store = FileSlotStore::open(Disk::new(Durability::ProcessEnd), &rig.state().join(RECORDS)).unwrap();
    let mut record = SlotRecord::decode(&store.read(Item::Slot(SlotId::A)).unwrap().unwrap()).unwrap();
    let expired = rig.fleet.device_ca.issue(DEVICE, &record.public_key, Life::Expired);
    record.certificate.clear();
    record.certificate.extend_from_slice(&expired).unwrap();
    store.write(Item::Slot(SlotId::A), &record.encode()).unwrap();

    let agent = rig.start();
    let status = agent.operational().await;
    assert_eq!((status.active, status.generation()), (Some("b"), Some(2)));
    agent.stop().await;
}

#[tokio::test]
async fn a_device_that_slept_through_a_ca_change_fetches_the_new_trust() {
    let fleet = Arc::new(Fleet::new());
    let gateway = Gateway::start(&fleet).await;
    let rig = Rig { fleet, gateway, folder: tempfile::tempdir().unwrap() };
    let new = rig.fleet.bundle(2, &[&rig.fleet.gateway_ca.der()], rig.gateway.port(), 1);
    // Under a certificate that nobody trusts: the content is signed.
    let server = Ca::new("whatever", None).server(&["elsewhere"], Life::Expired);
    let https_port = serve_bundle(server, new).await;
    let old = rig.fleet.bundle(1, &[&Ca::new("old gateway CA", Some(0)).der()], rig.gateway.port(), https_port);
    rig.fleet.make_identity(&rig.identity(), DEVICE, &rig.fleet.fleet_file(&old));

    let agent = rig.start();
    let status = agent.operational().await;
    assert_eq!(status.bundle, 2);
    assert_eq!(
        status.last_refusal.as_ref().map(|refusal| (refusal.by, refusal.code)),
        Some(("device", "certificate.untrusted"))
    );
    agent.stop().await;
    // And remembers it.
    let agent = rig.start();
    assert_eq!(agent.operational().await.bundle, 2);
    agent.stop().await;
}

/// An HTTPS server that gives the bundle to everybody.
async fn serve_bundle(server: Leaf, bundle: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(server.chain.clone(), server.key())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let mut stream = acceptor.accept(tcp).await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            assert!(request.starts_with(b"GET /.well-known/muster/bundle HTTP/1.1\r\nHost: 127.0.0.1:"));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", bundle.len());
            stream.write_all(&[head.as_bytes(), &bundle].concat()).await.unwrap();
            stream.shutdown().await.unwrap();
        }
    });
    port
}

#[tokio::test]
async fn a_retired_device_tells_the_gateway_destroys_its_keys_and_stays_retired() {
    let rig = Rig::new().await;
    let agent = rig.start();
    agent.operational().await;
    agent.handle.retire().await.unwrap();
    assert_eq!(agent.run.await.unwrap().unwrap(), End::Retired);
    assert_eq!(rig.gateway.seen().retired, [DEVICE]);
    assert_eq!(std::fs::read_dir(rig.state().join("keys")).unwrap().count(), 0);

    let connects = rig.gateway.seen().connects.len();
    let again = rig.start();
    assert_eq!(again.run.await.unwrap().unwrap(), End::Retired);
    assert_eq!(rig.gateway.seen().connects.len(), connects);
}

#[tokio::test]
async fn killed_anywhere_on_the_way_it_becomes_operational() {
    let rig = Rig::new().await;
    // A different number of turns of the runtime each time: a different place on the way.
    for turns in 0..60 {
        let agent = rig.start();
        let _ = agent.handle.rotate().await;
        for _ in 0..turns * 5 {
            tokio::task::yield_now().await;
            if turns % 3 == 0 {
                tokio::time::sleep(Duration::from_micros(100)).await;
            }
        }
        agent.kill().await;
    }
    let agent = rig.start();
    let status = agent.operational().await;
    let usable = status.slots.iter().filter(|slot| slot.phase == "confirmed").count();
    assert_eq!(usable, 1, "{status:#?}");
    agent.stop().await;
}

#[tokio::test]
async fn two_agents_never_share_a_state_folder() {
    let rig = Rig::new().await;
    let agent = rig.start();
    assert!(matches!(Agent::open(rig.setup()), Err(AgentError::Running { .. })));
    agent.stop().await;
    Agent::open(rig.setup()).unwrap();
}

#[tokio::test]
async fn a_silent_gateway_is_left_after_a_while() {
    let rig = Rig::new().await;
    rig.gateway.change(|plan| plan.is_silent = true);
    let mut setup = rig.setup();
    setup.settings.answer_millis_max = 100;
    let agent = Agent::open(setup).unwrap();
    let running = Running { handle: agent.handle(), run: tokio::spawn(agent.run()) };
    rig.gateway.until("several attempts", |seen| seen.connects.len() >= 3).await;
    rig.gateway.change(|plan| plan.is_silent = false);
    running.operational().await;
    running.stop().await;
}

#[tokio::test]
async fn no_private_key_is_in_a_record_a_status_or_a_debug_text() {
    let rig = Rig::new().await;
    let agent = rig.start();
    let status = agent.operational().await;
    agent.stop().await;
    let pem = std::fs::read_to_string(rig.state().join("keys/a.key")).unwrap();
    let secret: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let told = format!("{status:?} {:?}", rig.setup());
    assert!(secret.iter().all(|line| !told.contains(line)));
    for file in std::fs::read_dir(rig.state().join(RECORDS)).unwrap().flatten() {
        let content = std::fs::read(file.path()).unwrap();
        assert!(secret.iter().all(|line| !String::from_utf8_lossy(&content).contains(line)));
    }
    assert!(std::fs::read(rig.state().join("records/trust")).is_err(), "the factory's files are not copied");
}
