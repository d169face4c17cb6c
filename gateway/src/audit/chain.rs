//! The chain of audit records, and what finds a break in it.
//!
//! A record is an [`super::AuditEvent`] as one JSON object, numbered from 1 without gaps. Its hash is
//!
//! ```text
//! hash(n) = SHA-256( hash(n-1) | n as 8 bytes, big endian | the JSON text as stored )        hash(0) = 32 zero bytes
//! ```
//!
//! so a record that was changed, removed, put in or moved breaks the chain at its number, and the head, which the store
//! keeps apart, shows that the end was cut off. Whoever can rewrite the whole store can rewrite the chain too: an
//! operator who fears that writes the head down elsewhere from time to time (`muster-gateway audit verify` prints it).

use std::fmt;

use sha2::{Digest, Sha256};

use super::{AuditEvent, Kinds};
use crate::store::{AuditFrom, AuditQuery, Store, StoreError};

/// One link of the chain.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// What stands before the first record.
    pub const ORIGIN: Self = Self([0; 32]);

    /// The link of record `seq` with this text.
    #[must_use]
    pub fn next(self, seq: u64, body: &str) -> Self {
        let hash = Sha256::new().chain_update(self.0).chain_update(seq.to_be_bytes()).chain_update(body.as_bytes());
        Self(hash.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A stored event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditRecord {
    /// Its number.
    pub seq: u64,
    /// The JSON object exactly as stored.
    pub body: String,
    /// Its link.
    pub hash: ChainHash,
}

impl AuditRecord {
    /// The event.
    ///
    /// # Errors
    /// When the text is not an event of this version.
    pub fn event(&self) -> Result<AuditEvent, serde_json::Error> {
        serde_json::from_str(&self.body)
    }
}

/// Where the audit ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuditHead {
    /// Number of the last record; 0 when there is none.
    pub seq: u64,
    /// Its link.
    pub hash: ChainHash,
}

impl AuditHead {
    /// An audit without records.
    pub const EMPTY: Self = Self { seq: 0, hash: ChainHash::ORIGIN };

    /// The head after one more record with this text.
    #[must_use]
    pub fn after(self, body: &str) -> Self {
        let seq = self.seq + 1;
        Self { seq, hash: self.hash.next(seq, body) }
    }
}

/// The chain does not hold.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Broken {
    /// This record is missing, changed, or not where it was written.
    #[error("the audit is broken at record {0}: it was changed, removed or moved")]
    At(u64),
    /// All records hold, but the head names one that is not this chain's end.
    #[error("the audit ends at record {found}, its head says {expected}: the end was cut off or replaced")]
    End {
        /// Last record that holds.
        found: u64,
        /// Number in the head.
        expected: u64,
    },
}

impl Broken {
    /// The first number that does not hold.
    #[must_use]
    pub const fn seq(self) -> u64 {
        match self {
            Self::At(seq) => seq,
            Self::End { found, .. } => found + 1,
        }
    }
}

/// Checks records from the first to the last against the head.
///
/// # Errors
/// Where the chain breaks first.
pub fn verify<'a>(records: impl IntoIterator<Item = &'a AuditRecord>, head: AuditHead) -> Result<(), Broken> {
    let mut end = AuditHead::EMPTY;
    for record in records {
        end = follow(end, record)?;
    }
    ended(end, head)
}

/// Checks the whole audit of a store, page by page.
///
/// # Errors
/// When the store cannot be read; the inner error is where the chain breaks first.
pub async fn verify_store(store: &impl Store) -> Result<Result<AuditHead, Broken>, StoreError> {
    let head = store.audit_head().await?;
    let mut end = AuditHead::EMPTY;
    while end.seq < head.seq {
        let query = AuditQuery { from: AuditFrom::After(end.seq), device: None, kinds: Kinds::default(), limit: 1000 };
        let page = store.audit_page(query).await?;
        if page.is_empty() {
            break;
        }
        // Records that came in after the head was read do not matter; one that stands in a gap breaks the chain.
        for record in &page {
            if end.seq == head.seq {
                break;
            }
            end = match follow(end, record) {
                Ok(end) => end,
                Err(broken) => return Ok(Err(broken)),
            };
        }
    }
    Ok(ended(end, head).map(|()| head))
}

fn follow(end: AuditHead, record: &AuditRecord) -> Result<AuditHead, Broken> {
    let next = end.after(&record.body);
    if next.seq == record.seq && next.hash == record.hash { Ok(next) } else { Err(Broken::At(next.seq)) }
}

