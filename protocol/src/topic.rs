//! Topics: where control messages travel, and which prefix belongs to a device.
//!
//! `$muster/<device-id>/enrol/up|down` is all that an IDevID session reaches; `$muster/<device-id>/control/up|down` is
//! for sessions under an LDevID. Applications use `devices/<device-id>/…`.

use crate::device_id::DeviceId;
use crate::limits::DEVICE_ID_BYTES_MAX;

/// Longest topic of this module in bytes.
pub const TOPIC_BYTES_MAX: usize = 8 + DEVICE_ID_BYTES_MAX + 13;

/// A topic of this module.
pub type TopicText = heapless::String<TOPIC_BYTES_MAX>;

/// Which of the two control channels: it follows from the credential of the session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Channel {
    /// For sessions under an IDevID.
    Enrol,
    /// For sessions under an LDevID.
    Control,
}

/// Which way a control message travels.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// Device to gateway.
    Up,
    /// Gateway to device.
    Down,
}

/// The topic of one control channel of one device.
#[must_use]
pub fn control(device: &DeviceId, channel: Channel, direction: Direction) -> TopicText {
    let channel = match channel {
        Channel::Enrol => "/enrol/",
        Channel::Control => "/control/",
    };
    let direction = match direction {
        Direction::Up => "up",
        Direction::Down => "down",
    };
    join(&["$muster/", device.as_str(), channel, direction])
}

/// The prefix below which a device's applications publish and subscribe, with its closing slash.
#[must_use]
pub fn application_prefix(device: &DeviceId) -> TopicText {
    join(&["devices/", device.as_str(), "/"])
}

/// Where a device's own telemetry goes.
#[must_use]
pub fn telemetry(device: &DeviceId) -> TopicText {
    join(&["devices/", device.as_str(), "/telemetry"])
}

/// Where commands to a device go.
#[must_use]
pub fn command(device: &DeviceId) -> TopicText {
    join(&["devices/", device.as_str(), "/command"])
}

/// Where a device answers commands.
#[must_use]
pub fn answer(device: &DeviceId) -> TopicText {
    join(&["devices/", device.as_str(), "/answer"])
}

/// Reads a control topic back into its parts.
#[must_use]
pub fn parse_control(topic: &str) -> Option<(DeviceId, Channel, Direction)> {
    let mut levels = topic.strip_prefix("$muster/")?.split('/');
    let device = DeviceId::new(levels.next()?).ok()?;
    let channel = match levels.next()? {
        "enrol" => Channel::Enrol,
        "control" => Channel::Control,
        _ => return None,
    };
    let direction = match levels.next()? {
        "up" => Direction::Up,
        "down" => Direction::Down,
        _ => return None,
    };
    levels.next().is_none().then_some((device, channel, direction))
}

fn join(parts: &[&str]) -> TopicText {
    let mut topic = TopicText::new();
    for part in parts {
        // TOPIC_BYTES_MAX is the sum of the longest parts, so nothing is ever cut.
        let _ = topic.push_str(part);
    }
    topic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_topics_read_back() {
        let device = DeviceId::new("dev-1").unwrap();
        for channel in [Channel::Enrol, Channel::Control] {
            for direction in [Direction::Up, Direction::Down] {
                let topic = control(&device, channel, direction);
                assert_eq!(parse_control(&topic), Some((device.clone(), channel, direction)), "{topic}");
            }
        }
        assert_eq!(control(&device, Channel::Enrol, Direction::Up), "$muster/dev-1/enrol/up");
        assert_eq!(telemetry(&device), "devices/dev-1/telemetry");
        assert_eq!(command(&device), "devices/dev-1/command");
        assert_eq!(answer(&device), "devices/dev-1/answer");
    }

    #[test]
    fn anything_else_is_no_control_topic() {
        for topic in [
            "$muster/a/enrol",
            "$muster/a/enrol/up/x",
            "$muster//enrol/up",
            "$muster/+/enrol/up",
            "muster/a/enrol/up",
            "$muster/a/x/up",
        ] {
            assert_eq!(parse_control(topic), None, "{topic}");
        }
    }

    #[test]
    fn the_longest_topic_fits() {
        let mut text = heapless::String::<64>::new();
        while text.push('d').is_ok() {}
        let device = DeviceId::new(&text).unwrap();
        assert!(control(&device, Channel::Control, Direction::Down).ends_with("/control/down"));
        assert!(telemetry(&device).ends_with("/telemetry"));
        assert!(command(&device).ends_with("/command"));
    }
}
