//! Certificates as PEM (RFC 7468, section 5).

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

/// The text has no certificate, or something that is not one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("no certificate in PEM")]
pub struct NotPem;

/// Reads every certificate of a text, in order; at least one.
pub fn read_certificates(text: &str) -> Result<Vec<Vec<u8>>, NotPem> {
    let certificates: Vec<Vec<u8>> = CertificateDer::pem_slice_iter(text.as_bytes())
        .map(|certificate| certificate.map(|der| der.to_vec()))
        .collect::<Result<_, _>>()
        .map_err(|_| NotPem)?;
    if certificates.is_empty() { Err(NotPem) } else { Ok(certificates) }
}

/// Writes certificates, one after the other.
#[must_use]
pub fn write_certificates<T: AsRef<[u8]>>(certificates: &[T]) -> String {
    certificates.iter().map(|der| encode(der.as_ref())).collect()
}

fn encode(der: &[u8]) -> String {
    use p256::pkcs8::der::pem::{LineEnding, encode_string};
    // The label is well-formed and the length is that of one certificate: nothing is left that could fail.
    encode_string("CERTIFICATE", LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let text = write_certificates(&[vec![1; 100], vec![2; 3]]);
        assert_eq!(read_certificates(&text).unwrap(), [vec![1; 100], vec![2; 3]]);
        assert_eq!(read_certificates("nothing"), Err(NotPem));
        assert_eq!(read_certificates("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"), Err(NotPem));
    }
}
