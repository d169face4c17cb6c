//! Reading: a few connections of their own, each used by one caller at a time, and the queries.
//!
//! In WAL mode readers neither wait for the writer nor hold it up, and see every commit that was answered before. A row
//! found by its key costs a few microseconds out of the page cache, a tenth of what handing the question to another thread
//! costs; so such reads run where they are asked for, and only lists go to a blocking task.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use muster_protocol::registrar::Standing;
use muster_protocol::{DeviceId, UnixTime};
use rusqlite::types::ToSql;
use rusqlite::{Connection, OptionalExtension, Params, Row, params};
use tokio::sync::Semaphore;

use super::column::{self, DEVICE_COLUMNS, integer};
use super::failure::outage;
use super::open::{OpenError, reader};
use super::writer::read_heads;
use crate::audit::AuditRecord;
use crate::store::StoreResult;
use crate::store::error::{Outage, StoreError};
use crate::store::model::{ChangeSeq, Counts, Device};
use crate::store::query::{
    AuditFrom, AuditQuery, Changes, DeviceQuery, HISTOGRAM_EDGES_MAX, PAGE_ROWS_MAX, Page, SEARCH_CHARS_MAX,
};

/// Connections for reading.
const READERS: usize = 4;

/// The pool.
pub(super) struct Readers {
    idle: Mutex<Vec<Connection>>,
    free: Arc<Semaphore>,
}

