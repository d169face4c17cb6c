//! Trust anchors (RFC 5280, section 6.1.1): a CA's name, key and constraints, taken from its certificate.
//!
//! An anchor is trusted as a key: neither its own signature nor its expiry is looked at, so an anchor past its
//! notAfter still verifies. What it may anchor is checked: a CA certificate with keyCertSign and a P-256 key.

use super::certificate::Certificate;
use super::key::PublicKey;
use crate::code::Code;

/// A CA that is trusted, borrowed from its certificate.
#[derive(Clone, Debug)]
pub struct TrustAnchor<'a> {
    inner: rustls_pki_types::TrustAnchor<'a>,
    certificate: Certificate<'a>,
    public_key: PublicKey,
    path_len: Option<u8>,
}

impl<'a> TrustAnchor<'a> {
    /// Reads a CA certificate. [`Code::CertificateWrongUsage`] when it is no CA or may not sign certificates.
    pub fn from_der(der: &'a [u8]) -> Result<Self, Code> {
        let certificate = Certificate::parse(der)?;
        let path_len = certificate.check_issuer()?;
        let public_key = certificate.public_key()?;
        let inner = rustls_pki_types::TrustAnchor {
            subject: certificate.subject_content().into(),
            subject_public_key_info: certificate.spki_content().into(),
            name_constraints: certificate.name_constraints_content().map(Into::into),
        };
        Ok(Self { inner, certificate, public_key, path_len })
    }

    /// The CA's key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The CA's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &Certificate<'a> {
        &self.certificate
    }

    /// How many non-self-issued CAs may stand between this one and the leaf; `None` for any number.
    #[must_use]
    pub const fn path_len(&self) -> Option<u8> {
        self.path_len
    }

    /// The anchor as webpki and rustls take it.
    #[must_use]
    pub const fn as_webpki(&self) -> &rustls_pki_types::TrustAnchor<'a> {
        &self.inner
    }
}
