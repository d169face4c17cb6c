//! `agent.toml`: parsed once into values that cannot be invalid. Unknown settings are refused.
//!
//! The committed `agent.toml` is the documentation, and equals the defaults by test. Secrets come by path.

use std::path::{Path, PathBuf};
use std::time::Duration;

use muster_protocol::device::Settings;
use serde::Deserialize;

use crate::identity::{Endpoint, IdentityPaths};

/// The committed example, with every default.
pub const EXAMPLE: &str = include_str!("../agent.toml");

/// Where the file lies unless `--config` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/muster/agent.toml";

/// Everything the agent is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Keys, certificates and records of this device.
    pub state_dir: PathBuf,
    /// What the factory made.
    pub identity: IdentityPaths,
    /// Time between two reports; `None` sends none.
    pub telemetry: Option<Duration>,
    /// The socket for other programs; `None` opens none.
    pub local_api: Option<LocalApi>,
    /// Longest silence on an MQTT session.
    pub keep_alive: Duration,
    /// What is logged, and how.
    pub log: Log,
    /// Patience.
    pub settings: Settings,
}

/// The socket for other programs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LocalApi {
    /// Its path.
    pub socket: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Programs connected at the same time.
    pub clients_max: usize,
}

/// Logging, always to stderr.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// As the filters of `tracing-subscriber`.
    pub filter: String,
    /// How a line looks.
    pub format: LogFormat,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why a configuration is not one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not TOML, an unknown setting, or a value of the wrong type.
    #[error("{path}: {reason}")]
    Malformed {
        /// The file.
        path: String,
        /// What and where.
        reason: String,
    },
    /// A value that cannot be.
    #[error("{path}: {setting} {reason}")]
    Value {
        /// The file.
        path: String,
        /// Which setting.
        setting: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
}

