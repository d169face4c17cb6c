//! The audit: one chain, whoever writes.

use std::sync::Arc;

use muster_gateway::audit::{Actor, AuditHead, AuditKind, AuditRecord, Broken, Kinds, verify, verify_store};
use muster_gateway::store::{AuditFrom, AuditQuery, Change, Store, Transaction};

use super::fixture::{event, id, new_certificate};

async fn page(store: &impl Store, from: AuditFrom, device: Option<u32>, limit: u16) -> Vec<AuditRecord> {
    store.audit_page(AuditQuery { from, device: device.map(id), kinds: Kinds::default(), limit }).await.unwrap()
}

fn numbers(records: &[AuditRecord]) -> Vec<u64> {
    records.iter().map(|record| record.seq).collect()
}

pub(super) async fn the_audit_is_a_chain_under_concurrent_writers<S: Store>(store: &Arc<S>) {
    assert_eq!(store.audit_head().await.unwrap(), AuditHead::EMPTY);
    assert_eq!(verify_store(&**store).await.unwrap(), Ok(AuditHead::EMPTY));
    let writers: Vec<_> = (0..8_u32)
        .map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                for _ in 0..25 {
                    let two = vec![event(AuditKind::EnrolmentIssued, writer), event(AuditKind::RotationIssued, writer)];
                    store.apply(Transaction::new(two)).await.unwrap();
                    let failing =
                        vec![event(AuditKind::DeviceRetired, writer), Change::InsertCertificate(new_certificate(1, 1))];
                    store.apply(Transaction::new(failing)).await.unwrap_err();
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let head = store.audit_head().await.unwrap();
    assert_eq!(head.seq, 400);
    assert_eq!(verify_store(&**store).await.unwrap(), Ok(head));
    let records = page(&**store, AuditFrom::After(0), None, 1000).await;
    assert_eq!(numbers(&records), (1..=400).collect::<Vec<u64>>());
    assert_eq!(verify(&records, head), Ok(()));
    // The two events of a transaction stand side by side, and what failed left nothing.
    for pair in records.chunks(2) {
        let [first, second] = pair else { panic!("an odd number of records") };
        let (first, second) = (first.event().unwrap(), second.event().unwrap());
        assert_eq!((first.kind, second.kind), (AuditKind::EnrolmentIssued, AuditKind::RotationIssued));
        assert_eq!(first.actor, second.actor);
        assert_eq!(first.actor, Actor::Device(first.device.unwrap()));
    }
    // What came back is what was hashed: any other text breaks the chain where it stands.
    let mut changed = records;
    changed[122].body = changed[122].body.replace("enrolment", "Enrolment");
    assert_eq!(verify(&changed, head), Err(Broken::At(123)));
}

pub(super) async fn the_audit_pages_both_ways_and_by_device<S: Store>(store: &Arc<S>) {
    for n in 0..30 {
        store.apply(Transaction::new(vec![event(AuditKind::HandshakeRefused, n % 3)])).await.unwrap();
    }
    let read = async |from, device, limit| numbers(&page(&**store, from, device, limit).await);
    assert_eq!(read(AuditFrom::After(10), None, 3).await, [11, 12, 13]);
    assert_eq!(read(AuditFrom::Before(10), None, 3).await, [9, 8, 7]);
    assert_eq!(read(AuditFrom::Newest, None, 2).await, [30, 29]);
    assert_eq!(read(AuditFrom::After(0), Some(1), 3).await, [2, 5, 8]);
    assert_eq!(read(AuditFrom::Newest, Some(2), 2).await, [30, 27]);
    assert_eq!(read(AuditFrom::Before(27), Some(2), 2).await, [24, 21]);
    assert_eq!(read(AuditFrom::After(30), None, 10).await, [] as [u64; 0]);
    assert_eq!(read(AuditFrom::Newest, Some(3), 10).await, [] as [u64; 0]);
    assert_eq!(read(AuditFrom::Before(u64::MAX), None, 1).await, [30]);
}

pub(super) async fn the_audit_pages_by_kind<S: Store>(store: &Arc<S>) {
    let kinds = [AuditKind::HandshakeAccepted, AuditKind::HandshakeRefused, AuditKind::DeviceClaimed];
    for n in 0..30 {
        store.apply(Transaction::new(vec![event(kinds[n as usize % 3], n % 2)])).await.unwrap();
    }
    let read = async |from, device: Option<u32>, kinds: &Kinds, limit| {
        let query = AuditQuery { from, device: device.map(id), kinds: kinds.clone(), limit };
        numbers(&store.audit_page(query).await.unwrap())
    };
    let claimed = Kinds::from(AuditKind::DeviceClaimed);
    assert_eq!(read(AuditFrom::After(0), None, &claimed, 3).await, [3, 6, 9]);
    assert_eq!(read(AuditFrom::Newest, None, &claimed, 2).await, [30, 27]);
    assert_eq!(read(AuditFrom::Before(27), None, &claimed, 2).await, [24, 21]);
    let others = Kinds::all_but(&[AuditKind::HandshakeAccepted]);
    assert_eq!(read(AuditFrom::After(4), None, &others, 4).await, [5, 6, 8, 9]);
    assert_eq!(read(AuditFrom::Newest, None, &others, 3).await, [30, 29, 27]);
    assert_eq!(read(AuditFrom::After(0), Some(1), &claimed, 2).await, [6, 12]);
    assert_eq!(read(AuditFrom::Newest, Some(1), &others, 3).await, [30, 26, 24]);
    assert_eq!(read(AuditFrom::Newest, None, &AuditKind::DeviceRetired.into(), 10).await, [] as [u64; 0]);
    assert_eq!(read(AuditFrom::Newest, Some(9), &claimed, 10).await, [] as [u64; 0]);
}
