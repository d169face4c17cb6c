//! Factory CAs, and the shipment manifests that they sign.

use muster_protocol::Code;
use muster_protocol::pki::certificate::Certificate;
use muster_protocol::pki::trust_anchor::TrustAnchor;

use super::status::subject;
use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::pem;
use crate::admin::view::{Done, FactoryCaAdded, FactoryCaView, Imported, ManifestView, Removed, Rows, VERSION};
use crate::audit::AuditKind;
use crate::manifest::{self, ImportError};
use crate::store::{Change, DocumentId, FactoryCa, OperatorRole, Store};

/// Certificates in one file.
const FILE_CERTIFICATES_MAX: usize = 16;

impl<S: Store> Operations<S> {
    /// Adds every CA of a PEM text, or none.
    ///
    /// # Errors
    /// When one is no CA, has expired, is one of the gateway's own, or the store does not answer.
    pub async fn add_factory_cas(&self, caller: &Caller, text: &str) -> OperationResult<Rows<FactoryCaAdded>> {
        self.allow(caller, OperatorRole::Admin, "factory-ca add").await?;
        let cas = pem::certificates(text)?
            .into_iter()
            .map(|der| self.check_factory_ca(der))
            .collect::<OperationResult<Vec<_>>>()?;
        if cas.is_empty() || cas.len() > FILE_CERTIFICATES_MAX {
            return Err(OperationError::request(
                Code::CertificateMissing.name(),
                format!("from 1 to {FILE_CERTIFICATES_MAX} certificates are expected, and {} were found", cas.len()),
            ));
        }
        let known = self.store().factory_cas().await?;
        let new = cas.iter().filter(|ca| !known.iter().any(|known| known.id == ca.id));
        let mut changes = Vec::new();
        for ca in new {
            let event = self
                .event(caller, AuditKind::FactoryCaAdded)
                .detail("ca", ca.id)
                .detail("subject", &ca.subject)
                .detail("key", ca.key);
            changes.push(Change::AddFactoryCa(ca.clone()));
            changes.push(Change::Audit(Box::new(event)));
        }
        if !changes.is_empty() {
            self.apply(changes).await?;
        }
        let added = |ca: &FactoryCa| match known.iter().find(|known| known.id == ca.id) {
            Some(known) => FactoryCaAdded { ca: known.into(), added: Done::Before },
            None => FactoryCaAdded { ca: ca.into(), added: Done::Now },
        };
        Ok(Rows::all(cas.iter().map(added).collect()))
    }

    /// All factory CAs, oldest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn factory_cas(&self, caller: &Caller) -> OperationResult<Rows<FactoryCaView>> {
        self.allow(caller, OperatorRole::Viewer, "factory-ca list").await?;
        Ok(Rows::all(self.store().factory_cas().await?.iter().map(Into::into).collect()))
    }

    /// Removes factory CAs. Devices that are enrolled stay; a new enrolment under such a CA is refused from now on.
    ///
    /// # Errors
    /// When one is not registered; then none is removed.
    pub async fn remove_factory_cas(&self, caller: &Caller, ids: &[DocumentId]) -> OperationResult<Removed> {
        self.allow(caller, OperatorRole::Admin, "factory-ca remove").await?;
        let known = self.store().factory_cas().await?;
        let mut changes = Vec::new();
        for id in ids {
            let Some(ca) = known.iter().find(|ca| ca.id == *id) else {
                return Err(OperationError::missing("factory_ca.unknown", format!("there is no factory CA {id}"))
                    .hint("see factory-ca list"));
            };
            let event = self.event(caller, AuditKind::FactoryCaRemoved).detail("ca", id).detail("subject", &ca.subject);
            changes.push(Change::RemoveFactoryCa(*id));
            changes.push(Change::Audit(Box::new(event)));
        }
        self.apply(changes).await?;
        Ok(Removed { v: VERSION, removed: ids.iter().map(DocumentId::to_string).collect() })
    }

    /// Imports a shipment manifest: all its devices, or none.
    ///
    /// # Errors
    /// Why it does not count; recorded.
    pub async fn import_manifest(&self, caller: &Caller, bytes: Vec<u8>) -> OperationResult<Imported> {
        self.allow(caller, OperatorRole::Admin, "manifest import").await?;
        let _one_at_a_time = self.importing.lock().await;
        let fleet = self.registrars.context().fleet.clone();
        let import = match manifest::import(self.store(), bytes, &fleet, caller.by(), self.now()).await {
            Ok(import) => import,
            Err(error) => {
                if !matches!(error, ImportError::Store(_)) {
                    let event = self.event(caller, AuditKind::ManifestRefused).code(error.code()).detail("why", &error);
                    self.registrars.record_refusal(event).await;
                }
                return Err(import_error(&error));
            }
        };
        Ok(Imported {
            v: VERSION,
            id: import.row.id.to_string(),
            imported: if import.was_complete { Done::Before } else { Done::Now },
            product: import.row.product,
            lot: import.row.lot,
            devices: import.row.devices,
            added: import.added,
        })
    }

    /// Manifests that were imported, newest first.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn manifests(&self, caller: &Caller) -> OperationResult<Rows<ManifestView>> {
        self.allow(caller, OperatorRole::Viewer, "manifest list").await?;
        Ok(Rows::all(self.store().manifests().await?.iter().map(Into::into).collect()))
    }

    fn check_factory_ca(&self, der: Vec<u8>) -> OperationResult<FactoryCa> {
        let refuse = |code: Code, why: &str| {
            Err(OperationError::rule(code.name(), format!("not a factory CA: {why}"))
                .hint("give the certificate of the factory's root or issuing CA"))
        };
        let certificate = match Certificate::parse(&der) {
            Ok(certificate) => certificate,
            Err(code) => return refuse(code, code.text()),
        };
        let anchor = match TrustAnchor::from_der(&der) {
            Ok(anchor) => anchor,
            Err(code @ Code::CertificateWrongUsage) => return refuse(code, "it may not sign certificates"),
            Err(code) => return refuse(code, code.text()),
        };
        let now = self.now();
        if certificate.not_after() < now {
            return refuse(Code::CertificateExpired, "it has expired");
        }
        let installation = self.installation();
        let own = [&installation.device_ca, &installation.gateway_ca, &installation.operator_ca];
        let is_own = |der: &&Vec<u8>| {
            Certificate::parse(der).is_ok_and(|ca| {
                ca.spki_der() == certificate.spki_der() || ca.subject_der() == certificate.subject_der()
            })
        };
        if own.iter().any(is_own) {
            return refuse(Code::CertificateProfile, "it is one of the gateway's own CAs, and no CA has two jobs");
        }
        let subject = subject(&certificate, "(no name)");
        let (key, not_after) = (anchor.public_key().fingerprint(), certificate.not_after());
        Ok(FactoryCa { id: DocumentId::of(&der), key, subject, not_after, added_at: now, der })
    }
}

fn import_error(error: &ImportError) -> OperationError {
    let base = OperationError::from(error.code());
    match error {
        ImportError::Refused(_) => base,
        ImportError::Conflict(_) => OperationError { message: error.to_string(), ..base }
            .hint("nothing was imported; ask the factory which of the two devices is meant"),
        ImportError::Store(error) => error.clone().into(),
    }
}
