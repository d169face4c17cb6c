//! Names that clients offer by ALPN (RFC 7301).

/// A client with a small record buffer. The server keeps its records to [`SMALL_RECORD_BYTES`] for it, and its whole
/// encrypted flight within one record: the firmware agent cannot put a handshake message together from pieces.
///
/// ALPN, since the extensions made for this (RFC 6066, section 4; RFC 8449) are not shown to a server by its TLS library.
pub const SMALL_RECORDS: &[u8] = b"muster-small-records";

/// Longest record toward such a client, header and content; the type byte and the tag of an encrypted one (17 bytes) come
/// on top.
pub const SMALL_RECORD_BYTES: usize = 2048;
