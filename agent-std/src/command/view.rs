//! A status as a command sees it: the same from a handle, from the socket of a running agent, and from files.

use muster_protocol::{Code, Disposition};
use muster_terminal::time;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Status;

/// The fields that commands decide by.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Seen {
    pub(super) device: String,
    pub(super) fleet: String,
    pub(super) agent: String,
    pub(super) state: String,
    pub(super) session: Option<String>,
    pub(super) active: Option<String>,
    pub(super) gateways: Vec<String>,
    pub(super) bundle: u32,
    pub(super) clock_floor: Option<String>,
    pub(super) slots: Vec<Slot>,
    pub(super) last_refusal: Option<Refusal>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Slot {
    pub(super) slot: String,
    pub(super) phase: String,
    pub(super) generation: u32,
    pub(super) serial: Option<String>,
    pub(super) not_after_unix: Option<u64>,
}

#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) by: String,
    pub(super) message: String,
    pub(super) hint: String,
    pub(super) at: String,
}

impl Refusal {
    /// Whether the gateway said what only an operator can change.
    pub(super) fn asks_operator(&self) -> bool {
        let code = Code::from_name(&self.code);
        self.by == "gateway" && code.is_some_and(|code| code.disposition() == Disposition::AskOperator)
    }
}

impl Seen {
    pub(super) fn of(status: &Status) -> Self {
        serde_json::to_value(status).map(|value| Self::read(&value)).unwrap_or_default()
    }

    pub(super) fn read(status: &Value) -> Self {
        Self::deserialize(status).unwrap_or_default()
    }

    pub(super) fn is_operational(&self) -> bool {
        matches!(self.state.as_str(), "operational" | "rekeying")
            && self.session.is_some()
            && self.session == self.active
    }

    /// The generation of the key in use.
    pub(super) fn generation(&self) -> Option<u32> {
        self.slots.iter().find(|slot| Some(&slot.slot) == self.active.as_ref()).map(|slot| slot.generation)
    }

    /// The status for a person.
    pub(super) fn to_text(&self, now_unix_secs: u64) -> String {
        let session = match self.session.as_deref() {
            None if self.agent == "stopped" => "the agent is not running".to_owned(),
            None => "none".to_owned(),
            Some("idevid") => "under the IDevID, for enrolment".to_owned(),
            Some(slot) => format!("under the certificate in slot {slot}"),
        };
        let mut lines = vec![
            ("device", format!("{} of fleet {}", self.device, self.fleet)),
            ("agent", self.agent.clone()),
            ("state", self.state.clone()),
            ("session", session),
            ("gateway", self.gateways.join(", ")),
            ("trust bundle", self.bundle.to_string()),
        ];
        lines.extend(self.clock_floor.clone().map(|floor| ("clock floor", floor)));
        for slot in &self.slots {
            lines.push(("slot", slot.to_text(now_unix_secs)));
        }
        if let Some(refusal) = &self.last_refusal {
            let Refusal { code, by, message, hint, at } = refusal;
            lines.push(("last refusal", format!("{code}, by the {by}, {at}: {message}")));
            lines.push(("what to do", hint.clone()));
        }
        lines.iter().fold(String::new(), |text, (name, value)| format!("{text}{name:<14}{value}\n"))
    }
}

impl Slot {
    fn to_text(&self, now_unix_secs: u64) -> String {
        let Self { slot, phase, generation, serial, not_after_unix } = self;
        let certificate = match (serial, not_after_unix) {
            (Some(serial), Some(end)) => {
                format!(", certificate {serial}, ends {}", time::exact_and_relative(now_unix_secs, *end))
            }
            _ => String::new(),
        };
        format!("{slot}: {phase}, key {generation}{certificate}")
    }
}

/// The status for a script: with the whole days that each certificate has left, negative when it is over.
pub(super) fn with_days_left(mut status: Value, now_unix_secs: u64) -> Value {
    let slots = status.get_mut("slots").and_then(Value::as_array_mut);
    for slot in slots.into_iter().flatten() {
        if let Some(end) = slot.get("not_after_unix").and_then(Value::as_u64) {
            let left = i64::try_from(end).unwrap_or(i64::MAX) - i64::try_from(now_unix_secs).unwrap_or(i64::MAX);
            slot["days_left"] = json!(left.div_euclid(86_400));
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_left_are_whole_and_negative_afterwards() {
        let days = |now| {
            let status = with_days_left(json!({ "slots": [{ "not_after_unix": 200_000 }, {}] }), now);
            status["slots"][0]["days_left"].clone()
        };
        assert_eq!((days(0), days(200_000), days(200_001)), (json!(2), json!(0), json!(-1)));
    }

    #[test]
    fn a_status_says_what_to_do() {
        let seen = Seen::read(&json!({
            "device": "dev-1", "fleet": "acme", "agent": "running", "state": "operational",
            "session": "a", "active": "a",
            "slots": [{ "slot": "a", "phase": "confirmed", "generation": 3, "serial": "0a", "not_after_unix": 86_400 }],
            "last_refusal": { "code": "device.suspended", "by": "gateway", "message": "m.", "hint": "ask", "at": "t" },
        }));
        assert!(seen.is_operational());
        assert_eq!(seen.generation(), Some(3));
        assert!(seen.last_refusal.as_ref().unwrap().asks_operator());
        let text = seen.to_text(0);
        assert!(text.contains("ends 1970-01-02 00:00:00Z (in 1 day)"), "{text}");
        assert!(text.contains("what to do    ask"), "{text}");
    }
}
