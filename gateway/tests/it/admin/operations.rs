//! Every operation, its refusals, its roles, its records.

use muster_gateway::admin::view::Done;
use muster_gateway::admin::{AuditFilter, Blame, Caller, DeviceFilter, NewOperator, NewService, OperationError};
use muster_gateway::store::{OperatorRole, Role, Store};
use muster_issuing::{Issuer, KeyPair};
use muster_protocol::manifest::Entry;
use muster_protocol::pki::profile::Profile;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{Reason, Standing};
use muster_protocol::{Code, FleetId, Identity, UnixTime};

use crate::world::{Factory, NOW, World, fleet, id, peer, request_pem};

fn pem(der: &[u8]) -> String {
    muster_issuing::pem::write_certificates(&[der])
}

fn caller(role: OperatorRole) -> Caller {
    Caller::operator(id("ada"), role, Some(peer()))
}

fn service(name: &str, key: &KeyPair) -> NewService {
    let identity = Identity::Service { fleet: fleet(), name: id(name) };
    NewService {
        name: id(name),
        publish: vec!["devices/+/commands/#".into()],
        subscribe: vec!["devices/#".into()],
        any_client_id: false,
        request: request_pem(&identity, key),
    }
}

fn operator(name: &str, role: &str, key: &KeyPair) -> NewOperator {
    let identity = Identity::Operator { fleet: fleet(), name: id(name) };
    NewOperator { name: id(name), role: role.into(), request: request_pem(&identity, key) }
}

async fn kinds(world: &World) -> Vec<String> {
    let filter = AuditFilter { after: Some(0), limit: Some(1000), ..AuditFilter::default() };
    let rows = world.operations.audit(&Caller::local(), filter).await.unwrap();
    rows.items.into_iter().map(|row| row.kind).collect()
}

#[tokio::test]
async fn a_factory_ca_has_to_be_one() {
    let world = World::new();
    let local = Caller::local();
    let add = async |text: &str| world.operations.add_factory_cas(&local, text).await;
    let device = world.factory.device("pump-1");
    let expired =
        Issuer::create(Profile::OperatorCa, "Long gone", KeyPair::generate().unwrap(), UnixTime(NOW - 4000 * 86_400))
            .unwrap();
    for (what, der, code) in [
        ("a leaf", device.idevid.as_slice(), "certificate.wrong_usage"),
        ("an expired one", expired.certificate(), "certificate.expired"),
        ("one of ours", world.device_ca.certificate(), "certificate.profile"),
    ] {
        let both = format!("{}{}", pem(world.factory.root.certificate()), pem(der));
        let error = add(&both).await.unwrap_err();
        assert_eq!((error.code.as_str(), error.blame), (code, Blame::Rule), "{what}");
    }
    assert_eq!(add("nothing").await.unwrap_err().blame, Blame::Request);
    assert!(world.operations.factory_cas(&local).await.unwrap().items.is_empty(), "all or none");
    assert!(kinds(&world).await.is_empty());

    let both = format!("{}{}", pem(world.factory.root.certificate()), pem(world.factory.issuing.certificate()));
    let added = add(&both).await.unwrap();
    assert!(added.items.iter().all(|row| row.added == Done::Now) && added.items.len() == 2);
    assert_eq!(added.items[0].ca.subject, "Factory root");
    assert!(add(&both).await.unwrap().items.iter().all(|row| row.added == Done::Before));
    assert_eq!(kinds(&world).await, ["factory_ca.added", "factory_ca.added"]);

    let first = added.items[0].ca.id.parse().unwrap();
    world.operations.remove_factory_cas(&local, &[first]).await.unwrap();
    let error = world.operations.remove_factory_cas(&local, &[first]).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.blame), ("factory_ca.unknown", Blame::Missing));
    assert_eq!(world.operations.factory_cas(&local).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_manifest_counts_or_changes_nothing() {
    let world = World::new();
    let local = Caller::local();
    let import = async |bytes: Vec<u8>| world.operations.import_manifest(&local, bytes).await;
    let devices: Vec<_> = ["a", "b", "c"].map(|name| world.factory.device(name)).into();
    let all: Vec<_> = devices.iter().collect();
    let manifest = world.factory.manifest(&all);
    let refused = |error: OperationError| error.code;
    assert_eq!(import(manifest.clone()).await.map_err(refused), Err("manifest.untrusted".into()));

    let root = pem(world.factory.root.certificate());
    world.operations.add_factory_cas(&local, &root).await.unwrap();
    // A flipped byte anywhere: in the header, the body, the signature.
    for index in [0, 4, 5, 12, manifest.len() / 2, manifest.len() - 100, manifest.len() - 1] {
        let mut flipped = manifest.clone();
        flipped[index] ^= 1;
        let code = import(flipped).await.unwrap_err().code;
        let expected = ["manifest.malformed", "manifest.bad_signature", "message.version"];
        assert!(expected.contains(&code.as_str()), "byte {index}: {code}");
    }
    for length in [0, 1, 9, manifest.len() / 2, manifest.len() - 1] {
        assert_eq!(import(manifest[..length].to_vec()).await.unwrap_err().code, "manifest.malformed");
    }
    let elsewhere = world.factory.manifest_of(&all, &FleetId::new("other").unwrap());
    assert_eq!(import(elsewhere).await.unwrap_err().code, "manifest.wrong_fleet");
    let foreign = Factory::new();
    assert_eq!(import(foreign.manifest(&all)).await.unwrap_err().code, "manifest.untrusted");
    assert_eq!(world.store().counts().await.unwrap().total(), 0);
    assert!(kinds(&world).await.iter().skip(2).all(|kind| kind == "manifest.refused"));

    let imported = import(manifest.clone()).await.unwrap();
    assert_eq!((imported.imported, imported.devices, imported.added), (Done::Now, 3, 3));
    let again = import(manifest).await.unwrap();
    assert_eq!((again.imported, again.added), (Done::Before, 0));
    assert_eq!(kinds(&world).await.iter().filter(|kind| *kind == "manifest.imported").count(), 1);
    assert_eq!(world.operations.manifests(&local).await.unwrap().items.len(), 1);
}

#[tokio::test]
async fn a_conflict_keeps_the_whole_manifest_out() {
    let world = World::new();
    let (first, second) = (world.factory.device("b"), world.factory.device("b"));
    world.admit(&[&first]).await;
    let more = [world.factory.device("a"), world.factory.device("c")];
    let import = async |manifest| world.operations.import_manifest(&Caller::local(), manifest).await;
    let error = import(world.factory.manifest(&[&more[0], &second, &more[1]])).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.blame), (Code::ManifestConflict.name(), Blame::Rule));
    assert!(error.message.contains("device b"), "{}", error.message);
    // The same key under another name is a conflict as well.
    let renamed =
        Entry { device: id("z"), key: first.key.public_key().fingerprint(), serial: Serial::new(&[1]).unwrap() };
    let error = import(world.factory.sealed(&fleet(), &[renamed])).await.unwrap_err();
    assert_eq!(error.code, Code::ManifestConflict.name());
    assert_eq!(world.store().counts().await.unwrap().total(), 1);
    // A later manifest may name a device that is there, as it is.
    let imported = import(world.factory.manifest(&[&more[0], &first])).await.unwrap();
    assert_eq!((imported.devices, imported.added), (2, 1));
}

