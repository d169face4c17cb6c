//! Devices: what is known of them, and what operators do with them.

use muster_protocol::pki::serial::Serial;
use muster_protocol::registrar::{Act, DeviceRecord, Reason, Standing};
use muster_protocol::{Code, DeviceId};
use serde::{Deserialize, Serialize};

use super::{OperationResult, Operations};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::view::{
    Acted, AuditView, CertificateView, DeviceDetails, DeviceRow, Part, Rows, SessionView, VERSION,
};
use crate::audit::Kinds;
use crate::registrar::ActError;
use crate::store::{AuditFrom, AuditQuery, DeviceQuery, OperatorRole, PAGE_ROWS_MAX, Role, Store};

/// Devices on a page unless somebody says otherwise.
const PAGE_ROWS: u16 = 50;
/// Records of a device's history that are shown.
const HISTORY_ROWS: u16 = 200;
const REFUSALS_SHOWN: usize = 20;

/// Which devices.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DeviceFilter {
    /// Part of the id, or the beginning of the product or lot.
    pub search: Option<String>,
    /// Only devices that stand there.
    pub standing: Option<Standing>,
    /// Only devices behind this id: `next` of the page before.
    pub after: Option<DeviceId>,
    /// How many at most; 50 unless said, 1000 at most.
    pub limit: Option<u16>,
}

impl<S: Store> Operations<S> {
    /// Devices in the order of their ids.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn devices(&self, caller: &Caller, filter: DeviceFilter) -> OperationResult<Rows<DeviceRow>> {
        self.allow(caller, OperatorRole::Viewer, "device list").await?;
        let limit = filter.limit.unwrap_or(PAGE_ROWS).clamp(1, PAGE_ROWS_MAX);
        let search = filter.search.filter(|text| !text.is_empty());
        let query = DeviceQuery { search, standing: filter.standing, after: filter.after, limit };
        let page = self.store().page(query).await?;
        let row = |device| DeviceRow::new(device, self.is_online(device.id()));
        Ok(Rows {
            v: VERSION,
            items: page.rows.iter().map(row).collect(),
            next: page.next.map(|next| next.to_string()),
        })
    }

    /// Everything about one device.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`], or when the store does not answer.
    pub async fn device(&self, caller: &Caller, id: &DeviceId) -> OperationResult<DeviceDetails> {
        self.allow(caller, OperatorRole::Viewer, "device show").await?;
        let device = self.store().device(id).await?.ok_or_else(|| unknown(id))?;
        let now = self.now();
        let record = &device.record;
        let certificates = self.store().certificates(Role::Device, id).await?;
        let certificates =
            certificates.iter().map(|found| CertificateView::new(found, part(record, &found.serial), now)).collect();
        let query = AuditQuery {
            from: AuditFrom::Newest,
            device: Some(id.clone()),
            kinds: Kinds::default(),
            limit: HISTORY_ROWS,
        };
        let records = self.store().audit_page(query).await?;
        let (refusals, history) = records
            .iter()
            .filter_map(AuditView::new)
            .partition::<Vec<_>, _>(|record| record.kind.ends_with(".refused"));
        let sessions = self.registrars.sessions().of(id);
        Ok(DeviceDetails {
            v: VERSION,
            row: DeviceRow::new(&device, !sessions.is_empty()),
            idevid: record.idevid,
            manifest: device.manifest.map(|manifest| manifest.to_string()),
            reason: record.reason,
            suspended_from: record.suspended_from,
            ordered_rotation: record.order,
            certificates,
            sessions: sessions
                .into_iter()
                .map(|session| SessionView {
                    peer: session.peer,
                    since: session.since.into(),
                    serial: session.serial,
                    credential: session.credential.to_owned(),
                    mqtt: session.mqtt_version.to_owned(),
                })
                .collect(),
            telemetry: self.registrars.sessions().telemetry(id).map(Into::into),
            telemetry_too_long: self.registrars.sessions().telemetry_too_long(id).map(Into::into),
            history,
            refusals: refusals.into_iter().take(REFUSALS_SHOWN).collect(),
        })
    }

    /// Has the device make a new key and certificate.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`], [`Code::DeviceState`], or the state that keeps it out.
    pub async fn rotate(&self, caller: &Caller, id: &DeviceId) -> OperationResult<Acted> {
        self.act(caller, id, "device rotate", Act::Rotate).await
    }

    /// Keeps the device out for now, and cuts its session.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`], or a state beyond suspension.
    pub async fn suspend(&self, caller: &Caller, id: &DeviceId, reason: Option<Reason>) -> OperationResult<Acted> {
        self.act(caller, id, "device suspend", Act::Suspend(reason)).await
    }

    /// Lets a suspended device in again, or a revoked one enrol anew.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`] or [`Code::DeviceRetired`].
    pub async fn resume(&self, caller: &Caller, id: &DeviceId) -> OperationResult<Acted> {
        self.act(caller, id, "device resume", Act::Resume).await
    }

    /// Withdraws the device's certificates, keeps it out, and cuts its session.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`] or [`Code::DeviceRetired`].
    pub async fn revoke(&self, caller: &Caller, id: &DeviceId, reason: Reason) -> OperationResult<Acted> {
        self.act(caller, id, "device revoke", Act::Revoke(reason)).await
    }

    /// Keeps the device out for good.
    ///
    /// # Errors
    /// [`Code::DeviceUnknown`].
    pub async fn retire(&self, caller: &Caller, id: &DeviceId) -> OperationResult<Acted> {
        self.act(caller, id, "device retire", Act::Retire).await
    }

    async fn act(&self, caller: &Caller, id: &DeviceId, name: &'static str, act: Act) -> OperationResult<Acted> {
        self.allow(caller, OperatorRole::Operator, name).await?;
        self.registrars.operate(id, act, caller.by()).await.map_err(|error| match error {
            ActError::Refused(Code::DeviceUnknown) => unknown(id),
            error => {
                let error = OperationError::from(error);
                OperationError { message: format!("{id}: {}", error.message), ..error }
            }
        })?;
        let act = name.strip_prefix("device ").unwrap_or(name).to_owned();
        let device = self.store().device(id).await.map_err(|error| {
            tracing::error!(%error, device = %id, "a device cannot be read after an act");
            OperationError::gateway(format!("{id}: {act} was done, but where the device stands now cannot be read"))
                .hint("see the gateway's log; the act need not be repeated")
        })?;
        let device = device.ok_or_else(|| unknown(id))?;
        Ok(Acted { v: VERSION, device: id.clone(), act, standing: device.record.standing })
    }

    fn is_online(&self, id: &DeviceId) -> bool {
        !self.registrars.sessions().of(id).is_empty()
    }
}

pub(super) fn unknown(id: &DeviceId) -> OperationError {
    OperationError { message: format!("the registry has no device {id}"), ..Code::DeviceUnknown.into() }
}

fn part(record: &DeviceRecord, serial: &Serial) -> Part {
    let holds = |credential: &Option<muster_protocol::registrar::Credential>| {
        credential.as_ref().is_some_and(|credential| credential.serial == *serial)
    };
    if holds(&record.current) {
        Part::Current
    } else if holds(&record.previous) {
        Part::Previous
    } else if holds(&record.candidate) {
        Part::Candidate
    } else {
        Part::None
    }
}
