//! The SQLite store when its process is killed, its log is cut, or its file is damaged.
//!
//! A killed process tells whether the store answers before it has written; a log that is cut at any byte stands in for a
//! power cut: what the store had fsynced when it answered must suffice.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use muster_gateway::audit::{AuditKind, verify_store};
use muster_gateway::store::{
    Change, ChangeSeq, DATABASE_FILE, DeviceQuery, OpenError, Role, RowVersion, SqliteStore, Store, Transaction,
};
use muster_protocol::registrar::{DeviceRecord, Standing};
use muster_system_tests::contract::store::fixture::{active, event, id, new_certificate, new_device, put};
use tempfile::TempDir;

/// Set in the process that is to be killed: the directory it writes to.
const CHILD: &str = "MUSTER_STORE_CRASH_DIRECTORY";
const KILLS: u32 = 20;
const WORKERS: u32 = 4;
/// Numbers of one worker.
const WORKER_NUMBERS: u32 = 100_000;

/// Everything that happens to a device at once: it is there, certified, suspended, and audited, or not there at all.
fn whole(worker: u32, round: u32) -> Transaction {
    let n = worker * WORKER_NUMBERS + round;
    let suspended = DeviceRecord { standing: Standing::Suspended, ..active(n) };
    Transaction::new(vec![
        Change::InsertDevice(new_device(n)),
        event(AuditKind::EnrolmentIssued, n),
        Change::InsertCertificate(new_certificate(n, n)),
        put(suspended, 1),
        Change::SetMeta { key: format!("worker-{worker}"), value: (round + 1).to_string() },
    ])
}

async fn rounds(store: &SqliteStore, worker: u32) -> u32 {
    store.meta(&format!("worker-{worker}")).await.unwrap().map_or(0, |text| text.parse().unwrap())
}

/// Checks that only whole transactions are there, and the first ones of each worker; returns how many.
async fn only_whole_ones(store: &SqliteStore) -> u32 {
    let mut all = 0;
    for worker in 0..WORKERS {
        let rounds = rounds(store, worker).await;
        for round in 0..rounds {
            let n = worker * WORKER_NUMBERS + round;
            assert_eq!(store.device(&id(n)).await.unwrap().unwrap().version, RowVersion(2), "{n}");
            assert_eq!(store.certificates(Role::Device, &id(n)).await.unwrap().len(), 1, "{n}");
        }
        assert_eq!(store.device(&id(worker * WORKER_NUMBERS + rounds)).await.unwrap(), None);
        all += rounds;
    }
    assert_eq!(store.counts().await.unwrap().total(), u64::from(all));
    assert_eq!(store.changes_after(ChangeSeq(0), 1).await.unwrap().head, ChangeSeq(all.into()));
    let head = verify_store(store).await.unwrap().unwrap();
    assert_eq!(head.seq, u64::from(all));
    all
}

