//! What a device checks about a certificate that it was issued, before it stores it.

use super::check_algorithm;
use crate::code::Code;
use crate::device_id::Identity;
use crate::limits::CERTIFICATE_BYTES_MAX;
use crate::pki::certificate::Certificate;
use crate::pki::extension::KeyUsage;
use crate::pki::key::{KeyFingerprint, PublicKey};
use crate::pki::oid;
use crate::pki::serial::Serial;
use crate::time::UnixTime;

/// Evidence that a certificate is for this identity and this key. Only [`verify_issued`] makes it.
///
/// A device does not know the device CA, so the issuer's signature is not checked: whether the gateway takes the
/// certificate shows when it is tried.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IssuedCertificate {
    serial: Serial,
    public_key: PublicKey,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl IssuedCertificate {
    /// Its serial number.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The key that it certifies: the one that was asked for.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// SHA-256 of the key's SubjectPublicKeyInfo.
    #[must_use]
    pub fn fingerprint(&self) -> KeyFingerprint {
        self.public_key.fingerprint()
    }

    /// First second of validity.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Last second of validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Checks that `der` is an operational certificate for `expected` and `key`: it fits the store, names this identity
/// alone, certifies this key, may be used by a TLS client and for nothing else, and ends after it starts.
pub fn verify_issued(der: &[u8], expected: &Identity, key: &PublicKey) -> Result<IssuedCertificate, Code> {
    if der.len() > CERTIFICATE_BYTES_MAX {
        return Err(Code::CertificateProfile);
    }
    let certificate = Certificate::parse(der)?;
    check_algorithm(&certificate)?;
    if certificate.public_key()? != *key
        || certificate.unknown_critical_extensions().next().is_some()
        || certificate.not_before() >= certificate.not_after()
    {
        return Err(Code::CertificateProfile);
    }
    let key_usage = certificate.key_usage().ok_or(Code::CertificateProfile)?;
    let mut purposes = certificate.extended_key_usage().ok_or(Code::CertificateWrongUsage)?;
    if !key_usage.contains(KeyUsage::DIGITAL_SIGNATURE)
        || key_usage.contains(KeyUsage::KEY_CERT_SIGN)
        || certificate.basic_constraints().is_some_and(|constraints| constraints.ca)
        || purposes.next() != Some(oid::CLIENT_AUTH)
        || purposes.next().is_some()
    {
        return Err(Code::CertificateWrongUsage);
    }
    let identity = certificate.identity()?;
    if identity.fleet() != expected.fleet() {
        return Err(Code::CertificateWrongFleet);
    }
    if identity != *expected {
        return Err(Code::CertificateWrongName);
    }
    Ok(IssuedCertificate {
        serial: certificate.serial().clone(),
        public_key: *key,
        not_before: certificate.not_before(),
        not_after: certificate.not_after(),
    })
}
