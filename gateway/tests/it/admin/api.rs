//! The HTTPS API, called without a socket: the listener's part is to put the evidence into the request.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use muster_gateway::admin::{Caller, NewOperator, api};
use muster_issuing::KeyPair;
use muster_protocol::Identity;
use muster_protocol::pki::chain::VerifiedClient;
use serde_json::{Value, json};

use crate::world::{World, fleet, id, peer, request_pem};

struct Browser<'a> {
    world: &'a World,
    client: VerifiedClient,
}

impl<'a> Browser<'a> {
    async fn of(world: &'a World, name: &str, role: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let identity = Identity::Operator { fleet: fleet(), name: id(name) };
        let new = NewOperator { name: id(name), role: role.into(), request: request_pem(&identity, &key) };
        let issued = world.operations.issue_operator(&Caller::local(), new).await.unwrap();
        let der = muster_issuing::pem::read_certificates(&issued.certificate).unwrap().remove(0);
        Self { world, client: world.verified(&[&der]).unwrap() }
    }

    async fn send(&self, mut request: Request<Body>) -> (StatusCode, Value) {
        request.extensions_mut().insert(self.client.clone());
        request.extensions_mut().insert(peer());
        send(self.world, request).await
    }

    async fn get(&self, path: &str) -> (StatusCode, Value) {
        self.send(Request::get(format!("/api/v1{path}")).body(Body::empty()).unwrap()).await
    }

    async fn post(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        let request = Request::post(format!("/api/v1{path}"))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .unwrap();
        self.send(request).await
    }
}

async fn send(world: &World, request: Request<Body>) -> (StatusCode, Value) {
    let router = api::router(std::sync::Arc::clone(&world.operations));
    let response = TowerToHyperService::new(router).call(request).await.unwrap();
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn operators_read_and_act_by_their_role() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let viewer = Browser::of(&world, "vera", "viewer").await;
    let person = Browser::of(&world, "otto", "operator").await;

    let (status, body) = viewer.get("/devices?search=pump&limit=5").await;
    assert_eq!((status, &body["v"], &body["items"][0]["id"]), (StatusCode::OK, &json!(1), &json!("pump-1")));
    let (status, body) = viewer.get("/devices/pump-1").await;
    assert_eq!((status, &body["standing"]), (StatusCode::OK, &json!("expected")));
    assert_eq!(viewer.get("/status").await.1["devices_total"], 1);
    assert_eq!(viewer.get("/audit/verify").await.0, StatusCode::OK);
    assert_eq!(viewer.get("/audit?device=pump-1").await.0, StatusCode::OK);
    let (status, body) = viewer.get("/audit?kind=manifest,operator.issued&limit=1&after=0").await;
    assert_eq!((status, &body["items"][0]["kind"]), (StatusCode::OK, &json!("manifest.imported")));
    let (status, body) = viewer.get("/audit?kind=operator.issued&device=pump-1").await;
    assert_eq!((status, &body["items"]), (StatusCode::OK, &json!([])));
    let (status, body) = viewer.get("/audit?kind=nonsense").await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("usage.wrong")));
    let (status, body) = viewer.get("/expiry").await;
    assert_eq!((status, &body["v"], body["intervals"].as_array().map(Vec::len)), (StatusCode::OK, &json!(1), Some(8)));
    assert_eq!(
        body["intervals"][7],
        json!({"within": "later", "from": body["intervals"][6]["until"], "until": null, "devices": 0})
    );

    let (status, body) = viewer.post("/devices/pump-1/suspend", &json!({})).await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("operator.forbidden")));
    let (status, body) = person.post("/devices/pump-1/suspend", &json!({"reason": "key_compromise"})).await;
    assert_eq!((status, &body["standing"]), (StatusCode::OK, &json!("suspended")));
    let (status, body) = person.post("/devices/pump-1/revoke", &json!({})).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("device.reason")));
    assert_eq!(person.post("/devices/pump-1/revoke", &json!({"reason": "key_compromise"})).await.0, StatusCode::OK);
    assert_eq!(person.post("/devices/pump-1/rotate", &json!({})).await.0, StatusCode::CONFLICT);
    let (status, body) = person.post("/devices/pump-1/command", &json!({"name": "blink"})).await;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("device.offline")));
    let (status, body) = person.post("/devices/pump-1/command", &json!({"name": "blink", "now": true})).await;
    assert_eq!((status, &body["code"]), (StatusCode::BAD_REQUEST, &json!("message.malformed")));
    assert_eq!(viewer.post("/devices/pump-1/command", &json!({"name": "blink"})).await.0, StatusCode::FORBIDDEN);
    assert_eq!(person.post("/factory-cas", &json!({"certificates": ""})).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn admins_do_the_rest() {
    let world = World::new();
    let admin = Browser::of(&world, "ada", "admin").await;
    let root = muster_issuing::pem::write_certificates(&[world.factory.root.certificate()]);
    let (status, body) = admin.post("/factory-cas", &json!({ "certificates": root })).await;
    assert_eq!((status, &body["items"][0]["added"]), (StatusCode::OK, &json!("now")));
    let device = world.factory.device("pump-1");
    let manifest = |kind: &str, bytes: Vec<u8>| {
        Request::post("/api/v1/manifests").header("content-type", kind).body(Body::from(bytes)).unwrap()
    };
    let bytes = world.factory.manifest(&[&device]);
    let (status, _) = admin.send(manifest("text/plain", bytes.clone())).await;
    assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let (status, body) = admin.send(manifest("application/octet-stream", bytes)).await;
    assert_eq!((status, &body["added"]), (StatusCode::OK, &json!(1)), "{body}");

    let identity = Identity::Service { fleet: fleet(), name: id("ingest") };
    let request = request_pem(&identity, &KeyPair::generate().unwrap());
    let new = json!({ "name": "ingest", "subscribe": ["devices/#"], "request": request });
    let (status, body) = admin.post("/services", &new).await;
    assert_eq!((status, &body["name"]), (StatusCode::OK, &json!("ingest")), "{body}");
    assert!(body["certificate"].as_str().unwrap().starts_with("-----BEGIN CERTIFICATE-----"));
    let remove = Request::delete("/api/v1/services/ingest").body(Body::empty()).unwrap();
    assert_eq!(admin.send(remove).await.0, StatusCode::OK);
    assert_eq!(admin.get("/services").await.1["items"], json!([]));
    assert_eq!(admin.get("/operators").await.1["items"][0]["role"], "admin");
    let id = body_id(&admin.get("/factory-cas").await.1);
    let remove = Request::delete(format!("/api/v1/factory-cas/{id}")).body(Body::empty()).unwrap();
    assert_eq!(admin.send(remove).await.0, StatusCode::OK);
}

fn body_id(body: &Value) -> String {
    body["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn everybody_else_is_turned_away() {
    let world = World::new();
    let bare = Request::get("/api/v1/status").body(Body::empty()).unwrap();
    assert_eq!(send(&world, bare).await.0, StatusCode::FORBIDDEN);
    let device = world.factory.device("pump-1");
    let browser = Browser { world: &world, client: world.by_idevid(&device) };
    let (status, body) = browser.get("/status").await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("operator.forbidden")));
    let admin = Browser::of(&world, "ada", "admin").await;
    world.operations.remove_operator(&Caller::local(), &id("ada")).await.unwrap();
    let (status, body) = admin.get("/status").await;
    assert_eq!((status, &body["v"]), (StatusCode::FORBIDDEN, &json!(1)));
    assert!(body["hint"].as_str().unwrap().contains("certificate.revoked"), "{body}");
}

