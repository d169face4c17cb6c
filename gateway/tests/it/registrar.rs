//! The registrar's shell over a real store with real certificates.

use muster_gateway::admin::{AuditFilter, Caller};
use muster_gateway::audit::{Actor, AuditKind, verify_store};
use muster_gateway::registrar::{BURST, By, REFILL_SECS};
use muster_gateway::store::{Change, Faults, FaultyStore, NewDevice, Role, SqliteStore, Store, Transaction};
use muster_issuing::KeyPair;
use muster_protocol::message::Up;
use muster_protocol::pki::chain::VerifiedClient;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::registrar::{Act, Reason, Standing};
use muster_protocol::topic::Channel;
use muster_protocol::{Code, Identity};

use crate::world::{Answer, Device, World, csr, fleet, hello, id, peer, public_key, serial};

fn local() -> By {
    Actor::Local.into()
}

async fn standing<S: Store>(world: &World<S>, device: &Device) -> Standing {
    world.store().device(&device.id()).await.unwrap().unwrap().record.standing
}

/// Enrols, confirms and settles; the certificate.
async fn enrol(world: &World, device: &Device) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let idevid = world.by_idevid(device);
    world.registrars.arrived(&idevid, peer()).await.unwrap();
    let request = csr(&device.identity, &key);
    let answers = world.say(&idevid, Channel::Enrol, &Up::Request { csr: &request }).await;
    let [Answer::Issued(certificate)] = &answers[..] else { panic!("{answers:?}") };
    confirm(world, certificate).await;
    certificate.clone()
}

async fn confirm(world: &World, certificate: &[u8]) -> VerifiedClient {
    let client = world.by_ldevid(certificate);
    world.registrars.arrived(&client, peer()).await.unwrap();
    let serial = serial(certificate);
    let answers = world.say(&client, Channel::Control, &Up::Confirm { serial: serial.clone() }).await;
    assert_eq!(answers, [Answer::Confirmed(serial)]);
    client
}

async fn rotate(world: &World, device: &Device, client: &VerifiedClient) -> Vec<u8> {
    let key = KeyPair::generate().unwrap();
    let request = csr(&device.identity, &key);
    let answers = world.say(client, Channel::Control, &Up::Request { csr: &request }).await;
    let [Answer::Issued(certificate)] = &answers[..] else { panic!("{answers:?}") };
    certificate.clone()
}

#[tokio::test]
async fn a_device_enrols_rotates_confirms_and_settles() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    assert_eq!(standing(&world, &device).await, Standing::Expected);

    let first = enrol(&world, &device).await;
    assert_eq!(standing(&world, &device).await, Standing::Active);
    let client = world.by_ldevid(&first);
    let answers = world.say(&client, Channel::Control, &hello(Some(&serial(&first)))).await;
    assert_eq!(answers, [Answer::Welcome { order: None, bundle: 3 }]);

    world.registrars.operate(&device.id(), Act::Rotate, &local()).await.unwrap();
    let notices = world.sessions.notices.lock().unwrap().clone();
    assert_eq!(Answer::read(&notices[0].1), Answer::Rotate(1));
    let second = rotate(&world, &device, &client).await;
    assert_eq!(standing(&world, &device).await, Standing::Rotating);
    let renewed = confirm(&world, &second).await;
    // Both are good until the device has stored the new one.
    world.registrars.arrived(&client, peer()).await.unwrap();
    let answers = world.say(&renewed, Channel::Control, &hello(Some(&serial(&second)))).await;
    assert_eq!(answers, [Answer::Welcome { order: None, bundle: 3 }]);
    assert_eq!(world.registrars.arrived(&client, peer()).await, Err(Code::CertificateSuperseded));
    world.registrars.arrived(&renewed, peer()).await.unwrap();

    assert_eq!(
        world.history(&device.id()).await,
        [
            "device.claimed",
            "enrolment.issued",
            "enrolment.confirmed",
            "rotation.ordered",
            "rotation.issued",
            "rotation.confirmed",
            "rotation.completed",
            "handshake.refused",
        ]
    );
    let rows = world.store().certificates(Role::Device, &device.id()).await.unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[1].withdrawn.unwrap().reason, Reason::Superseded);
    assert!(verify_store(world.store()).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_newer_trust_bundle_follows_the_welcome() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let idevid = world.by_idevid(&device);
    world.registrars.arrived(&idevid, peer()).await.unwrap();
    let Up::Hello(mut hello) = hello(None) else { panic!() };
    hello.bundle = 2;
    let answers = world.say(&idevid, Channel::Enrol, &Up::Hello(hello)).await;
    assert_eq!(answers, [Answer::Welcome { order: None, bundle: 3 }, Answer::Bundle(b"the bundle".to_vec())]);
}

