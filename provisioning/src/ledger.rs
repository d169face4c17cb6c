//! Serial numbers handed out: a file in the PKI's folder, locked while it is changed.
//!
//! Numbers are reserved, durably, before a batch uses them. A batch that dies in between leaves a gap, never a number
//! that two devices share.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use muster_issuing::file;
use muster_terminal::{Failure, OrFail as _};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

const LEDGER: &str = "serials.json";
const LOCK: &str = ".serials.lock";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    v: u8,
    /// By id prefix, the next number.
    next: BTreeMap<String, u32>,
}

/// Reserves `count` consecutive numbers for ids that start with `prefix`; the first of them comes back.
pub fn reserve(pki: &Path, prefix: &str, count: u32) -> Result<u32, Failure> {
    let cannot = "cannot reserve serial numbers";
    let lock = File::create(pki.join(LOCK)).or_fail("ledger.lock", cannot)?;
    rustix::fs::flock(&lock, FlockOperation::LockExclusive).or_fail("ledger.lock", cannot)?;
    let path = pki.join(LEDGER);
    let mut ledger = match std::fs::read(&path) {
        Ok(bytes) => {
            serde_json::from_slice(&bytes).or_fail("ledger.malformed", &format!("cannot read {}", path.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ledger { v: 1, next: BTreeMap::new() },
        Err(error) => return Err(error).or_fail("ledger.unreadable", &format!("cannot read {}", path.display())),
    };
    if ledger.v != 1 {
        return Err(Failure::refused("ledger.version", format!("{} was written by a newer version", path.display())));
    }
    let next = ledger.next.entry(prefix.to_owned()).or_insert(1);
    let first = *next;
    *next = first
        .checked_add(count)
        .ok_or_else(|| Failure::refused("ledger.full", format!("no serial numbers are left for {prefix}")))?;
    let bytes = serde_json::to_vec_pretty(&ledger).or_fail("ledger.unwritable", cannot)?;
    file::replace_public(&path, &bytes).or_fail("ledger.unwritable", cannot)?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn no_number_is_given_twice() {
        let dir = tempfile::tempdir().unwrap();
        let firsts: Vec<u32> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| scope.spawn(|| (0..5).map(|_| reserve(dir.path(), "lamp", 3).unwrap()).collect::<Vec<_>>()))
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let mut sorted = firsts.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).map(|batch| 1 + 3 * batch).collect::<Vec<_>>());
        assert_eq!(reserve(dir.path(), "other", 1).unwrap(), 1);
    }

    #[test]
    fn a_ledger_that_cannot_be_read_stops_the_line() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(LEDGER), b"{").unwrap();
        assert_eq!(reserve(dir.path(), "lamp", 1).unwrap_err().code, "ledger.malformed");
        std::fs::write(dir.path().join(LEDGER), br#"{"v":1,"next":{"lamp":4294967295}}"#).unwrap();
        assert_eq!(reserve(dir.path(), "lamp", 1).unwrap_err().code, "ledger.full");
    }
}
