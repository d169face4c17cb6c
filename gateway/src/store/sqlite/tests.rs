//! What only this implementation can show: a full disk, a commit that fails, a file that somebody changed.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;

use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::Standing;
use muster_protocol::{DeviceId, UnixTime};
use rusqlite::Connection;
use tempfile::TempDir;

use super::open::{self, OpenError};
use super::schema::MIGRATIONS;
use super::writer::Writer;
use super::{DATABASE_FILE, SqliteStore};
use crate::audit::{Actor, AuditEvent, AuditKind, Broken, verify_store};
use crate::store::{
    Change, DeviceQuery, DocumentId, ManifestRow, NewCertificate, NewDevice, Outage, Outcome, Refusal, Role, Shipment,
    Store, StoreError, Transaction,
};

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
    let results = writer.write(&[small.clone(), big.clone()], None);
    let full = Err(StoreError::Unavailable(Outage::DiskFull));
    assert_eq!(results[1], full);
    let small_result = results[0].clone();
    assert!(small_result.is_ok() || small_result == full);
    run(&writer, "PRAGMA max_page_count = 100000");
    assert!(writer.write(&[big, small], None).iter().all(Result::is_ok));
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
    assert_eq!(writer.write(&group, None), [Err(StoreError::Unknown), Err(StoreError::Unknown)]);
    let settings: i64 = writer.connection().query_row("SELECT count(*) FROM meta", [], |row| row.get(0)).unwrap();
    assert_eq!(settings, 0);
    run(&writer, "DROP TRIGGER trap");
    for _ in 0..2 {
        assert!(writer.write(&group, None).iter().all(Result::is_ok));
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
    assert!(matches!(error, OpenError::Newer { found: 99, known: 2 }), "{error}");
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

/// A manifest of so many devices.
fn shipment(number: u8, devices: u32) -> Arc<Shipment> {
    let named =
        |n: u32| (DeviceId::new(&format!("dev-{n:06}")).unwrap(), KeyFingerprint(DocumentId::of(&n.to_be_bytes()).0));
    let row = ManifestRow {
        id: DocumentId([number; 32]),
        product: "Pump".to_owned(),
        lot: "L1".to_owned(),
        devices,
        made_at: UnixTime(1),
        imported_at: UnixTime(2),
        signer: KeyFingerprint([9; 32]),
    };
    Arc::new(Shipment { row, devices: (0..devices).map(named).collect() })
}

fn import(shipment: &Arc<Shipment>) -> Transaction {
    Transaction::new(vec![Change::Import(Arc::clone(shipment)), event()])
}

/// What an import left that was cut off: for whoever asks the store, nothing.
async fn nothing_is_there(store: &SqliteStore) {
    assert_eq!(store.counts().await.unwrap().total(), 0);
    assert_eq!(store.page(DeviceQuery::first(10)).await.unwrap().rows, []);
    assert_eq!(store.manifests().await.unwrap(), []);
    assert_eq!(store.manifest(DocumentId([1; 32])).await.unwrap(), None);
    assert_eq!(store.device(&DeviceId::new("dev-000000").unwrap()).await.unwrap(), None);
    assert_eq!(store.device_by_idevid(&shipment(1, 1).devices[0].1).await.unwrap(), None);
    assert_eq!(store.audit_head().await.unwrap().seq, 0);
}

/// Waits until what an import left was cleared away, and gives how many devices the file holds.
async fn devices_in_the_file(directory: &Path) -> i64 {
    let reader = Connection::open(directory.join(DATABASE_FILE)).unwrap();
    let number = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    while number("SELECT count(*) FROM imports") > 0 {
        tokio::task::yield_now().await;
    }
    number("SELECT count(*) FROM devices")
}

#[tokio::test]
async fn an_import_that_is_cut_off_anywhere_leaves_nothing_and_repeated_gives_all() {
    let shipment = shipment(1, 2500);
    // Three slices, and the commit by which they come in.
    for steps in 0..=3 {
        let directory = TempDir::new().unwrap();
        let mut writer = writer(directory.path());
        let (answer, mut answered) = tokio::sync::oneshot::channel();
        writer.line_up(import(&shipment), answer);
        (0..steps).for_each(|_| writer.import_a_little());
        assert!(answered.try_recv().is_err(), "answered after {steps} steps");
        let staged: i64 = writer.connection().query_row("SELECT count(*) FROM devices", [], |row| row.get(0)).unwrap();
        assert_eq!(staged, [0, 1000, 2000, 2500][steps]);
        drop(writer);

        let store = SqliteStore::open(directory.path()).unwrap();
        nothing_is_there(&store).await;
        assert_eq!(devices_in_the_file(directory.path()).await, 0, "after {steps} steps");
        let applied = store.apply(import(&shipment)).await.unwrap();
        assert_eq!(applied.outcomes, [Outcome::Added(2500), Outcome::Done]);
        assert_eq!(store.counts().await.unwrap().of(Standing::Expected), 2500);
        assert_eq!(store.manifests().await.unwrap(), std::slice::from_ref(&shipment.row));
        assert_eq!(store.audit_head().await.unwrap().seq, 1);
        assert_eq!(devices_in_the_file(directory.path()).await, 2500);
        let again = store.apply(import(&shipment)).await.unwrap();
        assert_eq!(again.outcomes[0], Outcome::AlreadyThere);
        // What came in is not cleared away at the next start either.
        store.close().await;
        let store = SqliteStore::open(directory.path()).unwrap();
        assert_eq!(store.counts().await.unwrap().total(), 2500);
    }
}

#[tokio::test]
async fn a_store_that_is_closed_during_an_import_has_nothing_of_it() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let importing = tokio::spawn({
        let store = store.clone();
        async move { store.apply(import(&shipment(1, 50_000))).await }
    });
    let reader = Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    while reader.query_row("SELECT count(*) FROM imports", [], |row| row.get::<_, i64>(0)).unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    store.close().await;
    assert_eq!(importing.await.unwrap(), Err(StoreError::Unavailable(Outage::Closed)));
    nothing_is_there(&SqliteStore::open(directory.path()).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn others_go_on_during_an_import_and_see_all_of_it_or_nothing() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let shipment = shipment(1, 20_000);
    let importing = tokio::spawn({
        let (store, shipment) = (store.clone(), Arc::clone(&shipment));
        async move { store.apply(import(&shipment)).await.unwrap() }
    });
    let (mut meanwhile, mut seen) = (0, Vec::new());
    while !importing.is_finished() {
        store.apply(Transaction::new(vec![meta(1, 1)])).await.unwrap();
        meanwhile += 1;
        seen.push(store.counts().await.unwrap().total());
    }
    assert_eq!(importing.await.unwrap().outcomes[0], Outcome::Added(20_000));
    assert!(meanwhile > 5, "only {meanwhile} transactions were applied during the import");
    assert!(seen.iter().all(|count| [0, 20_000].contains(count)), "{seen:?}");
    assert!(seen.is_sorted());
    let last = store.device(&shipment.devices[19_999].0).await.unwrap().unwrap();
    assert_eq!((last.manifest, last.created_at), (Some(shipment.row.id), UnixTime(2)));
}

#[tokio::test]
async fn a_manifest_that_is_refused_at_its_end_has_changed_nothing() {
    let directory = TempDir::new().unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();
    let whole = shipment(1, 3000);
    let (last, key) = whole.devices[2999].clone();
    let new = |device: &DeviceId, idevid| NewDevice {
        device: device.clone(),
        idevid,
        product: String::new(),
        lot: String::new(),
        manifest: None,
        at: UnixTime(1),
    };
    // The last device is registered with another key.
    store.apply(Transaction::new(vec![Change::InsertDevice(new(&last, KeyFingerprint([7; 32])))])).await.unwrap();
    let refused = store.apply(import(&whole)).await;
    assert_eq!(refused, Err(StoreError::Refused(Refusal::DeviceConflict(last.clone()))));
    assert_eq!(store.counts().await.unwrap().total(), 1);
    assert_eq!(store.manifests().await.unwrap(), []);
    assert_eq!(devices_in_the_file(directory.path()).await, 1);
    // Without it the others come in, and it stays as it is.
    let others = Arc::new(Shipment { devices: whole.devices[..2999].to_vec(), ..Shipment::clone(&whole) });
    assert_eq!(store.apply(import(&others)).await.unwrap().outcomes[0], Outcome::Added(2999));
    assert_eq!(store.device(&last).await.unwrap().unwrap().record.idevid, KeyFingerprint([7; 32]));
    assert_eq!(store.device_by_idevid(&key).await.unwrap(), None);
    // A later manifest counts what is new.
    let later = Arc::new(Shipment {
        row: ManifestRow { id: DocumentId([2; 32]), ..whole.row.clone() },
        devices: (0..3000)
            .filter(|n| *n != 2999)
            .chain([5000])
            .map(|n| shipment(1, n + 1).devices[n as usize].clone())
            .collect(),
    });
    assert_eq!(store.apply(import(&later)).await.unwrap().outcomes[0], Outcome::Added(1));
    let two = Transaction::new(vec![Change::Import(Arc::clone(&later)), Change::Import(later)]);
    assert!(matches!(store.apply(two).await, Err(StoreError::Refused(Refusal::Malformed(_)))));
}

#[tokio::test]
async fn what_is_staged_counts_for_nobody_and_is_taken() {
    let directory = TempDir::new().unwrap();
    let mut writer = writer(directory.path());
    let shipment = shipment(1, 1500);
    let (answer, mut answered) = tokio::sync::oneshot::channel();
    writer.line_up(import(&shipment), answer);
    writer.import_a_little();
    let (device, key) = shipment.devices[0].clone();
    let new = NewDevice {
        device: device.clone(),
        idevid: key,
        product: String::new(),
        lot: String::new(),
        manifest: None,
        at: UnixTime(1),
    };
    let certificate = |key| NewCertificate {
        serial: Serial::new(&[1]).unwrap(),
        key,
        role: Role::Device,
        holder: device.clone(),
        der: vec![0x30, 0x02, 0x30, 0x00],
        not_before: UnixTime(1),
        not_after: UnixTime(2),
        issued_at: UnixTime(1),
    };
    let mut one = |change| writer.write(&[Transaction::new(vec![change])], None).remove(0);
    assert_eq!(one(Change::InsertDevice(new)), Err(StoreError::Conflict));
    let no_device = Err(StoreError::Refused(Refusal::NoDevice(device.clone())));
    assert_eq!(one(Change::InsertCertificate(certificate(KeyFingerprint([3; 32])))), no_device);
    let key_taken = Err(StoreError::Refused(Refusal::KeyTaken));
    assert_eq!(one(Change::InsertCertificate(NewCertificate { role: Role::Service, ..certificate(key) })), key_taken);
    (0..2).for_each(|_| writer.import_a_little());
    assert!(answered.try_recv().unwrap().is_ok());
    let mut one = |change| writer.write(&[Transaction::new(vec![change])], None).remove(0);
    assert!(one(Change::InsertCertificate(certificate(KeyFingerprint([3; 32])))).is_ok());
}

#[tokio::test]
async fn a_database_of_version_1_keeps_its_devices_and_what_was_imported_in_part_is_finished() {
    let directory = TempDir::new().unwrap();
    let hex = |byte: u8| format!("{byte:02x}").repeat(20);
    let old = Connection::open(directory.path().join(DATABASE_FILE)).unwrap();
    old.execute_batch(MIGRATIONS[0]).unwrap();
    old.execute_batch(&format!(
        "PRAGMA application_id = {}; PRAGMA user_version = 1;
        INSERT INTO manifests (id, product, lot, devices, made_at, imported_at, signer) VALUES
            (unhex('{one}'), 'Pump', 'L1', 1, 1, 2, zeroblob(32)), (unhex('{two}'), 'Pump', 'L2', 1500, 1, 2, zeroblob(32));
        INSERT INTO meta VALUES ('manifest.{short}', 'complete'), ('bundle', '3');",
        super::schema::APPLICATION_ID,
        one = "01".repeat(32),
        two = "02".repeat(32),
        short = hex(1),
    ))
    .unwrap();
    drop(old);
    let store = SqliteStore::open(directory.path()).unwrap();
    let listed: Vec<_> = store.manifests().await.unwrap().into_iter().map(|row| row.id).collect();
    assert_eq!(listed, [DocumentId([1; 32])]);
    assert_eq!(store.meta("bundle").await.unwrap().as_deref(), Some("3"));
    assert_eq!(store.meta(&format!("manifest.{}", hex(1))).await.unwrap(), None);
    assert_eq!(store.apply(import(&shipment(1, 1500))).await.unwrap().outcomes[0], Outcome::AlreadyThere);
    assert_eq!(store.apply(import(&shipment(2, 1500))).await.unwrap().outcomes[0], Outcome::Added(1500));
    assert_eq!(store.manifests().await.unwrap().len(), 2);
}
