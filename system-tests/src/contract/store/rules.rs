//! What may stand beside what: uniqueness, references, bounds.

use std::sync::Arc;

use muster_gateway::audit::{Actor, AuditEvent, AuditKind};
use muster_gateway::store::{
    CHANGES_MAX, Change, NewCertificate, NewDevice, Refusal, Role, Service, Store, StoreError, Transaction,
};
use muster_protocol::registrar::{DeviceRecord, Reason};

use super::fixture::{
    NOW, active, factory_ca, id, idevid, insert, key, manifest, name, new_certificate, new_device, put, serial,
};

async fn one(store: &impl Store, change: Change) -> Result<usize, StoreError> {
    store.apply(Transaction::new(vec![change])).await.map(|applied| applied.already_there())
}

pub(super) async fn serials_and_keys_are_used_once<S: Store>(store: &Arc<S>) {
    insert(&**store, [1, 2]).await;
    let certificate = |n, holder| Change::InsertCertificate(new_certificate(n, holder));
    assert_eq!(one(&**store, certificate(1, 1)).await, Ok(0));
    let same_serial = NewCertificate { serial: serial(1), ..new_certificate(2, 2) };
    assert_eq!(one(&**store, Change::InsertCertificate(same_serial)).await, Err(Refusal::SerialTaken.into()));
    let same_key = NewCertificate { key: key(1), ..new_certificate(2, 2) };
    assert_eq!(one(&**store, Change::InsertCertificate(same_key)).await, Err(Refusal::KeyTaken.into()));
    assert_eq!(one(&**store, certificate(1, 1)).await, Err(Refusal::KeyTaken.into()));
    // Also not for another role, and not after a withdrawal: a key is spent for good.
    let withdraw = Change::WithdrawCertificate { serial: serial(1), reason: Reason::Superseded, at: NOW };
    assert_eq!(one(&**store, withdraw).await, Ok(0));
    let service = NewCertificate { key: key(1), role: Role::Service, ..new_certificate(3, 3) };
    assert_eq!(one(&**store, Change::InsertCertificate(service)).await, Err(Refusal::KeyTaken.into()));
    // The key of an IDevID is nobody's operational key, not even its own device's.
    for holder in [1, 2] {
        let idevid_key = NewCertificate { key: idevid(1), ..new_certificate(4, holder) };
        assert_eq!(one(&**store, Change::InsertCertificate(idevid_key)).await, Err(Refusal::KeyTaken.into()));
    }
    // Two in one transaction.
    let twice = Transaction::new(vec![certificate(5, 1), certificate(5, 2)]);
    assert_eq!(store.apply(twice).await, Err(Refusal::KeyTaken.into()));
    assert_eq!(store.certificate_by_key(&key(5)).await.unwrap(), None);
    assert_eq!(store.certificate_by_key(&key(1)).await.unwrap().unwrap().holder, id(1));
}

pub(super) async fn a_device_keeps_its_key_and_a_key_its_device<S: Store>(store: &Arc<S>) {
    insert(&**store, [1, 2]).await;
    let conflict = |n| Err(StoreError::Refused(Refusal::DeviceConflict(id(n))));
    let other_key = NewDevice { idevid: idevid(9), ..new_device(1) };
    assert_eq!(one(&**store, Change::InsertDevice(other_key)).await, conflict(1));
    let other_device = NewDevice { idevid: idevid(1), ..new_device(3) };
    assert_eq!(one(&**store, Change::InsertDevice(other_device)).await, conflict(3));
    let stolen = DeviceRecord { idevid: idevid(2), ..active(1) };
    assert_eq!(one(&**store, put(stolen, 1)).await, conflict(1));
    one(&**store, Change::InsertCertificate(new_certificate(1, 1))).await.unwrap();
    let certified = NewDevice { idevid: key(1), ..new_device(4) };
    assert_eq!(one(&**store, Change::InsertDevice(certified)).await, conflict(4));
    assert_eq!(store.device_by_idevid(&idevid(1)).await.unwrap().unwrap().id(), &id(1));
    assert_eq!(store.device_by_idevid(&idevid(9)).await.unwrap(), None);
}

