//! How many durable rows a second the SQLite store writes, and what a read costs. Run it on the disk that is meant:
//! `cargo run --release -p muster-gateway --example store_rate -- DIRECTORY`
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_gateway::audit::{Actor, AuditEvent, AuditKind};
use muster_gateway::store::{
    Change, DocumentId, ManifestRow, NewCertificate, NewDevice, Outcome, Role, RowVersion, Shipment, SqliteStore,
    Store, Transaction,
};
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{DeviceRecord, Standing};
use muster_protocol::{DeviceId, UnixTime};
use sha2::{Digest, Sha256};

const NOW: UnixTime = UnixTime(1_800_000_000);
const DEVICES: u32 = 60_000;
const CALLERS: u32 = 1000;

#[tokio::main]
async fn main() {
    let parent = std::env::args_os().nth(1).unwrap_or_else(|| std::env::temp_dir().into_os_string());
    let directory = tempfile::TempDir::new_in(parent).unwrap();
    let store = SqliteStore::open(directory.path()).unwrap();

    let meter = Meter::start();
    for chunk in (0..DEVICES).collect::<Vec<_>>().chunks(1000) {
        let changes = chunk.iter().map(|n| Change::InsertDevice(new_device(*n))).collect();
        store.apply(Transaction::new(changes)).await.unwrap();
    }
    meter.report("import, 1 caller, 1,000 devices a transaction", DEVICES / 1000, 1000);

    import(&store, 100_000).await;
    import(&store, 1_000_000).await;

    let enrolments = DEVICES / 2;
    let meter = Meter::start();
    concurrently(&store, enrolments, |n| {
        vec![
            Change::PutDevice { record: active(n), expect: RowVersion(1), at: NOW },
            Change::InsertCertificate(new_certificate(n)),
            event(AuditKind::EnrolmentIssued, n),
        ]
    })
    .await;
    meter.report("enrolment (record, certificate, audit), 1,000 callers", enrolments, 3);

    let meter = Meter::start();
    concurrently(&store, DEVICES, |n| vec![event(AuditKind::HandshakeRefused, n)]).await;
    meter.report("audit record, 1,000 callers", DEVICES, 1);

    let alone = 500;
    let meter = Meter::start();
    for n in 0..alone {
        store.apply(Transaction::new(vec![event(AuditKind::HandshakeRefused, n)])).await.unwrap();
    }
    meter.report("audit record, 1 caller", alone, 1);

    let meter = Meter::start();
    for n in 0..DEVICES {
        assert!(store.device(&id(n)).await.unwrap().is_some());
    }
    meter.report("read of a device, 1 caller", DEVICES, 1);

    let start = Instant::now();
    store.close().await;
    let closed = start.elapsed();
    let start = Instant::now();
    drop(SqliteStore::open(directory.path()).unwrap());
    let line = format!("close {} ms, open with check {} ms\n", closed.as_millis(), start.elapsed().as_millis());
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// One manifest, one transaction; and how long others wait for theirs meanwhile.
async fn import(store: &SqliteStore, devices: u32) {
    let named = |n: u32| {
        (DeviceId::new(&format!("m{devices}-{n:07}")).unwrap(), fingerprint(&format!("manifest {devices}"), n))
    };
    let row = ManifestRow {
        id: DocumentId::of(&devices.to_be_bytes()),
        product: "thermostat".to_owned(),
        lot: "2026-B".to_owned(),
        devices,
        made_at: NOW,
        imported_at: NOW,
        signer: fingerprint("signer", devices),
    };
    let shipment = Arc::new(Shipment { row, devices: (0..devices).map(named).collect() });
    let meter = Meter::start();
    let importing = tokio::spawn({
        let store = store.clone();
        async move { store.apply(Transaction::new(vec![Change::Import(shipment)])).await.unwrap() }
    });
    let (mut waits, mut longest) = (0_u32, Duration::ZERO);
    while !importing.is_finished() {
        let start = Instant::now();
        store.apply(Transaction::new(vec![event(AuditKind::HandshakeRefused, waits)])).await.unwrap();
        longest = longest.max(start.elapsed());
        waits += 1;
    }
    assert_eq!(importing.await.unwrap().outcomes, [Outcome::Added(devices)]);
    meter.report(&format!("manifest of {devices} devices, 1 transaction"), 1, devices);
    let (took, longest) = (meter.start.elapsed().as_millis(), longest.as_millis());
    let line = format!("    {took} ms; meanwhile {waits} transactions of another caller, the longest {longest} ms\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Applies transactions `0..count` from many callers at once.
async fn concurrently(store: &SqliteStore, count: u32, changes: fn(u32) -> Vec<Change>) {
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in (caller..count).step_by(CALLERS as usize) {
                    store.apply(Transaction::new(changes(n))).await.unwrap();
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}

/// Time that passed, and processor time of the whole process, this program's callers included.
struct Meter {
    start: Instant,
    processor: Duration,
}

impl Meter {
    fn start() -> Self {
        Self { start: Instant::now(), processor: processor_time() }
    }

    fn report(&self, what: &str, transactions: u32, rows: u32) {
        let rows = f64::from(transactions) * f64::from(rows);
        let (time, processor) = (self.start.elapsed(), processor_time() - self.processor);
        let line = format!(
            "{what}: {:.0} transactions/s, {:.0} rows/s, {:.1} us of processor time a row\n",
            f64::from(transactions) / time.as_secs_f64(),
            rows / time.as_secs_f64(),
            processor.as_secs_f64() * 1e6 / rows,
        );
        std::io::stdout().write_all(line.as_bytes()).unwrap();
    }
}

/// User and system time in ticks of 10 ms (proc_pid_stat(5), fields 14 and 15).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: u64 = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 10)
}

fn id(n: u32) -> DeviceId {
    DeviceId::new(&format!("dev-{n:06}")).unwrap()
}

fn fingerprint(what: &str, n: u32) -> KeyFingerprint {
    KeyFingerprint(Sha256::digest(format!("{what} {n}")).into())
}

fn new_device(n: u32) -> NewDevice {
    let (product, lot) = ("thermostat".to_owned(), "2026-A".to_owned());
    NewDevice { device: id(n), idevid: fingerprint("idevid", n), product, lot, manifest: None, at: NOW }
}

fn active(n: u32) -> DeviceRecord {
    DeviceRecord { standing: Standing::Active, ..DeviceRecord::expected(id(n), fingerprint("idevid", n)) }
}

fn new_certificate(n: u32) -> NewCertificate {
    let random: [u8; 32] = Sha256::digest(n.to_be_bytes()).into();
    let mut octets = [0; 16];
    octets.copy_from_slice(&random[..16]);
    let mut der = vec![0x30, 0x82, 0x01, 0xd6, 0x30];
    der.resize(474, 0x42);
    NewCertificate {
        serial: Serial::from_random(octets),
        key: fingerprint("key", n),
        role: Role::Device,
        holder: id(n),
        der,
        not_before: NOW,
        not_after: NOW.plus_secs(604_800),
        issued_at: NOW,
    }
}

fn event(kind: AuditKind, n: u32) -> Change {
    Change::Audit(Box::new(AuditEvent::new(NOW, kind, Actor::Gateway).device(&id(n))))
}