impl Config {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// Parses the text of a file at `path`; relative paths in it start at its folder.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let shown = path.display().to_string();
        let file: File = toml::from_str(text)
            .map_err(|error| ConfigError::Malformed { path: shown.clone(), reason: error.to_string() })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.check(folder).map_err(|(setting, reason)| ConfigError::Value { path: shown, setting, reason })
    }
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct File {
    state_dir: Option<PathBuf>,
    identity: IdentityTable,
    telemetry: TelemetryTable,
    local_api: LocalApiTable,
    mqtt: MqttTable,
    log: LogTable,
    settings: SettingsTable,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct IdentityTable {
    dir: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    fleet: Option<PathBuf>,
    gateway: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TelemetryTable {
    interval_secs: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LocalApiTable {
    socket: Option<PathBuf>,
    mode: Option<String>,
    clients_max: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct MqttTable {
    keep_alive_secs: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LogTable {
    filter: Option<String>,
    format: Option<LogFormat>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SettingsTable {
    backoff_millis_min: Option<u64>,
    backoff_millis_max: Option<u64>,
    operator_backoff_millis_min: Option<u64>,
    operator_backoff_millis_max: Option<u64>,
    answer_millis_max: Option<u64>,
    stable_millis: Option<u64>,
    trial_pause_millis: Option<u64>,
}

/// A setting and what is wrong with it.
type Wrong = (&'static str, &'static str);

impl File {
    fn check(self, folder: &Path) -> Result<Config, Wrong> {
        let keep_alive_secs = self.mqtt.keep_alive_secs.unwrap_or(60);
        if keep_alive_secs < 2 {
            return Err(("mqtt.keep_alive_secs", "must be at least 2"));
        }
        let interval_secs = self.telemetry.interval_secs.unwrap_or(60);
        let format = self.log.format.unwrap_or(LogFormat::Text);
        Ok(Config {
            state_dir: below(folder, self.state_dir, "/var/lib/muster-agent"),
            identity: self.identity.check(folder)?,
            telemetry: (interval_secs > 0).then(|| Duration::from_secs(interval_secs)),
            local_api: self.local_api.check(folder)?,
            keep_alive: Duration::from_secs(u64::from(keep_alive_secs)),
            log: Log { filter: self.log.filter.unwrap_or_else(|| "info".to_owned()), format },
            settings: self.settings.check()?,
        })
    }
}

impl IdentityTable {
    fn check(self, folder: &Path) -> Result<IdentityPaths, Wrong> {
        let mut paths = IdentityPaths::in_folder(&below(folder, self.dir, "/etc/muster/identity"));
        for (place, file) in
            [(&mut paths.certificate, self.certificate), (&mut paths.key, self.key), (&mut paths.fleet, self.fleet)]
        {
            if let Some(file) = file {
                *place = folder.join(file);
            }
        }
        if let Some(gateway) = self.gateway {
            let endpoint = Endpoint::parse(&gateway).ok_or(("identity.gateway", "is not HOST:PORT"))?;
            paths.gateway_instead = Some(endpoint);
        }
        Ok(paths)
    }
}

impl LocalApiTable {
    fn check(self, folder: &Path) -> Result<Option<LocalApi>, Wrong> {
        let mode = self.mode.as_deref().unwrap_or("0660");
        let mode = u32::from_str_radix(mode, 8).map_err(|_| ("local_api.mode", "is not octal, like \"0660\""))?;
        if mode & !0o777 != 0 {
            return Err(("local_api.mode", "has bits beyond 0777"));
        }
        let clients_max = self.clients_max.unwrap_or(32);
        if !(1..=1024).contains(&clients_max) {
            return Err(("local_api.clients_max", "must be from 1 to 1024"));
        }
        if self.socket.as_deref() == Some(Path::new("")) {
            return Ok(None);
        }
        let socket = below(folder, self.socket, "/run/muster-agent/agent.sock");
        Ok(Some(LocalApi { socket, mode, clients_max }))
    }
}

impl SettingsTable {
    fn check(self) -> Result<Settings, Wrong> {
        let usual = Settings::default();
        let settings = Settings {
            backoff_millis_min: self.backoff_millis_min.unwrap_or(usual.backoff_millis_min),
            backoff_millis_max: self.backoff_millis_max.unwrap_or(usual.backoff_millis_max),
            operator_backoff_millis_min: self.operator_backoff_millis_min.unwrap_or(usual.operator_backoff_millis_min),
            operator_backoff_millis_max: self.operator_backoff_millis_max.unwrap_or(usual.operator_backoff_millis_max),
            answer_millis_max: self.answer_millis_max.unwrap_or(usual.answer_millis_max),
            stable_millis: self.stable_millis.unwrap_or(usual.stable_millis),
            trial_pause_millis: self.trial_pause_millis.unwrap_or(usual.trial_pause_millis),
        };
        if settings.backoff_millis_min == 0 || settings.backoff_millis_min > settings.backoff_millis_max {
            return Err(("settings.backoff_millis_min", "must be from 1 to backoff_millis_max"));
        }
        if settings.operator_backoff_millis_min == 0
            || settings.operator_backoff_millis_min > settings.operator_backoff_millis_max
        {
            return Err(("settings.operator_backoff_millis_min", "must be from 1 to operator_backoff_millis_max"));
        }
        if settings.answer_millis_max < 100 {
            return Err(("settings.answer_millis_max", "must be at least 100"));
        }
        Ok(settings)
    }
}

fn below(folder: &Path, path: Option<PathBuf>, usual: &str) -> PathBuf {
    path.map_or_else(|| PathBuf::from(usual), |path| folder.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Config, ConfigError> {
        Config::parse(text, Path::new("/etc/muster/agent.toml"))
    }

    #[test]
    fn the_committed_example_equals_the_defaults() {
        assert_eq!(parse(EXAMPLE).unwrap(), parse("").unwrap());
        // And leaves none out: without its values, what is commented out apart, nothing else can be set.
        let keys = EXAMPLE.lines().filter(|line| !line.starts_with('#') && line.contains(" = ")).count();
        assert_eq!(keys, 1 + 1 + 1 + 3 + 1 + 2 + 7);
    }

    #[test]
    fn relative_paths_start_at_the_file() {
        let config =
            parse("state_dir = \"s\"\n[identity]\ndir = \"i\"\nkey = \"/k\"\n[local_api]\nsocket = \"a.sock\"");
        let config = config.unwrap();
        assert_eq!(config.state_dir, Path::new("/etc/muster/s"));
        assert_eq!(config.identity.certificate, Path::new("/etc/muster/i/idevid.crt"));
        assert_eq!(config.identity.key, Path::new("/k"));
        assert_eq!(config.local_api.unwrap().socket, Path::new("/etc/muster/a.sock"));
    }

    #[test]
    fn what_can_be_switched_off_is_off() {
        let config = parse("[telemetry]\ninterval_secs = 0\n[local_api]\nsocket = \"\"").unwrap();
        assert_eq!((config.telemetry, config.local_api), (None, None));
    }

    #[test]
    fn what_cannot_be_is_refused_and_named() {
        for (text, named) in [
            ("stat_dir = \"x\"", "stat_dir"),
            ("[settings]\nbackoff_secs = 1", "backoff_secs"),
            ("[settings]\nbackoff_millis_min = 0", "backoff_millis_min"),
            ("[settings]\nbackoff_millis_min = 2\nbackoff_millis_max = 1", "backoff_millis_min"),
            ("[settings]\nanswer_millis_max = 1", "answer_millis_max"),
            ("[local_api]\nmode = \"rw\"", "local_api.mode"),
            ("[local_api]\nmode = \"7777\"", "local_api.mode"),
            ("[local_api]\nclients_max = 0", "clients_max"),
            ("[identity]\ngateway = \"gateway\"", "identity.gateway"),
            ("[mqtt]\nkeep_alive_secs = 1", "keep_alive_secs"),
            ("[log]\nformat = \"xml\"", "xml"),
            ("state_dir = ", "agent.toml"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(named), "{text:?} gives {error:?}");
        }
    }
}