pub(super) async fn what_is_imported_twice_is_there_once<S: Store>(store: &Arc<S>) {
    let import = || {
        let from = |n| NewDevice { manifest: Some(manifest(2).id), ..new_device(n) };
        Transaction::new(vec![
            Change::InsertManifest(manifest(2)),
            Change::InsertDevice(from(1)),
            Change::InsertDevice(from(2)),
            Change::AddFactoryCa(factory_ca(1)),
        ])
    };
    assert_eq!(store.apply(import()).await.unwrap().already_there(), 0);
    store.apply(Transaction::new(vec![put(active(1), 1)])).await.unwrap();
    let before = store.device(&id(1)).await.unwrap();
    let again = store.apply(import()).await.unwrap();
    assert_eq!((again.already_there(), again.change_seq), (4, None));
    assert_eq!(store.device(&id(1)).await.unwrap(), before);
    assert_eq!(store.manifests().await.unwrap(), [manifest(2)]);
    assert_eq!(store.factory_cas().await.unwrap(), [factory_ca(1)]);
}

pub(super) async fn what_is_pointed_at_must_be_there<S: Store>(store: &Arc<S>) {
    let no_device = Err(StoreError::Refused(Refusal::NoDevice(id(1))));
    assert_eq!(one(&**store, Change::InsertCertificate(new_certificate(1, 1))).await, no_device);
    assert_eq!(one(&**store, put(active(1), 1)).await, no_device);
    let orphan = NewDevice { manifest: Some(manifest(1).id), ..new_device(1) };
    assert_eq!(one(&**store, Change::InsertDevice(orphan)).await, Err(Refusal::NoManifest.into()));
    let reason = Reason::KeyCompromise;
    let withdraw = Change::WithdrawCertificate { serial: serial(1), reason, at: NOW };
    assert_eq!(one(&**store, withdraw).await, Err(Refusal::NoCertificate.into()));
    // What only says "all of them" or "if it is there" finds nothing to do.
    let all = Change::WithdrawCertificates { role: Role::Device, holder: id(1), reason, at: NOW };
    assert_eq!(one(&**store, all).await, Ok(1));
    assert_eq!(one(&**store, Change::RemoveService(name("nobody"))).await, Ok(1));
    assert_eq!(one(&**store, Change::RemoveOperator(name("nobody"))).await, Ok(1));
    assert_eq!(one(&**store, Change::RemoveFactoryCa(factory_ca(1).id)).await, Ok(1));
    assert_eq!(one(&**store, Change::LastSeen { device: id(1), at: NOW }).await, Ok(1));
    // A service's certificate names no device.
    let service = NewCertificate { role: Role::Service, holder: name("ingest"), ..new_certificate(1, 1) };
    assert_eq!(one(&**store, Change::InsertCertificate(service)).await, Ok(0));
    assert_eq!(store.device(&id(1)).await.unwrap(), None);
}

pub(super) async fn bounds_are_kept<S: Store>(store: &Arc<S>) {
    let meta = |key: String, value: String| Change::SetMeta { key, value };
    let small = meta("a".into(), "b".into());
    let too_many = Transaction::new(vec![small.clone(); CHANGES_MAX + 1]);
    assert_eq!(store.apply(too_many).await, Err(Refusal::TooLong("the transaction").into()));
    store.apply(Transaction::new(vec![small; CHANGES_MAX])).await.unwrap();
    let key_der = vec![0x30, 0x81, 0x87, 0x02, 0x01, 0x00];
    let service =
        |publish| Service { name: name("s"), publish, subscribe: Vec::new(), any_client_id: false, updated_at: NOW };
    for change in [
        meta("k".repeat(65), String::new()),
        meta("k".into(), "v".repeat(4097)),
        meta("k".into(), "-----BEGIN EC PRIVATE KEY-----".into()),
        Change::InsertDevice(NewDevice { product: "p".repeat(65), ..new_device(1) }),
        Change::InsertDevice(NewDevice { lot: "l".repeat(65), ..new_device(1) }),
        Change::InsertCertificate(NewCertificate { der: key_der, ..new_certificate(1, 1) }),
        Change::InsertCertificate(NewCertificate { der: vec![0x30; 5000], ..new_certificate(1, 1) }),
        Change::PutService(service(vec!["a/b".to_owned(); 65])),
        Change::PutService(service(vec!["a".repeat(257)])),
    ] {
        let refused = one(&**store, change.clone()).await;
        let named = matches!(refused, Err(StoreError::Refused(Refusal::TooLong(_) | Refusal::Malformed(_))));
        assert!(named, "{refused:?} for {change:?}");
    }
    // A hostile text is cut and cleaned when the event is made.
    let event = AuditEvent::new(NOW, AuditKind::RequestRefused, Actor::Peer).detail("said", "\u{1b}[2J\0é".repeat(100));
    one(&**store, Change::Audit(Box::new(event))).await.unwrap();
}
