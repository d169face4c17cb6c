//! What issuing to services and operators has in common: the request, the certificate, the answer.

use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::csr::verify_csr;
use muster_protocol::registrar::Reason;
use muster_protocol::{DeviceId, Identity, UnixTime};

use super::{OperationResult, Operations};
use crate::admin::error::OperationError;
use crate::admin::pem;
use crate::admin::view::{CertificateView, IssuedView, Part, VERSION};
use crate::issuer::Validity;
use crate::store::{Change, NewCertificate, Role, Store};

/// A certificate on its way into the store.
pub(super) struct Made {
    pub(super) certificate: NewCertificate,
    identity: Identity,
}

impl Made {
    pub(super) const fn name(&self) -> &DeviceId {
        self.identity.name()
    }
}

impl<S: Store> Operations<S> {
    /// Checks the request, in PEM, and has the operator CA certify its key.
    pub(super) async fn make(&self, identity: Identity, request: &str, life_secs: u64) -> OperationResult<Made> {
        let request = pem::request(request)?;
        let request = verify_csr(&request, &identity)?;
        let now = self.now();
        let validity = Validity::from_now(now, life_secs);
        let der = self.issuer.issue(&identity, request.public_key(), validity).await.map_err(|error| {
            tracing::error!(%error, %identity, "no certificate was issued");
            OperationError::gateway(format!("no certificate was issued: {error}"))
        })?;
        let made = Certificate::parse(&der)?;
        let role = match identity {
            Identity::Operator { .. } => Role::Operator,
            Identity::Service { .. } => Role::Service,
            Identity::Device { .. } => Role::Device,
        };
        let certificate = NewCertificate {
            serial: made.serial().clone(),
            key: request.public_key().fingerprint(),
            role,
            holder: identity.name().clone(),
            not_before: made.not_before(),
            not_after: made.not_after(),
            issued_at: now,
            der,
        };
        Ok(Made { certificate, identity })
    }

    pub(super) fn issued(&self, made: Made) -> IssuedView {
        let installation = self.installation();
        let name = made.name().clone();
        let certificate = made.certificate;
        IssuedView {
            v: VERSION,
            name,
            serial: certificate.serial,
            not_before: certificate.not_before.into(),
            not_after: certificate.not_after.into(),
            certificate: pem::write_certificate(&certificate.der),
            issuer: pem::write_certificate(&installation.operator_ca),
            gateway_ca: pem::write_certificate(&installation.gateway_ca),
        }
    }

    /// The certificates of a service or operator, newest first.
    pub(super) async fn certificates_of(&self, role: Role, name: &DeviceId) -> OperationResult<Vec<CertificateView>> {
        let now = self.now();
        let found = self.store().certificates(role, name).await?;
        let part = |withdrawn: bool, not_after: UnixTime| match withdrawn || not_after < now {
            true => Part::None,
            false => Part::Current,
        };
        let view = |certificate: &crate::store::Certificate| {
            CertificateView::new(certificate, part(certificate.withdrawn.is_some(), certificate.not_after), now)
        };
        Ok(found.iter().map(view).collect())
    }

    /// Withdraws every certificate of a service or operator.
    pub(super) fn withdraw_all(&self, role: Role, name: &DeviceId, reason: Reason) -> Change {
        Change::WithdrawCertificates { role, holder: name.clone(), reason, at: self.now() }
    }
}
