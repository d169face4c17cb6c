//! Import of shipment manifests: which devices a factory made comes into the registry, all of them or none.
//!
//! A manifest counts when its signature is that of the issuing CA in it, that CA is or was issued by a registered factory
//! CA, and the fleet is ours. Every device is looked up before the first one is written, so a manifest that is refused
//! has changed nothing. What fits one transaction is written in one. A larger manifest is written in several, and is
//! recorded as complete by the last; one that was interrupted is finished by importing it again.

use futures_util::{StreamExt, TryStreamExt, stream};
use muster_protocol::manifest::Manifest;
use muster_protocol::pki::chain::verify_issuing_ca;
use muster_protocol::pki::key::KeyFingerprint;
use muster_protocol::pki::trust_anchor::TrustAnchor;
use muster_protocol::{Code, DeviceId, FleetId, UnixTime};

use crate::audit::{AuditEvent, AuditKind};
use crate::registrar::{By, apply_until_known};
use crate::store::{Change, DocumentId, ManifestRow, NewDevice, Outcome, Refusal, Store, StoreError, Transaction};

/// Devices written in one transaction; beside them stand the manifest, its completion and the audit record.
pub const DEVICES_PER_TRANSACTION: usize = 1000;
/// Devices looked up at the same time.
const LOOK_UPS: usize = 16;
const COMPLETE: &str = "complete";

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
    /// The store did not answer before anything was written.
    #[error(transparent)]
    Store(StoreError),
    /// The store failed on the way: so many devices are in. Importing again finishes it.
    #[error("{written} of {of} devices were written, then: {source}")]
    Interrupted {
        /// How many are in.
        written: u32,
        /// How many there are.
        of: u32,
        /// What failed.
        source: StoreError,
    },
}

impl ImportError {
    /// The code.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Refused(code) => *code,
            Self::Conflict(_) => Code::ManifestConflict,
            Self::Store(error) | Self::Interrupted { source: error, .. } => error.code(),
        }
    }
}

/// A manifest that counts, taken out of its bytes.
struct Checked {
    row: ManifestRow,
    devices: Vec<(DeviceId, KeyFingerprint)>,
}

/// Imports a manifest. Call it once at a time: it looks first and writes then.
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
    let checked = check(store, bytes, fleet, now).await?;
    let completion = completion_key(checked.row.id);
    if store.meta(&completion).await.map_err(ImportError::Store)?.as_deref() == Some(COMPLETE) {
        return Ok(Import { row: checked.row, added: 0, was_complete: true });
    }
    look_for_conflicts(store, &checked.devices).await?;
    let added = write(store, &checked, completion, by, now).await?;
    Ok(Import { row: checked.row, added, was_complete: false })
}

async fn check<S: Store>(store: &S, bytes: Vec<u8>, fleet: &FleetId, now: UnixTime) -> Result<Checked, ImportError> {
    let cas = store.factory_cas().await.map_err(ImportError::Store)?;
    let fleet = fleet.clone();
    // A large manifest takes a second to read: not on a thread that serves sessions.
    let task = tokio::task::spawn_blocking(move || {
        let anchors: Vec<_> = cas.iter().filter_map(|ca| TrustAnchor::from_der(&ca.der).ok()).collect();
        read(&bytes, &anchors, &fleet, now)
    });
    task.await.map_err(|_| ImportError::Refused(Code::Unavailable))?.map_err(ImportError::Refused)
}

fn read(bytes: &[u8], anchors: &[TrustAnchor<'_>], fleet: &FleetId, now: UnixTime) -> Result<Checked, Code> {
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
    Ok(Checked { row, devices })
}

async fn look_for_conflicts<S: Store>(store: &S, devices: &[(DeviceId, KeyFingerprint)]) -> Result<(), ImportError> {
    let look = |(id, key): &(DeviceId, KeyFingerprint)| {
        let (id, key) = (id.clone(), *key);
        async move {
            let by_id = store.device(&id).await.map_err(ImportError::Store)?;
            let by_key = store.device_by_idevid(&key).await.map_err(ImportError::Store)?;
            let certified = store.certificate_by_key(&key).await.map_err(ImportError::Store)?;
            let same_key = by_id.is_none_or(|device| device.record.idevid == key);
            let same_id = by_key.is_none_or(|device| *device.id() == id);
            if same_key && same_id && certified.is_none() { Ok(()) } else { Err(ImportError::Conflict(id)) }
        }
    };
    stream::iter(devices.iter().map(look)).buffer_unordered(LOOK_UPS).try_collect::<()>().await
}

async fn write<S: Store>(
    store: &S,
    checked: &Checked,
    completion: String,
    by: &By,
    now: UnixTime,
) -> Result<u32, ImportError> {
    let row = &checked.row;
    let (mut written, mut added) = (0_u32, 0_u32);
    let mut batches = checked.devices.chunks(DEVICES_PER_TRANSACTION).peekable();
    loop {
        let batch = batches.next().unwrap_or_default();
        let mut changes = vec![Change::InsertManifest(row.clone())];
        changes.extend(batch.iter().map(|(device, idevid)| {
            Change::InsertDevice(NewDevice {
                device: device.clone(),
                idevid: *idevid,
                product: row.product.clone(),
                lot: row.lot.clone(),
                manifest: Some(row.id),
                at: now,
            })
        }));
        let last = batches.peek().is_none();
        if last {
            changes.push(Change::SetMeta { key: completion.clone(), value: COMPLETE.to_owned() });
            changes.push(Change::Audit(Box::new(imported(row, by, now))));
        }
        let applied = apply_until_known(store, Transaction::new(changes)).await.map_err(|error| match error {
            StoreError::Refused(Refusal::DeviceConflict(device)) if written == 0 => ImportError::Conflict(device),
            error if written == 0 => ImportError::Store(error),
            source => ImportError::Interrupted { written, of: row.devices, source },
        })?;
        let outcomes = applied.outcomes.iter().skip(1).take(batch.len());
        let new = outcomes.filter(|outcome| **outcome != Outcome::AlreadyThere).count();
        // A batch has a thousand devices at most, a manifest a million.
        written = written.saturating_add(u32::try_from(batch.len()).unwrap_or(0));
        added = added.saturating_add(u32::try_from(new).unwrap_or(0));
        if last {
            return Ok(added);
        }
    }
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

/// The setting that says that a manifest is in whole. Names of settings have 64 bytes at most.
fn completion_key(id: DocumentId) -> String {
    let hex = id.to_string();
    format!("manifest.{}", hex.get(..40).unwrap_or_default())
}
