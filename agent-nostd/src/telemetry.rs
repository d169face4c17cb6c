//! What a device reports of itself, at `devices/<device-id>/telemetry`: postcard (docs/formats.md). The gateway shows it as
//! it shows the Linux agent's.

use muster_protocol::limits::TELEMETRY_BYTES_MAX;
use muster_protocol::message::application::Telemetry;
use muster_protocol::message::encode_into;

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

/// A report, as it travels.
pub type Report = heapless::Vec<u8, TELEMETRY_BYTES_MAX>;

/// Writes a report.
#[must_use]
pub fn report(uptime_secs: u64, vitals: Vitals) -> Report {
    let telemetry = Telemetry {
        uptime_secs,
        load_percent: vitals.load_percent,
        memory_used_bytes: vitals.memory_used_bytes.into(),
        memory_total_bytes: vitals.memory_total_bytes.into(),
    };
    let mut report = Report::new();
    // The longest report fits, so there is nothing to go wrong.
    let _ = encode_into(&telemetry, &mut report);
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_report_fits() {
        let most = Vitals { load_percent: 255, memory_used_bytes: u32::MAX, memory_total_bytes: u32::MAX };
        let read = Telemetry::decode(&report(u64::MAX, most)).unwrap();
        assert_eq!((read.uptime_secs, read.load_percent), (u64::MAX, 255));
        assert_eq!((read.memory_used_bytes, read.memory_total_bytes), (u32::MAX.into(), u32::MAX.into()));
    }
}