#[tokio::test]
async fn a_manifest_larger_than_a_transaction_is_imported_whole() {
    let world = World::new();
    let root = pem(world.factory.root.certificate());
    world.operations.add_factory_cas(&Caller::local(), &root).await.unwrap();
    let count = 2001_usize;
    let entries: Vec<_> = (0..count)
        .map(|number| {
            let digest = muster_gateway::store::DocumentId::of(&number.to_be_bytes()).0;
            let key = muster_protocol::pki::key::KeyFingerprint(digest);
            Entry { device: id(&format!("d{number:06}")), key, serial: Serial::new(&[1]).unwrap() }
        })
        .collect();
    let manifest = world.factory.sealed(&fleet(), &entries);
    let imported = world.operations.import_manifest(&Caller::local(), manifest).await.unwrap();
    assert_eq!((imported.devices as usize, imported.added as usize), (count, count));
    assert_eq!(world.store().counts().await.unwrap().of(Standing::Expected) as usize, count);
    let filter = DeviceFilter { after: Some(id("d001999")), limit: Some(10), ..DeviceFilter::default() };
    let page = world.operations.devices(&Caller::local(), filter).await.unwrap();
    assert_eq!(page.items.first().map(|row| row.id.as_str()), Some("d002000"));
}

#[tokio::test]
async fn acts_on_devices_say_where_they_stand() {
    let world = World::new();
    let local = Caller::local();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let operations = &world.operations;
    let name = device.id();
    let error = operations.rotate(&local, &name).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.blame), ("device.state", Blame::Rule));
    assert_eq!(operations.suspend(&local, &name, None).await.unwrap().standing, Standing::Suspended);
    assert_eq!(operations.suspend(&local, &name, None).await.unwrap().standing, Standing::Suspended);
    assert_eq!(operations.resume(&local, &name).await.unwrap().standing, Standing::Expected);
    let revoked = operations.revoke(&local, &name, Reason::KeyCompromise).await.unwrap();
    assert_eq!((revoked.standing, revoked.act.as_str()), (Standing::Revoked, "revoke"));
    let details = operations.device(&local, &name).await.unwrap();
    assert_eq!(details.reason, Some(Reason::KeyCompromise));
    assert_eq!(details.history[0].details["reason"], "key_compromise");
    assert_eq!(details.refusals[0].code, Some(Code::DeviceState));
    assert_eq!(operations.retire(&local, &name).await.unwrap().standing, Standing::Retired);
    for error in [
        operations.resume(&local, &name).await.unwrap_err(),
        operations.revoke(&local, &name, Reason::Unspecified).await.unwrap_err(),
    ] {
        assert_eq!(error.code, "device.retired");
    }
    let error = operations.device(&local, &id("nobody")).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.blame), ("device.unknown", Blame::Missing));
}

