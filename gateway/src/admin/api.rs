//! The HTTPS API under `/api/v1`: the same operations as everywhere, as JSON.
//!
//! Who asks is known from the TLS handshake: the listener puts the [`VerifiedClient`] and the peer's [`SocketAddr`] into
//! each request's extensions. Requests without them, and everybody but operators of the registry, are turned away.
//!
//! A browser sends its user's certificate with every request, also with those that another site makes it send. So what
//! changes something must come from this very origin and carry a content type that no HTML form can send; and nothing is
//! ever allowed to other origins.
//!
//! | method and path | operation |
//! |---|---|
//! | `GET /devices?search=&standing=&after=&limit=` | list |
//! | `GET /devices/{id}` | show |
//! | `POST /devices/{id}/rotate`, `suspend`, `resume`, `revoke`, `retire` | act; body `{"reason":…}` or `{}` |
//! | `POST /devices/{id}/command` | body as [`NewCommand`](super::NewCommand); answers when the device did |
//! | `GET`, `POST /factory-cas`; `DELETE /factory-cas/{id}` | body `{"certificates":"PEM"}` |
//! | `GET`, `POST /manifests` | body: the manifest, `application/octet-stream` |
//! | `GET`, `POST /services`; `DELETE /services/{name}` | body as [`NewService`] |
//! | `GET`, `POST /operators`; `DELETE /operators/{name}` | body as [`NewOperator`] |
//! | `GET /audit?device=&kind=&after=&before=&limit=`, `GET /audit/verify` | the audit |
//! | `GET /expiry` | how many devices' certificates expire when |
//! | `GET /status` | status |

mod device;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Extension, Path, Query, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use muster_protocol::pki::chain::VerifiedClient;
use muster_protocol::{Code, DeviceId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::caller::Caller;
use super::error::{self, Blame, OperationError};
use super::operations::{AuditFilter, NewOperator, NewService, OperationResult, Operations};
use super::request::document_ids;
use crate::store::{OperatorRole, Store};

/// Longest JSON body.
const JSON_BYTES_MAX: usize = 256 * 1024;
/// Longest manifest over HTTPS; larger ones are imported on the gateway's own machine.
const MANIFEST_BYTES_MAX: usize = 64 * 1024 * 1024;

type Shared<S> = State<Arc<Operations<S>>>;

/// The API. The paths begin with `/api/v1`.
pub fn router<S: Store>(operations: Arc<Operations<S>>) -> Router {
    let routes = Router::new()
        .route("/devices", get(device::devices))
        .route("/devices/{id}", get(device::device))
        .route("/devices/{id}/command", post(device::command))
        .route("/devices/{id}/{act}", post(device::act))
        .route("/factory-cas", get(factory_cas).post(add_factory_cas))
        .route("/factory-cas/{id}", delete(remove_factory_ca))
        .route(
            "/manifests",
            get(manifests).merge(post(import_manifest).layer(DefaultBodyLimit::max(MANIFEST_BYTES_MAX))),
        )
        .route("/services", get(services).post(issue_service))
        .route("/services/{name}", delete(remove_service))
        .route("/operators", get(operators).post(issue_operator))
        .route("/operators/{name}", delete(remove_operator))
        .route("/audit", get(audit))
        .route("/audit/verify", get(audit_verify))
        .route("/expiry", get(expiry))
        .route("/status", get(status))
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(JSON_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&operations), identify::<S>))
        .with_state(operations);
    Router::new().nest("/api/v1", routes)
}

/// Finds out who asks, and turns away what another site made a browser send.
async fn identify<S: Store>(State(operations): Shared<S>, mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<VerifiedClient>().cloned();
    let peer = request.extensions().get::<SocketAddr>().copied();
    let (Some(client), Some(peer)) = (client, peer) else {
        return Refused(Code::OperatorForbidden.into()).into_response();
    };
    let caller = match operations.caller(&client, peer).await {
        Ok(caller) => caller,
        Err(error) => return Refused(error).into_response(),
    };
    if !is_reading(request.method())
        && let Err(error) = check_origin(request.headers())
    {
        return Refused(error).into_response();
    }
    request.extensions_mut().insert(caller);
    let mut response = next.run(request).await;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

const fn is_reading(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Whether a request that changes something comes from this origin, or from a program that is no browser.
///
/// Browsers say where a request comes from: `Sec-Fetch-Site` (Fetch Metadata), older ones `Origin` (RFC 6454).
///
/// # Errors
/// `request.cross_site`.
pub fn check_origin(headers: &HeaderMap) -> Result<(), OperationError> {
    let refused = || {
        OperationError::new(Blame::Caller, "request.cross_site", "the request was made by another site")
            .hint("act on the gateway's own pages, or with a program that is no browser")
    };
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if text("sec-fetch-site").is_some_and(|site| site != "same-origin") {
        return Err(refused());
    }
    match (text(ORIGIN.as_str()), text(HOST.as_str())) {
        (None, _) => Ok(()),
        (Some(origin), Some(host)) if origin.strip_prefix("https://") == Some(host) => Ok(()),
        (Some(_), _) => Err(refused()),
    }
}

/// Certificates of factory CAs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Certificates {
    certificates: String,
}

async fn factory_cas<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.factory_cas(&caller).await)
}

