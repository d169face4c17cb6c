//! Lines of the local API: one JSON object each.
//!
//! | asked | answered |
//! |---|---|
//! | `{"op":"publish","topic":"sensors/t","payload":"21.5","qos":1}` | `{"v":1,"ok":true}` once the gateway has it |
//! | `{"op":"subscribe","filter":"commands/#"}`, `unsubscribe` | `{"v":1,"ok":true}`, then `{"v":1,"message":{"topic":…,"payload":…}}` for each |
//! | `{"op":"status"}` | `{"v":1,"ok":true,"status":{…}}` |
//! | `{"op":"watch"}` | the same, and again with each change |
//! | `{"op":"rotate"}` | `{"v":1,"ok":true}` when taken on |
//! | `{"op":"retire"}` | `{"v":1,"ok":true}` when done |
//!
//! Topics are below `devices/<device-id>/` and written without it. A payload is text, or any other JSON value, which is
//! sent as JSON; bytes go as `payload_hex`. An `id` in a question comes back in its answer. A refusal is
//! `{"v":1,"ok":false,"code":…,"message":…}`.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::agent::{Delivery, Refusal, Status};
use crate::mqtt::Quality;

/// Longest line in either direction.
pub(super) const LINE_BYTES_MAX: usize = 128 * 1024;
/// Longest payload of a publication.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// A question.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// What to do.
    op: String,
    /// Comes back in the answer.
    #[serde(default)]
    pub id: Option<Value>,
    #[serde(default)]
    topic: Option<String>,
    #[serde(default)]
    filter: Option<String>,
    #[serde(default)]
    payload: Option<Value>,
    #[serde(default)]
    payload_hex: Option<String>,
    #[serde(default)]
    qos: Option<u8>,
}

/// What a question asks.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Op {
    Publish { topic: String, payload: Bytes, quality: Quality },
    Subscribe { filter: String },
    Unsubscribe { filter: String },
    Status,
    Watch,
    Rotate,
    Retire,
}

impl Line {
    /// Reads a line.
    pub fn parse(line: &[u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(line).map_err(|error| Refusal::new("request.malformed", error.to_string()))
    }

    pub(super) fn op(&self) -> Result<Op, Refusal> {
        let named = |field: &Option<String>, name: &str| {
            field.clone().ok_or_else(|| malformed(format!("`{}` needs `{name}`", self.op)))
        };
        match self.op.as_str() {
            "publish" => Ok(Op::Publish {
                topic: named(&self.topic, "topic")?,
                payload: self.payload()?,
                quality: match self.qos {
                    Some(0) => Quality::AtMostOnce,
                    None | Some(1) => Quality::AtLeastOnce,
                    Some(_) => return Err(malformed("`qos` is 0 or 1")),
                },
            }),
            "subscribe" => Ok(Op::Subscribe { filter: named(&self.filter, "filter")? }),
            "unsubscribe" => Ok(Op::Unsubscribe { filter: named(&self.filter, "filter")? }),
            "status" => Ok(Op::Status),
            "watch" => Ok(Op::Watch),
            "rotate" => Ok(Op::Rotate),
            "retire" => Ok(Op::Retire),
            other => Err(malformed(format!("there is no op {other:?}"))),
        }
    }

    fn payload(&self) -> Result<Bytes, Refusal> {
        let payload = match (&self.payload, &self.payload_hex) {
            (Some(_), Some(_)) => return Err(malformed("`payload` or `payload_hex`, not both")),
            (Some(Value::String(text)), None) => Bytes::copy_from_slice(text.as_bytes()),
            (Some(value), None) => Bytes::from(value.to_string()),
            (None, Some(hex)) => from_hex(hex).ok_or_else(|| malformed("`payload_hex` is not hex"))?,
            (None, None) => Bytes::new(),
        };
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(Refusal::new("request.oversized", "a payload has at most 65536 bytes"));
        }
        Ok(payload)
    }
}

/// An answer, or a publication that came.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct LineAnswer {
    v: u8,
    /// Whether it was done; missing in a publication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ok: Option<bool>,
    /// That of the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<Value>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The same for people; in a publication, its topic and payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Value>,
    /// What the agent says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<Value>,
}