#[tokio::test]
async fn whoever_lost_the_answer_asks_again_and_gets_the_same() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let idevid = world.by_idevid(&device);
    world.registrars.arrived(&idevid, peer()).await.unwrap();
    let key = KeyPair::generate().unwrap();
    let request = csr(&device.identity, &key);
    let first = world.say(&idevid, Channel::Enrol, &Up::Request { csr: &request }).await;
    let again = world.say(&idevid, Channel::Enrol, &Up::Request { csr: &request }).await;
    assert_eq!(first, again);
    let [Answer::Issued(certificate)] = &first[..] else { panic!("{first:?}") };
    let client = confirm(&world, certificate).await;
    let serial = serial(certificate);
    let answers = world.say(&client, Channel::Control, &Up::Confirm { serial: serial.clone() }).await;
    assert_eq!(answers, [Answer::Confirmed(serial)]);
    // Replayed after it was confirmed: the key is spent.
    let replayed = world.say(&idevid, Channel::Enrol, &Up::Request { csr: &request }).await;
    assert_eq!(replayed, [Answer::Refused(Code::EnrolKeyReused)]);
    assert_eq!(world.store().certificates(Role::Device, &device.id()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn each_refusal_has_its_code_and_one_record_and_changes_nothing() {
    let world = World::new();
    let (device, other) = (world.factory.device("pump-1"), world.factory.device("pump-2"));
    world.admit(&[&device, &other]).await;
    let certificate = enrol(&world, &device).await;
    let (idevid, ldevid) = (world.by_idevid(&device), world.by_ldevid(&certificate));
    let before = world.store().device(&device.id()).await.unwrap();
    let fresh = KeyPair::generate().unwrap();
    let good = csr(&device.identity, &fresh);
    let mut tampered = good.clone();
    *tampered.last_mut().unwrap() ^= 1;
    let others = csr(&other.identity, &fresh);
    let service = csr(&Identity::Service { fleet: fleet(), name: id("pump-1") }, &fresh);
    let idevids_key = csr(&device.identity, &device.key);
    let others_idevid_key = csr(&device.identity, &other.key);
    let foreign = serial(&other.idevid);
    let encode = |up: &Up<'_>| muster_protocol::message::encode(up).unwrap().to_vec();
    let request = |csr: &[u8]| encode(&Up::Request { csr });
    let truncated = request(&good)[..100].to_vec();
    let mut version = request(&good);
    version[0] = 2;
    let cases: Vec<(&VerifiedClient, Channel, Vec<u8>, Code)> = vec![
        (&ldevid, Channel::Control, request(&tampered), Code::CsrBadSignature),
        (&ldevid, Channel::Control, request(&others), Code::CsrWrongName),
        (&ldevid, Channel::Control, request(&service), Code::CsrWrongName),
        (&ldevid, Channel::Control, request(&[0x30, 0x00]), Code::CsrMalformed),
        (&ldevid, Channel::Control, request(&[0x30; 700]), Code::CsrOversized),
        (&ldevid, Channel::Control, request(&idevids_key), Code::EnrolKeyReused),
        (&ldevid, Channel::Control, request(&others_idevid_key), Code::EnrolKeyReused),
        (&ldevid, Channel::Enrol, request(&good), Code::MessageUnexpected),
        (&idevid, Channel::Control, request(&good), Code::MessageUnexpected),
        (&idevid, Channel::Enrol, encode(&Up::Retire), Code::MessageUnexpected),
        (&ldevid, Channel::Control, encode(&Up::Confirm { serial: foreign }), Code::EnrolWrongConfirmation),
        (&ldevid, Channel::Control, truncated, Code::MessageMalformed),
        (&ldevid, Channel::Control, version, Code::MessageVersion),
        (&ldevid, Channel::Control, vec![], Code::MessageMalformed),
        (&ldevid, Channel::Control, vec![1; 4000], Code::MessageOversized),
    ];
    assert!(cases.len() <= BURST as usize);
    for (client, channel, bytes, code) in &cases {
        let records = world.history(&device.id()).await.len();
        assert_eq!(world.send(client, *channel, bytes).await, [Answer::Refused(*code)], "{code}");
        let history = world.history(&device.id()).await;
        assert_eq!(history.len(), records + 1, "{code}");
        assert_eq!(history.last().map(String::as_str), Some("request.refused"));
    }
    assert_eq!(world.store().device(&device.id()).await.unwrap(), before);
}

#[tokio::test]
async fn arrivals_are_refused_by_the_registry() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    let stranger = world.factory.device("stranger");
    let namesake = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let certificate = enrol(&world, &device).await;
    let (idevid, ldevid) = (world.by_idevid(&device), world.by_ldevid(&certificate));
    let refused = async |client: &VerifiedClient| world.registrars.arrived(client, peer()).await.unwrap_err();
    assert_eq!(refused(&world.by_idevid(&stranger)).await, Code::DeviceUnknown);
    assert_eq!(world.history(&id("stranger")).await, ["handshake.refused"]);
    assert_eq!(refused(&world.by_idevid(&namesake)).await, Code::DeviceWrongIdevid);

    let acts = [
        (Act::Suspend(None), Code::DeviceSuspended),
        (Act::Revoke(Reason::KeyCompromise), Code::DeviceRevoked),
        (Act::Retire, Code::DeviceRetired),
    ];
    for (act, code) in acts {
        world.registrars.operate(&device.id(), act, &local()).await.unwrap();
        assert_eq!(world.sessions.cuts.lock().unwrap().last(), Some(&(device.id(), code)));
        assert_eq!(refused(&idevid).await, code);
        assert_eq!(refused(&ldevid).await, code);
        // A session that was open still hears it, and is cut.
        let answers = world.say(&ldevid, Channel::Control, &hello(None)).await;
        assert_eq!(answers, [Answer::Refused(code)]);
    }
    assert_eq!(
        world.registrars.operate(&device.id(), Act::Resume, &local()).await,
        Err(Code::DeviceRetired.into()),
        "retired is final"
    );
    assert_eq!(world.registrars.operate(&id("nobody"), Act::Rotate, &local()).await, Err(Code::DeviceUnknown.into()));
}

#[tokio::test]
async fn a_revoked_device_enrols_anew_when_an_operator_lets_it() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let old = enrol(&world, &device).await;
    world.registrars.operate(&device.id(), Act::Revoke(Reason::KeyCompromise), &local()).await.unwrap();
    world.registrars.operate(&device.id(), Act::Resume, &local()).await.unwrap();
    assert!(world.history(&device.id()).await.contains(&"device.readmitted".to_owned()));
    let client = world.by_ldevid(&old);
    assert_eq!(world.registrars.arrived(&client, peer()).await, Err(Code::CertificateRevoked));
    enrol(&world, &device).await;
    assert_eq!(standing(&world, &device).await, Standing::Active);
}

