//! Factory messages, between a station and a board on its serial line: postcard in a versioned envelope, in frames that
//! live through noise ([`frame`]).
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 1 | version, 0x01 |
//! | 1 | 2 | sequence number, little endian; an answer has its request's |
//! | 3 | n | postcard of [`Request`] (station to board) or [`Answer`] (board to station) |
//!
//! The station asks, the board answers; the board never speaks first but for one [`Answer::Hello`] with sequence number
//! 0 when it starts. Every request may come twice: a repetition does what the first one did, or finds it done. A message
//! of another version, with bytes left over, or longer than [`FACTORY_MESSAGE_BYTES_MAX`] is refused. The order of enum
//! variants is frozen: new ones are added at the end.
//!
//! Nothing here is secret. The private key is made on the board and is in no message.

use core::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::code::Code;
use crate::device_id::{DeviceId, FleetId};
use crate::limits::{CERTIFICATE_BYTES_MAX, FLEET_FILE_BYTES_MAX, LABEL_BYTES_MAX, PRODUCT_BYTES_MAX};
use crate::limits::{CSR_BYTES_MAX, FACTORY_CHUNK_BYTES_MAX, FACTORY_MESSAGE_BYTES_MAX};
use crate::pki::key::PublicKey;

pub mod frame;

/// Version of the envelope and of every message in it.
pub const VERSION: u8 = 1;

/// Bytes of the envelope before the message.
const HEAD_BYTES: usize = 3;

/// An encoded message, not framed yet.
pub type Encoded = heapless::Vec<u8, FACTORY_MESSAGE_BYTES_MAX>;

/// SHA-256 of something that is stored on the board.
#[derive(Clone, Copy, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is sent in parts.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
pub enum Part {
    /// The IDevID's certificate, DER.
    Certificate,
    /// The fleet file: pins and signed trust bundle ([`crate::trust`]).
    Trust,
}

impl Part {
    /// Both, in the order in which they are sent.
    pub const ALL: [Self; 2] = [Self::Certificate, Self::Trust];

    /// Its longest bytes.
    #[must_use]
    pub const fn bytes_max(self) -> usize {
        match self {
            Self::Certificate => CERTIFICATE_BYTES_MAX,
            Self::Trust => FLEET_FILE_BYTES_MAX,
        }
    }
}

/// Station to board.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Request<'a> {
    /// Who is there? Answered in every stage, and beside a running agent.
    Hello,
    /// Makes the key for life, unless it is there.
    MakeKey,
    /// Asks for a CSR with the key, for this name.
    MakeCsr {
        /// The fleet.
        fleet: FleetId,
        /// The name that the board is to have.
        device: DeviceId,
    },
    /// Some bytes of a part. At offset 0 the part begins anew; anywhere else it goes on where the board stands.
    Put {
        /// Of what.
        part: Part,
        /// Where these bytes belong.
        offset: u16,
        /// At most [`FACTORY_CHUNK_BYTES_MAX`] of them.
        #[serde(borrow)]
        bytes: &'a [u8],
    },
    /// Judges both parts, writes them, reads them back.
    Write {
        /// Of the certificate.
        certificate: Digest,
        /// Of the fleet file.
        trust: Digest,
    },
    /// Closes the identity for good.
    Lock {
        /// Of the certificate that the station means.
        certificate: Digest,
    },
    /// The station is done: the board starts its agent.
    Leave,
}

/// Board to station.
#[expect(clippy::large_enum_variant, reason = "no heap; an answer lives until it is encoded")]
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Answer<'a> {
    /// Answer to [`Request::Hello`], and said once at the start.
    Hello(Hello),
    /// Answer to [`Request::MakeKey`].
    Key {
        /// The public half.
        public_key: PublicKey,
    },
    /// Answer to [`Request::MakeCsr`].
    Csr {
        /// PKCS#10, DER.
        #[serde(borrow)]
        csr: &'a [u8],
    },
    /// Answer to [`Request::Put`].
    Received {
        /// Of what.
        part: Part,
        /// How much of it is there.
        bytes: u16,
    },
    /// Answer to [`Request::Write`]: what was read back.
    Written {
        /// Of the certificate.
        certificate: Digest,
        /// Of the fleet file.
        trust: Digest,
    },
    /// Answer to [`Request::Lock`].
    Locked {
        /// Of the certificate, read back.
        certificate: Digest,
    },
    /// Answer to [`Request::Leave`].
    Leaving,
    /// Answer to any request that is not granted.
    Refused {
        /// The cause.
        code: Code,
    },
}