fn ended(end: AuditHead, head: AuditHead) -> Result<(), Broken> {
    if end == head { Ok(()) } else { Err(Broken::End { found: end.seq, expected: head.seq }) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use muster_protocol::pki::serial::Serial;
    use muster_protocol::{Code, DeviceId, UnixTime};

    use super::*;
    use crate::audit::{Actor, AuditKind};

    /// The bytes of docs/formats.md: what is stored already never changes.
    #[test]
    fn the_page_of_formats_shows_two_records_and_their_links() {
        let revoked = AuditEvent::new(UnixTime(1_800_000_000), AuditKind::DeviceRevoked, operator("maria"))
            .device(&name("lamp-000001"))
            .serial(&Serial::from_random([0x2a; 16]))
            .peer("192.0.2.7:40000".parse().unwrap())
            .detail("reason", "key_compromise");
        let actor = Actor::Device(name("lamp-000001"));
        let refused = AuditEvent::new(UnixTime(1_800_000_060), AuditKind::HandshakeRefused, actor)
            .device(&name("lamp-000001"))
            .code(Code::DeviceRevoked);
        let (mut head, mut shown) = (AuditHead::EMPTY, String::from("```json\n"));
        for event in [revoked, refused] {
            let body = event.to_body().unwrap();
            head = head.after(&body);
            shown = format!("{shown}{body}\n{}\n", head.hash);
            assert_eq!(serde_json::from_str::<AuditEvent>(&body).unwrap(), event);
        }
        assert!(include_str!("../../../docs/formats.md").contains(&format!("{shown}```")), "{shown}");
    }

    fn name(text: &str) -> DeviceId {
        DeviceId::new(text).unwrap()
    }

    fn operator(text: &str) -> Actor {
        Actor::Operator(name(text))
    }

    fn chain(length: u64) -> (Vec<AuditRecord>, AuditHead) {
        let mut head = AuditHead::EMPTY;
        let mut records = Vec::new();
        for n in 0..length {
            let body = format!(r#"{{"n":{n}}}"#);
            head = head.after(&body);
            records.push(AuditRecord { seq: head.seq, body, hash: head.hash });
        }
        (records, head)
    }

    #[test]
    fn an_untouched_chain_holds() {
        for length in [0, 1, 50] {
            let (records, head) = chain(length);
            assert_eq!(verify(&records, head), Ok(()), "{length}");
        }
    }

    #[test]
    fn every_kind_of_tampering_is_found_where_it_begins() {
        let (records, head) = chain(20);
        for at in 0..20_usize {
            let seq = at as u64 + 1;
            let mut changed = records.clone();
            changed[at].body.push(' ');
            assert_eq!(verify(&changed, head), Err(Broken::At(seq)));

            let mut removed = records.clone();
            removed.remove(at);
            let broken = if seq == 20 { Broken::End { found: 19, expected: 20 } } else { Broken::At(seq) };
            assert_eq!(verify(&removed, head), Err(broken));
            assert_eq!(broken.seq(), seq);

            let mut renumbered = removed.clone();
            renumbered.iter_mut().skip(at).for_each(|record| record.seq -= 1);
            assert_eq!(verify(&renumbered, head).map_err(Broken::seq), Err(seq));

            let mut doubled = records.clone();
            doubled.insert(at, records[at].clone());
            assert_eq!(verify(&doubled, head).map_err(Broken::seq), Err(seq + 1));

            if at > 0 {
                let mut swapped = records.clone();
                swapped.swap(at - 1, at);
                assert_eq!(verify(&swapped, head), Err(Broken::At(seq - 1)));
            }
            // The end cut off, with the head kept.
            let cut = &records[..at];
            assert_eq!(verify(cut, head), Err(Broken::End { found: at as u64, expected: 20 }));
        }
    }

    #[test]
    fn a_chain_rewritten_from_the_middle_does_not_reach_the_head() {
        let (mut records, head) = chain(20);
        let mut end = AuditHead { seq: 9, hash: records[8].hash };
        for record in &mut records[9..] {
            record.body = record.body.replace("\"n\"", "\"m\"");
            end = end.after(&record.body);
            record.hash = end.hash;
        }
        assert_eq!(verify(&records, head), Err(Broken::End { found: 20, expected: 20 }));
    }
}
