//! Import of shipment manifests: which devices a factory made comes into the registry, all of them or none.
//!
//! A manifest counts when its signature is that of the issuing CA in it, that CA is or was issued by a registered factory
//! CA, and the fleet is ours. It comes in by one transaction of the store, whatever its size: an import that was refused or
//! interrupted has changed nothing.

use std::sync::Arc;

use muster_protocol::manifest::Manifest;
use muster_protocol::pki::chain::verify_issuing_ca;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::{Code, DeviceId, FleetId, UnixTime};

use crate::audit::{AuditEvent, AuditKind};
use crate::registrar::{By, apply_until_known};
use crate::store::{Change, DocumentId, ManifestRow, Outcome, Refusal, Shipment, Store, StoreError, Transaction};

/// What an import came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Import {
    /// The manifest.
    pub row: ManifestRow,
    /// How many of its devices were not registered before.
    pub added: u32,
    /// Whether it was complete before this import.
    pub was_complete: bool,
}

/// Why a manifest was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// It does not count; nothing was changed.
    #[error("{0}")]
    Refused(Code),
    /// A device in it is registered with another key, or its key belongs to somebody else; nothing was changed.
    #[error("device {0} is registered with another key, or its key is another device's")]
    Conflict(DeviceId),
    /// The store failed: nothing was changed, unless it says that the outcome is unknown.
    #[error(transparent)]
    Store(StoreError),
}

impl ImportError {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(code) => *code,
            Self::Conflict(_) => Code::ManifestConflict,
            Self::Store(error) => error.code(),
        }
    }
}

/// Imports a manifest. Call it once at a time, so that the second of two finds the manifest imported.
///
/// # Errors
/// Why not. Refusals are for the caller to record.
pub async fn import<S: Store>(
    store: &S,
    bytes: Vec<u8>,
    fleet: &FleetId,
    by: &By,
    now: UnixTime,
) -> Result<Import, ImportError> {
    let shipment = check(store, bytes, fleet, now).await?;
    let row = shipment.row.clone();
    if store.manifest(row.id).await.map_err(ImportError::Store)?.is_some() {
        return Ok(Import { row, added: 0, was_complete: true });
    }
    let event = imported(&row, by, now);
    let transaction = Transaction::new(vec![Change::Import(Arc::new(shipment)), Change::Audit(Box::new(event))]);
    let applied = apply_until_known(store, transaction).await.map_err(|error| match error {
        StoreError::Refused(Refusal::DeviceConflict(device)) => ImportError::Conflict(device),
        error => ImportError::Store(error),
    })?;
    let added = match applied.outcomes.first() {
        Some(Outcome::Added(added)) => *added,
        _ => 0,
    };
    Ok(Import { row, added, was_complete: false })
}

async fn check<S: Store>(store: &S, bytes: Vec<u8>, fleet: &FleetId, now: UnixTime) -> Result<Shipment, ImportError> {
    let cas = store.factory_cas().await.map_err(ImportError::Store)?;
    let fleet = fleet.clone();
    // A large manifest takes a second to read: not on a thread that serves sessions.
    let task = tokio::task::spawn_blocking(move || {
        let anchors: Vec<_> = cas.iter().filter_map(|ca| TrustAnchor::from_der(&ca.der).ok()).collect();
        read(&bytes, &anchors, &fleet, now)
    });
    task.await.map_err(|_| ImportError::Refused(Code::Unavailable))?.map_err(ImportError::Refused)
}

fn read(bytes: &[u8], anchors: &[TrustAnchor<'_>], fleet: &FleetId, now: UnixTime) -> Result<Shipment, Code> {
    let manifest = Manifest::verify(bytes)?;
    let header = manifest.header();
    let issuer = verify_issuing_ca(header.issuing_ca, anchors, now).map_err(|code| match code {
        Code::CertificateUntrusted | Code::CertificateSelfSigned | Code::CertificateBadSignature => {
            Code::ManifestUntrusted
        }
        code => code,
    })?;
    if issuer.public_key() != manifest.signer() {
        return Err(Code::ManifestBadSignature);
    }
    if header.fleet != *fleet {
        return Err(Code::ManifestWrongFleet);
    }
    let row = ManifestRow {
        id: DocumentId(*manifest.id()),
        product: header.product.as_str().to_owned(),
        lot: header.lot.as_str().to_owned(),
        devices: header.devices,
        made_at: header.made_at,
        imported_at: now,
        signer: issuer.fingerprint(),
    };
    let devices: Vec<_> = manifest.entries().map(|entry| (entry.device, entry.key)).collect();
    let mut keys: Vec<_> = devices.iter().map(|(_, key)| *key).collect();
    keys.sort_unstable();
    // Ids are known to rise; two devices with one key would both be refused for good.
    if keys.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err(Code::ManifestMalformed);
    }
    Ok(Shipment { row, devices })
}

fn imported(row: &ManifestRow, by: &By, now: UnixTime) -> AuditEvent {
    let mut event = AuditEvent::new(now, AuditKind::ManifestImported, by.actor.clone())
        .detail("manifest", row.id)
        .detail("product", &row.product)
        .detail("lot", &row.lot)
        .detail("devices", row.devices)
        .detail("signer", row.signer);
    event.peer = by.peer;
    event
}
