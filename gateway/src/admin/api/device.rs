//! Devices over HTTPS: reading, acts, commands.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Extension, Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use muster_protocol::registrar::Reason;
use serde::Deserialize;

use super::{Refused, Shared, answer, device_id, json, wrong_query};
use crate::admin::caller::Caller;
use crate::admin::error::OperationError;
use crate::admin::operations::{DeviceFilter, NewCommand};
use crate::store::Store;

pub(super) async fn devices<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    filter: Result<Query<DeviceFilter>, QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => answer(operations.devices(&caller, filter).await),
        Err(error) => Refused(wrong_query(&error)).into_response(),
    }
}

pub(super) async fn device<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    match device_id(&id) {
        Ok(id) => answer(operations.device(&caller, &id).await),
        Err(error) => Refused(error).into_response(),
    }
}

/// Why an operator acts.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Why {
    reason: Option<Reason>,
}

pub(super) async fn act<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path((id, act)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let act = async || {
        let id = device_id(&id)?;
        if !matches!(act.as_str(), "rotate" | "suspend" | "resume" | "revoke" | "retire") {
            return Err(OperationError::missing("path.unknown", format!("a device cannot be asked to {act:?}")));
        }
        let why: Why = json(&headers, body)?;
        match act.as_str() {
            "rotate" => operations.rotate(&caller, &id).await,
            "suspend" => operations.suspend(&caller, &id, why.reason).await,
            "resume" => operations.resume(&caller, &id).await,
            "retire" => operations.retire(&caller, &id).await,
            _ => match why.reason {
                Some(reason) => operations.revoke(&caller, &id, reason).await,
                None => Err(OperationError::request("device.reason", "a revocation states its reason")
                    .hint("send {\"reason\":\"key_compromise\"} or another one of RFC 5280")),
            },
        }
    };
    answer(act().await)
}

pub(super) async fn command<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match (device_id(&id), json::<NewCommand>(&headers, body)) {
        (Ok(id), Ok(new)) => answer(operations.command(&caller, &id, new).await),
        (Err(error), _) | (_, Err(error)) => Refused(error).into_response(),
    }
}
