//! What only this implementation can show: a full disk, a commit that fails, a file that somebody changed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::{DeviceId, UnixTime};
use rusqlite::Connection;
use tempfile::TempDir;

use super::open::{self, OpenError};
use super::writer::Writer;
use super::{DATABASE_FILE, SqliteStore};
use crate::audit::{Actor, AuditEvent, AuditKind, Broken, verify_store};
use crate::store::{Change, NewDevice, Outage, Store, StoreError, Transaction};

fn event() -> Change {
    Change::Audit(Box::new(AuditEvent::new(UnixTime(1), AuditKind::GatewayStarted, Actor::Gateway)))
}

fn meta(key: u32, length: usize) -> Change {
    Change::SetMeta { key: key.to_string(), value: "x".repeat(length) }
}

fn writer(directory: &Path) -> Writer {
    let opened = open::open(directory).unwrap();
    Writer::new(opened.writer, opened.lock).unwrap().0
}

fn run(writer: &Writer, sql: &str) {
    writer.connection().execute_batch(sql).unwrap();
}

#[test]
fn a_full_disk_is_an_outage_that_passes() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(directory.path());
    let pages: i64 = writer.connection().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    run(&writer, &format!("PRAGMA max_page_count = {}", pages + 4));
    let big = Transaction::new((0..20).map(|key| meta(key, 4000)).chain([event()]).collect());
    let small = Transaction::new(vec![meta(1, 1)]);
    let results = writer.write(&[small.clone(), big.clone()]);
    let full = Err(StoreError::Unavailable(Outage::DiskFull));
    assert_eq!(results[1], full);
    let small_result = results[0].clone();
    assert!(small_result.is_ok() || small_result == full);
    run(&writer, "PRAGMA max_page_count = 100000");
    assert!(writer.write(&[big, small]).iter().all(Result::is_ok));
    let records: i64 = writer.connection().query_row("SELECT count(*) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(records, 1);
}

#[test]
fn a_commit_that_fails_leaves_the_outcome_open_and_repeating_settles_it() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(directory.path());
    // A foreign key that is looked at when the group is committed, and not before.
    run(
        &writer,
        "CREATE TABLE parent (id INTEGER PRIMARY KEY);
        CREATE TABLE child (parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED);
        CREATE TRIGGER trap AFTER INSERT ON audit BEGIN INSERT INTO child VALUES (1); END;",
    );
    let group = [Transaction::new(vec![meta(1, 1)]), Transaction::new(vec![event()])];
    assert_eq!(writer.write(&group), [Err(StoreError::Unknown), Err(StoreError::Unknown)]);
    let settings: i64 = writer.connection().query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(settings, 0);
    run(&writer, "DROP TRIGGER trap");
    for _ in 0..2 {
        assert!(writer.write(&group).iter().all(Result::is_ok));
    }
    let seq: i64 = writer.connection().query_row("SELECT max(seq) FROM audit", [], |row| row.get(0)).unwrap();
    assert_eq!(seq, 1);
}

/// A store with ten audit records and a device, closed; `sql` is done to the file by somebody else.
async fn changed_by_hand(sql: &str) -> (TempDir, Result<SqliteStore, OpenError>) {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let device = NewDevice {
        device: DeviceId::new("dev-1").unwrap(),
        idevid: KeyFingerprint([1; 32]),
        product: String::new(),
        lot: String::new(),
        manifest: None,
        at: UnixTime(1),
    };
    store.apply(Transaction::new(vec![Change::InsertDevice(device)])).await.unwrap();
    for _ in 0..10 {
        store.apply(Transaction::new(vec![event()])).await.unwrap();
    }
    store.close().await;
    Connection::open(directory.path().join(DATABASE_FILE)).unwrap().execute_batch(sql).unwrap();
    let store = SqliteStore::open(directory.path());
    (directory, store)
}

#[tokio::test]
async fn an_audit_that_was_tampered_with_is_found_out() {
    for (sql, broken) in [
        ("UPDATE audit SET body = replace(body, 'started', 'stopped') WHERE seq = 4", Broken::At(4)),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 4", Broken::At(4)),
        ("DELETE FROM audit WHERE seq = 1", Broken::At(1)),
        ("DELETE FROM audit WHERE seq = 7", Broken::At(7)),
        ("DELETE FROM audit WHERE seq >= 9", Broken::End { found: 8, expected: 10 }),
        ("DELETE FROM audit", Broken::End { found: 0, expected: 10 }),
        ("DELETE FROM audit WHERE seq = 5; UPDATE audit SET seq = seq - 1 WHERE seq > 5", Broken::At(5)),
        ("UPDATE audit SET seq = -1 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4", Broken::At(3)),
        (
            "INSERT INTO audit (seq, body, hash) VALUES (11, '{}', zeroblob(32)); UPDATE heads SET audit_seq = 11",
            Broken::At(11),
        ),
    ] {
        let (_directory, store) = changed_by_hand(sql).await;
        let store = store.unwrap();
        assert_eq!(verify_store(&store).await.unwrap().map_err(Broken::seq), Err(broken.seq()), "{sql}");
        assert_eq!(verify_store(&store).await.unwrap(), Err(broken), "{sql}");
    }
    // A gateway goes on writing behind the break, and the break stays where it is.
    let (_directory, store) = changed_by_hand("DELETE FROM audit WHERE seq >= 9").await;
    let store = store.unwrap();
    store.apply(Transaction::new(vec![event()])).await.unwrap();
    assert_eq!(verify_store(&store).await.unwrap(), Err(Broken::At(9)));
}

#[tokio::test]
async fn a_database_of_another_version_or_program_is_named_as_such() {
    let (_directory, newer) = changed_by_hand("PRAGMA user_version = 99").await;
    let error = newer.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Newer { found: 99, known: 1 }), "{error}");
    assert!(error.to_string().contains("newer gateway"), "{error}");
    let (_directory, other) = changed_by_hand("PRAGMA application_id = 7").await;
    assert!(matches!(other.map(|_| ()).unwrap_err(), OpenError::NotOurs));
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_reported_and_not_guessed_at() {
    for sql in [
        "UPDATE devices SET record = '{}'",
        "UPDATE devices SET record = replace(record, '\"v\":1', '\"v\":2')",
        "UPDATE devices SET created_at = -1",
    ] {
        let (_directory, store) = changed_by_hand(sql).await;
        let error = store.unwrap().device(&DeviceId::new("dev-1").unwrap()).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(Outage::Row(_))), "{sql}: {error}");
    }
}
