//! Serial numbers handed out: a file in the PKI's folder, locked while it is changed.
//!
//! Numbers are reserved, durably, before a batch or a station uses them. Whoever dies in between leaves a gap, never a
//! number that two devices share. A name that somebody else chose is claimed here too when it looks like one of ours.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

use muster_issuing::file;
use muster_protocol::DeviceId;
use muster_protocol::limits::{DEVICE_ID_BYTES_MAX, PRODUCT_BYTES_MAX};
use muster_terminal::{Failure, OrFail as _};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

/// Digits of the number at the end of an id.
pub const DIGITS: usize = 6;

const LEDGER: &str = "serials.json";
const LOCK: &str = ".serials.lock";

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    v: u8,
    /// By id prefix, the next number.
    next: BTreeMap<String, u32>,
}

/// Product and lot as they may stand in an id: lower case, everything unusual a dash.
pub fn id_prefix(product: &str, lot: &str) -> Result<String, Failure> {
    let printable = |text: &str| !text.chars().any(char::is_control);
    let fits = |text: &str| text.len() <= PRODUCT_BYTES_MAX && printable(text);
    if product.is_empty() || !fits(product) || !fits(lot) {
        let message = format!(
            "product and lot have at most {PRODUCT_BYTES_MAX} bytes and no control characters; the product has a name"
        );
        return Err(Failure::usage("product.name", message));
    }
    let part = |text: &str| -> String {
        let dashed: String =
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect();
        dashed.split('-').filter(|piece| !piece.is_empty()).collect::<Vec<_>>().join("-")
    };
    let prefix = [part(product), part(lot)].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    if prefix.is_empty() {
        return Err(Failure::usage("product.name", "the product's name has no letter or digit for a device id"));
    }
    if prefix.len() + 1 + DIGITS > DEVICE_ID_BYTES_MAX {
        return Err(Failure::usage("product.name", "product and lot together are too long for a device id"));
    }
    Ok(prefix)
}

/// The id with this number.
pub fn id(prefix: &str, number: u32) -> Result<DeviceId, Failure> {
    DeviceId::new(&format!("{prefix}-{number:0DIGITS$}")).or_fail("product.name", "the device id")
}

/// Reserves `count` consecutive numbers for ids that start with `prefix`; the first of them comes back.
pub fn reserve(pki: &Path, prefix: &str, count: u32) -> Result<u32, Failure> {
    change(pki, |next| {
        let next = next.entry(prefix.to_owned()).or_insert(1);
        let first = *next;
        *next = first
            .checked_add(count)
            .ok_or_else(|| Failure::refused("ledger.full", format!("no serial numbers are left for {prefix}")))?;
        Ok(first)
    })
}

/// Claims an id that somebody chose. One that looks like ours (`lamp-000001`) counts as handed out from now on, with all
/// numbers below it; one that was handed out before is refused.
pub fn claim(pki: &Path, id: &str) -> Result<(), Failure> {
    let Some((prefix, number)) = numbered(id) else { return Ok(()) };
    change(pki, |next| {
        let next = next.entry(prefix.to_owned()).or_insert(1);
        if number < *next {
            return Err(taken(id));
        }
        *next = number
            .checked_add(1)
            .ok_or_else(|| Failure::refused("ledger.full", format!("no serial numbers are left for {prefix}")))?;
        Ok(())
    })
}

/// The refusal of an id that belongs to another device.
pub(crate) fn taken(id: &str) -> Failure {
    let code = muster_protocol::Code::FactoryNumberTaken;
    Failure::refused(code.name(), format!("{id}: {}", code.text())).hint("give another --device-id, or none")
}

/// Whether an id is one of ours, with this prefix.
pub(crate) fn is_of(prefix: &str, id: &str) -> bool {
    numbered(id).is_some_and(|(of, _)| of == prefix)
}

/// Prefix and number of an id like ours.
fn numbered(id: &str) -> Option<(&str, u32)> {
    let (prefix, number) = id.rsplit_once('-')?;
    let is_number = number.len() >= DIGITS && number.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !prefix.is_empty()).then(|| number.parse().ok().map(|number| (prefix, number)))?
}

fn change<T>(pki: &Path, act: impl FnOnce(&mut BTreeMap<String, u32>) -> Result<T, Failure>) -> Result<T, Failure> {
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
    let done = act(&mut ledger.next)?;
    let bytes = serde_json::to_vec_pretty(&ledger).or_fail("ledger.unwritable", cannot)?;
    file::replace_public(&path, &bytes).or_fail("ledger.unwritable", cannot)?;
    Ok(done)
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
    fn ids_come_from_product_and_lot() {
        assert_eq!(id_prefix("Street Lamp (v2)", "2026/47").unwrap(), "street-lamp-v2-2026-47");
        assert_eq!(id_prefix("lamp", "").unwrap(), "lamp");
        assert_eq!(id("lamp", 7).unwrap().as_str(), "lamp-000007");
        for product in ["灯", "", "a\nb", &"x".repeat(60), &"x".repeat(65)] {
            assert_eq!(id_prefix(product, "").unwrap_err().code, "product.name", "{product:?}");
        }
    }

    #[test]
    fn an_id_like_ours_is_claimed_once() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(reserve(dir.path(), "lamp", 2).unwrap(), 1);
        assert_eq!(claim(dir.path(), "lamp-000002").unwrap_err().code, "factory.number_taken");
        claim(dir.path(), "lamp-000007").unwrap();
        assert_eq!(claim(dir.path(), "lamp-000007").unwrap_err().code, "factory.number_taken");
        assert_eq!(reserve(dir.path(), "lamp", 1).unwrap(), 8);
        for other in ["SN4711", "lamp-7", "-000001", "lamp-00000x"] {
            claim(dir.path(), other).unwrap();
            claim(dir.path(), other).unwrap();
        }
        assert_eq!(claim(dir.path(), "lamp-4294967295").unwrap_err().code, "ledger.full");
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
