//! What a device reports of itself: uptime, load, memory, from `/proc` (proc(5)). JSON, because people read it.

use std::fs;

use serde::Serialize;

/// One report, published at `devices/<device-id>/telemetry`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Report {
    v: u8,
    /// Seconds since the machine started.
    pub uptime_secs: u64,
    /// Load average of the last minute.
    pub load1: f64,
    /// Memory that is not available to programs.
    pub memory_used_bytes: u64,
    /// All memory.
    pub memory_total_bytes: u64,
}

impl Report {
    /// Of this machine, now; `None` where `/proc` does not say.
    #[must_use]
    pub fn read() -> Option<Self> {
        let read = |path| fs::read_to_string(path).ok();
        Self::parse(&read("/proc/uptime")?, &read("/proc/loadavg")?, &read("/proc/meminfo")?)
    }

    /// As it is published.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Numbers under fixed names: there is nothing that serde_json could refuse.
        serde_json::to_string(self).unwrap_or_default()
    }

    fn parse(uptime: &str, load: &str, memory: &str) -> Option<Self> {
        let first = |text: &str| text.split_whitespace().next()?.parse::<f64>().ok().filter(|n| n.is_finite());
        let kib = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let total = kib("MemTotal")?;
        let available = kib("MemAvailable").or_else(|| kib("MemFree"))?;
        Some(Self {
            v: 1,
            // Truncated on purpose: whole seconds.
            uptime_secs: first(uptime)?.max(0.0) as u64,
            load1: first(load)?,
            memory_used_bytes: total.saturating_sub(available).saturating_mul(1024),
            memory_total_bytes: total.saturating_mul(1024),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_files() {
        let memory = "MemTotal:       4000 kB\nMemFree:         100 kB\nMemAvailable:   3000 kB\n";
        let report = Report::parse("123.99 1.00\n", "0.52 0.58 0.59 1/977 5\n", memory).unwrap();
        assert_eq!(
            report.to_json(),
            r#"{"v":1,"uptime_secs":123,"load1":0.52,"memory_used_bytes":1024000,"memory_total_bytes":4096000}"#
        );
        assert_eq!(Report::parse("", "", ""), None);
        assert!(Report::read().is_some(), "this machine has /proc");
    }
}