/// What a board says of itself.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Hello {
    /// The product that its firmware is for.
    pub product: heapless::String<PRODUCT_BYTES_MAX>,
    /// Kind of board, for people.
    pub board: heapless::String<LABEL_BYTES_MAX>,
    /// Version of the agent, for people.
    pub agent: heapless::String<LABEL_BYTES_MAX>,
    /// How far it is.
    pub standing: Standing,
}

/// How far a board is on its way to an identity.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum Standing {
    /// Blank.
    Empty,
    /// It has its key.
    Keyed {
        /// The public half.
        public_key: PublicKey,
    },
    /// The identity is written and can be read, but nothing protects it yet.
    Written {
        /// Which identity.
        kept: Kept,
        /// Of the fleet file.
        trust: Digest,
    },
    /// The identity is closed: a device.
    Locked {
        /// Which identity.
        kept: Kept,
    },
}

/// The identity that a board has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Kept {
    /// Its fleet.
    pub fleet: FleetId,
    /// Its name.
    pub device: DeviceId,
    /// Its key.
    pub public_key: PublicKey,
    /// Of the certificate.
    pub certificate: Digest,
}

/// Encodes a message.
pub fn encode<T: Serialize>(sequence: u16, message: &T) -> Result<Encoded, Code> {
    let mut buffer = Encoded::new();
    buffer.resize_default(FACTORY_MESSAGE_BYTES_MAX).map_err(|_| Code::MessageOversized)?;
    let (head, body) = buffer.split_first_chunk_mut::<HEAD_BYTES>().ok_or(Code::MessageOversized)?;
    let [low, high] = sequence.to_le_bytes();
    *head = [VERSION, low, high];
    let used = postcard::to_slice(message, body).map_err(|_| Code::MessageOversized)?.len();
    buffer.truncate(HEAD_BYTES + used);
    Ok(buffer)
}

/// The sequence number of a message of any version; `None` when it is too short to have one.
#[must_use]
pub fn sequence(bytes: &[u8]) -> Option<u16> {
    bytes.get(1..HEAD_BYTES)?.try_into().ok().map(u16::from_le_bytes)
}

/// Decodes what a station sent.
pub fn decode_request(bytes: &[u8]) -> Result<Request<'_>, Code> {
    let request = decode(bytes)?;
    match request {
        Request::Put { bytes, .. } if bytes.len() > FACTORY_CHUNK_BYTES_MAX => Err(Code::MessageOversized),
        request => Ok(request),
    }
}

/// Decodes what a board sent.
pub fn decode_answer(bytes: &[u8]) -> Result<Answer<'_>, Code> {
    decode(bytes)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Code> {
    if bytes.len() > FACTORY_MESSAGE_BYTES_MAX {
        return Err(Code::MessageOversized);
    }
    let (&[version, ..], body) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(Code::MessageMalformed)?;
    if version != VERSION {
        return Err(Code::MessageVersion);
    }
    let (message, rest) = postcard::take_from_bytes(body).map_err(|_| Code::MessageMalformed)?;
    if rest.is_empty() { Ok(message) } else { Err(Code::MessageMalformed) }
}

// Head, variant and lengths beside the longest content.
const _: () = assert!(CSR_BYTES_MAX + 16 <= FACTORY_MESSAGE_BYTES_MAX);
const _: () = assert!(FACTORY_CHUNK_BYTES_MAX + 16 <= FACTORY_MESSAGE_BYTES_MAX);
