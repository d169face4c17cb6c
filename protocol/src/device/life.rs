//! What a device remembers beside its credentials: the clock floor, and whether it is retired.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | `MLIF` |
//! | 4 | 1 | version, 0x01 |
//! | 5 | 1 | 1 when retired, else 0 |
//! | 6 | 8 | floor: seconds since 1970, little endian |
//! | 14 | 8 | first 8 bytes of the SHA-256 of all before |
//!
//! The floor is the latest time that the device knows has passed: build time, verified notBefore, authenticated
//! gateway time. It only rises, and never beyond the end of the certificate that authenticated it, so a wrong clock
//! elsewhere cannot lock the device out for good.

use sha2::{Digest, Sha256};

use crate::time::{Millis, Now, UnixTime};

const MAGIC: [u8; 4] = *b"MLIF";
const VERSION: u8 = 1;

/// Bytes of the encoded record.
pub const LIFE_RECORD_BYTES: usize = 22;

/// The stored form.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LifeRecord {
    /// No time before this is believed.
    pub floor: UnixTime,
    /// The device was retired; it never connects again.
    pub retired: bool,
}

impl LifeRecord {
    /// The bytes to store.
    #[must_use]
    pub fn encode(&self) -> [u8; LIFE_RECORD_BYTES] {
        let mut bytes = [0; LIFE_RECORD_BYTES];
        let (body, check) = bytes.split_at_mut(14);
        body[..4].copy_from_slice(&MAGIC);
        body[4] = VERSION;
        body[5] = u8::from(self.retired);
        body[6..].copy_from_slice(&self.floor.0.to_le_bytes());
        check.copy_from_slice(&Sha256::digest(&*body)[..8]);
        bytes
    }

    /// Reads stored bytes; `None` for anything torn or unknown.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; LIFE_RECORD_BYTES] = bytes.try_into().ok()?;
        let (body, check) = bytes.split_at(14);
        if Sha256::digest(body)[..8] != *check || body[..4] != MAGIC || body[4] != VERSION || body[5] > 1 {
            return None;
        }
        Some(Self { retired: body[5] == 1, floor: UnixTime(u64::from_le_bytes(body[6..].try_into().ok()?)) })
    }
}

/// The clock as far as the device may believe it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    floor: UnixTime,
    /// Uptime when the floor was last set: without a civil clock, time runs on from there.
    floor_at: Millis,
    stored: UnixTime,
    /// What the gateway said last in this life, and when.
    told: Option<(UnixTime, Millis)>,
}

/// How far the floor may be ahead of its stored copy: spares the flash.
const STORE_EVERY_SECS: u64 = 86_400;

impl Clock {
    pub(super) const fn new(floor: UnixTime, now: Now) -> Self {
        Self { floor, floor_at: now.uptime, stored: floor, told: None }
    }

    /// The best knowledge of the present, for the device's own credentials: what the gateway said in this life, or else
    /// the civil clock. Whether a certificate of ours has expired is the gateway's verdict in the end, so a clock that
    /// is ahead of it, or a floor that a wrong gateway raised, must not make the device throw certificates away.
    pub(super) fn now(&self, now: Now) -> UnixTime {
        if let Some((time, at)) = self.told {
            return time.plus_secs(now.uptime.since(at) / 1000);
        }
        let from_floor = self.floor.plus_secs(now.uptime.since(self.floor_at) / 1000);
        now.civil.map_or(from_floor, |civil| civil.max(self.floor))
    }

    pub(super) const fn floor(&self) -> UnixTime {
        self.floor
    }

    /// Raises the floor to `time`, but not beyond `limit`. Says whether the stored copy should follow.
    pub(super) fn raise(&mut self, time: UnixTime, limit: UnixTime, now: Now) -> bool {
        let time = time.min(limit);
        if time > self.floor {
            self.floor = time;
            self.floor_at = now.uptime;
        }
        self.floor.secs_since(self.stored) >= STORE_EVERY_SECS
    }

    /// Takes the time that the gateway said in a session.
    pub(super) const fn tell(&mut self, time: UnixTime, now: Now) {
        self.told = Some((time, now.uptime));
    }

    pub(super) const fn stored(&mut self) {
        self.stored = self.floor;
    }
}
