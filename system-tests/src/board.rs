//! A simulated device: flash, power, clock and connection around the real core. What an agent's loop does, [`World`]
//! does with it.
//!
//! [`World`]: crate::world::World

use std::collections::VecDeque;
use std::sync::Arc;

use muster_protocol::UnixTime;
use muster_protocol::device::{Boot, Credential, Device, LifeRecord};
use muster_protocol::pki::Certificate;
use muster_protocol::pki::Serial;
use muster_protocol::slot::store::Item;
use muster_protocol::slot::{Phase, SlotId, SlotRecord};
use muster_protocol::time::{Millis, Now};

use crate::event::Epoch;
use crate::flash::{Flash, FlashKind};
use crate::link::Line;
use crate::test_pki::{START, TestPki, Trust};

/// One simulated device.
pub struct Board {
    /// Its number in the world and in the PKI.
    pub index: usize,
    /// What survives.
    pub flash: Flash,
    /// The running core, while there is power.
    pub core: Option<Box<Device>>,
    /// Counts lives: answers of an earlier one are void.
    pub boot: u64,
    /// No power before this.
    pub dark_until: Millis,
    /// When this life began.
    pub booted_at: Millis,
    /// How far the clock is off, in seconds; `None` for a device without a clock.
    pub clock_error_secs: Option<i64>,
    /// The connection.
    pub line: Line,
    /// Whether there is a network.
    pub online: bool,
    /// The number of the timer that counts.
    pub timer: u64,
    /// When it fires.
    pub timer_at: Option<Millis>,
    /// When the last answer of its store and key store comes: they answer in the order in which they are asked.
    pub answers_until: Millis,
    /// Connection attempts of the last minute of this life.
    pub connects: VecDeque<Millis>,
    /// Certificates of the last hour of this life.
    pub issued: VecDeque<Millis>,
    /// What is stored, decoded; renewed after each change.
    pub stored: Stored,
    /// Its owner gave it up.
    pub owner_retired: bool,
    /// When it was last seen operational with a welcomed session.
    pub operational_at: Option<Millis>,
}

/// The durable records of a device, read as its boot would read them.
#[derive(Clone, Default)]
pub struct Stored {
    changes: Option<u64>,
    /// The slots; `None` for an empty or torn one.
    pub slots: [Option<StoredSlot>; 2],
    /// Whether it is retired.
    pub retired: bool,
    /// The stored clock floor.
    pub floor: UnixTime,
    /// The highest generation that was ever confirmed and stored.
    pub confirmed_generation: u32,
}

/// One slot.
#[derive(Clone)]
pub struct StoredSlot {
    /// The record.
    pub record: SlotRecord,
    /// Whether the key store holds its key.
    pub has_key: bool,
    /// Serial number and end of its certificate, if it has one.
    pub certificate: Option<(Serial, UnixTime)>,
}

impl StoredSlot {
    /// Whether a device could use it as a confirmed credential.
    #[must_use]
    pub fn is_confirmed(&self) -> bool {
        self.has_key && self.record.phase == Phase::Confirmed
    }

    /// Whether it is a certificate on its way.
    #[must_use]
    pub fn is_candidate(&self) -> bool {
        self.has_key && matches!(self.record.phase, Phase::Issued | Phase::Trial(_))
    }
}

impl Stored {
    /// The slot that a boot would call active: confirmed, with its key, of the highest generation.
    #[must_use]
    pub fn active(&self) -> Option<&StoredSlot> {
        self.slots.iter().flatten().filter(|slot| slot.is_confirmed()).max_by_key(|slot| slot.record.generation)
    }

    /// The serial number of the active credential.
    #[must_use]
    pub fn active_serial(&self) -> Option<&Serial> {
        self.active()?.certificate.as_ref().map(|(serial, _)| serial)
    }

    /// The certificate on its way, if there is one newer than the active one.
    #[must_use]
    pub fn candidate(&self) -> Option<&StoredSlot> {
        let newer = self.active().map_or(0, |active| active.record.generation);
        let candidates = self.slots.iter().flatten().filter(|slot| slot.is_candidate());
        candidates.filter(|slot| slot.record.generation > newer).max_by_key(|slot| slot.record.generation)
    }
}

