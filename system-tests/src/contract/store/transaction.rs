//! All or nothing, once, and never on an old row.

use std::sync::Arc;

use muster_gateway::audit::AuditKind;
use muster_gateway::store::{
    Change, ChangeSeq, Expect, ManifestRow, NewDevice, Outcome, Refusal, RowVersion, Shipment, Store, StoreError,
    Transaction, TransactionId,
};
use muster_protocol::registrar::{DeviceRecord, Standing};

use super::fixture::{active, event, id, idevid, insert, manifest, new_certificate, new_device, put};

fn meta(key: &str, value: &str) -> Change {
    Change::SetMeta { key: key.to_owned(), value: value.to_owned() }
}

fn suspended(n: u32) -> DeviceRecord {
    DeviceRecord { standing: Standing::Suspended, suspended_from: Some(Standing::Active), ..active(n) }
}

pub(super) async fn a_transaction_is_applied_whole_or_not_at_all<S: Store>(store: &Arc<S>) {
    insert(&**store, [1, 2]).await;
    let head = store.audit_head().await.unwrap();
    let good = vec![
        Change::InsertDevice(new_device(3)),
        Change::InsertCertificate(new_certificate(1, 1)),
        put(suspended(1), 1),
        meta("written", "yes"),
        event(AuditKind::DeviceSuspended, 1),
    ];
    for bad in [
        Change::InsertCertificate(new_certificate(9, 99)),
        put(active(2), 7),
        Change::InsertDevice(NewDevice { idevid: idevid(2), ..new_device(4) }),
    ] {
        for position in 0..=good.len() {
            let mut changes = good.clone();
            changes.insert(position, bad.clone());
            store.apply(Transaction::new(changes)).await.unwrap_err();
        }
    }
    assert_eq!(store.device(&id(3)).await.unwrap(), None);
    assert_eq!(store.device(&id(1)).await.unwrap().unwrap().version, RowVersion(1));
    assert_eq!(store.certificate(&super::fixture::serial(1)).await.unwrap(), None);
    assert_eq!(store.meta("written").await.unwrap(), None);
    assert_eq!(store.audit_head().await.unwrap(), head);
    assert_eq!(store.changes_after(ChangeSeq(0), 10).await.unwrap().head, ChangeSeq(0));

    let applied = store.apply(Transaction::new(good)).await.unwrap();
    assert_eq!(applied.change_seq, Some(ChangeSeq(1)));
    let written = |version| Outcome::Written(RowVersion(version));
    assert_eq!(applied.outcomes, [written(1), Outcome::Done, written(2), Outcome::Done, Outcome::Done]);
    assert_eq!(store.meta("written").await.unwrap().as_deref(), Some("yes"));
    assert_eq!(store.audit_head().await.unwrap().seq, head.seq + 1);
}

pub(super) async fn one_that_fails_does_not_fail_its_neighbours<S: Store>(store: &Arc<S>) {
    let tasks: Vec<_> = (0..96_u32)
        .map(|n| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut changes = vec![Change::InsertDevice(new_device(n)), event(AuditKind::ManifestImported, n)];
                if n % 3 == 0 {
                    changes.push(Change::InsertCertificate(new_certificate(n, 1000)));
                }
                store.apply(Transaction::new(changes)).await
            })
        })
        .collect();
    for (n, task) in (0_u32..).zip(tasks) {
        let result = task.await.unwrap();
        let there = store.device(&id(n)).await.unwrap().is_some();
        if n % 3 == 0 {
            assert_eq!(result, Err(StoreError::Refused(Refusal::NoDevice(id(1000)))), "{n}");
        } else {
            result.unwrap();
        }
        assert_eq!(there, n % 3 != 0, "{n}");
    }
    assert_eq!(store.audit_head().await.unwrap().seq, 64);
}

pub(super) async fn the_same_id_again_gives_the_first_answer<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    let once = Transaction::new(vec![
        put(suspended(1), 1),
        event(AuditKind::DeviceSuspended, 1),
        Change::InsertDevice(new_device(1)),
        Change::InsertDevice(new_device(2)),
    ]);
    let first = store.apply(once.clone()).await.unwrap();
    assert_eq!(first.change_seq, Some(ChangeSeq(1)));
    assert_eq!(first.version(0), Some(RowVersion(2)));
    assert_eq!(first.already_there(), 1);
    // Meanwhile somebody else goes on; the answer stays what it was.
    store.apply(Transaction::new(vec![put(active(1), 2)])).await.unwrap();
    let head = store.audit_head().await.unwrap();
    assert_eq!(store.apply(once).await.unwrap(), first);
    assert_eq!(store.device(&id(1)).await.unwrap().unwrap().version, RowVersion(3));
    assert_eq!(store.audit_head().await.unwrap(), head);
    assert_eq!(store.changes_after(ChangeSeq(0), 10).await.unwrap().head, ChangeSeq(2));

    // The same at the same time, as after a lost answer.
    let twice = Transaction::new(vec![event(AuditKind::DeviceResumed, 1), put(suspended(1), 3)]);
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (store, twice) = (Arc::clone(store), twice.clone());
            tokio::spawn(async move { store.apply(twice).await.unwrap() })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
    assert_eq!(store.audit_head().await.unwrap().seq, head.seq + 1);
}

