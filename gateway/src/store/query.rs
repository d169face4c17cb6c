//! What is asked of the store, and pages of answers. Pages follow a key, not an offset: rows that come in between
//! neither repeat nor hide others.

use muster_protocol::DeviceId;
use muster_protocol::registrar::Standing;

use super::model::{ChangeSeq, Changed};
use crate::audit::Kinds;

/// Most rows on one page; larger limits are cut to it.
pub const PAGE_ROWS_MAX: u16 = 1000;
/// Most edges of a histogram; more are not looked at.
pub const HISTOGRAM_EDGES_MAX: usize = 128;
/// Most characters of a search text that are looked at.
pub const SEARCH_CHARS_MAX: usize = 128;

/// Which devices.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DeviceQuery {
    /// Part of the id, or the beginning of the product or lot; ASCII letters of either case. `None`: all.
    pub search: Option<String>,
    /// Only devices that stand there.
    pub standing: Option<Standing>,
    /// Only devices behind this id in the order of ids: [`Page::next`] of the page before.
    pub after: Option<DeviceId>,
    /// How many at most.
    pub limit: u16,
}

impl DeviceQuery {
    /// The first `limit` devices.
    #[must_use]
    pub const fn first(limit: u16) -> Self {
        Self { search: None, standing: None, after: None, limit }
    }
}

/// Some of the rows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page<T> {
    /// The rows, in the order of their ids.
    pub rows: Vec<T>,
    /// Where the next page begins; `None` when there was no more.
    pub next: Option<DeviceId>,
}

/// Changes for live sessions, in the order of their commits.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Each with its number; the first is the one after the number asked for, and no number is left out.
    pub rows: Vec<(ChangeSeq, Changed)>,
    /// The last number committed when this was read.
    pub head: ChangeSeq,
}

/// Which part of the audit.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditQuery {
    /// Where to start and which way to go.
    pub from: AuditFrom,
    /// Only records about this device.
    pub device: Option<DeviceId>,
    /// Only records of these kinds.
    pub kinds: Kinds,
    /// How many at most.
    pub limit: u16,
}

/// Where a page of the audit starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuditFrom {
    /// Records behind this number, oldest first.
    After(u64),
    /// Records before this number, newest first.
    Before(u64),
    /// The last records, newest first.
    Newest,
}

/// The last numbers committed. Wakes readers; what it says may be older than what they then read.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Committed {
    /// Last change for live sessions.
    pub change: ChangeSeq,
    /// Last audit record.
    pub audit: u64,
}