#[tokio::test]
async fn a_device_that_expired_comes_back_by_its_idevid() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let old = enrol(&world, &device).await;
    world.pass(crate::world::LIFE_SECS + 60);
    assert_eq!(world.verified(&[&old]), Err(Code::CertificateExpired));
    enrol(&world, &device).await;
    assert_eq!(standing(&world, &device).await, Standing::Active);
}

#[tokio::test]
async fn a_hammering_device_cannot_fill_the_disk() {
    let world = World::new();
    let stranger = world.factory.device("stranger");
    let client = world.by_idevid(&stranger);
    for _ in 0..3 * BURST {
        assert_eq!(world.registrars.arrived(&client, peer()).await, Err(Code::DeviceUnknown));
    }
    assert_eq!(world.history(&stranger.id()).await.len(), BURST as usize);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_devices_with_one_key_one_enrols() {
    let world = World::new();
    let (a, b) = (world.factory.device("a"), world.factory.device("b"));
    world.admit(&[&a, &b]).await;
    let key = KeyPair::generate().unwrap();
    let enrol = async |device: &Device| {
        let idevid = world.by_idevid(device);
        world.registrars.arrived(&idevid, peer()).await.unwrap();
        world.say(&idevid, Channel::Enrol, &Up::Request { csr: &csr(&device.identity, &key) }).await
    };
    let (first, second) = tokio::join!(enrol(&a), enrol(&b));
    let refused = [Answer::Refused(Code::EnrolKeyReused)];
    assert!((first == refused) != (second == refused), "{first:?} {second:?}");
    let issued = if first == refused { second } else { first };
    assert!(matches!(&issued[..], [Answer::Issued(certificate)] if public_key(certificate) == key.public_key()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_enrolment_twice_at_once_gives_one_certificate() {
    let world = World::new();
    let device = world.factory.device("a");
    world.admit(&[&device]).await;
    let idevid = world.by_idevid(&device);
    world.registrars.arrived(&idevid, peer()).await.unwrap();
    let request = csr(&device.identity, &KeyPair::generate().unwrap());
    let up = Up::Request { csr: &request };
    let (first, second) =
        tokio::join!(world.say(&idevid, Channel::Enrol, &up), world.say(&idevid, Channel::Enrol, &up));
    assert_eq!(first, second);
    assert_eq!(world.store().certificates(Role::Device, &device.id()).await.unwrap().len(), 1);
}

/// Whatever the store does, the device gets there, and nothing is half done on the way.
#[tokio::test]
async fn a_failing_store_leaves_nothing_half_done() {
    for seed in 0..40 {
        let faults =
            Faults { unavailable_per_mille: 150, unknown_per_mille: 150, conflict_per_mille: 100, ..Faults::NONE };
        let world = World::with(|store: SqliteStore| FaultyStore::new(store, seed, faults));
        let device = world.factory.device("pump-1");
        admit_stubbornly(&world, &device).await;
        let first = live_stubbornly(&world, &device, world.by_idevid(&device), Channel::Enrol).await;
        let second = live_stubbornly(&world, &device, world.by_ldevid(&first), Channel::Control).await;
        let store = world.store().inner();
        let record = store.device(&device.id()).await.unwrap().unwrap().record;
        assert_eq!(record.current.as_ref().map(|current| current.serial.clone()), Some(serial(&second)), "seed {seed}");
        invariants(store, &device).await;
        assert!(verify_store(store).await.unwrap().is_ok(), "seed {seed}");
    }
}

async fn admit_stubbornly(world: &World<FaultyStore<SqliteStore>>, device: &Device) {
    use muster_gateway::admin::Caller;
    let root = muster_issuing::pem::write_certificates(&[world.factory.root.certificate()]);
    while world.operations.add_factory_cas(&Caller::local(), &root).await.is_err() {}
    let manifest = world.factory.manifest(&[device]);
    while world.operations.import_manifest(&Caller::local(), manifest.clone()).await.is_err() {}
}

/// Asks for a certificate and confirms it until both are done; every answer is either yes or "later".
async fn live_stubbornly(
    world: &World<FaultyStore<SqliteStore>>,
    device: &Device,
    client: VerifiedClient,
    channel: Channel,
) -> Vec<u8> {
    let request = csr(&device.identity, &KeyPair::generate().unwrap());
    let arrive = async |client: &VerifiedClient| {
        while let Err(code) = world.registrars.arrived(client, peer()).await {
            assert_eq!(code, Code::Unavailable);
            invariants(world.store().inner(), device).await;
        }
    };
    arrive(&client).await;
    let certificate = loop {
        match &world.say(&client, channel, &Up::Request { csr: &request }).await[..] {
            [Answer::Issued(certificate)] => break certificate.clone(),
            [Answer::Refused(Code::Unavailable)] => invariants(world.store().inner(), device).await,
            other => panic!("{other:?}"),
        }
    };
    // What was acknowledged is on disk.
    assert!(world.store().inner().certificate(&serial(&certificate)).await.unwrap().is_some());
    let renewed = world.by_ldevid(&certificate);
    arrive(&renewed).await;
    let confirmation = Up::Confirm { serial: serial(&certificate) };
    loop {
        match &world.say(&renewed, Channel::Control, &confirmation).await[..] {
            [Answer::Confirmed(_)] => break,
            [Answer::Refused(Code::Unavailable)] => invariants(world.store().inner(), device).await,
            other => panic!("{other:?}"),
        }
    }
    let record = world.store().inner().device(&device.id()).await.unwrap().unwrap().record;
    assert_eq!(record.current.map(|current| current.serial), Some(serial(&certificate)));
    loop {
        match &world.say(&renewed, Channel::Control, &hello(Some(&serial(&certificate)))).await[..] {
            [Answer::Welcome { .. }] => return certificate,
            [Answer::Refused(Code::Unavailable)] => invariants(world.store().inner(), device).await,
            other => panic!("{other:?}"),
        }
    }
}

/// Row and certificates say the same: each certificate that is not withdrawn is in the row, and the other way round.
async fn invariants(store: &SqliteStore, device: &Device) {
    let Some(row) = store.device(&device.id()).await.unwrap() else { return };
    let held: Vec<_> = [row.record.current, row.record.previous, row.record.candidate]
        .into_iter()
        .flatten()
        .map(|credential| credential.serial)
        .collect();
    let certificates = store.certificates(Role::Device, &device.id()).await.unwrap();
    for certificate in &certificates {
        assert_eq!(certificate.withdrawn.is_none(), held.contains(&certificate.serial), "{certificate:?}");
    }
    assert!(held.iter().all(|serial| certificates.iter().any(|certificate| certificate.serial == *serial)));
}

#[tokio::test]
async fn arrivals_beyond_the_line_are_in_the_audit_and_do_not_fill_it() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let client = world.by_idevid(&device);
    let crowd = futures_util::future::join_all((0..100).map(|_| world.registrars.arrived(&client, peer()))).await;
    let busy = crowd.iter().filter(|verdict| **verdict == Err(Code::SessionBusy)).count();
    assert_eq!((busy, crowd.iter().filter(|verdict| verdict.is_ok()).count()), (68, 32));
    let recorded = world.history(&device.id()).await;
    let refused = recorded.iter().filter(|kind| *kind == "handshake.refused").count();
    assert_eq!(refused, BURST as usize, "{recorded:?}");
    // When there is room again, the next one says how many were not written down.
    world.pass(REFILL_SECS);
    world.registrars.operate(&device.id(), Act::Suspend(None), &local()).await.unwrap();
    assert_eq!(world.registrars.arrived(&client, peer()).await, Err(Code::DeviceSuspended));
    let filter = AuditFilter { kind: AuditKind::HandshakeRefused.into(), limit: Some(1), ..AuditFilter::default() };
    let last = world.operations.audit(&Caller::local(), filter).await.unwrap().items.remove(0);
    assert_eq!((last.code, last.details["withheld"].as_str()), (Some(Code::DeviceSuspended), "48"));
    assert_eq!(last.serial.as_ref(), Some(client.serial()));
}

#[tokio::test]
async fn an_act_on_an_unknown_device_is_in_the_audit_and_many_do_not_fill_it() {
    let world = World::new();
    for _ in 0..50 {
        let error = world.operations.rotate(&Caller::local(), &id("nobody")).await.unwrap_err();
        assert_eq!(error.code, Code::DeviceUnknown.name());
    }
    let filter = AuditFilter { kind: AuditKind::OperatorRefused.into(), limit: Some(1000), ..AuditFilter::default() };
    let records = world.operations.audit(&Caller::local(), filter).await.unwrap().items;
    assert_eq!(records.len(), BURST as usize);
    let first = &records[0];
    assert_eq!((first.code, first.actor.as_str()), (Some(Code::DeviceUnknown), "local"));
    assert_eq!((first.device.as_ref(), first.details["act"].as_str()), (Some(&id("nobody")), "rotate"));
}

#[tokio::test(start_paused = true)]
async fn an_act_whose_outcome_stays_open_does_not_say_that_nothing_was_changed() {
    let faults = Faults { unknown_per_mille: 1000, ..Faults::NONE };
    let world = World::with(|store| FaultyStore::new(store, 7, faults));
    let new = NewDevice {
        device: id("pump-1"),
        idevid: KeyFingerprint([1; 32]),
        product: String::new(),
        lot: String::new(),
        manifest: None,
        at: world.now(),
    };
    world.store().inner().apply(Transaction::new(vec![Change::InsertDevice(new)])).await.unwrap();
    let error = world.operations.suspend(&Caller::local(), &id("pump-1"), None).await.unwrap_err();
    assert_eq!(error.code, "store.outcome_unknown");
    assert!(error.message.contains("pump-1") && error.message.contains("not known"), "{}", error.message);
    assert!(!error.hint.unwrap().contains("nothing was changed"));
    // One of the eight attempts was applied, in this world: the text was right not to deny it.
    let standing = world.store().inner().device(&id("pump-1")).await.unwrap().unwrap().record.standing;
    assert_eq!(standing, Standing::Suspended);

    let faults = Faults { unavailable_per_mille: 1000, ..Faults::NONE };
    let world = World::with(|store| FaultyStore::new(store, 7, faults));
    let error = world.operations.suspend(&Caller::local(), &id("pump-1"), None).await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable.name());
    assert!(error.hint.unwrap().contains("nothing was changed"));
}