/// Not a check of its own: the body of the process that [`nothing_answered_is_lost_when_the_process_is_killed`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let store = SqliteStore::open(Path::new(&directory)).unwrap();
    let workers: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let store = store.clone();
            tokio::spawn(async move {
                for round in rounds(&store, worker).await.. {
                    store.apply(whole(worker, round)).await.unwrap();
                    let line = format!("done {worker} {round}\n");
                    std::io::stdout().write_all(line.as_bytes()).unwrap();
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test]
async fn nothing_answered_is_lost_when_the_process_is_killed() {
    let directory = TempDir::new().unwrap();
    let mut seed = 0x6d75_7374_u32;
    let mut before = 0;
    for kill in 0..KILLS {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let lines = 1 + (seed >> 16) % 300;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store_crash::writes_until_it_is_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut answered = [0_u32; WORKERS as usize];
        let mut count = 0;
        let mut note = |line: &str| {
            let Some(rest) = line.strip_prefix("done ") else { return false };
            let (worker, round) = rest.split_once(' ').unwrap();
            let (worker, round): (usize, u32) = (worker.parse().unwrap(), round.parse().unwrap());
            answered[worker] = answered[worker].max(round + 1);
            true
        };
        for line in output.by_ref() {
            count += u32::from(note(&line));
            if count == lines {
                break;
            }
        }
        assert_eq!(count, lines, "the process ended by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        // What it had answered, but we had not read yet. The last line may be cut.
        output.filter(|line| line.split(' ').count() == 3).for_each(|line| {
            note(&line);
        });

        let store = SqliteStore::open(directory.path()).unwrap();
        for (worker, answered) in (0..).zip(answered) {
            assert!(rounds(&store, worker).await >= answered, "kill {kill}: worker {worker} lost an answered write");
        }
        let all = only_whole_ones(&store).await;
        assert!(all >= before + lines, "kill {kill}");
        before = all;
        store.close().await;
    }
}

#[tokio::test]
async fn a_log_cut_at_any_byte_leaves_whole_transactions_and_all_that_were_answered() {
    const TRANSACTIONS: u32 = 24;
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let log = directory.path().join(format!("{DATABASE_FILE}-wal"));
    let database = fs::read(directory.path().join(DATABASE_FILE)).unwrap();
    let mut answered_at = Vec::new();
    for round in 0..TRANSACTIONS {
        store.apply(whole(0, round)).await.unwrap();
        answered_at.push(fs::metadata(&log).unwrap().len());
    }
    let log = fs::read(log).unwrap();
    assert_eq!(fs::read(directory.path().join(DATABASE_FILE)).unwrap(), database, "the log was copied meanwhile");
    // Where each answer was given, the bytes around it, and a sweep over all of the log.
    let around = answered_at.iter().flat_map(|at| [at - 1, *at, at + 1]);
    let sweep = (0..log.len() as u64).step_by(7919);
    for cut in around.chain(sweep).filter(|cut| *cut <= log.len() as u64) {
        let after = TempDir::new().unwrap();
        fs::write(after.path().join(DATABASE_FILE), &database).unwrap();
        let rest = &log[..usize::try_from(cut).unwrap()];
        fs::write(after.path().join(format!("{DATABASE_FILE}-wal")), rest).unwrap();
        let answered = answered_at.iter().filter(|at| **at <= cut).count();
        match SqliteStore::open(after.path()) {
            Ok(store) => {
                let there = only_whole_ones(&store).await;
                assert!(there as usize >= answered, "cut at {cut}: {there} of {answered} answered ones");
                store.close().await;
            }
            Err(error) => panic!("cut at {cut}: {error}"),
        }
    }
}

#[tokio::test]
async fn two_processes_never_share_a_directory() {
    let directory = TempDir::new().unwrap();
    let first = SqliteStore::open(directory.path()).unwrap();
    let Err(OpenError::Locked { pid, .. }) = SqliteStore::open(directory.path()) else { panic!("opened twice") };
    assert_eq!(pid, Some(std::process::id()));
    let other_handle = first.clone();
    first.close().await;
    other_handle.apply(Transaction::new(Vec::new())).await.unwrap_err();
    other_handle.counts().await.unwrap_err();
    drop(SqliteStore::open(directory.path()).unwrap());
    drop(SqliteStore::open(directory.path()).unwrap());
}

#[tokio::test]
async fn a_damaged_file_is_named_as_such() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    for round in 0..200 {
        store.apply(whole(0, round)).await.unwrap();
    }
    store.close().await;
    let path = directory.path().join(DATABASE_FILE);
    let good = fs::read(&path).unwrap();
    let refusals = |bytes: &[u8]| {
        fs::write(&path, bytes).unwrap();
        SqliteStore::open(directory.path()).map(|_| ())
    };
    // Pages overwritten, the end cut off, the beginning overwritten, something else altogether.
    let mut overwritten = good.clone();
    let middle = good.len() / 2 / 4096 * 4096;
    overwritten[middle..middle + 4096 * 4].fill(0xAA);
    let cut = &good[..good.len() / 2 / 4096 * 4096];
    for damaged in [&overwritten, cut] {
        let error = refusals(damaged).unwrap_err();
        assert!(matches!(error, OpenError::Damaged(_)), "{error}");
        assert!(error.to_string().contains("backup"), "{error}");
    }
    let mut headless = good.clone();
    headless[..100].fill(0x55);
    for stranger in [&headless[..], b"PK\x03\x04 something else, long enough to be looked at by anybody who opens it"] {
        let error = refusals(stranger).unwrap_err();
        assert!(matches!(error, OpenError::NotOurs), "{error}");
    }
    refusals(&good).unwrap();
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("nowhere");
    let error = SqliteStore::open(&missing).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("nowhere"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files_and_no_key_is_in_them() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    store.apply(whole(0, 0)).await.unwrap();
    assert_eq!(store.page(DeviceQuery::first(10)).await.unwrap().rows.len(), 1);
    let mut files = 0;
    for entry in fs::read_dir(directory.path()).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{:?}", entry.path());
        let bytes = fs::read(entry.path()).unwrap();
        assert!(!bytes.windows(11).any(|window| window == b"PRIVATE KEY"), "{:?}", entry.path());
        files += 1;
    }
    assert_eq!(files, 4, "database, log, index of the log, lock");
}
