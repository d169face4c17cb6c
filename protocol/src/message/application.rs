//! What a device and its operators say to one another beside its identity: reports and commands. The envelope is that of
//! control messages (docs/formats.md); the topics are the device's own, `devices/<device-id>/telemetry`, `…/command` and
//! `…/answer`, and applications may use any other below `devices/<device-id>/`.
//!
//! A command travels in one session: a device that goes away does not find it when it comes back, so no command is ever
//! carried out late or twice.

use serde::{Deserialize, Serialize};

use super::decode;
use crate::code::Code;
use crate::limits::{ARGUMENT_BYTES_MAX, COMMAND_NAME_BYTES_MAX, RESULT_BYTES_MAX};

/// What a device reports of itself.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Telemetry {
    /// Seconds since it started.
    pub uptime_secs: u64,
    /// How busy its processor was of late, in percent.
    pub load_percent: u8,
    /// Memory that was ever used.
    pub memory_used_bytes: u64,
    /// All memory.
    pub memory_total_bytes: u64,
}

/// Something that the device's own program is to do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Command<'a> {
    /// The answer carries the same number.
    pub number: u32,
    /// What: one to [`COMMAND_NAME_BYTES_MAX`] bytes.
    pub name: &'a str,
    /// With what: at most [`ARGUMENT_BYTES_MAX`] bytes of the program's own.
    #[serde(borrow)]
    pub argument: &'a [u8],
}

/// What became of a [`Command`].
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Answer<'a> {
    /// The command's number.
    pub number: u32,
    /// How it went.
    #[serde(borrow)]
    pub outcome: Outcome<'a>,
}

/// How a command went; what it gave is at most [`RESULT_BYTES_MAX`] bytes of the program's own.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Outcome<'a> {
    /// It was carried out.
    #[serde(borrow)]
    Done(&'a [u8]),
    /// It was tried and failed; the bytes say why.
    Failed(&'a [u8]),
    /// The program knows no command of this name.
    Unknown,
}

impl<'a> Command<'a> {
    /// Decodes a command.
    ///
    /// # Errors
    /// As every message; [`Code::MessageOversized`] for a name or an argument beyond its bound.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Code> {
        let command: Self = decode(bytes)?;
        if command.name.is_empty() {
            return Err(Code::MessageMalformed);
        }
        let fits = command.name.len() <= COMMAND_NAME_BYTES_MAX && command.argument.len() <= ARGUMENT_BYTES_MAX;
        if fits { Ok(command) } else { Err(Code::MessageOversized) }
    }
}

impl<'a> Answer<'a> {
    /// Decodes an answer.
    ///
    /// # Errors
    /// As every message; [`Code::MessageOversized`] for a result beyond its bound.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Code> {
        let answer: Self = decode(bytes)?;
        match answer.outcome {
            Outcome::Done(result) | Outcome::Failed(result) if result.len() > RESULT_BYTES_MAX => {
                Err(Code::MessageOversized)
            }
            _ => Ok(answer),
        }
    }
}

impl Telemetry {
    /// Decodes a report.
    ///
    /// # Errors
    /// As every message.
    pub fn decode(bytes: &[u8]) -> Result<Self, Code> {
        decode(bytes)
    }
}
