//! Settings: `gateway.toml`, parsed once into [`Config`], which cannot be invalid. Unknown names are refused.
//!
//! The text that `init` writes is [`DEFAULT_TEXT`]; a test holds that it says what [`Config::default`] says, name by
//! name. Secrets, names of the gateway and CAs have no place here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_protocol::pki::profile::END_ENTITY_LIFE_SECS_MAX;
use serde::Deserialize;

use crate::directory::{self, Directory, DirectoryError};
use crate::mqtt;

/// What `init` writes: every setting with its default, explained.
pub const DEFAULT_TEXT: &str = include_str!("../gateway.toml");

/// All settings, each within its bounds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// The listener for devices and services.
    pub mqtt: Mqtt,
    /// The listener for operators.
    pub https: Https,
    /// Bounds of connections on both listeners.
    pub connections: Connections,
    /// Lives of the certificates that are issued here.
    pub certificates: Certificates,
    /// What is kept of telemetry.
    pub telemetry: Telemetry,
}

/// The listener for devices and services.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mqtt {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Open connections.
    pub connections_max: usize,
    /// Bounds of each connection.
    pub limits: mqtt::Limits,
    /// Room of each session's queue.
    pub queue_kib_max: u32,
}

/// The listener for operators.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Https {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Open connections.
    pub connections_max: usize,
    /// How long a request's header may take.
    pub header_deadline: Duration,
}

/// Bounds of connections on both listeners.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Connections {
    /// TLS handshakes at the same time, on each listener.
    pub handshakes_max: usize,
    /// How long a handshake may take, its waiting time included.
    pub handshake_deadline: Duration,
    /// Longest life of an MQTT session.
    pub session_max: Duration,
    /// How long a stopping gateway waits for its connections.
    pub drain_max: Duration,
}

/// Lives of the certificates that are issued here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Certificates {
    /// Devices (LDevID).
    pub device_secs: u64,
    /// Services.
    pub service_secs: u64,
    /// Operators.
    pub operator_secs: u64,
    /// The gateway's own.
    pub server_secs: u64,
}

/// What is kept of telemetry.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Telemetry {
    /// Longest message that is kept.
    pub keep_bytes_max: usize,
    /// Devices whose last message is kept.
    pub devices_max: usize,
}

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// It is not UTF-8, not TOML, or has a name that is not known.
    #[error("{}: {why}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What and where.
        why: String,
    },
    /// A setting is out of its bounds.
    #[error("{}: {name} must be from {least} to {most}, and is {found}", path.display())]
    Bounds {
        /// The file.
        path: PathBuf,
        /// Which setting.
        name: &'static str,
        /// Its least value.
        least: u64,
        /// Its greatest value.
        most: u64,
        /// What stands there.
        found: u64,
    },
}

impl From<ConfigError> for muster_terminal::Failure {
    fn from(error: ConfigError) -> Self {
        match error {
            ConfigError::Directory(error) => error.into(),
            ConfigError::Form { .. } => Self::from_error("config.form", "", &error)
                .hint("compare with the settings that init writes, and mend the line"),
            ConfigError::Bounds { .. } => Self::from_error("config.bounds", "", &error),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            mqtt: Mqtt {
                listen: SocketAddr::from(([0, 0, 0, 0], 8883)),
                connections_max: 20_000,
                limits: mqtt::Limits::default(),
                queue_kib_max: mqtt::QUEUE_UNITS_MAX,
            },
            https: Https {
                listen: SocketAddr::from(([0, 0, 0, 0], 8443)),
                connections_max: 512,
                header_deadline: Duration::from_secs(10),
            },
            connections: Connections {
                handshakes_max: 256,
                handshake_deadline: Duration::from_secs(10),
                session_max: Duration::from_secs(86_400),
                drain_max: Duration::from_secs(10),
            },
            certificates: Certificates {
                device_secs: 7 * DAY_SECS,
                service_secs: 90 * DAY_SECS,
                operator_secs: 90 * DAY_SECS,
                server_secs: 90 * DAY_SECS,
            },
            telemetry: Telemetry { keep_bytes_max: 1024, devices_max: 100_000 },
        }
    }
}

