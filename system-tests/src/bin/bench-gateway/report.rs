//! The figures against the goals, and as a table.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rounded;

/// A figure that has a goal: where it stands, what it may be at most, and its unit.
const GOALS: [(&str, &str, f64, &str); 5] = [
    ("mTLS handshake and CONNECT", "/servers/muster/connect/x25519/cpu_us", 280.0, "µs"),
    ("idle session", "/servers/muster/idle/bytes_per_session", 13.0 * 1024.0, "bytes"),
    ("acknowledged QoS 1 message", "/servers/muster/fan_in/cpu_us", 11.0, "µs"),
    ("acknowledged and not delivered", "/servers/muster/fan_in/undelivered", 0.0, "messages"),
    ("revoke to disconnect, p99", "/servers/muster/revocation/p99_millis", 1000.0, "ms"),
];

/// What every server is compared by.
const COMPARED: [(&str, &str, &str); 7] = [
    ("mTLS + CONNECT, x25519", "/connect/x25519/cpu_us", "µs CPU"),
    ("mTLS + CONNECT, secp256r1", "/connect/secp256r1/cpu_us", "µs CPU"),
    ("mTLS + CONNECT, x25519mlkem768", "/connect/x25519mlkem768/cpu_us", "µs CPU"),
    ("idle session", "/idle/bytes_per_session", "bytes PSS"),
    ("QoS 1 message, 50 to 1", "/fan_in/cpu_us", "µs CPU"),
    ("acknowledged, not delivered", "/fan_in/undelivered_percent", "%"),
    ("acknowledged in a second", "/fan_in/acknowledged_per_second", "messages"),
];

const SERVERS: [&str; 3] = ["muster", "mosquitto", "bare"];

/// What only Muster does.
const OWN: [(&str, &str, &str); 8] = [
    ("enrolments", "/servers/muster/enrolment/per_second", "a second, agents on the same cores"),
    ("gateway's share of one", "/servers/muster/enrolment/gateway_cpu_us", "µs CPU"),
    ("rotations", "/servers/muster/rotation/per_second", "a second, agents on the same cores"),
    ("gateway's share of one", "/servers/muster/rotation/gateway_cpu_us", "µs CPU"),
    ("revoke to disconnect, p50", "/servers/muster/revocation/p50_millis", "ms"),
    ("revoke to disconnect, p99", "/servers/muster/revocation/p99_millis", "ms"),
    ("among so many sessions", "/servers/muster/revocation/sessions", "sessions"),
    ("revocations", "/servers/muster/revocation/per_second", "a second, one after the other"),
];

/// Adds the ratios and the verdicts to the figures.
pub(crate) fn judge(figures: &mut Value) {
    let goals: Vec<Value> = GOALS
        .iter()
        .map(|(name, place, most, unit)| {
            let found = figures.pointer(place).and_then(Value::as_f64);
            json!({ "name": name, "at_most": most, "found": found, "unit": unit, "is_met": found.is_some_and(|f| f <= *most) })
        })
        .collect();
    let ratios: Vec<Value> = COMPARED
        .iter()
        .map(|(name, place, _)| {
            let of = |server: &str| figures.pointer(&format!("/servers/{server}{place}")).and_then(Value::as_f64);
            let beside =
                |server| Some((of("muster")? / of(server).filter(|value| *value > 0.0)? * 100.0).round() / 100.0);
            json!({ "name": name, "to_mosquitto": beside("mosquitto"), "to_bare": beside("bare") })
        })
        .collect();
    figures["goals"] = goals.into();
    figures["ratios"] = ratios.into();
}

/// Three tables for people.
pub(crate) fn table(figures: &Value) -> String {
    let mut text = String::new();
    let number = |place: &str| figures.pointer(place).and_then(Value::as_f64).map(|value| rounded(value).to_string());
    let cell = |place: &str| number(place).unwrap_or_else(|| "-".to_owned());
    let [muster, mosquitto, bare] = SERVERS;
    let _ = writeln!(text, "{:32}{muster:>10}{mosquitto:>11}{bare:>10}{:>12}{:>9}", "", "/mosquitto", "/bare");
    for (index, (name, place, unit)) in COMPARED.iter().enumerate() {
        let [muster, mosquitto, bare] = SERVERS.map(|server| cell(&format!("/servers/{server}{place}")));
        let ratio = |to: &str| cell_of_ratio(figures, index, to);
        let (to_mosquitto, to_bare) = (ratio("to_mosquitto"), ratio("to_bare"));
        let _ = writeln!(text, "{name:32}{muster:>10}{mosquitto:>11}{bare:>10}{to_mosquitto:>12}{to_bare:>9}  {unit}");
    }
    text.push('\n');
    for (name, place, unit) in OWN {
        let _ = writeln!(text, "{name:32}{:>10}  {unit}", cell(place));
    }
    text.push('\n');
    for (index, (name, place, most, unit)) in GOALS.iter().enumerate() {
        let is_met = figures["goals"][index]["is_met"] == true;
        let verdict = if is_met { "met" } else { "MISSED" };
        let _ = writeln!(text, "{name:32}{:>10}  goal: at most {most} {unit}: {verdict}", cell(place));
    }
    let _ = writeln!(text, "\nload of the machine before and after: {}, {}", cell("/load_before"), cell("/load_after"));
    text
}

fn cell_of_ratio(figures: &Value, index: usize, to: &str) -> String {
    figures["ratios"][index][to].as_f64().map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goals_are_judged_and_shown() {
        let mut figures = json!({ "servers": {
            "muster": { "connect": { "x25519": { "cpu_us": 300.0 } }, "fan_in": { "undelivered": 0 } },
            "mosquitto": { "connect": { "x25519": { "cpu_us": 1200.0 } } },
        } });
        judge(&mut figures);
        assert_eq!(figures["goals"][0]["is_met"], false);
        assert_eq!(figures["goals"][3]["is_met"], true);
        assert_eq!(figures["goals"][4]["is_met"], false, "what was not measured is not met");
        assert_eq!(figures["ratios"][0]["to_mosquitto"], 0.25);
        let table = table(&figures);
        assert!(table.contains("MISSED") && table.contains("0.25"), "{table}");
    }
}
