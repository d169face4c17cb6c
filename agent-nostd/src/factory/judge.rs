//! What a board is willing to become.
//!
//! The station on the bench is trusted, its mistakes are not: a certificate for another key, another fleet's bundle or a
//! damaged file would be locked for life. Whether the factory's CA is a good one the gateway will say; the board has
//! nothing to judge that by.

use muster_protocol::pki::extension::KeyUsage;
use muster_protocol::pki::{Certificate, PublicKey};
use muster_protocol::trust::read_fleet_file;
use muster_protocol::{Code, Identity};

/// Checks that `certificate` is an end entity's, for a device and for `key`, and that `trust` is whole, signed by its
/// pins, and of the same fleet.
pub(super) fn judge(certificate: &[u8], trust: &[u8], key: &PublicKey) -> Result<(), Code> {
    let certificate = Certificate::parse(certificate)?;
    if certificate.public_key()? != *key || certificate.unknown_critical_extensions().next().is_some() {
        return Err(Code::CertificateProfile);
    }
    let signs_alone = certificate.key_usage().is_some_and(|usage| {
        usage.contains(KeyUsage::DIGITAL_SIGNATURE)
            && !usage.contains(KeyUsage::KEY_CERT_SIGN)
            && !usage.contains(KeyUsage::CRL_SIGN)
    });
    if !signs_alone || certificate.basic_constraints().is_some_and(|constraints| constraints.ca) {
        return Err(Code::CertificateWrongUsage);
    }
    let Identity::Device { fleet, .. } = certificate.identity()? else { return Err(Code::CertificateNoIdentity) };
    if read_fleet_file(trust)?.bundle().fleet != fleet {
        return Err(Code::BundleWrongFleet);
    }
    Ok(())
}
