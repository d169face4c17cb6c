//! What an alert of the gateway means (RFC 9846, section 6). The same table as the Linux agent's: an alert has less to
//! say than a code, several causes share one, and the gateway's own log has the exact one.

use muster_protocol::Code;

use super::error::GuardError;

/// What a peer says by an alert.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Alert {
    /// It ends the connection in order: close_notify, user_canceled.
    Goodbye,
    /// It refuses us.
    Refusal(Code),
}

impl Alert {
    /// Reads the description; the level says nothing in TLS 1.3.
    pub(super) const fn of(description: u8) -> Self {
        Self::Refusal(match description {
            0 | 90 => return Self::Goodbye,
            42 => Code::CertificateMalformed,
            43 => Code::CertificateWrongUsage,
            44 => Code::CertificateRevoked,
            45 => Code::CertificateExpired,
            46 => Code::CertificateUnknown,
            48 => Code::CertificateUntrusted,
            49 => Code::CertificateNoIdentity,
            51 => Code::CertificateBadSignature,
            80 => Code::Unavailable,
            116 => Code::CertificateMissing,
            _ => Code::SessionHandshake,
        })
    }

    /// The end of a handshake by this alert.
    pub(super) const fn as_handshake_error(self) -> GuardError {
        match self {
            Self::Goodbye => GuardError::Broken,
            Self::Refusal(code) => GuardError::Refused(code),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_refusals_and_a_goodbye_is_not() {
        assert_eq!(Alert::of(0), Alert::Goodbye);
        assert_eq!(Alert::of(90), Alert::Goodbye);
        assert_eq!(Alert::of(45), Alert::Refusal(Code::CertificateExpired));
        assert_eq!(Alert::of(48).as_handshake_error(), GuardError::Refused(Code::CertificateUntrusted));
        assert_eq!(Alert::of(40), Alert::Refusal(Code::SessionHandshake));
        assert_eq!(Alert::of(255), Alert::Refusal(Code::SessionHandshake));
    }
}