async fn add_factory_cas<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match json::<Certificates>(&headers, body) {
        Ok(new) => answer(operations.add_factory_cas(&caller, &new.certificates).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn remove_factory_ca<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Response {
    match document_ids(&[id]) {
        Ok(ids) => answer(operations.remove_factory_cas(&caller, &ids).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn manifests<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.manifests(&caller).await)
}

async fn import_manifest<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Response {
    let import = async || {
        // Before the body is read: it is long, and only admins may send one.
        operations.allow(&caller, OperatorRole::Admin, "manifest import").await?;
        content_type(request.headers(), "application/octet-stream")?;
        let body = axum::body::to_bytes(request.into_body(), MANIFEST_BYTES_MAX).await.map_err(|_| {
            OperationError::request(
                Code::MessageOversized.name(),
                format!("a manifest over HTTPS has {MANIFEST_BYTES_MAX} bytes at most"),
            )
            .hint("import it on the gateway's machine: muster-gateway manifest import FILE")
        })?;
        operations.import_manifest(&caller, body.to_vec()).await
    };
    answer(import().await)
}

async fn services<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.services(&caller).await)
}

async fn issue_service<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match json::<NewService>(&headers, body) {
        Ok(new) => answer(operations.issue_service(&caller, new).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn remove_service<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    match device_id(&name) {
        Ok(name) => answer(operations.remove_service(&caller, &name).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn operators<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.operators(&caller).await)
}

async fn issue_operator<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    match json::<NewOperator>(&headers, body) {
        Ok(new) => answer(operations.issue_operator(&caller, new).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn remove_operator<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Response {
    match device_id(&name) {
        Ok(name) => answer(operations.remove_operator(&caller, &name).await),
        Err(error) => Refused(error).into_response(),
    }
}

async fn audit<S: Store>(
    State(operations): Shared<S>,
    Extension(caller): Extension<Caller>,
    filter: Result<Query<AuditFilter>, QueryRejection>,
) -> Response {
    match filter {
        Ok(Query(filter)) => answer(operations.audit(&caller, filter).await),
        Err(error) => Refused(wrong_query(&error)).into_response(),
    }
}

async fn audit_verify<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.audit_verify(&caller).await)
}

async fn status<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.status(&caller).await)
}

async fn expiry<S: Store>(State(operations): Shared<S>, Extension(caller): Extension<Caller>) -> Response {
    answer(operations.expiry(&caller).await)
}

async fn nothing_here() -> Response {
    Refused(OperationError::missing("path.unknown", "there is nothing at this path")).into_response()
}

async fn wrong_method() -> Response {
    let error = OperationError::request("method.unknown", "this path does not know this method");
    let mut response = Refused(error).into_response();
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

fn answer<T: Serialize>(result: OperationResult<T>) -> Response {
    match result {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => Refused(error).into_response(),
    }
}

/// An error as a response: `{"v":1,"code":…,"message":…,"hint":…}`.
struct Refused(OperationError);

#[derive(Serialize)]
struct RefusedBody<'a> {
    v: u8,
    code: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(error) = self;
        let body = RefusedBody { v: 1, code: &error.code, message: &error.message, hint: error.hint.as_deref() };
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(body)).into_response()
    }
}

fn json<T: DeserializeOwned>(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> OperationResult<T> {
    content_type(headers, "application/json")?;
    let body = body.map_err(|_| {
        let why = format!("a body has {JSON_BYTES_MAX} bytes at most");
        OperationError::request(Code::MessageOversized.name(), why)
    })?;
    serde_json::from_slice(&body)
        .map_err(|error| OperationError::request(Code::MessageMalformed.name(), format!("the body: {error}")))
}

fn content_type(headers: &HeaderMap, expected: &str) -> OperationResult<()> {
    let found = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let found = found.split(';').next().unwrap_or_default().trim();
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(OperationError::request(error::CONTENT_TYPE, format!("Content-Type {expected} is expected")))
}

fn device_id(text: &str) -> OperationResult<DeviceId> {
    DeviceId::new(text).map_err(|error| OperationError::request("name.malformed", format!("{text:?}: {error}")))
}

fn wrong_query(error: &QueryRejection) -> OperationError {
    OperationError::request("usage.wrong", error.body_text())
}

#[cfg(test)]
mod tests {
    use super::device::Why;
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (axum::http::HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn other_sites_cannot_make_a_browser_act() {
        for own in [
            &[][..],
            &[("host", "gw:8443")],
            &[("sec-fetch-site", "same-origin"), ("origin", "https://gw:8443"), ("host", "gw:8443")],
            &[("origin", "https://gw:8443"), ("host", "gw:8443")],
        ] {
            assert!(check_origin(&headers(own)).is_ok(), "{own:?}");
        }
        for foreign in [
            &[("sec-fetch-site", "cross-site")][..],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "none")],
            &[("origin", "https://evil.example"), ("host", "gw:8443")],
            &[("origin", "http://gw:8443"), ("host", "gw:8443")],
            &[("origin", "null"), ("host", "gw:8443")],
            &[("origin", "https://gw:8443")],
        ] {
            assert_eq!(check_origin(&headers(foreign)).unwrap_err().code, "request.cross_site", "{foreign:?}");
        }
    }

    #[test]
    fn what_a_form_can_send_is_no_json() {
        for form in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            let error = json::<Why>(&headers(&[("content-type", form)]), Ok(Bytes::from_static(b"{}"))).unwrap_err();
            assert_eq!(error.code, "request.content_type", "{form}");
        }
        let fine = headers(&[("content-type", "application/json; charset=utf-8")]);
        assert!(json::<Why>(&fine, Ok(Bytes::from_static(b"{}"))).is_ok());
        assert!(json::<Why>(&fine, Ok(Bytes::from_static(b"{\"reasons\":1}"))).is_err());
    }
}