impl LineAnswer {
    pub(super) fn to(id: Option<Value>, outcome: Result<Option<Arc<Status>>, Refusal>) -> Self {
        match outcome {
            Ok(status) => {
                let status = status.and_then(|status| serde_json::to_value(&*status).ok());
                Self { v: 1, ok: Some(true), id, status, ..Self::default() }
            }
            Err(Refusal { code, message }) => Self {
                v: 1,
                ok: Some(false),
                id,
                code: Some(code.to_owned()),
                message: Some(message.into()),
                ..Self::default()
            },
        }
    }

    pub(super) fn delivery(delivery: &Delivery) -> Self {
        let message = match std::str::from_utf8(&delivery.payload) {
            Ok(text) => serde_json::json!({ "topic": delivery.topic, "payload": text }),
            Err(_) => serde_json::json!({ "topic": delivery.topic, "payload_hex": to_hex(&delivery.payload) }),
        };
        Self { v: 1, message: Some(message), ..Self::default() }
    }

    /// With its line end.
    pub(super) fn to_line(&self) -> Vec<u8> {
        // Strings and numbers only: there is nothing that serde_json could refuse.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new("request.malformed", message)
}

fn from_hex(text: &str) -> Option<Bytes> {
    let digits: Option<Vec<u8>> = text.chars().map(|digit| digit.to_digit(16).map(|value| value as u8)).collect();
    let (pairs, rest) = digits.as_deref()?.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn op(line: &str) -> Result<Op, Refusal> {
        Line::parse(line.as_bytes()).and_then(|line| line.op())
    }

    #[test]
    fn payloads_are_text_json_or_bytes() {
        for (payload, expected) in [
            (r#""payload":"21.5""#, &b"21.5"[..]),
            (r#""payload":{"t":21.5}"#, br#"{"t":21.5}"#),
            (r#""payload":7"#, b"7"),
            (r#""payload_hex":"00fF""#, &[0x00, 0xff]),
            (r#""qos":1"#, b""),
        ] {
            let Ok(Op::Publish { payload: read, .. }) = op(&format!(r#"{{"op":"publish","topic":"a",{payload}}}"#))
            else {
                panic!("{payload} is refused");
            };
            assert_eq!(read, expected, "{payload}");
        }
    }

    #[test]
    fn what_is_no_question_is_refused_and_named() {
        for (line, named) in [
            ("", "EOF"),
            ("[]", "invalid"),
            (r#"{"op":"fly"}"#, "fly"),
            (r#"{"op":"publish"}"#, "topic"),
            (r#"{"op":"subscribe"}"#, "filter"),
            (r#"{"op":"status","key":1}"#, "key"),
            (r#"{"op":"publish","topic":"a","qos":2}"#, "qos"),
            (r#"{"op":"publish","topic":"a","payload":"x","payload_hex":"00"}"#, "not both"),
            (r#"{"op":"publish","topic":"a","payload_hex":"0"}"#, "hex"),
            (r#"{"op":"publish","topic":"a","payload_hex":"zz"}"#, "hex"),
        ] {
            let refusal = op(line).unwrap_err();
            assert!(refusal.message.contains(named), "{line} gives {refusal:?}");
            assert_eq!(refusal.code, "request.malformed");
        }
        let long = format!(r#"{{"op":"publish","topic":"a","payload":"{}"}}"#, "x".repeat(PAYLOAD_BYTES_MAX + 1));
        assert_eq!(op(&long).unwrap_err().code, "request.oversized");
    }

    #[test]
    fn an_answer_is_one_line() {
        let answer = LineAnswer::to(Some(7.into()), Err(Refusal::new("a.b", "two\nlines"))).to_line();
        assert_eq!(answer, b"{\"v\":1,\"ok\":false,\"id\":7,\"code\":\"a.b\",\"message\":\"two\\nlines\"}\n");
        let delivery = Delivery { topic: "a".to_owned(), payload: Bytes::from_static(&[0xff]) };
        assert_eq!(
            LineAnswer::delivery(&delivery).to_line(),
            b"{\"v\":1,\"message\":{\"payload_hex\":\"ff\",\"topic\":\"a\"}}\n"
        );
    }
}
