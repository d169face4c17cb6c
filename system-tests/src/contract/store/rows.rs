//! What was written reads back.

use std::sync::Arc;

use muster_gateway::store::{
    Certificate, Change, ChangeSeq, Device, NewCertificate, NewDevice, Operator, OperatorRole, Role, RowVersion,
    Service, Store, Transaction, Withdrawal,
};
use muster_protocol::registrar::{Credential, DeviceRecord, Reason, Standing};

use super::fixture::{
    NOW, active, factory_ca, id, idevid, insert, key, manifest, name, new_certificate, new_device, put, serial,
};

fn stored(new: NewCertificate) -> Certificate {
    let NewCertificate { serial, key, role, holder, der, not_before, not_after, issued_at } = new;
    Certificate { serial, key, role, holder, der, not_before, not_after, issued_at, withdrawn: None }
}

async fn write(store: &impl Store, changes: Vec<Change>) {
    store.apply(Transaction::new(changes)).await.unwrap();
}

pub(super) async fn every_row_reads_back_as_it_was_written<S: Store>(store: &Arc<S>) {
    let manifested = NewDevice { manifest: Some(manifest(7).id), ..new_device(1) };
    write(&**store, vec![Change::InsertManifest(manifest(7)), Change::InsertDevice(manifested)]).await;
    let expected = Device {
        record: DeviceRecord::expected(id(1), idevid(1)),
        product: "thermostat".to_owned(),
        lot: "lot-0".to_owned(),
        manifest: Some(manifest(7).id),
        created_at: NOW,
        updated_at: NOW,
        last_seen_at: None,
        version: RowVersion(1),
    };
    assert_eq!(store.device(&id(1)).await.unwrap(), Some(expected.clone()));

    let credential = |n| Some(Credential { serial: serial(n), key: key(n), not_after: NOW.plus_secs(n.into()) });
    let full = DeviceRecord {
        standing: Standing::Suspended,
        current: credential(2),
        previous: credential(1),
        candidate: credential(3),
        order: Some(4),
        orders: 5,
        suspended_from: Some(Standing::Rotating),
        reason: Some(Reason::AffiliationChanged),
        ..active(1)
    };
    let later = NOW.plus_secs(60);
    let seen = |secs| Change::LastSeen { device: id(1), at: NOW.plus_secs(secs) };
    let put = Change::PutDevice { record: full.clone(), expect: RowVersion(1), at: later };
    write(&**store, vec![seen(30), put, seen(20)]).await;
    let last_seen_at = Some(NOW.plus_secs(30));
    let now = Device { record: full, updated_at: later, last_seen_at, version: RowVersion(2), ..expected };
    assert_eq!(store.device(&id(1)).await.unwrap(), Some(now));

    let operator_certificate =
        NewCertificate { role: Role::Operator, holder: name("dev-000001"), ..new_certificate(9, 1) };
    let certificates = [new_certificate(1, 1), new_certificate(2, 1), operator_certificate];
    write(&**store, certificates.iter().cloned().map(Change::InsertCertificate).collect()).await;
    let [first, second, operators] = certificates.map(stored);
    assert_eq!(store.certificate(&serial(1)).await.unwrap(), Some(first.clone()));
    assert_eq!(store.certificate_by_key(&key(2)).await.unwrap(), Some(second.clone()));
    assert_eq!(store.certificates(Role::Device, &id(1)).await.unwrap(), [second, first]);
    assert_eq!(store.certificates(Role::Operator, &id(1)).await.unwrap(), [operators]);
    assert_eq!(store.certificates(Role::Device, &id(2)).await.unwrap(), []);
    assert_eq!(store.certificate(&serial(99)).await.unwrap(), None);

    let ingest = Service {
        name: name("ingest"),
        publish: vec!["devices/+/commands/#".to_owned(), "a \"quoted\" ü".to_owned()],
        subscribe: vec!["devices/#".to_owned()],
        any_client_id: true,
        updated_at: NOW,
    };
    let backup = Service { name: name("backup"), publish: Vec::new(), any_client_id: false, ..ingest.clone() };
    let ada = Operator { name: name("ada"), role: OperatorRole::Viewer, serial: serial(9), updated_at: NOW };
    write(
        &**store,
        vec![
            Change::PutService(backup.clone()),
            Change::PutService(Service { subscribe: Vec::new(), ..ingest.clone() }),
            Change::PutService(ingest.clone()),
            Change::PutOperator(Operator { role: OperatorRole::Admin, ..ada.clone() }),
            Change::PutOperator(ada.clone()),
            Change::AddFactoryCa(factory_ca(2)),
            Change::AddFactoryCa(factory_ca(1)),
            Change::SetMeta { key: "instance".to_owned(), value: "a".to_owned() },
            Change::SetMeta { key: "instance".to_owned(), value: "ü".to_owned() },
        ],
    )
    .await;
    assert_eq!(store.services().await.unwrap(), [backup, ingest.clone()]);
    assert_eq!(store.service(&name("ingest")).await.unwrap(), Some(ingest));
    assert_eq!(store.service(&name("nobody")).await.unwrap(), None);
    assert_eq!(store.operators().await.unwrap(), std::slice::from_ref(&ada));
    assert_eq!(store.operator(&name("ada")).await.unwrap(), Some(ada));
    assert_eq!(store.operator(&name("bob")).await.unwrap(), None);
    assert_eq!(store.factory_cas().await.unwrap(), [factory_ca(2), factory_ca(1)]);
    assert_eq!(store.meta("instance").await.unwrap().as_deref(), Some("ü"));
    assert_eq!(store.meta("Instance").await.unwrap(), None);
}

pub(super) async fn a_withdrawal_is_final<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    write(&**store, (1..=3).map(|n| Change::InsertCertificate(new_certificate(n, 1))).collect()).await;
    let one = |reason, secs| Change::WithdrawCertificate { serial: serial(2), reason, at: NOW.plus_secs(secs) };
    write(&**store, vec![one(Reason::KeyCompromise, 1)]).await;
    write(&**store, vec![one(Reason::Superseded, 2)]).await;
    let (role, holder, reason) = (Role::Device, id(1), Reason::CessationOfOperation);
    write(
        &**store,
        vec![
            put(active(1), 1),
            Change::WithdrawCertificates { role, holder: holder.clone(), reason, at: NOW.plus_secs(3) },
        ],
    )
    .await;
    let withdrawals: Vec<_> =
        store.certificates(role, &holder).await.unwrap().into_iter().map(|row| row.withdrawn).collect();
    let last = Some(Withdrawal { at: NOW.plus_secs(3), reason });
    let first = Some(Withdrawal { at: NOW.plus_secs(1), reason: Reason::KeyCompromise });
    assert_eq!(withdrawals, [last, first, last]);
    assert_eq!(store.changes_after(ChangeSeq(0), 10).await.unwrap().head, ChangeSeq(3));
}
