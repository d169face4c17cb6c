//! Why an act or a question was not answered: one type for command line, admin socket, HTTPS API and console.

use muster_protocol::Code;
use muster_terminal::{Exit, Failure};
use serde::{Deserialize, Serialize};

use crate::registrar::ActError;
use crate::store::StoreError;

/// Whose fault it is; decides exit code and HTTP status.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The request is not well-formed.
    Request,
    /// The caller may not.
    Caller,
    /// A rule forbids it, whoever asks.
    Rule,
    /// There is no such thing.
    Missing,
    /// The gateway cannot now.
    Gateway,
}

/// Why not. Carries no secret.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
#[error("{message}")]
pub struct OperationError {
    /// Whose fault it is.
    pub blame: Blame,
    /// Stable dotted name; a [`Code`]'s name where there is one.
    pub code: String,
    /// What happened, one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl OperationError {
    /// An error.
    #[must_use]
    pub fn new(blame: Blame, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { blame, code: code.into(), message: message.into(), hint: None }
    }

    /// The request is not well-formed.
    #[must_use]
    pub fn request(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Blame::Request, code, message)
    }

    /// A rule forbids it.
    #[must_use]
    pub fn rule(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Blame::Rule, code, message)
    }

    /// There is no such thing.
    #[must_use]
    pub fn missing(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(Blame::Missing, code, message)
    }

    /// The gateway cannot now.
    #[must_use]
    pub fn gateway(message: impl Into<String>) -> Self {
        Self::new(Blame::Gateway, Code::Unavailable.name(), message)
    }

    /// The store did not say whether it was done.
    #[must_use]
    pub fn outcome_unknown() -> Self {
        let message = "the store failed while it committed: whether it was done is not known";
        Self::new(Blame::Gateway, OUTCOME_UNKNOWN, message)
            .hint("see the gateway's log, and whether it was done (device show, audit tail), before you repeat it")
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.blame {
            Blame::Request if self.code == Code::MessageOversized.name() => 413,
            Blame::Request if self.code == CONTENT_TYPE => 415,
            Blame::Request => 400,
            Blame::Caller => 403,
            Blame::Missing => 404,
            Blame::Rule => 409,
            Blame::Gateway => 503,
        }
    }
}

impl From<Code> for OperationError {
    fn from(code: Code) -> Self {
        let blame = match code {
            Code::DeviceUnknown => Blame::Missing,
            Code::OperatorForbidden => Blame::Caller,
            Code::Unavailable | Code::SessionBusy => Blame::Gateway,
            Code::MessageMalformed | Code::MessageOversized => Blame::Request,
            _ => Blame::Rule,
        };
        let error = Self::new(blame, code.name(), code.text().trim_end_matches('.'));
        match hint(code) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Code of an act of which nobody knows whether it was done.
const OUTCOME_UNKNOWN: &str = "store.outcome_unknown";
/// Code of a request whose body is of another type than expected.
pub(super) const CONTENT_TYPE: &str = "request.content_type";

/// What an operator can do about a refusal.
const fn hint(code: Code) -> Option<&'static str> {
    Some(match code {
        Code::DeviceUnknown => "see device list; a device comes into the registry with its shipment manifest",
        Code::DeviceSuspended => "resume it first: device resume",
        Code::DeviceRevoked => "let it enrol anew first: device resume",
        Code::DeviceRetired => "retired is final; a device that is to be used again needs a new identity",
        Code::DeviceState => "see device show; a device that has no certificate yet cannot rotate one",
        Code::OperatorForbidden => "ask an administrator for a certificate of another role: operator issue",
        Code::Unavailable => "see the gateway's log and try again; nothing was changed",
        Code::ManifestUntrusted => "register the factory first: factory-ca add",
        Code::ManifestBadSignature | Code::ManifestMalformed => "get the file again from the factory",
        Code::EnrolKeyReused => "make a new key and ask again",
        _ => return None,
    })
}

impl From<StoreError> for OperationError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "the store did not do what an operator asked for");
        if error == StoreError::Unknown {
            return Self::outcome_unknown();
        }
        let code = error.code();
        Self { message: error.to_string(), ..Self::from(code) }
    }
}

impl From<ActError> for OperationError {
    fn from(error: ActError) -> Self {
        match error {
            ActError::Refused(code) => code.into(),
            ActError::OutcomeUnknown => Self::outcome_unknown(),
        }
    }
}

impl From<OperationError> for Failure {
    fn from(error: OperationError) -> Self {
        let exit = match error.blame {
            Blame::Request => Exit::Usage,
            Blame::Caller | Blame::Rule => Exit::Refused,
            Blame::Missing => Exit::NotFound,
            Blame::Gateway => Exit::Failed,
        };
        let failure = Self::new(exit, error.code, error.message);
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Outage;

    #[test]
    fn exit_codes_and_statuses_follow_the_blame() {
        for (code, exit, status) in [
            (Code::DeviceUnknown, Exit::NotFound, 404),
            (Code::DeviceRetired, Exit::Refused, 409),
            (Code::OperatorForbidden, Exit::Refused, 403),
            (Code::Unavailable, Exit::Failed, 503),
        ] {
            let error = OperationError::from(code);
            assert_eq!(error.status(), status, "{code}");
            let failure = Failure::from(error);
            assert_eq!((failure.exit, failure.code.as_str()), (exit, code.name()));
            assert!(failure.hint.is_some(), "{code}");
        }
    }

    #[test]
    fn only_what_was_surely_not_done_is_said_to_have_changed_nothing() {
        let hint = |error: OperationError| error.hint.unwrap_or_default();
        let known = OperationError::from(StoreError::Unavailable(Outage::DiskFull));
        assert_eq!((known.code.as_str(), known.status()), (Code::Unavailable.name(), 503));
        assert!(hint(known).contains("nothing was changed"));
        for unknown in [OperationError::from(StoreError::Unknown), OperationError::from(ActError::OutcomeUnknown)] {
            assert_eq!((unknown.code.as_str(), unknown.status()), ("store.outcome_unknown", 503));
            assert!(!hint(unknown.clone()).contains("nothing was changed"), "{unknown:?}");
        }
        let refused = OperationError::from(ActError::Refused(Code::DeviceRetired));
        assert_eq!(refused.code, Code::DeviceRetired.name());
    }
}