impl Config {
    /// Reads the settings of a directory.
    ///
    /// # Errors
    /// When the file cannot be read, is no TOML, has an unknown name, or a value is out of its bounds.
    pub fn load(directory: &Directory) -> Result<Self, ConfigError> {
        let path = directory.config();
        let bytes = directory::read_public(&path)?;
        let form = |why: String| ConfigError::Form { path: path.clone(), why };
        let text = String::from_utf8(bytes).map_err(|_| form("not UTF-8".to_owned()))?;
        Self::parse(&text, &path)
    }

    /// Reads settings from a text; `path` is for messages.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let raw: Raw = toml::from_str(text).map_err(|error| ConfigError::Form {
            path: path.to_owned(),
            why: error.to_string().trim_end().to_owned(),
        })?;
        raw.check(path)
    }
}

/// The file as it stands. An absent name is its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Raw {
    mqtt: RawMqtt,
    https: RawHttps,
    connections: RawConnections,
    certificates: RawCertificates,
    telemetry: RawTelemetry,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawMqtt {
    listen: Option<SocketAddr>,
    connections_max: Option<u64>,
    connect_deadline_secs: Option<u64>,
    keep_alive_secs_max: Option<u64>,
    packet_bytes_max: Option<u64>,
    receive_maximum: Option<u64>,
    send_maximum: Option<u64>,
    subscriptions_max: Option<u64>,
    queue_kib_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawHttps {
    listen: Option<SocketAddr>,
    connections_max: Option<u64>,
    header_deadline_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawConnections {
    handshakes_max: Option<u64>,
    handshake_deadline_secs: Option<u64>,
    session_secs_max: Option<u64>,
    drain_secs_max: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawCertificates {
    device_secs: Option<u64>,
    service_secs: Option<u64>,
    operator_secs: Option<u64>,
    server_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTelemetry {
    keep_bytes_max: Option<u64>,
    devices_max: Option<u64>,
}

impl Raw {
    fn check(self, path: &Path) -> Result<Config, ConfigError> {
        let checked = Checked { path };
        let mut config = Config::default();
        let mqtt = &mut config.mqtt;
        mqtt.listen = self.mqtt.listen.unwrap_or(mqtt.listen);
        checked.number(&mut mqtt.connections_max, self.mqtt.connections_max, "mqtt.connections_max", 1, 1_000_000)?;
        let limits = &mut mqtt.limits;
        checked.secs(
            &mut limits.connect_deadline,
            self.mqtt.connect_deadline_secs,
            "mqtt.connect_deadline_secs",
            HOUR_SECS,
        )?;
        checked.number(
            &mut limits.keep_alive_secs_max,
            self.mqtt.keep_alive_secs_max,
            "mqtt.keep_alive_secs_max",
            1,
            65_535,
        )?;
        checked.number(&mut limits.packet_bytes_max, self.mqtt.packet_bytes_max, "mqtt.packet_bytes_max", 4096, MIB)?;
        checked.number(&mut limits.receive_maximum, self.mqtt.receive_maximum, "mqtt.receive_maximum", 1, 1024)?;
        checked.number(&mut limits.send_maximum, self.mqtt.send_maximum, "mqtt.send_maximum", 1, 1024)?;
        checked.number(
            &mut limits.subscriptions_max,
            self.mqtt.subscriptions_max,
            "mqtt.subscriptions_max",
            2,
            10_000,
        )?;
        checked.number(&mut mqtt.queue_kib_max, self.mqtt.queue_kib_max, "mqtt.queue_kib_max", 4, 65_536)?;

        let https = &mut config.https;
        https.listen = self.https.listen.unwrap_or(https.listen);
        checked.number(&mut https.connections_max, self.https.connections_max, "https.connections_max", 1, 100_000)?;
        checked.secs(
            &mut https.header_deadline,
            self.https.header_deadline_secs,
            "https.header_deadline_secs",
            HOUR_SECS,
        )?;

        let (to, from) = (&mut config.connections, self.connections);
        checked.number(&mut to.handshakes_max, from.handshakes_max, "connections.handshakes_max", 1, 100_000)?;
        checked.secs(
            &mut to.handshake_deadline,
            from.handshake_deadline_secs,
            "connections.handshake_deadline_secs",
            HOUR_SECS,
        )?;
        checked.secs(&mut to.session_max, from.session_secs_max, "connections.session_secs_max", 398 * DAY_SECS)?;
        checked.secs(&mut to.drain_max, from.drain_secs_max, "connections.drain_secs_max", HOUR_SECS)?;

        let (to, from) = (&mut config.certificates, self.certificates);
        let most = END_ENTITY_LIFE_SECS_MAX;
        checked.number(&mut to.device_secs, from.device_secs, "certificates.device_secs", LIFE_SECS_MIN, most)?;
        checked.number(&mut to.service_secs, from.service_secs, "certificates.service_secs", LIFE_SECS_MIN, most)?;
        checked.number(&mut to.operator_secs, from.operator_secs, "certificates.operator_secs", LIFE_SECS_MIN, most)?;
        checked.number(&mut to.server_secs, from.server_secs, "certificates.server_secs", HOUR_SECS, most)?;

        let (to, from) = (&mut config.telemetry, self.telemetry);
        checked.number(&mut to.keep_bytes_max, from.keep_bytes_max, "telemetry.keep_bytes_max", 0, 65_536)?;
        checked.number(&mut to.devices_max, from.devices_max, "telemetry.devices_max", 0, 10_000_000)?;
        Ok(config)
    }
}

/// Puts values that are within their bounds in the place of defaults.
struct Checked<'a> {
    path: &'a Path,
}

impl Checked<'_> {
    fn number<T: TryFrom<u64>>(
        &self,
        setting: &mut T,
        found: Option<u64>,
        name: &'static str,
        least: u64,
        most: u64,
    ) -> Result<(), ConfigError> {
        let Some(found) = found else { return Ok(()) };
        let out_of_bounds = || ConfigError::Bounds { path: self.path.to_owned(), name, least, most, found };
        if !(least..=most).contains(&found) {
            return Err(out_of_bounds());
        }
        *setting = T::try_from(found).map_err(|_| out_of_bounds())?;
        Ok(())
    }

    fn secs(
        &self,
        setting: &mut Duration,
        found: Option<u64>,
        name: &'static str,
        most: u64,
    ) -> Result<(), ConfigError> {
        let mut secs = setting.as_secs();
        self.number(&mut secs, found, name, 1, most)?;
        *setting = Duration::from_secs(secs);
        Ok(())
    }
}

const HOUR_SECS: u64 = 3600;
const DAY_SECS: u64 = 86_400;
/// Short enough for a demonstration; a device renews at two thirds of it.
const LIFE_SECS_MIN: u64 = 5;
const MIB: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("gateway.toml"))
    }

    #[test]
    fn the_committed_text_and_an_empty_one_are_the_defaults() {
        assert_eq!(parse(DEFAULT_TEXT).unwrap(), Config::default());
        assert_eq!(parse("").unwrap(), Config::default());
    }

    /// Doubles each value of the committed text, one at a time: a name that is not read, or a default that is missing from
    /// the text, shows.
    #[test]
    fn every_setting_of_the_committed_text_is_read() {
        let mut settings = 0;
        for line in DEFAULT_TEXT.lines() {
            let Some((name, value)) = line.split_once(" = ") else { continue };
            let other = match value.parse::<u64>() {
                Ok(1_000_000..) => format!("{name} = 1000000"),
                Ok(number) => format!("{name} = {}", number + 1),
                Err(_) => format!("{name} = \"127.0.0.1:1\""),
            };
            let changed = DEFAULT_TEXT.replacen(&format!("\n{line}\n"), &format!("\n{other}\n"), 1);
            assert_ne!(parse(&changed).unwrap(), Config::default(), "{line}");
            settings += 1;
        }
        assert_eq!(settings, 22);
    }

    #[test]
    fn unknown_names_and_values_out_of_bounds_are_refused() {
        for (text, expected) in [
            ("listen = 1", "unknown field"),
            ("[mqtt]\nlisten_on = \"0.0.0.0:1\"", "unknown field"),
            ("[mqtt]\nlisten = \"here\"", "invalid socket address"),
            ("[mqtt]\nconnections_max = 0", "mqtt.connections_max must be from 1 to 1000000, and is 0"),
            ("[certificates]\ndevice_secs = 34387201", "certificates.device_secs must be from 5"),
            ("[mqtt]\nkeep_alive_secs_max = 65536", "mqtt.keep_alive_secs_max"),
            ("[mqtt]\nconnections_max = -1", "invalid value"),
            ("max = ", "gateway.toml"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
