//! Opening a store's directory: the lock, the file, its mode, and what can be wrong with them.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

use super::schema;

/// Name of the database in the gateway's directory. Beside it lie `-wal` and `-shm` while it is open.
pub const DATABASE_FILE: &str = "muster.db";
/// Name of the lock file; it holds the process id of the last owner.
pub const LOCK_FILE: &str = "muster.db.lock";

/// Statements kept compiled per connection.
const STATEMENTS_CACHED: usize = 96;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process has the directory.
    #[error("{path} is in use by another process{owner}", owner = owner_text(*.pid))]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Its owner, when the file says.
        pid: Option<u32>,
    },
    /// The database was written by a newer version of the gateway.
    #[error("the database has schema version {found}, this gateway knows {known}: use the newer gateway, or a backup")]
    Newer {
        /// Version in the file.
        found: i64,
        /// Newest version this program knows.
        known: usize,
    },
    /// The file is no database of a gateway's.
    #[error("{DATABASE_FILE} is not the database of a Muster gateway")]
    NotOurs,
    /// The database fails its check.
    #[error("the database is damaged ({0}): restore it from a backup")]
    Damaged(String),
    /// A file cannot be opened, created or locked.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The database engine failed.
    #[error("the database cannot be opened: {0}")]
    Sqlite(#[source] rusqlite::Error),
}

fn owner_text(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
}

/// An open directory: the connection that writes, and the lock that goes when this is dropped.
pub(super) struct Opened {
    pub(super) writer: Connection,
    pub(super) lock: File,
    pub(super) path: PathBuf,
}

/// Locks the directory, opens or creates the database, checks and migrates it.
pub(super) fn open(directory: &Path) -> Result<Opened, OpenError> {
    let lock = lock(&directory.join(LOCK_FILE))?;
    let path = directory.join(DATABASE_FILE);
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    // SQLite gives `-wal` and `-shm` the mode of the database file.
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(at(&path))?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(at(directory))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut writer = Connection::open_with_flags(&path, flags)?;
    schema::prepare(&mut writer)?;
    writer.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(Opened { writer, lock, path })
}

/// One more connection, for reading.
pub(super) fn reader(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(schema::READER_PRAGMAS)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    Ok(connection)
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let at = |source| OpenError::Io { path: path.to_owned(), source };
    let mut file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path).map_err(at)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            let _ = Read::by_ref(&mut file).take(16).read_to_string(&mut text);
            return Err(OpenError::Locked { path: path.to_owned(), pid: text.trim().parse().ok() });
        }
        Err(TryLockError::Error(source)) => return Err(at(source)),
    }
    // The number is a help for people; the lock is what counts.
    let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(at)?;
    Ok(file)
}
