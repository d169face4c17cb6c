//! The operators' web pages, served by the gateway: rendered here, usable with scripts off, over the same operations as
//! the command line and the HTTPS API.
//!
//! | file | what |
//! |---|---|
//! | `page` | fleet, device, audit and status |
//! | `act` | what operators do with a device: a page that asks, and the act |
//! | `view` | the templates' data: everything in them is text, and the templates escape it |
//! | `histogram` | the expiry histogram as SVG |
//! | `live` | one event stream that says "something changed"; the page's own script reads the page again |
//! | `asset` | style sheet and script, by a name that changes with their content |
//!
//! What a device or a factory supplied is hostile. No page has inline script or style, and the content security policy
//! lets none run.

use std::net::SocketAddr;
use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ACCEPT, CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use muster_protocol::Code;
use muster_protocol::pki::chain::VerifiedClient;

use crate::admin::{Caller, OperationError, Operations};
use crate::store::Store;

mod act;
mod asset;
mod histogram;
mod live;
mod page;
mod view;

use live::Pulse;

/// Nothing but our own files; no inline script or style, no frames, no other origin.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// What every page needs.
struct Shared<S> {
    operations: Arc<Operations<S>>,
    pulse: Arc<Pulse<S>>,
}

type Console<S> = State<Arc<Shared<S>>>;

/// The pages. They expect what the HTTPS listener puts into each request: the verified client and its address.
pub fn router<S: Store>(operations: Arc<Operations<S>>) -> Router {
    let pulse = Pulse::over(Arc::clone(&operations));
    let shared = Arc::new(Shared { operations, pulse });
    Router::new()
        .route("/", get(page::fleet))
        .route("/devices/{id}", get(page::device))
        .route("/devices/{id}/{act}", get(act::ask).post(act::act))
        .route("/audit", get(page::audit))
        .route("/status", get(page::status))
        .route("/events", get(live::events))
        .route("/assets/{name}", get(asset::serve))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), identify::<S>))
        .with_state(shared)
}

/// Finds out who asks, and puts the policy on every answer.
async fn identify<S: Store>(State(shared): Console<S>, mut request: Request, next: Next) -> Response {
    let client = request.extensions().get::<VerifiedClient>().cloned();
    let peer = request.extensions().get::<SocketAddr>().copied();
    let caller = match (client, peer) {
        (Some(client), Some(peer)) => shared.operations.caller(&client, peer).await,
        _ => Err(Code::OperatorForbidden.into()),
    };
    let mut response = match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(error) => refused(None, &error),
    };
    protect(&mut response);
    response
}

/// Puts the policy on an answer.
fn protect(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // With "no-referrer" a browser would not say where our own forms come from.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// Whether a page is what was asked for: browsers name HTML, other programs do not.
#[must_use]
pub fn wants_page(headers: &HeaderMap) -> bool {
    headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

/// The page for whoever is turned away at the door: it stands alone, for a stranger gets none of our files.
#[must_use]
pub fn turned_away(status: StatusCode, code: &str, message: &str, hint: &str) -> Response {
    let title = if status == StatusCode::NOT_FOUND { "Nothing here" } else { "No way in" };
    let mut response = rendered(&view::Stranger { title, code, message, hint });
    *response.status_mut() = status;
    protect(&mut response);
    response
}

/// A page, or the page that says why there is none.
fn rendered(template: &impl Template) -> Response {
    match template.render() {
        Ok(text) => Html(text).into_response(),
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// The page that says why not, and what to do about it.
fn refused(caller: Option<&Caller>, error: &OperationError) -> Response {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let title = match status {
        StatusCode::NOT_FOUND => "Not found",
        status if status.is_server_error() => "Not now",
        _ => "Refused",
    };
    let mut response = rendered(&view::Refused { frame: view::Frame::of(caller, title), error });
    *response.status_mut() = status;
    response
}
