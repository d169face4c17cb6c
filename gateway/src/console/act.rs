//! What operators do with a device: a page that says what follows and asks, and the act.
//!
//! A form can be sent by any site, with the operator's certificate: an act counts only when the browser says that it
//! comes from this origin.

use axum::body::Bytes;
use axum::extract::{Form, FromRequest as _, Path, Request, State};
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, http};
use muster_protocol::registrar::Reason;
use muster_protocol::{Code, DeviceId, UnixTime};
use serde::Deserialize;

use super::{Console, Shared, refused, rendered, view};
use crate::admin::api::check_origin;
use crate::admin::operations::OperationResult;
use crate::admin::view::{Acted, DeviceDetails};
use crate::admin::{Caller, OperationError};
use crate::audit::AuditKind;
use crate::store::{OperatorRole, Store};

/// How long a page says that something was just done.
const DONE_SHOWN_SECS: u64 = 300;

/// An act, as it stands in the address.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Act {
    Rotate,
    Suspend,
    Resume,
    Revoke,
    Retire,
}

impl Act {
    pub(super) fn from_name(name: &str) -> OperationResult<Self> {
        [Self::Rotate, Self::Suspend, Self::Resume, Self::Revoke, Self::Retire]
            .into_iter()
            .find(|act| act.name() == name)
            .ok_or_else(|| OperationError::missing("path.unknown", "there is nothing at this path"))
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Revoke => "revoke",
            Self::Retire => "retire",
        }
    }

    /// The operation's name, as it stands in refusals.
    const fn operation(self) -> &'static str {
        match self {
            Self::Rotate => "device rotate",
            Self::Suspend => "device suspend",
            Self::Resume => "device resume",
            Self::Revoke => "device revoke",
            Self::Retire => "device retire",
        }
    }

    /// What is said when it was just done: only what the audit of the device says too, by this operator, moments ago. The
    /// address of a page can be written by anybody.
    pub(super) fn done(self, device: &DeviceDetails, caller: &Caller, now: UnixTime) -> Option<view::Done> {
        let actor = caller.by().actor.to_string();
        let record = device.history.iter().find(|record| record.actor == actor)?;
        let text = match (self, AuditKind::from_name(&record.kind)?) {
            (Self::Rotate, AuditKind::RotationOrdered) => {
                "The rotation is ordered. The device makes a new key now, or when it comes back."
            }
            (Self::Suspend, AuditKind::DeviceSuspended) => {
                "The device is suspended. Its session, if it had one, is cut."
            }
            (Self::Resume, AuditKind::DeviceResumed) => "The device is resumed and is let in again.",
            (Self::Resume, AuditKind::DeviceReadmitted) => "The device may enrol anew by its IDevID.",
            (Self::Revoke, AuditKind::DeviceRevoked) => {
                "The device is revoked: its certificates are withdrawn, and its session, if it had one, is cut."
            }
            (Self::Retire, AuditKind::DeviceRetired) => "The device is retired for good.",
            _ => return None,
        };
        let is_fresh = now.secs_since(record.at.0) < DONE_SHOWN_SECS;
        is_fresh.then_some(view::Done { text, at: record.at, record: record.seq })
    }

    const fn consequence(self) -> &'static str {
        match self {
            Self::Rotate => {
                "The device makes a new key and gets a new certificate; its old one is withdrawn when the new one works. It stays online but for one reconnect."
            }
            Self::Suspend => {
                "The device's session is cut and no new one is accepted until it is resumed. Its certificates stay as they are."
            }
            Self::Resume => "A suspended device is let in again; a revoked one may enrol anew by its IDevID.",
            Self::Revoke => {
                "The device's certificates are withdrawn for good and its session is cut. It is kept out, enrolment included, until it is resumed."
            }
            Self::Retire => "The device is kept out for good. This cannot be undone.",
        }
    }
}

/// The form.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    reason: String,
    id: String,
}

pub(super) async fn ask<S: Store>(
    State(shared): Console<S>,
    Extension(caller): Extension<Caller>,
    Path((id, act)): Path<(String, String)>,
) -> Response {
    let page = async {
        let (id, act) = (device(&id)?, Act::from_name(&act)?);
        shared.operations.allow(&caller, OperatorRole::Operator, act.operation()).await?;
        // A device that is not there is not asked about.
        let device = shared.operations.device(&caller, &id).await?.row;
        Ok::<_, OperationError>(view::Ask {
            frame: view::Frame::of(Some(&caller), format!("{} {id}?", capital(act.name()))),
            device,
            act: act.name(),
            consequence: act.consequence(),
            wants_reason: matches!(act, Act::Suspend | Act::Revoke),
            must_have_reason: act == Act::Revoke,
            wants_id: act == Act::Retire,
        })
    };
    match page.await {
        Ok(page) => rendered(&page),
        Err(error) => refused(Some(&caller), &error),
    }
}

pub(super) async fn act<S: Store>(
    State(shared): Console<S>,
    Extension(caller): Extension<Caller>,
    Path((id, act)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    match do_act(&shared, &caller, &id, &act, headers, body).await {
        // Read again: reloading the page does not repeat the act.
        Ok(acted) => Redirect::to(&format!("/devices/{}?done={}", acted.device, acted.act)).into_response(),
        Err(error) => refused(Some(&caller), &error),
    }
}

async fn do_act<S: Store>(
    shared: &Shared<S>,
    caller: &Caller,
    id: &str,
    act: &str,
    headers: HeaderMap,
    body: Bytes,
) -> OperationResult<Acted> {
    check_origin(&headers)?;
    if !headers.contains_key("sec-fetch-site") && !headers.contains_key(ORIGIN) {
        return Err(OperationError::request(
            "request.cross_site",
            "the browser does not say where this form comes from",
        )
        .hint("use a newer browser, or the HTTPS API"));
    }
    let (id, act) = (device(id)?, Act::from_name(act)?);
    let answer = answer(headers, body).await?;
    let reason = match answer.reason.as_str() {
        "" => None,
        name => Some(Reason::from_name(name).ok_or_else(|| wrong("there is no such reason"))?),
    };
    let operations = &shared.operations;
    match act {
        Act::Rotate => operations.rotate(caller, &id).await,
        Act::Suspend => operations.suspend(caller, &id, reason).await,
        Act::Resume => operations.resume(caller, &id).await,
        Act::Revoke => {
            let reason = reason.ok_or_else(|| wrong("a revocation has a reason"))?;
            operations.revoke(caller, &id, reason).await
        }
        Act::Retire if answer.id == id.as_str() => operations.retire(caller, &id).await,
        Act::Retire => Err(wrong("the id that was typed is not this device's; nothing was done")),
    }
}

/// Reads a form of the one kind that our pages send.
async fn answer(headers: HeaderMap, body: Bytes) -> OperationResult<Answer> {
    let mut request = Request::new(axum::body::Body::from(body));
    *request.method_mut() = http::Method::POST;
    *request.headers_mut() = headers;
    let form = Form::<Answer>::from_request(request, &()).await;
    form.map(|Form(answer)| answer).map_err(|rejection| {
        let status = rejection.into_response().status();
        let message = if status == StatusCode::PAYLOAD_TOO_LARGE {
            "the form is too long"
        } else {
            "the form is not well-formed"
        };
        wrong(message)
    })
}

fn device(text: &str) -> OperationResult<DeviceId> {
    DeviceId::new(text).map_err(|_| Code::DeviceUnknown.into())
}

fn wrong(message: &str) -> OperationError {
    OperationError::request("usage.wrong", message)
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}
