//! What travels over the admin socket: one JSON object a line, either way; behind a request its body, if it has one.
//!
//! ```text
//! {"v":1,"request":{"operation":"manifest_import"},"body_bytes":48213}\n  and 48213 bytes
//! {"v":1,"answer":{...}}\n     or     {"v":1,"error":{"blame":...,"code":...,"message":...,"hint":...}}\n
//! ```

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::OperationError;
use super::request::Request;

/// Version of the exchange.
pub(super) const VERSION: u8 = 1;
/// Longest line of a request.
pub(super) const REQUEST_BYTES_MAX: usize = 1024 * 1024;
/// Longest body: a manifest of a million devices.
pub(super) const BODY_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// A request.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Asked {
    pub(super) v: u8,
    pub(super) request: Request,
    #[serde(default)]
    pub(super) body_bytes: u64,
}

/// An answer.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Answered {
    pub(super) v: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) answer: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<OperationError>,
}

impl From<Result<Value, OperationError>> for Answered {
    fn from(result: Result<Value, OperationError>) -> Self {
        match result {
            Ok(answer) => Self { v: VERSION, answer: Some(answer), error: None },
            Err(error) => Self { v: VERSION, answer: None, error: Some(error) },
        }
    }
}
