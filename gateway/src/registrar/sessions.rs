//! The seam to the live sessions: what a registrar's outputs and an operator's questions need of them.

use muster_protocol::{Code, DeviceId, UnixTime};
use tokio::sync::oneshot;

/// The live sessions of this gateway.
pub trait Sessions: Send + Sync + 'static {
    /// Ends every session of the device now, with this reason on both ends.
    fn cut(&self, device: &DeviceId, code: Code);

    /// Sends a control message to the device's session under an LDevID, if it has one.
    fn notify(&self, device: &DeviceId, message: &[u8]);

    /// Sends a command to the program of the device. Its outcome comes through what is returned, which ends without one when
    /// the session does.
    ///
    /// # Errors
    /// When the command was not sent.
    fn command(
        &self,
        _device: &DeviceId,
        _name: &str,
        _argument: &[u8],
    ) -> Result<oneshot::Receiver<CommandOutcome>, CommandRefused> {
        Err(CommandRefused::Offline)
    }

    /// Ends every session of a back-end service, because its rights have changed or are gone.
    fn cut_service(&self, _name: &DeviceId, _code: Code) {}

    /// The device's live sessions.
    fn of(&self, _device: &DeviceId) -> Vec<LiveSession> {
        Vec::new()
    }

    /// How many sessions live here; `None` where none can: the gateway is stopped.
    fn counts(&self) -> Option<SessionCounts> {
        None
    }

    /// That the device's last telemetry was too long to be kept.
    fn telemetry_too_long(&self, _device: &DeviceId) -> Option<TooLong> {
        None
    }

    /// The device's last telemetry, as it sent it: hostile text.
    fn telemetry(&self, _device: &DeviceId) -> Option<Telemetry> {
        None
    }
}

/// What became of a command; the bytes are the device's own.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum CommandOutcome {
    /// It was carried out.
    Done(Vec<u8>),
    /// It was tried and failed.
    Failed(Vec<u8>),
    /// The device knows no such command.
    Unknown,
}

/// Why a command was not sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommandRefused {
    /// The device has no session under an LDevID here.
    Offline,
    /// Its session has not subscribed to commands.
    NotListening,
    /// Too many commands are under way.
    Busy,
    /// Its name or its argument is too long.
    TooLong,
}

/// A message that was longer than what is kept. Not a word of it was.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong {
    /// When it came.
    pub at: UnixTime,
    /// How long it was.
    pub bytes: usize,
    /// How long it might have been.
    pub bytes_max: usize,
}

/// A live session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LiveSession {
    /// Address at the other end.
    pub peer: std::net::SocketAddr,
    /// When it was opened.
    pub since: UnixTime,
    /// Serial number of the certificate that it was opened with.
    pub serial: muster_protocol::pki::serial::Serial,
    /// `idevid` or `ldevid`.
    pub credential: &'static str,
    /// `3.1.1` or `5`.
    pub mqtt_version: &'static str,
}

/// How many sessions live.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SessionCounts {
    /// Devices.
    pub devices: u64,
    /// Back-end services.
    pub services: u64,
}

/// What a device said of itself last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Telemetry {
    /// When it came.
    pub at: UnixTime,
    /// The payload.
    pub payload: Vec<u8>,
}

/// No sessions: the gateway is stopped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoSessions;

impl Sessions for NoSessions {
    fn cut(&self, _device: &DeviceId, _code: Code) {}

    fn notify(&self, _device: &DeviceId, _message: &[u8]) {}
}
