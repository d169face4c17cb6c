//! The tables, and how a database file is opened, recognised, checked and brought to the newest version.
//!
//! `application_id` says that the file is ours, `user_version` how far it was migrated. Migrations only ever are added.
//! Keys that are random (serials, fingerprints, ids) stand in ordinary tables with a unique index: a table clustered by a
//! random key moves whole certificates at every insert.

use rusqlite::{Connection, ErrorCode, OptionalExtension};

use super::open::OpenError;

/// "MUST" in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x4D55_5354;

/// One script per version, the first makes version 1.
pub(super) const MIGRATIONS: &[&str] = &[VERSION_1, VERSION_2];

const VERSION_1: &str = r"
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- One row: the counters that every commit may move, and the end of the audit chain.
CREATE TABLE heads (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    change_seq INTEGER NOT NULL,
    audit_seq INTEGER NOT NULL,
    audit_hash BLOB NOT NULL
) STRICT;
INSERT INTO heads VALUES (1, 0, 0, zeroblob(32));

-- Ids of transactions and their answers, newest 65,536 at least.
CREATE TABLE transactions (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    change_seq INTEGER,
    outcomes TEXT NOT NULL
) STRICT;

CREATE TABLE changes (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    name TEXT,
    role TEXT,
    serial BLOB
) STRICT;

-- `device` is read out of the stored text, so there is no second copy that could say something else.
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    body TEXT NOT NULL,
    hash BLOB NOT NULL,
    device TEXT GENERATED ALWAYS AS (body ->> '$.device') VIRTUAL
) STRICT;
CREATE INDEX audit_device ON audit (device, seq) WHERE device IS NOT NULL;

CREATE TABLE manifests (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    product TEXT NOT NULL,
    lot TEXT NOT NULL,
    devices INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    imported_at INTEGER NOT NULL,
    signer BLOB NOT NULL
) STRICT;

-- `standing` and `expires_at` follow from `record` and are written with it.
CREATE TABLE devices (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    idevid BLOB NOT NULL UNIQUE,
    product TEXT NOT NULL,
    lot TEXT NOT NULL,
    manifest BLOB REFERENCES manifests (id),
    standing TEXT NOT NULL,
    expires_at INTEGER,
    record TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seen_at INTEGER,
    version INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_standing ON devices (standing, id);
CREATE INDEX devices_expiry ON devices (expires_at) WHERE expires_at IS NOT NULL;

-- `device` is the holder once more where the holder is a device, for the foreign key.
CREATE TABLE certificates (
    number INTEGER PRIMARY KEY,
    serial BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL UNIQUE,
    role TEXT NOT NULL,
    holder TEXT NOT NULL,
    device TEXT REFERENCES devices (id),
    der BLOB NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    withdrawn_at INTEGER,
    reason TEXT,
    CHECK ((role = 'device') = (device IS NOT NULL)),
    CHECK ((withdrawn_at IS NULL) = (reason IS NULL))
) STRICT;
CREATE INDEX certificates_holder ON certificates (holder, role);

CREATE TABLE factory_cas (
    number INTEGER PRIMARY KEY,
    id BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL,
    subject TEXT NOT NULL,
    der BLOB NOT NULL,
    not_after INTEGER NOT NULL,
    added_at INTEGER NOT NULL
) STRICT;

CREATE TABLE services (
    name TEXT PRIMARY KEY,
    publish TEXT NOT NULL,
    subscribe TEXT NOT NULL,
    any_client_id INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;

CREATE TABLE operators (
    name TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    serial BLOB NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT;
";

/// Manifests come in whole. What `import.rs` puts in a little at a time counts for nobody while its import has a row in
/// `imports`, so readers read `registered`. Version 1 noted in a setting that a manifest was complete.
const VERSION_2: &str = r"
CREATE TABLE imports (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    first_device INTEGER NOT NULL,
    devices INTEGER NOT NULL
) STRICT;
ALTER TABLE devices ADD COLUMN import INTEGER;
CREATE VIEW registered AS
    SELECT * FROM devices WHERE import IS NULL OR import NOT IN (SELECT number FROM imports);

ALTER TABLE manifests ADD COLUMN is_complete INTEGER NOT NULL DEFAULT 0;
UPDATE manifests SET is_complete = 1 WHERE EXISTS (
    SELECT 1 FROM meta WHERE key = 'manifest.' || lower(substr(hex(id), 1, 40)) AND value = 'complete'
);
DELETE FROM meta WHERE key GLOB 'manifest.*';

-- `kind`, like `device`, is read out of the stored text.
ALTER TABLE audit ADD COLUMN kind TEXT GENERATED ALWAYS AS (body ->> '$.kind') VIRTUAL;
CREATE INDEX audit_kind ON audit (kind, seq);
";

/// Settings of the one connection that writes. `FULL` in WAL mode: a commit returns after the log was fsynced.
pub(super) const WRITER_PRAGMAS: &str = "
PRAGMA busy_timeout = 5000;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA foreign_keys = ON;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -32768;
PRAGMA wal_autocheckpoint = 0;
PRAGMA journal_size_limit = 67108864;
";

/// Settings of the connections that read.
pub(super) const READER_PRAGMAS: &str = "
PRAGMA busy_timeout = 1000;
PRAGMA query_only = ON;
PRAGMA trusted_schema = OFF;
PRAGMA cell_size_check = ON;
PRAGMA temp_store = MEMORY;
PRAGMA cache_size = -8192;
";

/// Recognises, checks and migrates.
pub(super) fn prepare(connection: &mut Connection) -> Result<(), OpenError> {
    let found = recognise(connection)?;
    connection.execute_batch(WRITER_PRAGMAS).map_err(OpenError::from)?;
    if found > 0 {
        check(connection)?;
    }
    for (done, script) in MIGRATIONS.iter().enumerate().skip(found) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(script)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", i64::try_from(done + 1).unwrap_or(i64::MAX))?;
        transaction.commit()?;
    }
    Ok(())
}

/// The version of the file: 0 for a new one. Writes nothing, so that a file that is not ours stays as it is.
fn recognise(connection: &Connection) -> Result<usize, OpenError> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let tables = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get::<_, i64>(0))
        .map_err(OpenError::from)?;
    let (application, version) = (number("PRAGMA application_id")?, number("PRAGMA user_version")?);
    match (application, version, tables) {
        (0, 0, 0) => Ok(0),
        (APPLICATION_ID, version, _) => match usize::try_from(version) {
            Ok(version) if (1..=MIGRATIONS.len()).contains(&version) => Ok(version),
            _ => Err(OpenError::Newer { found: version, known: MIGRATIONS.len() }),
        },
        _ => Err(OpenError::NotOurs),
    }
}

/// Reads every page once. Finds torn and overwritten pages, not every wrong value: that is what checksummed file systems
/// and backups are for.
fn check(connection: &Connection) -> Result<(), OpenError> {
    let finding = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0))
        .optional()
        .map_err(OpenError::from)?;
    match finding.as_deref() {
        Some("ok") => Ok(()),
        Some(finding) => Err(OpenError::Damaged(finding.to_owned())),
        None => Err(OpenError::Damaged("the check gave no answer".to_owned())),
    }
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged(error.to_string()),
            Some(ErrorCode::NotADatabase) => Self::NotOurs,
            _ => Self::Sqlite(error),
        }
    }
}
