//! Why there is no connection, or no longer one.

use embedded_io_async::ErrorKind;
use muster_protocol::Code;

/// Why the guard gave a connection up. In every case the socket is closed, and nothing that a peer sent is believed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum GuardError {
    /// We refused the gateway: its certificate, or the proof that it has the key.
    GatewayUntrusted(Code),
    /// The gateway refused us, by an alert.
    Refused(Code),
    /// The peer broke TLS, or speaks another one than we do.
    Breach(Breach),
    /// No whole handshake within the deadline.
    Timeout,
    /// The connection ended without a goodbye, or broke.
    Broken,
    /// The device's key did not sign.
    Key,
    /// The name, the certificate or the buffers cannot be used for a handshake.
    Misused,
    /// A write was abandoned half way, or the stream is used after its end.
    Closed,
}

impl GuardError {
    /// The refusal code; the same that the Linux agent reports for the same peer.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::GatewayUntrusted(code) | Self::Refused(code) => code,
            Self::Breach(breach) if breach.is_after_handshake() => Code::SessionProtocol,
            Self::Breach(_) => Code::SessionHandshake,
            Self::Timeout => Code::SessionTimeout,
            Self::Broken | Self::Key | Self::Misused | Self::Closed => Code::Unavailable,
        }
    }
}

impl core::fmt::Display for GuardError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.code().name())
    }
}

impl core::error::Error for GuardError {}

impl embedded_io_async::Error for GuardError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::GatewayUntrusted(_) | Self::Refused(_) => ErrorKind::PermissionDenied,
            Self::Breach(_) => ErrorKind::InvalidData,
            Self::Timeout => ErrorKind::TimedOut,
            Self::Broken => ErrorKind::ConnectionReset,
            Self::Closed => ErrorKind::NotConnected,
            Self::Key | Self::Misused => ErrorKind::Other,
        }
    }
}

/// What exactly a peer did that TLS 1.3 (RFC 9846), or our subset of it, does not allow.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Breach {
    /// A record of a type that cannot come now (section 5.1); the first one has to be a handshake record.
    RecordType = 1,
    /// A record whose legacy version is not 0x0303.
    RecordVersion = 2,
    /// A record shorter than its type allows: an encrypted one has at least a type byte and a tag.
    RecordTooShort = 3,
    /// A record longer than the read buffer, or longer than its type allows.
    RecordTooLarge = 4,
    /// A ServerHello that is malformed or answers what was not asked (section 4.1.3).
    ServerHello = 5,
    /// A HelloRetryRequest: the server does not take the P-256 share.
    HelloRetry = 6,
    /// Another version than TLS 1.3.
    Version = 7,
    /// The encrypted flight cannot be decrypted, or its messages are split, repeated, missing or out of order.
    Flight = 8,
    /// The server did not ask for our certificate: that is no mutual handshake.
    NotMutual = 9,
    /// A message inside the flight is malformed.
    Handshake = 10,
    /// An application record that cannot be decrypted.
    RecordMac = 11,
    /// KeyUpdate (section 4.7.3): the gateway never sends it, and there is no answer to it here.
    KeyUpdate = 12,
    /// A handshake message after the handshake that is not a session ticket.
    StrayHandshake = 13,
    /// An inner content type that does not exist, or a malformed alert.
    InnerType = 14,
    /// More records without data in a row than make sense.
    EmptyRecords = 15,
}

impl Breach {
    const fn is_after_handshake(self) -> bool {
        matches!(self, Self::RecordMac | Self::KeyUpdate | Self::StrayHandshake | Self::InnerType | Self::EmptyRecords)
    }
}
