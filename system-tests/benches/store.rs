//! Durable transactions of the embedded store, by how many callers wait at the same time: the group commit makes one sync
//! of what waits. A transaction here is what an enrolment's is like: a row, an audit record, a change for the followers.
#![allow(missing_docs, clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use muster_gateway::audit::AuditKind;
use muster_gateway::store::{Change, SqliteStore, Store, Transaction};
use muster_system_tests::contract::store::fixture::{event, new_device};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// So many transactions by so many callers, each of which waits for its own before the next.
async fn run(store: &Arc<SqliteStore>, next: &Arc<AtomicU32>, callers: u32, transactions: u64) -> Duration {
    let each = transactions.div_ceil(u64::from(callers));
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (store, next) = (Arc::clone(store), Arc::clone(next));
        tasks.spawn(async move {
            for _ in 0..each {
                let n = next.fetch_add(1, Ordering::Relaxed);
                let changes = vec![Change::InsertDevice(new_device(n)), event(AuditKind::EnrolmentIssued, n)];
                store.apply(Transaction::new(changes)).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    begun.elapsed().mul_f64(transactions as f64 / (each * u64::from(callers)) as f64)
}

fn group_commit(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("store");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for callers in [1, 16, 256] {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path()).unwrap());
        let next = Arc::new(AtomicU32::new(0));
        group.bench_with_input(
            BenchmarkId::new("durable transaction, callers", callers),
            &callers,
            |bench, callers| {
                bench.iter_custom(|transactions| runtime.block_on(run(&store, &next, *callers, transactions)));
            },
        );
    }
    group.finish();
}

criterion_group!(benches, group_commit);
criterion_main!(benches);
