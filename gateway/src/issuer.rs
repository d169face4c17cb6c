//! Who makes certificates: a seam, and the CA whose key lies in the gateway's directory.
//!
//! Whatever stands behind the seam, its work is linted against the profile and verified with the code that the peers
//! use, before anybody stores or sees it. Keys of the parties are never here: an issuer gets a public key.

use std::future::Future;
use std::pin::Pin;

use muster_protocol::pki::key::PublicKey;
use muster_protocol::{Identity, UnixTime};

mod authorities;
mod local;

pub use authorities::{Authorities, AuthorityError, Fleet};
pub use local::LocalIssuer;

/// An answer that is under way.
pub type Issuing<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, IssueError>> + Send + 'a>>;

/// Makes certificates of one CA.
pub trait Issuer: Send + Sync + 'static {
    /// A certificate for this identity and key, DER; the kind of identity decides the profile.
    fn issue<'a>(&'a self, identity: &'a Identity, key: &'a PublicKey, validity: Validity) -> Issuing<'a>;
}

/// From when to when, both included.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// First second.
    pub not_before: UnixTime,
    /// Last second.
    pub not_after: UnixTime,
}

impl Validity {
    /// A life of `life_secs` from `now`; it begins a little earlier, since clocks are not all the same, but never so
    /// much that the renewal of a short life would be due at once.
    #[must_use]
    pub fn from_now(now: UnixTime, life_secs: u64) -> Self {
        let backdate = muster_protocol::pki::profile::BACKDATE_SECS.min(life_secs / 10);
        let not_before = UnixTime(now.0.saturating_sub(backdate));
        Self { not_before, not_after: now.plus_secs(life_secs) }
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssueError {
    /// This CA does not certify this kind of identity.
    #[error("this CA does not certify {0}")]
    WrongRole(Identity),
    /// The CA's certificate has expired.
    #[error("the CA has expired; make a new one")]
    CaExpired,
    /// Signing failed.
    #[error("the certificate could not be made: {0}")]
    Signing(String),
    /// What was made breaks its profile; it was thrown away.
    #[error("the certificate breaks rule {rule} ({section}) and was thrown away")]
    Profile {
        /// Stable id of the rule.
        rule: &'static str,
        /// Where the rule stands.
        section: &'static str,
    },
    /// What was made is refused by the code that will judge it; it was thrown away.
    #[error("the certificate would be refused as {0} and was thrown away")]
    Verdict(muster_protocol::Code),
}
