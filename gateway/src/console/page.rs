//! The pages that only show: fleet, device, audit, status.

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use muster_protocol::registrar::Standing;
use muster_protocol::{Code, DeviceId};
use serde::Deserialize;

use super::act::Act;
use super::histogram::Histogram;
use super::{Console, Shared, refused, rendered, view};
use crate::admin::operations::OperationResult;
use crate::admin::{AuditFilter, Caller, DeviceFilter, OperationError};
use crate::audit::{AuditKind, Kinds};
use crate::store::Store;

/// Devices on a page.
const PAGE_ROWS: u16 = 50;

/// The fleet's form: empty fields are what browsers send for those that were not filled in.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FleetForm {
    search: String,
    standing: String,
    after: String,
}

/// What a device's page is asked to confirm, after an act.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct DoneForm {
    done: String,
}

/// The audit's form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct AuditForm {
    device: String,
    /// A kind, [`EVERYTHING`], or nothing: what people look for.
    kind: String,
    before: String,
}

/// Stands in the audit's form for every kind.
pub(super) const EVERYTHING: &str = "all";

type Asked<T> = Result<Query<T>, QueryRejection>;

pub(super) async fn fleet<S: Store>(
    State(shared): Console<S>,
    Extension(caller): Extension<Caller>,
    form: Asked<FleetForm>,
) -> Response {
    let page = async { fleet_page(&shared, &caller, taken(form)?).await };
    answered(&caller, page.await)
}

async fn fleet_page<S: Store>(shared: &Shared<S>, caller: &Caller, form: FleetForm) -> OperationResult<view::Fleet> {
    let FleetForm { search, standing, after } = form;
    let standing = match standing.as_str() {
        "" => None,
        name => Some(Standing::from_name(name).ok_or_else(|| wrong("there is no such standing"))?),
    };
    let filter = DeviceFilter {
        search: (!search.is_empty()).then(|| search.clone()),
        standing,
        after: device_id(&after)?,
        limit: Some(PAGE_ROWS),
    };
    let is_first = filter.after.is_none();
    let page = shared.operations.devices(caller, filter).await?;
    let expiry = shared.operations.expiry(caller).await?;
    Ok(view::Fleet {
        frame: view::Frame::of(Some(caller), "Fleet"),
        search,
        standing,
        devices: page.items,
        next: page.next,
        is_first,
        status: shared.operations.status(caller).await?,
        histogram: Histogram::of(&expiry),
    })
}

pub(super) async fn device<S: Store>(
    State(shared): Console<S>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    form: Asked<DoneForm>,
) -> Response {
    let page = async {
        let DoneForm { done } = taken(form)?;
        let id = device_id(&id)?.ok_or_else(|| OperationError::from(Code::DeviceUnknown))?;
        let device = shared.operations.device(&caller, &id).await?;
        let frame = view::Frame::of(Some(&caller), id.to_string());
        let now = shared.operations.registrars().clock().now();
        let done = Act::from_name(&done).ok().and_then(|act| act.done(&device, &caller, now));
        Ok(view::Device { frame: view::Frame { events: format!("/events?device={id}"), ..frame }, device, done })
    };
    answered(&caller, page.await)
}

pub(super) async fn audit<S: Store>(
    State(shared): Console<S>,
    Extension(caller): Extension<Caller>,
    form: Asked<AuditForm>,
) -> Response {
    let page = async {
        let AuditForm { device, kind, before } = taken(form)?;
        let kinds = match kind.as_str() {
            // Whoever looks at these pages leaves a handshake for each connection of their browser.
            "" => Kinds::all_but(&[AuditKind::HandshakeAccepted]),
            EVERYTHING => Kinds::default(),
            name => name.parse().map_err(|_| wrong("there is no such kind of record"))?,
        };
        let before = match before.as_str() {
            "" => None,
            number => Some(number.parse().map_err(|_| wrong("a record has a number"))?),
        };
        let filter = AuditFilter { device: device_id(&device)?, kind: kinds, before, ..AuditFilter::default() };
        let rows = shared.operations.audit(&caller, filter).await?;
        let frame = view::Frame::of(Some(&caller), "Audit");
        Ok(view::Audit { frame, records: rows.items, device, kind, next: rows.next, is_first: before.is_none() })
    };
    answered(&caller, page.await)
}

pub(super) async fn status<S: Store>(State(shared): Console<S>, Extension(caller): Extension<Caller>) -> Response {
    let status = shared.operations.status(&caller).await;
    let frame = view::Frame::of(Some(&caller), "Gateway");
    answered(&caller, status.map(|status| view::Status { frame, status }))
}

fn answered<T: askama::Template>(caller: &Caller, page: OperationResult<T>) -> Response {
    match page {
        Ok(page) => rendered(&page),
        Err(error) => refused(Some(caller), &error),
    }
}

fn taken<T>(form: Asked<T>) -> OperationResult<T> {
    form.map(|Query(form)| form).map_err(|_| wrong("the address of this page is not well-formed"))
}

/// A device id from a form or an address; empty is none.
fn device_id(text: &str) -> OperationResult<Option<DeviceId>> {
    match text {
        "" => Ok(None),
        id => DeviceId::new(id).map(Some).map_err(|_| Code::DeviceUnknown.into()),
    }
}

fn wrong(message: &str) -> OperationError {
    OperationError::request("usage.wrong", message)
}
