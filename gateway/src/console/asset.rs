//! Style sheet, script and icon. Their names carry a hash of their content, so a browser may keep them for good.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

struct Asset {
    path: String,
    kind: &'static str,
    content: &'static str,
}

impl Asset {
    fn new(stem: &str, ending: &str, kind: &'static str, content: &'static str) -> Self {
        let hash: String = Sha256::digest(content).iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self { path: format!("/assets/{stem}-{hash}.{ending}"), kind, content }
    }
}

static STYLE: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "css", "text/css; charset=utf-8", include_str!("../../assets/console.css")));
static SCRIPT: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("console", "js", "text/javascript; charset=utf-8", include_str!("../../assets/console.js"))
});

static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("console", "svg", "image/svg+xml", include_str!("../../assets/console.svg")));

/// Where the icon lies.
pub(super) fn icon_path() -> &'static str {
    &ICON.path
}

/// Where the style sheet lies.
pub(super) fn style_path() -> &'static str {
    &STYLE.path
}

/// Where the script lies.
pub(super) fn script_path() -> &'static str {
    &SCRIPT.path
}

pub(super) async fn serve(Path(name): Path<String>) -> Response {
    let asked = format!("/assets/{name}");
    for asset in [&*STYLE, &*SCRIPT, &*ICON] {
        if asset.path == asked {
            let headers = [(CONTENT_TYPE, asset.kind), (CACHE_CONTROL, "private, max-age=31536000, immutable")];
            return (headers, asset.content).into_response();
        }
    }
    StatusCode::NOT_FOUND.into_response()
}
