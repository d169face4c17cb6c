//! What a TLS failure means: whom it blames, and with which refusal code (RFC 9846, section 6.2).
//!
//! An alert has less to say than a code: several causes share one. The gateway's own log has the exact one.

use std::io;

use muster_protocol::Code;
use rustls::{AlertDescription, Error};

/// Whose fault a failed handshake is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Blame {
    /// We refused the gateway.
    Gateway(Code),
    /// The gateway refused us.
    Refused(Code),
    /// The connection, or our own key store.
    Nobody,
}

/// The gateway's refusal inside an I/O error of a TLS stream, if that is what it is. Since the gateway judges a client
/// after the client's handshake is over, this also happens on the first read.
#[must_use]
pub fn refusal(error: &io::Error) -> Option<Code> {
    match blame(error) {
        Blame::Refused(code) => Some(code),
        Blame::Gateway(_) | Blame::Nobody => None,
    }
}

pub(super) fn blame(error: &io::Error) -> Blame {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return Blame::Nobody;
    };
    match error {
        Error::AlertReceived(AlertDescription::CloseNotify | AlertDescription::UserCanceled) => Blame::Nobody,
        Error::AlertReceived(alert) => Blame::Refused(code_of(*alert)),
        // The chain itself is judged elsewhere; this is CertificateVerify: the peer does not have the key.
        Error::InvalidCertificate(_) => Blame::Gateway(Code::CertificateBadSignature),
        Error::NoCertificatesPresented => Blame::Gateway(Code::CertificateMissing),
        Error::General(_) => Blame::Nobody,
        _ => Blame::Refused(Code::SessionHandshake),
    }
}

fn code_of(alert: AlertDescription) -> Code {
    match alert {
        AlertDescription::CertificateExpired => Code::CertificateExpired,
        AlertDescription::CertificateRevoked => Code::CertificateRevoked,
        AlertDescription::UnknownCA => Code::CertificateUntrusted,
        AlertDescription::UnsupportedCertificate => Code::CertificateWrongUsage,
        AlertDescription::BadCertificate => Code::CertificateMalformed,
        AlertDescription::DecryptError => Code::CertificateBadSignature,
        AlertDescription::CertificateRequired => Code::CertificateMissing,
        AlertDescription::CertificateUnknown => Code::CertificateUnknown,
        AlertDescription::AccessDenied => Code::CertificateNoIdentity,
        AlertDescription::InternalError => Code::Unavailable,
        _ => Code::SessionHandshake,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_refusals_and_a_broken_line_is_not() {
        let alert = |alert| io::Error::new(io::ErrorKind::InvalidData, Error::AlertReceived(alert));
        for (received, code) in [
            (AlertDescription::CertificateExpired, Code::CertificateExpired),
            (AlertDescription::CertificateRevoked, Code::CertificateRevoked),
            (AlertDescription::UnknownCA, Code::CertificateUntrusted),
            (AlertDescription::HandshakeFailure, Code::SessionHandshake),
        ] {
            assert_eq!(refusal(&alert(received)), Some(code), "{received:?}");
        }
        assert_eq!(refusal(&alert(AlertDescription::CloseNotify)), None);
        assert_eq!(refusal(&io::ErrorKind::ConnectionReset.into()), None);
        assert_eq!(refusal(&io::Error::other(Error::General("key".to_owned()))), None);
    }
}
