//! The server's encrypted flight: EncryptedExtensions, CertificateRequest, Certificate, CertificateVerify, Finished, in
//! that order, each once, each whole within its record (RFC 9846, section 4). embedded-tls takes them in any order and
//! number, and takes a Finished alone for a handshake.
//!
//! This is looked at between decryption and the library's own parser, so that no message that is out of its place ever
//! reaches it. What the messages say is the verifier's.

use super::link::Phase;

/// The flight is out of order. Nothing more is said: the record was not for us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct OutOfOrder;

/// Checks the handshake messages of one decrypted record that arrived in `phase`.
pub(super) fn check(phase: Phase, mut messages: &[u8]) -> Result<(), OutOfOrder> {
    let mut before = match phase {
        Phase::Opening => Before::Nothing,
        // Whether there was a CertificateRequest is not known between records; a second one changes nothing.
        Phase::Flight => Before::Extensions,
        Phase::ChainOk => Before::Certificate,
        Phase::Authenticated => Before::CertificateVerify,
        Phase::ServerHello | Phase::Established => return Err(OutOfOrder),
    };
    if messages.is_empty() {
        return Err(OutOfOrder);
    }
    while let Some((header, rest)) = messages.split_first_chunk::<4>() {
        let [kind, high, middle, low] = *header;
        let length = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
        let (body, rest) = rest.split_at_checked(length).ok_or(OutOfOrder)?;
        before = match (before, kind) {
            (Before::Nothing, ENCRYPTED_EXTENSIONS) => Before::Extensions,
            // The context is for requests after the handshake, which there are none of.
            (Before::Extensions, CERTIFICATE_REQUEST) if body.first() == Some(&0) => Before::Request,
            (Before::Extensions | Before::Request, CERTIFICATE) if body.first() == Some(&0) => Before::Certificate,
            (Before::Certificate, CERTIFICATE_VERIFY) => Before::CertificateVerify,
            (Before::CertificateVerify, FINISHED) if length == FINISHED_BYTES => Before::Finished,
            _ => return Err(OutOfOrder),
        };
        messages = rest;
    }
    if messages.is_empty() { Ok(()) } else { Err(OutOfOrder) }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Before {
    Nothing,
    Extensions,
    Request,
    Certificate,
    CertificateVerify,
    Finished,
}

const ENCRYPTED_EXTENSIONS: u8 = 8;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
const CERTIFICATE_VERIFY: u8 = 15;
const FINISHED: u8 = 20;
/// An HMAC-SHA-256.
const FINISHED_BYTES: usize = 32;