pub(super) async fn a_refused_transaction_is_not_remembered<S: Store>(store: &Arc<S>) {
    let early = Transaction::new(vec![Change::InsertCertificate(new_certificate(1, 1))]);
    assert_eq!(store.apply(early.clone()).await, Err(StoreError::Refused(Refusal::NoDevice(id(1)))));
    insert(&**store, [1]).await;
    store.apply(early).await.unwrap();
    let empty = Transaction { id: TransactionId([7; 16]), expects: Vec::new(), changes: Vec::new() };
    assert_eq!(store.apply(empty.clone()).await.unwrap(), store.apply(empty).await.unwrap());
}

pub(super) async fn a_decision_on_an_old_row_is_a_conflict<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    store.apply(Transaction::new(vec![put(active(1), 1)])).await.unwrap();
    for version in [0, 1, 3, u64::MAX] {
        assert_eq!(store.apply(Transaction::new(vec![put(suspended(1), version)])).await, Err(StoreError::Conflict));
        let expect = Expect::Device { device: id(1), version: RowVersion(version) };
        let expecting = Transaction::new(vec![meta("a", "b")]).expecting(expect);
        assert_eq!(store.apply(expecting).await, Err(StoreError::Conflict));
    }
    let expect = |value: Option<&str>| Expect::Meta { key: "a".to_owned(), value: value.map(str::to_owned) };
    let nobody = Expect::Device { device: id(9), version: RowVersion(1) };
    let set = |value| Transaction::new(vec![meta("a", value)]);
    assert_eq!(store.apply(set("x").expecting(nobody)).await, Err(StoreError::Conflict));
    assert_eq!(store.apply(set("x").expecting(expect(Some("b")))).await, Err(StoreError::Conflict));
    store.apply(set("1").expecting(expect(None))).await.unwrap();
    assert_eq!(store.apply(set("x").expecting(expect(None))).await, Err(StoreError::Conflict));
    let here = Expect::Device { device: id(1), version: RowVersion(2) };
    store.apply(set("2").expecting(expect(Some("1"))).expecting(here)).await.unwrap();
    assert_eq!(store.meta("a").await.unwrap().as_deref(), Some("2"));
    assert_eq!(store.device(&id(1)).await.unwrap().unwrap().record.standing, Standing::Active);
}

pub(super) async fn no_increment_is_lost_between_writers<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut done = 0;
                while done < 10 {
                    let device = store.device(&id(1)).await.unwrap().unwrap();
                    let record = DeviceRecord { orders: device.record.orders + 1, ..device.record };
                    match store.apply(Transaction::new(vec![put(record, device.version.0)])).await {
                        Ok(_) => done += 1,
                        Err(error) => assert_eq!(error, StoreError::Conflict),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let device = store.device(&id(1)).await.unwrap().unwrap();
    assert_eq!((device.record.orders, device.version), (80, RowVersion(81)));
}

pub(super) async fn a_manifest_comes_in_whole_or_not_at_all<S: Store>(store: &Arc<S>) {
    let shipment = |number: u8, devices: std::ops::Range<u32>| {
        let row = ManifestRow { devices: devices.end - devices.start, ..manifest(number.into()) };
        Arc::new(Shipment { row, devices: devices.map(|n| (id(n), idevid(n))).collect() })
    };
    let import = |shipment: &Arc<Shipment>| {
        Transaction::new(vec![Change::Import(Arc::clone(shipment)), event(AuditKind::ManifestImported, 1)])
    };
    // One of the last is registered with another key: nothing of the others comes in.
    let stranger = NewDevice { idevid: idevid(9999), ..new_device(2400) };
    store.apply(Transaction::new(vec![Change::InsertDevice(stranger)])).await.unwrap();
    let head = store.audit_head().await.unwrap();
    let refused = store.apply(import(&shipment(1, 0..2500))).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::DeviceConflict(id(2400)))));
    assert_eq!((store.counts().await.unwrap().total(), store.manifests().await.unwrap().len()), (1, 0));
    assert_eq!(store.audit_head().await.unwrap(), head);

    let (small, large) = (shipment(1, 0..10), shipment(2, 5..2005));
    let first = import(&small);
    assert_eq!(store.apply(first.clone()).await.unwrap().outcomes, [Outcome::Added(10), Outcome::Done]);
    assert_eq!(store.apply(first).await.unwrap().outcomes, [Outcome::Added(10), Outcome::Done], "the same id again");
    let second = import(&large);
    assert_eq!(store.apply(second.clone()).await.unwrap().outcomes, [Outcome::Added(1995), Outcome::Done]);
    assert_eq!(store.apply(second).await.unwrap().outcomes[0], Outcome::Added(1995), "the same id again");
    assert_eq!(store.apply(import(&large)).await.unwrap().outcomes[0], Outcome::AlreadyThere);
    assert_eq!(store.counts().await.unwrap().total(), 2006);
    assert_eq!(store.device(&id(7)).await.unwrap().unwrap().manifest, Some(small.row.id));
    assert_eq!(store.device(&id(2004)).await.unwrap().unwrap().manifest, Some(large.row.id));
    assert_eq!(store.manifest(large.row.id).await.unwrap().as_ref(), Some(&large.row));
    assert_eq!(store.manifest(manifest(3).id).await.unwrap(), None);
}
