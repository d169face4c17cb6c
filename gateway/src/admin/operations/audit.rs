//! The audit: pages of it, and whether its chain holds.

use muster_protocol::DeviceId;
use serde::{Deserialize, Serialize};

use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::view::{AuditVerified, AuditView, Rows, VERSION};
use crate::audit::{Kinds, verify_store};
use crate::store::{AuditFrom, AuditQuery, OperatorRole, PAGE_ROWS_MAX, Store};

/// Records on a page unless somebody says otherwise.
const PAGE_ROWS: u16 = 50;

/// Which part of the audit.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditFilter {
    /// Only records about this device.
    pub device: Option<DeviceId>,
    /// Only records of these kinds: `kind=handshake.refused,device`.
    pub kind: Kinds,
    /// Records behind this number, oldest first.
    pub after: Option<u64>,
    /// Records before this number, newest first. Without `after` and `before`: the newest.
    pub before: Option<u64>,
    /// How many at most; 50 unless said, 1000 at most.
    pub limit: Option<u16>,
}

impl<S: Store> Operations<S> {
    /// Records of the audit. `next` is the `after` or `before` of the next page in the same direction.
    ///
    /// # Errors
    /// When both `after` and `before` are given, or the store does not answer.
    pub async fn audit(&self, caller: &Caller, filter: AuditFilter) -> OperationResult<Rows<AuditView>> {
        self.allow(caller, OperatorRole::Viewer, "audit tail").await?;
        let from = match (filter.after, filter.before) {
            (None, None) => AuditFrom::Newest,
            (Some(after), None) => AuditFrom::After(after),
            (None, Some(before)) => AuditFrom::Before(before),
            (Some(_), Some(_)) => {
                return Err(OperationError::request("usage.wrong", "after and before do not go together"));
            }
        };
        let limit = filter.limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX);
        let records =
            self.store().audit_page(AuditQuery { from, device: filter.device, kinds: filter.kind, limit }).await?;
        let more = records.len() == usize::from(limit);
        let next = records.last().filter(|_| more).map(|record| record.seq.to_string());
        Ok(Rows { v: VERSION, items: records.iter().filter_map(AuditView::new).collect(), next })
    }

    /// Checks the chain of the whole audit.
    ///
    /// # Errors
    /// `audit.broken` with the first record that does not hold, or when the store does not answer.
    pub async fn audit_verify(&self, caller: &Caller) -> OperationResult<AuditVerified> {
        self.allow(caller, OperatorRole::Viewer, "audit verify").await?;
        match verify_store(self.store()).await? {
            Ok(head) => Ok(AuditVerified { v: VERSION, records: head.seq, hash: head.hash.to_string() }),
            Err(broken) => Err(OperationError::rule("audit.broken", broken.to_string())
                .hint("keep a copy of the database as it is: somebody or something changed it")),
        }
    }
}