#[tokio::test]
async fn roles_are_kept_and_refusals_recorded() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let (operations, name) = (&world.operations, device.id());
    let key = KeyPair::generate().unwrap();
    let (viewer, person, admin) =
        (caller(OperatorRole::Viewer), caller(OperatorRole::Operator), caller(OperatorRole::Admin));
    operations.device(&viewer, &name).await.unwrap();
    operations.status(&viewer).await.unwrap();
    operations.audit_verify(&viewer).await.unwrap();
    let before = kinds(&world).await.len();
    let forbidden = [
        operations.suspend(&viewer, &name, None).await.unwrap_err(),
        operations.retire(&viewer, &name).await.unwrap_err(),
        operations.import_manifest(&person, Vec::new()).await.unwrap_err(),
        operations.add_factory_cas(&person, "").await.unwrap_err(),
        operations.issue_service(&person, service("s", &key)).await.unwrap_err(),
        operations.issue_operator(&person, operator("o", "admin", &key)).await.unwrap_err(),
        operations.remove_operator(&person, &id("ada")).await.unwrap_err(),
    ];
    for error in &forbidden {
        assert_eq!((error.code.as_str(), error.blame), ("operator.forbidden", Blame::Caller));
    }
    let kinds = kinds(&world).await;
    assert_eq!(kinds.len(), before + forbidden.len());
    assert!(kinds[before..].iter().all(|kind| kind == "operator.refused"));
    operations.suspend(&person, &name, None).await.unwrap();
    operations.issue_service(&admin, service("s", &key)).await.unwrap();
    let details = operations.device(&viewer, &name).await.unwrap();
    assert_eq!((details.history[0].actor.as_str(), details.history[0].peer), ("operator:ada", Some(peer())));
}

#[tokio::test]
async fn a_service_gets_rights_and_loses_them() {
    let world = World::new();
    let local = Caller::local();
    let key = KeyPair::generate().unwrap();
    let issued = world.operations.issue_service(&local, service("ingest", &key)).await.unwrap();
    let der = muster_issuing::pem::read_certificates(&issued.certificate).unwrap().remove(0);
    let client = world.verified(&[&der]).unwrap();
    assert_eq!(client.identity().to_san().as_str(), "urn:muster:acme:service:ingest");
    world.registrars.arrived(&client, peer()).await.unwrap();

    // A second certificate for a new key, so that it can change over; the same key again is spent.
    let error = world.operations.issue_service(&local, service("ingest", &key)).await.unwrap_err();
    assert_eq!(error.code, "enrol.key_reused");
    world.operations.issue_service(&local, service("ingest", &KeyPair::generate().unwrap())).await.unwrap();
    world.registrars.arrived(&client, peer()).await.unwrap();

    let mut reaching = service("greedy", &KeyPair::generate().unwrap());
    reaching.subscribe = vec!["$muster/#".into()];
    assert_eq!(world.operations.issue_service(&local, reaching).await.unwrap_err().code, "service.filter");
    let mut misnamed = service("other", &KeyPair::generate().unwrap());
    misnamed.name = id("ingest");
    assert_eq!(world.operations.issue_service(&local, misnamed).await.unwrap_err().code, "csr.wrong_name");

    let rows = world.operations.services(&local).await.unwrap().items;
    assert_eq!((rows.len(), rows[0].certificates.len()), (1, 2));
    world.operations.remove_service(&local, &id("ingest")).await.unwrap();
    assert_eq!(world.registrars.arrived(&client, peer()).await, Err(Code::CertificateRevoked));
    assert_eq!(world.operations.remove_service(&local, &id("ingest")).await.unwrap_err().blame, Blame::Missing);
}

