//! Control messages between device and gateway: postcard in a versioned envelope (docs/formats.md).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 0x01 |
//! | 1 | n | postcard of [`Up`] (device to gateway) or [`Down`] (gateway to device) |
//!
//! A message of another version, with bytes left over, or longer than [`MESSAGE_BYTES_MAX`] is refused. The order of
//! enum variants is frozen: new ones are added at the end.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::limits::{LABEL_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::pki::serial::Serial;
use crate::time::UnixTime;

pub mod application;
pub mod factory;

/// Version of the envelope and of every message in it.
pub const VERSION: u8 = 1;

/// An encoded message.
pub type Encoded = heapless::Vec<u8, MESSAGE_BYTES_MAX>;

/// What a device says of itself at the start of each session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// Serial of the confirmed certificate in the device's store, if it has one.
    pub active: Option<Serial>,
    /// Serial of a candidate that the device still means to confirm.
    pub candidate: Option<Serial>,
    /// Number of the trust bundle in force on the device.
    pub bundle: u32,
    /// Version of the agent, for people.
    pub agent: heapless::String<LABEL_BYTES_MAX>,
}

/// The gateway's answer to a [`Hello`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Welcome {
    /// The gateway's clock, authenticated by the session it travels in.
    pub time: UnixTime,
    /// Number of the newest trust bundle.
    pub bundle: u32,
    /// A rotation that an operator ordered and that has not happened yet.
    pub order: Option<u32>,
}

/// A certificate for the key of a [`Up::Request`].
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Issued<'a> {
    /// The certificate, DER.
    #[serde(borrow)]
    pub certificate: &'a [u8],
    /// The gateway's clock.
    pub time: UnixTime,
}

/// A refusal that the device can act on.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Refused {
    /// The cause.
    pub code: Code,
    /// Earliest sensible time for another try, in seconds; 0 where the code alone decides.
    pub retry_after_secs: u32,
}

/// Device to gateway.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Up<'a> {
    /// The first message of a session.
    Hello(Hello),
    /// Asks for a certificate; enrolment on the enrol channel, rotation on the control channel.
    Request {
        /// PKCS#10, DER.
        #[serde(borrow)]
        csr: &'a [u8],
    },
    /// This session runs under the candidate: it works.
    Confirm {
        /// Serial of the candidate.
        serial: Serial,
    },
    /// The device gives its identity up for good; an operator of the device asked for it.
    Retire,
}

/// Gateway to device.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Down<'a> {
    /// Answer to [`Up::Hello`].
    Welcome(Welcome),
    /// Answer to [`Up::Request`].
    #[serde(borrow)]
    Issued(Issued<'a>),
    /// Answer to any request that is not granted.
    Refused(Refused),
    /// Rotate now. Comes unasked on a live session.
    Rotate {
        /// Number of the order.
        order: u32,
    },
    /// Answer to [`Up::Confirm`]: the gateway has stored it.
    Confirmed {
        /// Serial of the certificate that is current now.
        serial: Serial,
    },
    /// A newer trust bundle, signed (see [`crate::trust`]). Comes after the welcome or unasked.
    Bundle {
        /// The signed container.
        #[serde(borrow)]
        signed: &'a [u8],
    },
    /// Answer to [`Up::Retire`]: the gateway has stored it.
    Retired,
}

/// Encodes a message for the wire.
pub fn encode<T: Serialize>(message: &T) -> Result<Encoded, Code> {
    let mut buffer = Encoded::new();
    encode_into(message, &mut buffer)?;
    Ok(buffer)
}

/// Encodes a message for the wire, in place of what `buffer` holds.
pub fn encode_into<T: Serialize, const N: usize>(message: &T, buffer: &mut heapless::Vec<u8, N>) -> Result<(), Code> {
    buffer.clear();
    buffer.resize_default(N.min(MESSAGE_BYTES_MAX)).map_err(|_| Code::MessageOversized)?;
    let (version, body) = buffer.split_first_mut().ok_or(Code::MessageOversized)?;
    *version = VERSION;
    let used = postcard::to_slice(message, body).map_err(|_| Code::MessageOversized)?.len();
    buffer.truncate(1 + used);
    Ok(())
}

/// Decodes what a device sent.
pub fn decode_up(bytes: &[u8]) -> Result<Up<'_>, Code> {
    decode(bytes)
}

/// Decodes what the gateway sent.
pub fn decode_down(bytes: &[u8]) -> Result<Down<'_>, Code> {
    decode(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Code> {
    if bytes.len() > MESSAGE_BYTES_MAX {
        return Err(Code::MessageOversized);
    }
    let (&version, body) = bytes.split_first().ok_or(Code::MessageMalformed)?;
    if version != VERSION {
        return Err(Code::MessageVersion);
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| Code::MessageMalformed)?;
    if rest.is_empty() { Ok(message) } else { Err(Code::MessageMalformed) }
}
