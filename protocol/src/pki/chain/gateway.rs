//! Whom a device talks to: the gateway, by a gateway CA of the trust bundle and nothing else.

use rustls_pki_types::{CertificateDer, ServerName, SignatureVerificationAlgorithm};
use webpki::EndEntityCert;

use super::{Presented, Usage, code_of};
use crate::code::Code;
use crate::limits::GATEWAY_CAS_MAX;
use crate::pki::key::PublicKey;
use crate::pki::serial::Serial;
use crate::pki::trust_anchor::TrustAnchor;
use crate::time::UnixTime;

/// What a device knows of the date.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct GatewayClock {
    /// The stored floor: it cannot be earlier.
    pub floor: UnixTime,
    /// The civil clock, where there is one.
    pub civil: Option<UnixTime>,
}

impl GatewayClock {
    /// The time at which a chain is judged, never before the floor. A certificate is not made before its time: a clock
    /// that is behind the leaf's notBefore (no battery, ten years in a drawer) is as good as none, and without a clock
    /// it is not earlier than the newest notBefore of what was presented.
    fn judged_at(self, leaf_not_before: UnixTime, newest_not_before: UnixTime) -> UnixTime {
        match self.civil.map(|civil| civil.max(self.floor)) {
            Some(time) if time >= leaf_not_before => time,
            _ => newest_not_before.max(self.floor),
        }
    }
}

/// Evidence that the gateway's chain was checked. Only [`verify_gateway`] makes it.
///
/// Whether the peer also has the key is for the TLS handshake to show.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VerifiedGateway {
    serial: Serial,
    public_key: PublicKey,
    not_before: UnixTime,
    not_after: UnixTime,
}

impl VerifiedGateway {
    /// Serial number of its certificate.
    #[must_use]
    pub const fn serial(&self) -> &Serial {
        &self.serial
    }

    /// Its key.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The newest notBefore of the verified path: it is later than that, so a floor may rise to it. Whoever raises a
    /// floor bounds the step, so that a certificate with a wrong time cannot lock a device out.
    #[must_use]
    pub const fn not_before(&self) -> UnixTime {
        self.not_before
    }

    /// Last second of its certificate's validity.
    #[must_use]
    pub const fn not_after(&self) -> UnixTime {
        self.not_after
    }
}

/// Checks the chain of a gateway, leaf first, that was reached as `name` (a DNS name or an IP address).
///
/// `gateway_cas` are CA certificates in DER; one that is no usable CA is passed over and anchors nothing. The name
/// has to stand in the subjectAltName (RFC 9525; never the commonName), and the key purpose has to be serverAuth alone.
pub fn verify_gateway(
    chain: &[&[u8]],
    gateway_cas: &[&[u8]],
    name: &str,
    clock: GatewayClock,
    algorithms: &[&dyn SignatureVerificationAlgorithm],
) -> Result<VerifiedGateway, Code> {
    let presented = Presented::read(chain)?;
    let name = ServerName::try_from(name).map_err(|_| Code::CertificateWrongName)?;
    let anchors: heapless::Vec<TrustAnchor<'_>, GATEWAY_CAS_MAX> =
        gateway_cas.iter().filter_map(|der| TrustAnchor::from_der(der).ok()).take(GATEWAY_CAS_MAX).collect();
    let newest = presented.all().map(|certificate| certificate.not_before()).max().unwrap_or_default();
    let now = clock.judged_at(presented.leaf.not_before(), newest);
    let path = presented
        .verify(anchors.iter(), Usage::Server, now, algorithms)
        .map_err(|code| presented.or_self_signed(code, algorithms))?;
    let public_key = presented.check_end_entity()?;
    presented.check_purpose(Usage::Server)?;
    let leaf = &presented.leaf;
    let der = CertificateDer::from(leaf.der());
    EndEntityCert::try_from(&der)
        .and_then(|leaf| leaf.verify_is_valid_for_subject_name(&name))
        .map_err(|error| code_of(&error))?;
    Ok(VerifiedGateway {
        serial: leaf.serial().clone(),
        public_key,
        not_before: path.newest_not_before,
        not_after: leaf.not_after(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_is_never_before_the_floor_nor_before_the_certificate() {
        let floor = UnixTime(100);
        for (civil, leaf, newest, judged) in [
            (Some(50), 10, 10, 100),
            (Some(150), 10, 10, 150),
            (Some(150), 10, 300, 150),
            (Some(150), 200, 300, 300),
            (Some(400), 200, 300, 400),
            (None, 10, 10, 100),
            (None, 10, 300, 300),
        ] {
            let clock = GatewayClock { floor, civil: civil.map(UnixTime) };
            let at = clock.judged_at(UnixTime(leaf), UnixTime(newest));
            assert_eq!(at, UnixTime(judged), "{civil:?} {leaf} {newest}");
        }
    }
}