#[tokio::test]
async fn of_an_operators_certificates_the_last_one_counts() {
    let world = World::new();
    let local = Caller::local();
    let issue = async |role: &str| {
        let key = KeyPair::generate().unwrap();
        let issued = world.operations.issue_operator(&local, operator("ada", role, &key)).await.unwrap();
        let der = muster_issuing::pem::read_certificates(&issued.certificate).unwrap().remove(0);
        world.verified(&[&der]).unwrap()
    };
    let first = issue("viewer").await;
    assert_eq!(world.operations.caller(&first, peer()).await.unwrap().role(), OperatorRole::Viewer);
    let second = issue("admin").await;
    assert_eq!(world.operations.caller(&second, peer()).await.unwrap().role(), OperatorRole::Admin);
    let error = world.operations.caller(&first, peer()).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.status()), ("operator.forbidden", 403));
    let certificates = world.store().certificates(Role::Operator, &id("ada")).await.unwrap();
    assert_eq!(certificates[1].withdrawn.unwrap().reason, Reason::Superseded);
    world.operations.remove_operator(&local, &id("ada")).await.unwrap();
    assert_eq!(world.operations.caller(&second, peer()).await.unwrap_err().status(), 403);

    // Somebody with a good certificate of another role, or none that the registry knows.
    let device = world.factory.device("pump-1");
    assert_eq!(world.operations.caller(&world.by_idevid(&device), peer()).await.unwrap_err().status(), 403);
    let stranger = Identity::Operator { fleet: fleet(), name: id("eve") };
    let key = KeyPair::generate().unwrap();
    use muster_gateway::issuer::{Issuer as _, Validity};
    let validity = Validity::from_now(world.now(), 3600);
    let der = world.operator_ca.issue(&stranger, &key.public_key(), validity).await.unwrap();
    assert_eq!(world.operations.caller(&world.verified(&[&der]).unwrap(), peer()).await.unwrap_err().status(), 403);
    let error = world.operations.issue_operator(&local, operator("bob", "root", &key)).await.unwrap_err();
    assert_eq!(error.code, "operator.role");
}

#[tokio::test]
async fn status_tells_counts_expiries_and_health() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let status = world.operations.status(&Caller::local()).await.unwrap();
    assert_eq!((status.devices_total, status.devices["expected"]), (1, 1));
    let names: Vec<_> = status.certificates.iter().map(|certificate| certificate.name.as_str()).collect();
    assert_eq!(names, ["device-ca", "gateway-ca", "operator-ca", "factory-ca"]);
    assert!(status.certificates.iter().all(|certificate| certificate.expires_in_secs > 0));
    assert!(status.store.healthy && status.running_since.is_none());
    let expiry = world.operations.expiry(&Caller::local()).await.unwrap();
    assert_eq!(expiry.intervals.iter().map(|interval| interval.devices).collect::<Vec<_>>(), [0; 8]);
    world.store().close().await;
    let status = world.operations.status(&Caller::local()).await.unwrap();
    assert!(!status.store.healthy && status.store.trouble.is_some());
    let error = world.operations.suspend(&Caller::local(), &device.id(), None).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.status()), ("gateway.unavailable", 503));
}

#[tokio::test]
async fn listings_page_search_and_filter() {
    let world = World::new();
    let devices: Vec<_> = ["pump-1", "pump-2", "valve-1"].map(|name| world.factory.device(name)).into();
    world.admit(&devices.iter().collect::<Vec<_>>()).await;
    world.operations.suspend(&Caller::local(), &id("pump-2"), None).await.unwrap();
    let list = async |filter: DeviceFilter| {
        let page = world.operations.devices(&Caller::local(), filter).await.unwrap();
        (page.items.iter().map(|row| row.id.to_string()).collect::<Vec<_>>(), page.next)
    };
    let (first, next) = list(DeviceFilter { limit: Some(2), ..DeviceFilter::default() }).await;
    assert_eq!((first, next.as_deref()), (vec!["pump-1".into(), "pump-2".into()], Some("pump-2")));
    let (rest, next) = list(DeviceFilter { after: Some(id("pump-2")), ..DeviceFilter::default() }).await;
    assert_eq!((rest, next), (vec!["valve-1".into()], None));
    let (found, _) = list(DeviceFilter { search: Some("valve".into()), ..DeviceFilter::default() }).await;
    assert_eq!(found, ["valve-1"]);
    let (found, _) = list(DeviceFilter { standing: Some(Standing::Suspended), ..DeviceFilter::default() }).await;
    assert_eq!(found, ["pump-2"]);
    let error = world
        .operations
        .audit(&Caller::local(), AuditFilter { after: Some(1), before: Some(2), ..AuditFilter::default() })
        .await
        .unwrap_err();
    assert_eq!(error.blame, Blame::Request);
}

#[test]
fn a_ca_without_its_profile_is_not_opened() {
    let key = KeyPair::generate().unwrap();
    let ca = Issuer::create(Profile::DeviceCa, "device-ca", key.clone(), UnixTime(NOW)).unwrap();
    assert!(Issuer::open(Profile::DeviceCa, ca.certificate().to_vec(), KeyPair::generate().unwrap()).is_err());
}
