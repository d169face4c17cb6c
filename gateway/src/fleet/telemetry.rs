//! The last telemetry of each device, in memory, for console and API. Bytes of a device are hostile: kept as they came,
//! bounded in length and in number, never looked into here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use muster_protocol::{DeviceId, UnixTime};

use crate::config;
use crate::registrar::{Telemetry, TooLong};

/// The last message of each device.
#[derive(Debug)]
pub struct LastTelemetry {
    limits: Mutex<config::Telemetry>,
    messages: Mutex<HashMap<DeviceId, Said>>,
    complaints: Mutex<Complaints>,
}

/// What one device said last.
#[derive(Debug, Default)]
struct Said {
    kept: Option<Telemetry>,
    /// The last message, when it was longer than what is kept.
    too_long: Option<TooLong>,
}

/// How many messages were too long since the last line of the log that said so.
#[derive(Debug, Default)]
struct Complaints {
    told_at: Option<UnixTime>,
    untold: u64,
}

impl LastTelemetry {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: config::Telemetry) -> Self {
        Self { limits: Mutex::new(limits), messages: Mutex::default(), complaints: Mutex::default() }
    }

    /// From now on these bounds; what is there already stays.
    pub fn set_limits(&self, limits: config::Telemetry) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Keeps a message, unless it is of one device too many. Of one that is longer than allowed, only that is kept.
    pub fn keep(&self, device: &DeviceId, payload: &[u8], at: UnixTime) {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let (bytes, bytes_max) = (payload.len(), limits.keep_bytes_max);
        if bytes > bytes_max
            && let Some(untold) = self.complaints().count(at)
        {
            tracing::warn!(%device, bytes, bytes_max, untold, "telemetry is longer than telemetry.keep_bytes_max: not kept");
        }
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        if messages.len() >= limits.devices_max && !messages.contains_key(device) {
            return;
        }
        let said = messages.entry(device.clone()).or_default();
        if bytes > bytes_max {
            said.too_long = Some(TooLong { at, bytes, bytes_max });
            return;
        }
        said.too_long = None;
        let kept = said.kept.get_or_insert_with(|| Telemetry { at, payload: Vec::new() });
        kept.at = at;
        kept.payload.clear();
        kept.payload.extend_from_slice(payload);
    }

    /// The last message of a device that was not too long.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Option<Telemetry> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).get(device)?.kept.clone()
    }

    /// That the device's very last message was too long.
    #[must_use]
    pub fn too_long(&self, device: &DeviceId) -> Option<TooLong> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).get(device)?.too_long
    }

    fn complaints(&self) -> std::sync::MutexGuard<'_, Complaints> {
        self.complaints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Complaints {
    /// Counts a message that was too long. `Some` when the log is to say so, with how many it did not mention before.
    fn count(&mut self, now: UnixTime) -> Option<u64> {
        if self.told_at.is_some_and(|told_at| now.secs_since(told_at) < COMPLAIN_EVERY_SECS) {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told_at = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// A line of the log about messages that are too long, at most so often, whoever sends them.
const COMPLAIN_EVERY_SECS: u64 = 60;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    #[test]
    fn keeps_the_last_one_within_its_bounds() {
        let kept = LastTelemetry::new(config::Telemetry { keep_bytes_max: 4, devices_max: 2 });
        let [a, b, c] = ["a", "b", "c"].map(|id| DeviceId::new(id).unwrap());
        kept.keep(&a, b"1", UnixTime(1));
        kept.keep(&a, b"2222", UnixTime(2));
        kept.keep(&a, b"33333", UnixTime(3));
        kept.keep(&b, b"\xff\0", UnixTime(4));
        kept.keep(&c, b"c", UnixTime(5));
        kept.keep(&b, b"bb", UnixTime(6));
        assert_eq!(kept.of(&a), Some(Telemetry { at: UnixTime(2), payload: b"2222".to_vec() }));
        assert_eq!(kept.of(&b), Some(Telemetry { at: UnixTime(6), payload: b"bb".to_vec() }));
        assert_eq!(kept.of(&c), None);
        kept.keep(&c, b"ccccc", UnixTime(7));
        assert_eq!(kept.too_long(&c), None, "one device too many");
    }

    #[test]
    fn a_message_that_is_too_long_is_told_until_the_next_one_that_fits() {
        let kept = LastTelemetry::new(config::Telemetry { keep_bytes_max: 4, devices_max: 2 });
        let a = DeviceId::new("a").unwrap();
        kept.keep(&a, b"55555", UnixTime(1));
        assert_eq!((kept.of(&a), kept.too_long(&a)), (None, Some(TooLong { at: UnixTime(1), bytes: 5, bytes_max: 4 })));
        kept.keep(&a, b"4444", UnixTime(2));
        assert_eq!(kept.too_long(&a), None);
        kept.keep(&a, b"666666", UnixTime(3));
        assert_eq!(kept.too_long(&a), Some(TooLong { at: UnixTime(3), bytes: 6, bytes_max: 4 }));
        assert_eq!(kept.of(&a), Some(Telemetry { at: UnixTime(2), payload: b"4444".to_vec() }));
    }

    #[test]
    fn the_log_is_not_filled_by_messages_that_are_too_long() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.count(UnixTime(100)), Some(0));
        for second in 0..COMPLAIN_EVERY_SECS {
            assert_eq!(complaints.count(UnixTime(100 + second)), None);
        }
        assert_eq!(complaints.count(UnixTime(100 + COMPLAIN_EVERY_SECS)), Some(COMPLAIN_EVERY_SECS));
    }
}
