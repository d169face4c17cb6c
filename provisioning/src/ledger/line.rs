//! The lines of the ledger file.
//!
//! A line is a check of 16 hex digits, a blank, and one JSON object. The check is the first 8 bytes of the SHA-256 of the
//! check of the line before and this line's object, so a line that was changed, removed, or put elsewhere is noticed at
//! the next one. It is no signature: whoever may write the PKI's folder has the issuing key anyway.

use muster_protocol::DeviceId;
use muster_protocol::message::factory::Digest;
use muster_protocol::pki::PublicKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// One step, as it stands in the file.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Line {
    /// Format version.
    pub v: u8,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Whose: the station's output folder has this in its plan.
    pub run: String,
    /// What happened.
    #[serde(flatten)]
    pub step: Step,
}

/// What can happen.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "step")]
pub enum Step {
    /// A station began to make devices of this kind.
    Opened {
        /// For which fleet.
        fleet: String,
        /// Which product.
        product: String,
        /// Which lot, or empty.
        lot: String,
        /// Into which folder, for people.
        out: String,
    },
    /// A name is set aside for the next board.
    Reserved {
        /// The name.
        device: String,
    },
    /// A CSR was good: from now on the name belongs to this key, for ever.
    Bound {
        /// The name.
        device: String,
        /// The key, SEC1, hex.
        key: String,
    },
    /// The certificate was signed.
    Issued {
        /// The name.
        device: String,
        /// DER, hex.
        certificate: String,
    },
    /// The board read back what was written.
    Written {
        /// The name.
        device: String,
        /// SHA-256 of the certificate, hex.
        certificate: String,
        /// SHA-256 of the fleet file, hex.
        trust: String,
    },
    /// The board locked it.
    Locked {
        /// The name.
        device: String,
    },
    /// The manifest has it.
    Done {
        /// The name.
        device: String,
    },
}

impl Step {
    /// A key is bound to a name.
    #[must_use]
    pub fn bound(device: &DeviceId, key: &PublicKey) -> Self {
        Self::Bound { device: device.to_string(), key: to_hex(key.as_sec1()) }
    }

    /// A certificate was signed.
    #[must_use]
    pub fn issued(device: &DeviceId, certificate: &[u8]) -> Self {
        Self::Issued { device: device.to_string(), certificate: to_hex(certificate) }
    }

    /// A board read back both parts.
    #[must_use]
    pub fn written(device: &DeviceId, certificate: &Digest, trust: &Digest) -> Self {
        Self::Written { device: device.to_string(), certificate: certificate.to_string(), trust: trust.to_string() }
    }

    /// The name that it is about; none for [`Step::Opened`].
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        match self {
            Self::Opened { .. } => None,
            Self::Reserved { device }
            | Self::Bound { device, .. }
            | Self::Issued { device, .. }
            | Self::Written { device, .. }
            | Self::Locked { device }
            | Self::Done { device } => Some(device),
        }
    }
}

/// Carries the check from line to line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Chain([u8; CHECK_BYTES]);

impl Chain {
    /// The line's bytes with its check, and the chain behind it.
    #[must_use]
    pub fn write(self, line: &Line) -> (String, Self) {
        // The fields are texts and numbers: nothing in them can fail to be JSON.
        let json = serde_json::to_string(line).unwrap_or_default();
        let next = self.after(&json);
        (format!("{} {json}\n", to_hex(&next.0)), next)
    }

    /// Reads a line without its line feed; `None` when the check or the form is wrong.
    #[must_use]
    pub fn read(self, text: &str) -> Option<(Line, Self)> {
        let (check, json) = text.split_once(' ')?;
        let next = self.after(json);
        if check != to_hex(&next.0) {
            return None;
        }
        let line: Line = serde_json::from_str(json).ok()?;
        (line.v == VERSION).then_some((line, next))
    }

    fn after(self, json: &str) -> Self {
        let digest = Sha256::new().chain_update(self.0).chain_update(json).finalize();
        digest.first_chunk().copied().map_or(self, Self)
    }
}

/// Format version of the lines.
pub const VERSION: u8 = 1;
const CHECK_BYTES: usize = 8;

/// Lower-case hex.
pub(super) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of lower-case hex.
pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    if !text.len().is_multiple_of(2) || !text.as_bytes().iter().all(is_hex) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