impl Readers {
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let idle = (0..READERS).map(|_| reader(path)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { idle: Mutex::new(idle), free: Arc::new(Semaphore::new(READERS)) })
    }

    /// Runs a query for a row or two by their key, here and now when a connection is free.
    pub(super) async fn find<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        match self.free.try_acquire() {
            Ok(_permit) => self.with(query),
            Err(_) => self.read(query).await,
        }
    }

    /// Runs a query away from the threads that serve connections.
    pub(super) async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> StoreResult<T> {
        let closed = || StoreError::Unavailable(Outage::Closed);
        let permit = Arc::clone(&self.free).acquire_owned().await.map_err(|_| closed())?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let result = readers.with(query);
            drop(permit);
            result
        });
        task.await.unwrap_or_else(|error| Err(StoreError::Unavailable(Outage::Storage(error.to_string()))))
    }

    /// Uses an idle connection; the caller holds a permit, so there is one unless the store was closed.
    fn with<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> StoreResult<T> {
        let connection = self.idle().pop().ok_or(StoreError::Unavailable(Outage::Closed))?;
        let result = query(&connection);
        if !self.free.is_closed() {
            self.idle().push(connection);
        }
        result.map_err(|error| StoreError::Unavailable(outage(&error)))
    }

    /// Lets the connections go; later reads answer that the store is closed.
    pub(super) fn close(&self) {
        self.free.close();
        self.idle().clear();
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing that can panic happens under this lock.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one row, or nothing.
pub(super) fn one<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Option<T>> {
    connection.prepare_cached(sql)?.query_row(values, read).optional()
}

/// All rows.
pub(super) fn all<T>(
    connection: &Connection,
    sql: &str,
    values: impl Params,
    read: fn(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<Vec<T>> {
    connection.prepare_cached(sql)?.query_map(values, read)?.collect()
}

pub(super) fn page(connection: &Connection, query: &DeviceQuery) -> rusqlite::Result<Page<Device>> {
    let limit = usize::from(query.limit.clamp(1, PAGE_ROWS_MAX));
    let after = query.after.as_ref().map_or("", DeviceId::as_str);
    let rows = i64::try_from(limit + 1).unwrap_or(i64::MAX);
    let (inside, beginning) = query.search.as_deref().map(patterns).unwrap_or_default();
    let standing = query.standing.map_or("", Standing::name);
    let mut sql = format!("SELECT {DEVICE_COLUMNS} FROM registered WHERE id > ?1");
    let mut values: Vec<&dyn ToSql> = vec![&after, &rows];
    if query.search.is_some() {
        sql.push_str(r" AND (id LIKE ?3 ESCAPE '\' OR product LIKE ?4 ESCAPE '\' OR lot LIKE ?4 ESCAPE '\')");
        values.extend([&inside as &dyn ToSql, &beginning]);
    }
    if query.standing.is_some() {
        values.push(&standing);
        sql.push_str(if values.len() == 3 { " AND standing = ?3" } else { " AND standing = ?5" });
    }
    sql.push_str(" ORDER BY id LIMIT ?2");
    let mut rows = all(connection, &sql, values.as_slice(), column::device)?;
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = if more { rows.last().map(|device| device.id().clone()) } else { None };
    Ok(Page { rows, next })
}

/// Patterns that find a text inside and at the beginning; what LIKE gives a meaning to has none in them.
fn patterns(search: &str) -> (String, String) {
    let mut literal = String::new();
    for letter in search.chars().take(SEARCH_CHARS_MAX) {
        if matches!(letter, '%' | '_' | '\\') {
            literal.push('\\');
        }
        literal.push(letter);
    }
    (format!("%{literal}%"), format!("{literal}%"))
}

pub(super) fn changes_after(connection: &Connection, seq: ChangeSeq, limit: u16) -> rusqlite::Result<Changes> {
    // One read transaction, so that the head and the rows belong together.
    let transaction = connection.unchecked_transaction()?;
    let head = read_heads(&transaction)?.change;
    let sql = "SELECT seq, kind, name, role, serial FROM changes WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let rows = all(&transaction, sql, params![integer(seq.0), limit.clamp(1, PAGE_ROWS_MAX)], column::changed)?;
    Ok(Changes { rows, head })
}

pub(super) fn audit_page(connection: &Connection, query: &AuditQuery) -> rusqlite::Result<Vec<AuditRecord>> {
    let (from, order) = match query.from {
        AuditFrom::After(seq) => (integer(seq), "seq > ?1 ORDER BY seq LIMIT ?2"),
        AuditFrom::Before(seq) => (integer(seq), "seq < ?1 ORDER BY seq DESC LIMIT ?2"),
        AuditFrom::Newest => (i64::MAX, "seq <= ?1 ORDER BY seq DESC LIMIT ?2"),
    };
    let limit = query.limit.clamp(1, PAGE_ROWS_MAX);
    let names: Vec<_> = query.kinds.named().iter().map(|kind| kind.name()).collect();
    match (&query.device, names.as_slice()) {
        (None, []) => {
            let sql = format!("SELECT seq, body, hash FROM audit WHERE {order}");
            all(connection, &sql, params![from, limit], column::audit_record)
        }
        // A device has few records: they are looked through.
        (Some(device), names) => {
            let named = format!("[{}]", names.iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(","));
            let sql = format!(
                "SELECT seq, body, hash FROM audit WHERE device = ?3
                AND (?4 = '[]' OR +kind IN (SELECT value FROM json_each(?4))) AND {order}"
            );
            all(connection, &sql, params![from, limit, device.as_str(), named], column::audit_record)
        }
        // Each kind has its own place in the index; what comes first of all of them is the page.
        (None, names) => {
            let transaction = connection.unchecked_transaction()?;
            let sql = format!("SELECT seq, body, hash FROM audit WHERE kind = ?3 AND {order}");
            let mut records = Vec::new();
            for name in names {
                records.extend(all(&transaction, &sql, params![from, limit, name], column::audit_record)?);
            }
            records.sort_by_key(|record| record.seq);
            if !matches!(query.from, AuditFrom::After(_)) {
                records.reverse();
            }
            records.truncate(usize::from(limit));
            Ok(records)
        }
    }
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    // Counted in an index; what an import has staged stands as expected, and its number is known.
    let transaction = connection.unchecked_transaction()?;
    let staged = "SELECT coalesce(sum(devices), 0) FROM imports";
    let staged: u64 = transaction.prepare_cached(staged)?.query_row([], |row| column::get(row, 0))?;
    let mut statement = transaction.prepare_cached("SELECT standing, count(*) FROM devices GROUP BY standing")?;
    let mut rows = statement.query([])?;
    let mut counts = Counts::default();
    while let Some(row) = rows.next()? {
        let (name, number) = (row.get_ref(0)?.as_str()?, column::get::<u64>(row, 1)?);
        let slots = Standing::ALL.iter().zip(&mut counts.by_standing);
        slots.filter(|(standing, _)| standing.name() == name).for_each(|(standing, slot)| {
            *slot = if *standing == Standing::Expected { number.saturating_sub(staged) } else { number };
        });
    }
    Ok(counts)
}

pub(super) fn expiry_histogram(connection: &Connection, edges: &[UnixTime]) -> rusqlite::Result<Vec<u64>> {
    let transaction = connection.unchecked_transaction()?;
    let mut statement =
        transaction.prepare_cached("SELECT count(*) FROM devices WHERE expires_at >= ?1 AND expires_at < ?2")?;
    let edges = edges.iter().take(HISTOGRAM_EDGES_MAX).map(|edge| integer(edge.0));
    let edges: Vec<i64> = std::iter::once(0).chain(edges).chain([i64::MAX]).collect();
    edges.windows(2).map(|edge| statement.query_row(edge_pair(edge), |row| column::get(row, 0))).collect()
}

fn edge_pair(window: &[i64]) -> [i64; 2] {
    match window {
        [from, to] => [*from, *to],
        // `windows(2)` gives nothing else.
        _ => [0, 0],
    }
}

#[cfg(test)]
mod tests {
    use super::patterns;

    #[test]
    fn a_search_text_has_no_wildcards() {
        assert_eq!(patterns("a%b_c\\"), (r"%a\%b\_c\\%".to_owned(), r"a\%b\_c\\%".to_owned()));
    }
}
