//! The HTTPS listener: what is open to everybody, who may have the rest, and how one connection is served.
//!
//! Open without a client certificate are the newest trust bundle (a device that slept through every change of CAs catches
//! up there; the bundle is signed, so the channel need not be trusted) and the health check. Everything else is for
//! operators: without a certificate 401, with one of another role 403, as JSON with a code, or as a page for a browser.
//!
//! What the TLS handshake proved comes to every request as two extensions, [`VerifiedClient`] and [`SocketAddr`], and with
//! them the [`CancellationToken`] of the gateway's end, for answers that have no end of their own. Whether the registry
//! still knows that operator is asked for each request by [`crate::admin::api`] and the console.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use muster_protocol::Code;
use muster_protocol::pki::chain::{Role, VerifiedClient};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::admin::{Operations, api};
use crate::audit::{AuditEvent, AuditKind};
use crate::console;
use crate::fleet::{Fleet, OperatorConnections};
use crate::store::Store;
use crate::tls::record::actor_of;

/// Where the newest trust bundle lies.
pub const BUNDLE_PATH: &str = "/.well-known/muster/bundle";

/// Everything that is served. `pages` are the console's; they are behind the same guard as the API.
pub fn app<S: Store>(operations: Arc<Operations<S>>, fleet: Arc<Fleet<S>>, pages: Router) -> Router {
    let guarded = Router::new()
        .merge(api::router(operations))
        .merge(pages)
        .fallback(nothing_here)
        .layer(middleware::from_fn_with_state(Arc::clone(&fleet), operators_only::<S>));
    let open = Router::new().route(BUNDLE_PATH, get(bundle::<S>)).route("/healthz", get(health::<S>)).with_state(fleet);
    open.merge(guarded)
}

/// Lets operators pass.
async fn operators_only<S: Store>(State(fleet): State<Arc<Fleet<S>>>, request: Request, next: Next) -> Response {
    let wants_page = console::wants_page(request.headers());
    let refused = |status, code: Code, hint| match wants_page {
        true => console::turned_away(status, code.name(), message(code), hint),
        false => refused(status, code, hint),
    };
    let Some(client) = request.extensions().get::<VerifiedClient>() else {
        return refused(StatusCode::UNAUTHORIZED, Code::CertificateMissing, "come with an operator's certificate");
    };
    let now = fleet.registrars().clock().now();
    if client.not_after() < now {
        return refused(StatusCode::UNAUTHORIZED, Code::CertificateExpired, "get a new one: operator issue");
    }
    if client.role() != Role::Operator {
        let mut event = AuditEvent::new(now, AuditKind::OperatorRefused, actor_of(client))
            .code(Code::OperatorForbidden)
            .serial(client.serial())
            .detail("path", request.uri().path());
        event.device = client.device().cloned();
        event.peer = request.extensions().get::<SocketAddr>().copied();
        fleet.record_refusal(event);
        return refused(StatusCode::FORBIDDEN, Code::OperatorForbidden, "come with an operator's certificate");
    }
    next.run(request).await
}

async fn bundle<S: Store>(State(fleet): State<Arc<Fleet<S>>>) -> Response {
    let bytes = fleet.registrars().context().bundle.clone();
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, bytes).into_response()
}

/// 200 when the store answers, 503 otherwise.
async fn health<S: Store>(State(fleet): State<Arc<Fleet<S>>>) -> Response {
    match fleet.registrars().store().audit_head().await {
        Ok(_) => Json(json!({ "v": 1, "status": "ok" })).into_response(),
        Err(error) => refused(StatusCode::SERVICE_UNAVAILABLE, error.code(), "see the gateway's log"),
    }
}

async fn nothing_here(headers: HeaderMap) -> Response {
    let (code, message) = ("path.unknown", "there is nothing at this path");
    if console::wants_page(&headers) {
        return console::turned_away(StatusCode::NOT_FOUND, code, message, "the fleet is at /");
    }
    let body = json!({ "v": 1, "code": code, "message": message, "hint": null });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

fn message(code: Code) -> &'static str {
    code.text().trim_end_matches('.')
}

fn refused(status: StatusCode, code: Code, hint: &str) -> Response {
    let body = json!({ "v": 1, "code": code.name(), "message": message(code), "hint": hint });
    let mut response = (status, Json(body)).into_response();
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// One HTTPS connection.
pub struct Connection<'a> {
    /// What is served.
    pub app: Router,
    /// Who is at the other end, if they showed a certificate.
    pub client: Option<Box<VerifiedClient>>,
    /// From where.
    pub peer: SocketAddr,
    /// How long the header of a request may take.
    pub header_deadline: Duration,
    /// How long the connection may last.
    pub age_max: Duration,
    /// The operators who are connected.
    pub operators: &'a OperatorConnections,
    /// Cancelled when the gateway stops.
    pub stop: CancellationToken,
}

impl Connection<'_> {
    /// Serves until one side has enough. A request under way is finished when the gateway stops or the connection is
    /// too old, and cut off when the operator has lost their rights.
    pub async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { app, client, peer, header_deadline, age_max, operators, stop } = self;
        let entry = client
            .as_ref()
            .filter(|client| client.role() == Role::Operator)
            .map(|client| operators.enter(client.identity().name(), client.serial()));
        let revoked = entry.as_ref().map_or_else(CancellationToken::new, |entry| entry.ended.clone());
        let app = TowerToHyperService::new(app);
        let stopping = stop.clone();
        let service = service_fn(move |mut request: hyper::Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(stopping.clone());
            if let Some(client) = &client {
                request.extensions_mut().insert(VerifiedClient::clone(client));
            }
            hyper::service::Service::call(&app, request)
        });
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder.timer(TokioTimer::new()).header_read_timeout(header_deadline).max_buf_size(HEADER_BYTES_MAX);
        let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = revoked.cancelled() => return,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                finish(connection, &revoked).await
            }
            () = tokio::time::sleep(age_max) => {
                connection.as_mut().graceful_shutdown();
                finish(connection, &revoked).await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "an HTTPS connection ended");
        }
    }
}

/// Lets the request under way end, for a while: an event stream has no end of its own.
async fn finish<F: Future<Output = hyper::Result<()>>>(
    connection: F,
    revoked: &CancellationToken,
) -> hyper::Result<()> {
    tokio::select! {
        ended = connection => ended,
        () = revoked.cancelled() => Ok(()),
        () = tokio::time::sleep(FINISH_MAX) => Ok(()),
    }
}

/// Header of a request, and what is read ahead of its body.
const HEADER_BYTES_MAX: usize = 16 * 1024;
/// How long the last request may go on.
const FINISH_MAX: Duration = Duration::from_secs(5);