#[tokio::test]
async fn another_site_cannot_use_an_operators_browser() {
    let world = World::new();
    let device = world.factory.device("pump-1");
    world.admit(&[&device]).await;
    let person = Browser::of(&world, "otto", "operator").await;
    for (name, value) in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        for (method, path) in [(Method::POST, "/devices/pump-1/retire"), (Method::DELETE, "/operators/otto")] {
            let request = Request::builder()
                .method(method)
                .uri(format!("/api/v1{path}"))
                .header("host", "gw.example:8443")
                .header("content-type", "application/json")
                .header(name, value)
                .body(Body::from("{}"))
                .unwrap();
            let (status, body) = person.send(request).await;
            assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("request.cross_site")), "{name}");
        }
    }
    let form = Request::post("/api/v1/devices/pump-1/retire")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("a=b"))
        .unwrap();
    let (status, body) = person.send(form).await;
    assert_eq!((status, &body["code"]), (StatusCode::UNSUPPORTED_MEDIA_TYPE, &json!("request.content_type")));
    assert_eq!(person.get("/devices/pump-1").await.1["standing"], "expected");
}

#[tokio::test]
async fn errors_are_objects_too() {
    let world = World::new();
    let viewer = Browser::of(&world, "vera", "viewer").await;
    for (path, status, code) in [
        ("/devices/nobody", StatusCode::NOT_FOUND, "device.unknown"),
        ("/devices/a%20b", StatusCode::BAD_REQUEST, "name.malformed"),
        ("/devices?limit=many", StatusCode::BAD_REQUEST, "usage.wrong"),
        ("/devices?colour=red", StatusCode::BAD_REQUEST, "usage.wrong"),
        ("/nothing", StatusCode::NOT_FOUND, "path.unknown"),
        ("/devices/a/rotate", StatusCode::METHOD_NOT_ALLOWED, "method.unknown"),
    ] {
        let (found, body) = viewer.get(path).await;
        assert_eq!((found, &body["code"], &body["v"]), (status, &json!(code), &json!(1)), "{path}");
    }
}
