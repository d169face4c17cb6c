//! What a device reports of itself, at `devices/<device-id>/telemetry`: the same JSON as the Linux agent's, so that
//! consoles read one form. Written by hand: firmware carries no formatting.

use crate::fmt::{DIGITS_MAX, decimal};

/// What a board knows of itself.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Vitals {
    /// How busy the processor was of late, in percent.
    pub load_percent: u8,
    /// Memory that was ever used: statics and the deepest stack.
    pub memory_used_bytes: u32,
    /// All memory.
    pub memory_total_bytes: u32,
}

/// Longest report.
pub const REPORT_BYTES_MAX: usize = 128;

/// A report.
pub type Report = heapless::Vec<u8, REPORT_BYTES_MAX>;

/// Writes a report.
#[must_use]
pub fn report(uptime_secs: u64, vitals: Vitals) -> Report {
    let mut json = Report::new();
    let mut digits = [0; DIGITS_MAX];
    // REPORT_BYTES_MAX holds the longest numbers, so nothing is ever cut.
    let mut put = |text: &str| drop(json.extend_from_slice(text.as_bytes()));
    put("{\"v\":1,\"uptime_secs\":");
    put(decimal(uptime_secs, &mut digits));
    put(",\"load1\":");
    let hundredths = u64::from(vitals.load_percent);
    put(decimal(hundredths / 100, &mut digits));
    put(if hundredths % 100 < 10 { ".0" } else { "." });
    put(decimal(hundredths % 100, &mut digits));
    put(",\"memory_used_bytes\":");
    put(decimal(u64::from(vitals.memory_used_bytes), &mut digits));
    put(",\"memory_total_bytes\":");
    put(decimal(u64::from(vitals.memory_total_bytes), &mut digits));
    put("}");
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_json() {
        let vitals = Vitals { load_percent: 7, memory_used_bytes: 30_000, memory_total_bytes: 65_536 };
        assert_eq!(
            core::str::from_utf8(&report(12, vitals)),
            Ok(r#"{"v":1,"uptime_secs":12,"load1":0.07,"memory_used_bytes":30000,"memory_total_bytes":65536}"#)
        );
        let most = Vitals { load_percent: 255, memory_used_bytes: u32::MAX, memory_total_bytes: u32::MAX };
        let longest = report(u64::MAX, most);
        assert!(longest.ends_with(b"}") && longest.windows(4).any(|window| window == b"2.55"));
    }
}
