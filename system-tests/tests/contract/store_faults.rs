//! A caller that follows the rules of `StoreError` loses nothing and does nothing twice, whatever a store does to it.

use std::time::Duration;

use muster_gateway::audit::{AuditKind, verify_store};
use muster_gateway::store::{
    Applied, Change, ChangeSeq, Faults, FaultyStore, RowVersion, Signals, SqliteStore, Store, StoreError, Transaction,
};
use muster_protocol::registrar::DeviceRecord;
use muster_system_tests::contract::store::fixture::{event, id, new_device, put};
use tempfile::TempDir;

const FAULTS: Faults = Faults {
    unavailable_per_mille: 200,
    unknown_per_mille: 300,
    conflict_per_mille: 100,
    delay_max: Duration::ZERO,
    signals: Signals::Lost,
};

/// Sends a transaction until its outcome is known.
async fn settle(store: &impl Store, transaction: Transaction) -> Result<Applied, StoreError> {
    loop {
        match store.apply(transaction.clone()).await {
            Err(StoreError::Unknown | StoreError::Unavailable(_)) => {}
            answer => return answer,
        }
    }
}

async fn read<T>(call: impl AsyncFn() -> Result<T, StoreError>) -> T {
    loop {
        match call().await {
            Ok(value) => return value,
            Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
        }
    }
}

#[tokio::test]
async fn every_increment_happens_once_under_faults() {
    for seed in 0..20 {
        let directory = TempDir::new().unwrap();
        let store = FaultyStore::new(SqliteStore::open(directory.path()).unwrap(), seed, FAULTS);
        settle(&store, Transaction::new(vec![Change::InsertDevice(new_device(1))])).await.unwrap();
        let mut conflicts = 0_u32;
        let mut done = 0_u32;
        while done < 20 {
            let device = read(async || store.device(&id(1)).await).await.unwrap();
            assert_eq!(device.record.orders, done);
            let record = DeviceRecord { orders: done + 1, ..device.record };
            let once = vec![put(record, device.version.0), event(AuditKind::RotationOrdered, 1)];
            match settle(&store, Transaction::new(once)).await {
                Ok(_) => done += 1,
                Err(error) => {
                    assert_eq!(error, StoreError::Conflict);
                    conflicts += 1;
                }
            }
        }
        let device = store.inner().device(&id(1)).await.unwrap().unwrap();
        assert_eq!((device.record.orders, device.version), (20, RowVersion(21)), "seed {seed}, {conflicts} conflicts");
        assert_eq!(verify_store(store.inner()).await.unwrap().unwrap().seq, 20, "seed {seed}");
        assert_eq!(store.inner().changes_after(ChangeSeq(0), 1).await.unwrap().head, ChangeSeq(20));
    }
}

#[tokio::test]
async fn the_same_seed_fails_the_same_way() {
    let history = async |seed| {
        let directory = TempDir::new().unwrap();
        let store = FaultyStore::new(SqliteStore::open(directory.path()).unwrap(), seed, FAULTS);
        let mut history = Vec::new();
        for n in 0..60 {
            let answer = store.apply(Transaction::new(vec![Change::InsertDevice(new_device(n))])).await;
            history.push(answer.map_err(|error| error.to_string()));
        }
        (history, store.inner().counts().await.unwrap().total())
    };
    let (first, again, other) = (history(7).await, history(7).await, history(8).await);
    assert_eq!(first, again);
    assert_ne!(first, other);
    assert!(first.0.iter().any(Result::is_ok) && first.0.iter().any(Result::is_err));
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_slow_and_lost_signals_never_come() {
    let directory = TempDir::new().unwrap();
    let faults = Faults { delay_max: Duration::from_secs(10), signals: Signals::Lost, ..Faults::NONE };
    let store = FaultyStore::new(SqliteStore::open(directory.path()).unwrap(), 3, faults);
    let wake = store.subscribe();
    let start = tokio::time::Instant::now();
    for n in 0..5 {
        store.apply(Transaction::new(vec![event(AuditKind::GatewayStarted, n)])).await.unwrap();
    }
    assert!(start.elapsed() > Duration::from_secs(1));
    assert!(!wake.has_changed().unwrap());
    assert_eq!(store.audit_head().await.unwrap().seq, 5);
}