impl Board {
    /// A device as it leaves the factory.
    #[must_use]
    pub fn new(index: usize, kind: FlashKind, fleet_file: &[u8], clock_error_secs: Option<i64>) -> Self {
        let mut flash = Flash::new(kind);
        flash.preset(Item::Trust, fleet_file);
        Self {
            index,
            flash,
            core: None,
            boot: 0,
            dark_until: Millis(0),
            booted_at: Millis(0),
            clock_error_secs,
            line: Line::default(),
            online: true,
            timer: 0,
            timer_at: None,
            answers_until: Millis(0),
            connects: VecDeque::new(),
            issued: VecDeque::new(),
            stored: Stored::default(),
            owner_retired: false,
            operational_at: None,
        }
    }

    /// What the device knows of time.
    #[must_use]
    pub fn now(&self, at: Millis) -> Now {
        let civil = self.clock_error_secs.map(|error| UnixTime(true_time(at).0.saturating_add_signed(error)));
        Now { uptime: Millis(at.since(self.booted_at)), civil }
    }

    /// The trust in force, as stored.
    #[must_use]
    pub fn trust(&self, pki: &TestPki) -> Option<Arc<Trust>> {
        pki.read_fleet_file(self.flash.record(Item::Trust)?)
    }

    /// Reads the records as an agent does at its start, and boots the core from them. `None` without trust, which the
    /// store's contract rules out.
    #[must_use]
    pub fn boot_core(&self, pki: &TestPki, settings: muster_protocol::device::Settings, at: Millis) -> Option<Device> {
        let trust = self.trust(pki)?;
        let slot = |slot| self.flash.record(Item::Slot(slot)).and_then(SlotRecord::decode);
        let key = |slot| self.flash.key(slot).map(|key| *key.public());
        let boot = Boot {
            identity: pki.devices[self.index].identity.clone(),
            slots: SlotId::BOTH.map(slot),
            keys: SlotId::BOTH.map(key),
            life: self.flash.record(Item::Life).and_then(LifeRecord::decode).unwrap_or_default(),
            built_at: UnixTime(START.0 - 30 * 86_400),
            pins: trust.pins,
            bundle: trust.number,
            policy: trust.policy,
            settings,
            seed: 0x5eed ^ (self.index as u64) << 32 ^ self.boot,
            agent: "simulated".try_into().unwrap_or_default(),
        };
        Some(Device::boot(boot, self.now(at)))
    }

    /// Reads the records anew if they changed.
    pub fn refresh(&mut self) {
        if self.stored.changes == Some(self.flash.changes()) {
            return;
        }
        let slots = SlotId::BOTH.map(|slot| {
            let record = self.flash.record(Item::Slot(slot)).and_then(SlotRecord::decode)?;
            let has_key = self.flash.key(slot).is_some_and(|key| *key.public() == record.public_key);
            let certificate = Certificate::parse(&record.certificate).ok();
            let certificate = certificate.map(|certificate| (certificate.serial().clone(), certificate.not_after()));
            Some(StoredSlot { record, has_key, certificate })
        });
        let life = self.flash.record(Item::Life).and_then(LifeRecord::decode).unwrap_or_default();
        self.stored.changes = Some(self.flash.changes());
        self.stored.slots = slots;
        self.stored.retired = life.retired;
        self.stored.floor = life.floor;
        let confirmed = self.stored.active().map_or(0, |active| active.record.generation);
        self.stored.confirmed_generation = self.stored.confirmed_generation.max(confirmed);
    }

    /// The certificate that goes with a credential.
    #[must_use]
    pub fn certificate(&self, pki: &TestPki, credential: Credential) -> Option<Arc<[u8]>> {
        match credential {
            Credential::Idevid => Some(pki.devices[self.index].idevid.as_slice().into()),
            Credential::Slot(slot) => self.core.as_ref()?.certificate(slot).map(Into::into),
        }
    }

    /// Whether the connection of this epoch is the one in use.
    #[must_use]
    pub fn is_on(&self, epoch: Epoch) -> bool {
        self.line.epoch() == Some(epoch)
    }
}

/// The time that everybody would agree on.
#[must_use]
pub const fn true_time(at: Millis) -> UnixTime {
    UnixTime(START.0 + at.0 / 1000)
}
