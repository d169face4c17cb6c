//! What operators hand in and get back as text: certificates and certification requests in PEM (RFC 7468).

use muster_protocol::Code;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;

use super::error::OperationError;

/// Every certificate of a text, DER, in order.
pub(super) fn certificates(text: &str) -> Result<Vec<Vec<u8>>, OperationError> {
    muster_issuing::pem::read_certificates(text).map_err(|_| {
        OperationError::request(Code::CertificateMissing.name(), "there is no certificate in PEM")
            .hint("the text begins with -----BEGIN CERTIFICATE-----")
    })
}

/// A certificate as PEM.
pub(super) fn write_certificate(der: &[u8]) -> String {
    muster_issuing::pem::write_certificates(&[der])
}

/// The one certification request of a text, DER.
pub(super) fn request(text: &str) -> Result<Vec<u8>, OperationError> {
    let malformed = || {
        OperationError::request(Code::CsrMalformed.name(), "there is no certification request in PEM")
            .hint("the text begins with -----BEGIN CERTIFICATE REQUEST-----")
    };
    let csr = CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(|_| malformed())?;
    Ok(csr.to_vec())
}

/// A certification request as PEM.
#[must_use]
pub fn write_request(der: &[u8]) -> String {
    let base64 = base64(der);
    let mut text = String::from("-----BEGIN CERTIFICATE REQUEST-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(LINE_CHARS));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE REQUEST-----\n");
    text
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    let digit = |number: u32| char::from(ALPHABET.get(number as usize & 0x3f).copied().unwrap_or(b'='));
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let octet = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        for position in 0..4 {
            let digit = if position <= group.len() { digit(bits >> (18 - 6 * position)) } else { '=' };
            text.push(digit);
        }
    }
    text
}

const LINE_CHARS: usize = 64;
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_their_text() {
        for length in [1, 2, 3, 47, 48, 49, 300] {
            let der: Vec<u8> = (0..length).map(|index| (index * 37 % 251) as u8).collect();
            assert_eq!(request(&write_request(&der)).unwrap(), der, "{length}");
        }
        assert_eq!(base64(b"foobar"), "Zm9vYmFy");
        assert_eq!(base64(b"foob"), "Zm9vYg==");
        assert_eq!(request("nothing").unwrap_err().code, "csr.malformed");
    }
}
