//! The last telemetry of each device, in memory, for console and API. Bytes of a device are hostile: kept as they came,
//! bounded in length and in number, never looked into here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use muster_protocol::{DeviceId, UnixTime};

use crate::config;
use crate::registrar::Telemetry;

/// The last message of each device.
#[derive(Debug)]
pub struct LastTelemetry {
    limits: Mutex<config::Telemetry>,
    messages: Mutex<HashMap<DeviceId, Telemetry>>,
}

impl LastTelemetry {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: config::Telemetry) -> Self {
        Self { limits: Mutex::new(limits), messages: Mutex::default() }
    }

    /// From now on these bounds; what is there already stays.
    pub fn set_limits(&self, limits: config::Telemetry) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Keeps a message, unless it is longer than allowed or of one device too many.
    pub fn keep(&self, device: &DeviceId, payload: &[u8], at: UnixTime) {
        let limits = *self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        if payload.len() > limits.keep_bytes_max {
            return;
        }
        let mut messages = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let is_full = messages.len() >= limits.devices_max;
        match messages.get_mut(device) {
            Some(message) => {
                message.at = at;
                message.payload.clear();
                message.payload.extend_from_slice(payload);
            }
            None if is_full => {}
            None => drop(messages.insert(device.clone(), Telemetry { at, payload: payload.to_vec() })),
        }
    }

    /// The last message of a device.
    #[must_use]
    pub fn of(&self, device: &DeviceId) -> Option<Telemetry> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).get(device).cloned()
    }
}

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
    }
}
