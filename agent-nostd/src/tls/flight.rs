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

#[cfg(test)]
mod tests {
    use super::*;

    const PHASES: [Phase; 6] =
        [Phase::ServerHello, Phase::Opening, Phase::Flight, Phase::ChainOk, Phase::Authenticated, Phase::Established];
    const EE: &[u8] = &[ENCRYPTED_EXTENSIONS, 0, 0, 2, 0, 0];
    const CR: &[u8] = &[CERTIFICATE_REQUEST, 0, 0, 3, 0, 0, 0];
    const CT: &[u8] = &[CERTIFICATE, 0, 0, 4, 0, 0, 0, 0];
    const CV: &[u8] = &[CERTIFICATE_VERIFY, 0, 0, 4, 4, 3, 0, 0];

    fn join(messages: &[&[u8]]) -> heapless::Vec<u8, 256> {
        let mut all = heapless::Vec::new();
        messages.iter().for_each(|message| all.extend_from_slice(message).unwrap_or_default());
        all
    }

    fn finished() -> [u8; 36] {
        let mut message = [7; 36];
        message[..4].copy_from_slice(&[FINISHED, 0, 0, 32]);
        message
    }

    #[test]
    fn a_flight_may_be_cut_between_its_messages_and_nowhere_else() {
        let fin = &finished()[..];
        for (phase, messages) in [
            (Phase::Opening, &[EE, CR, CT, CV, fin][..]),
            (Phase::Opening, &[EE, CT, CV, fin]),
            (Phase::Flight, &[CR, CT, CV, fin]),
            (Phase::Flight, &[CT, CV, fin]),
            (Phase::ChainOk, &[CV, fin]),
            (Phase::Authenticated, &[fin]),
        ] {
            let all = join(messages);
            let mut ends = heapless::Vec::<usize, 5>::new();
            for count in 1..=messages.len() {
                ends.push(join(&messages[..count]).len()).unwrap_or_default();
            }
            for end in 0..=all.len() {
                assert_eq!(check(phase, &all[..end]).is_ok(), ends.contains(&end), "{phase:?} cut at {end}");
            }
            for other in PHASES.iter().filter(|other| **other != phase) {
                assert_eq!(check(*other, &all), Err(OutOfOrder), "{phase:?} as {other:?}");
            }
        }
    }

    #[test]
    fn every_other_order_is_refused() {
        let fin = &finished()[..];
        for messages in [
            join(&[]),
            join(&[fin]),
            join(&[EE, fin]),
            join(&[EE, CR, fin]),
            join(&[EE, CT, fin]),
            join(&[EE, CV, CT, fin]),
            join(&[EE, EE]),
            join(&[EE, CR, CR]),
            join(&[EE, CT, CT]),
            join(&[EE, CT, CV, CV]),
            join(&[EE, CT, CR, CV]),
            join(&[EE, CT, CV, fin, fin]),
            join(&[EE, CT, CV, fin, EE]),
            join(&[CT, CV, fin]),
            join(&[EE, &[24, 0, 0, 1, 0]]),
            join(&[EE, &[4, 0, 0, 0]]),
            join(&[EE, &[CERTIFICATE_REQUEST, 0, 0, 4, 1, 9, 0, 0]]),
            join(&[EE, &[CERTIFICATE, 0, 0, 0]]),
            join(&[EE, CT, CV, &[FINISHED, 0, 0, 0]]),
        ] {
            assert_eq!(check(Phase::Opening, &messages), Err(OutOfOrder), "{messages:02x?}");
        }
    }
}
