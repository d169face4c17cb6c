//! Changes for live sessions: in the order of the commits, without gaps, and only what concerns sessions.

use std::sync::Arc;

use muster_gateway::audit::AuditKind;
use muster_gateway::store::{
    Change, ChangeSeq, Changed, NewCertificate, Operator, OperatorRole, Role, Service, Store, Transaction,
};
use muster_protocol::registrar::{DeviceRecord, Reason, Standing};

use super::fixture::{NOW, active, event, factory_ca, id, insert, name, new_certificate, new_device, put, serial};

const WRITERS: u32 = 8;
const ROUNDS: u32 = 24;

fn withdraw(n: u32) -> Change {
    Change::WithdrawCertificate { serial: serial(n), reason: Reason::Superseded, at: NOW }
}

pub(super) async fn changes_have_no_gaps_and_follow_the_commits<S: Store>(store: &Arc<S>) {
    let total = u64::from(WRITERS * ROUNDS) * 2;
    let follower = {
        let store = Arc::clone(store);
        tokio::spawn(async move {
            let mut wake = store.subscribe();
            let mut followed: Vec<Changed> = Vec::new();
            loop {
                wake.mark_unchanged();
                let seq = ChangeSeq(followed.len() as u64);
                let changes = store.changes_after(seq, 7).await.unwrap();
                for (seq, changed) in changes.rows {
                    assert_eq!(seq.0, followed.len() as u64 + 1, "a gap, or a commit that came late");
                    assert!(seq <= changes.head);
                    followed.push(changed);
                }
                match followed.len() as u64 {
                    all if all == total => return followed,
                    some if some < changes.head.0 => {}
                    _ => wake.changed().await.unwrap(),
                }
            }
        })
    };
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                let mut told = Vec::new();
                for round in 0..ROUNDS {
                    let n = writer * ROUNDS + round;
                    let device = Change::InsertDevice(new_device(n));
                    let certificate = Change::InsertCertificate(new_certificate(n, n));
                    store.apply(Transaction::new(vec![device, certificate])).await.unwrap();
                    // Two changes, and one transaction that fails after it had taken numbers.
                    let unknown = withdraw(1_000_000);
                    store.apply(Transaction::new(vec![withdraw(n), unknown])).await.unwrap_err();
                    let both = vec![put(DeviceRecord { orders: 1, ..active(n) }, 1), withdraw(n)];
                    let applied = store.apply(Transaction::new(both)).await.unwrap();
                    told.push((n, applied.change_seq.unwrap()));
                }
                told
            })
        })
        .collect();
    let mut told = Vec::new();
    for writer in writers {
        told.extend(writer.await.unwrap());
    }
    let followed = follower.await.unwrap();
    for (n, seq) in told {
        let last = usize::try_from(seq.0).unwrap() - 1;
        assert_eq!(followed[last - 1], Changed::Device(id(n)));
        assert_eq!(followed[last], Changed::Certificate { serial: serial(n), role: Role::Device, holder: id(n) });
    }
    let rest = store.changes_after(ChangeSeq(total - 1), 10).await.unwrap();
    assert_eq!((rest.rows.len(), rest.head), (1, ChangeSeq(total)));
    assert!(store.changes_after(ChangeSeq(total), 10).await.unwrap().rows.is_empty());
}

pub(super) async fn sessions_hear_of_what_concerns_them_and_of_nothing_else<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    let with = |standing| DeviceRecord { standing, ..active(1) };
    let service = Service {
        name: name("ingest"),
        publish: vec!["devices/+/commands".to_owned()],
        subscribe: vec!["devices/#".to_owned()],
        any_client_id: true,
        updated_at: NOW,
    };
    let operator = Operator { name: name("ada"), role: OperatorRole::Admin, serial: serial(2), updated_at: NOW };
    let operator_certificate = NewCertificate { role: Role::Operator, holder: name("ada"), ..new_certificate(2, 2) };
    let withdraw_ada =
        |reason| Change::WithdrawCertificates { role: Role::Operator, holder: name("ada"), reason, at: NOW };
    let device = Some(Changed::Device(id(1)));
    let ada = Changed::Certificate { serial: serial(2), role: Role::Operator, holder: name("ada") };
    for (change, heard) in [
        (Change::InsertDevice(new_device(2)), None),
        (put(with(Standing::Claimed), 1), None),
        (Change::InsertCertificate(new_certificate(1, 1)), None),
        (put(with(Standing::Active), 2), None),
        (Change::LastSeen { device: id(1), at: NOW }, None),
        (put(with(Standing::Suspended), 3), device.clone()),
        (put(with(Standing::Active), 4), device.clone()),
        (put(DeviceRecord { orders: 1, order: Some(1), ..with(Standing::Active) }, 5), device.clone()),
        (put(DeviceRecord { orders: 1, ..with(Standing::Rotating) }, 6), None),
        (put(DeviceRecord { orders: 1, ..with(Standing::Revoked) }, 7), device.clone()),
        (put(DeviceRecord { orders: 1, ..with(Standing::Retired) }, 8), device),
        (Change::PutService(service.clone()), Some(Changed::Service(name("ingest")))),
        (Change::RemoveService(name("ingest")), Some(Changed::Service(name("ingest")))),
        (Change::RemoveService(name("ingest")), None),
        (Change::InsertCertificate(operator_certificate), None),
        (Change::PutOperator(operator), Some(Changed::Operator(name("ada")))),
        (withdraw_ada(Reason::KeyCompromise), Some(ada)),
        (withdraw_ada(Reason::Unspecified), None),
        (Change::RemoveOperator(name("ada")), Some(Changed::Operator(name("ada")))),
        (Change::AddFactoryCa(factory_ca(1)), Some(Changed::FactoryCas)),
        (Change::AddFactoryCa(factory_ca(1)), None),
        (Change::RemoveFactoryCa(factory_ca(1).id), Some(Changed::FactoryCas)),
    ] {
        let before = store.changes_after(ChangeSeq(0), 1).await.unwrap().head;
        let applied = store.apply(Transaction::new(vec![change.clone()])).await.unwrap();
        let heard_now = store.changes_after(before, 10).await.unwrap();
        let what: Vec<Changed> = heard_now.rows.into_iter().map(|(_, changed)| changed).collect();
        assert_eq!(what, Vec::from_iter(heard), "{change:?}");
        assert_eq!(applied.change_seq.is_some(), !what.is_empty());
        assert_eq!(applied.change_seq.unwrap_or(before), heard_now.head);
    }
}

pub(super) async fn a_commit_wakes_whoever_waits<S: Store>(store: &Arc<S>) {
    insert(&**store, [1]).await;
    let mut wake = store.subscribe();
    wake.mark_unchanged();
    let suspended = DeviceRecord { standing: Standing::Suspended, ..active(1) };
    let applied = store.apply(Transaction::new(vec![put(suspended, 1)])).await.unwrap();
    wake.changed().await.unwrap();
    assert_eq!(Some(wake.borrow_and_update().change), applied.change_seq);
    store.apply(Transaction::new(vec![event(AuditKind::DeviceSuspended, 1)])).await.unwrap();
    wake.changed().await.unwrap();
    assert_eq!(wake.borrow_and_update().audit, store.audit_head().await.unwrap().seq);
}
